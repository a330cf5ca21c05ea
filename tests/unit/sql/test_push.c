/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hand-offs to devices: arranged once for each row and device, whoever arranges; what is read while
 * it is sent is cleared; what is to be known of one row and one device.
 */
#include <string.h>

#include "codec/base/status.h"
#include "sql/store_device.h"
#include "sql/store_push.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/jobs.h"

/* The device of a user whose id ends with `number`. */
static void add_device(struct harness *harness, struct store_user who, unsigned number)
{
    struct store_devices put = {.base.op = STORE_DEVICE_PUT,
        .who = who,
        .has_id = true,
        .body = BYTES("{\"token\":\"t\"}"),
        .most = 100};
    put.id[0] = 1;
    put.id[NOTIFICATION_ID_LEN - 1] = (uint8_t)number;
    memcpy(put.address_hash, put.id, STORE_HASH_LEN);
    cr_assert_eq(harness_run(harness, 1, &put.base), 0);
    store_request_finish(&put.base);
}

static struct store_row post(struct harness *harness, struct store_user who, uint64_t key)
{
    struct store_row row = row_of(who, key, key);
    put_row(harness, &row);
    return row;
}

struct made {
    uint64_t jobs;
    uint64_t clears;
    uint64_t held_at;
    uint64_t begin;
    unsigned steps;
};

/* A pass from `low`. */
static struct made arrange_from(struct harness *harness, unsigned shard, uint64_t low)
{
    struct made made = {0};
    struct store_push_arrange arrange = {.base.op = STORE_PUSH_ARRANGE, .from.changed_at = low};
    char tenant[256];
    char user[256];
    for (bool more = true; more;) {
        cr_assert_eq(harness_run(harness, shard, &arrange.base), 0);
        made.jobs += arrange.jobs;
        made.clears += arrange.clears;
        made.begin = made.steps++ == 0 ? arrange.begin : made.begin;
        made.held_at = arrange.held_at > 0 ? arrange.held_at : made.held_at;
        more = arrange.more;
        struct store_push_place next = arrange.next;
        memcpy(tenant, next.tenant.at, more ? next.tenant.len : 0);
        memcpy(user, next.user.at, more ? next.user.len : 0);
        next.tenant.at = tenant;
        next.user.at = user;
        store_request_finish(&arrange.base);
        arrange.from = next;
    }
    return made;
}

/* All that was not arranged yet: jobs, and those that clear. */
static void expect_made(struct harness *harness, uint64_t jobs, uint64_t clears)
{
    struct made made = arrange_from(harness, 0, 0);
    while (made.held_at > 0) {
        struct made more = arrange_from(harness, 0, made.held_at);
        made.jobs += more.jobs;
        made.clears += more.clears;
        made.held_at = more.held_at;
    }
    cr_expect_eq(made.jobs, jobs, "%llu jobs", (unsigned long long)made.jobs);
    cr_expect_eq(made.clears, clears, "%llu clears", (unsigned long long)made.clears);
}

/* The next job of the queue that is due, whose payload is copied; false: there is none. */
static bool next_job(struct harness *harness, char payload[512], char type[16])
{
    struct store_job_rule rule = rule_of(STORE_PUSH_QUEUE);
    rule.concurrency = 1000;
    struct store_job_lease lease = {.rules = &rule, .rule_count = 1, .max = 1};
    lease_jobs(harness, 2, &lease);
    bool there = lease.count > 0;
    if (there) {
        snprintf(payload, 512, "%.*s", (int)lease.jobs[0].payload.len, lease.jobs[0].payload.at);
        snprintf(type, 16, "%.*s", (int)lease.jobs[0].type.len, lease.jobs[0].type.at);
        cr_expect_eq(lease.jobs[0].tenant.len, 0);
        cr_expect_eq(lease.jobs[0].user.len, 0);
    }
    store_request_finish(&lease.base);
    return there;
}

static bool note(struct harness *harness, const struct store_row *row, unsigned device, bool failed)
{
    struct store_push_note note = {.base.op = STORE_PUSH_NOTE,
        .who = row->who,
        .rev = row->rev,
        .type = row->type,
        .failed = failed,
        .error = failed ? BYTES("refused") : BYTES("")};
    memcpy(note.id, row->id, NOTIFICATION_ID_LEN);
    note.device_id[0] = 1;
    note.device_id[NOTIFICATION_ID_LEN - 1] = (uint8_t)device;
    cr_assert_eq(harness_run(harness, 3, &note.base), 0);
    bool closed = note.closed;
    cr_expect_eq(note.unread, position_of(harness, row->who).unread);
    store_request_finish(&note.base);
    return closed;
}

/* To be finished. */
static void look(struct harness *harness, const struct store_row *row, unsigned device,
    struct store_push_look *look)
{
    look->base.op = STORE_PUSH_LOOK;
    look->who = row->who;
    memcpy(look->id, row->id, NOTIFICATION_ID_LEN);
    memset(look->device_id, 0, sizeof(look->device_id));
    look->device_id[0] = 1;
    look->device_id[NOTIFICATION_ID_LEN - 1] = (uint8_t)device;
    cr_assert_eq(harness_run(harness, 2, &look->base), 0);
}

BOTH(push_jobs_are_made_once_of_what_comes_behind_a_device)
{
    struct harness harness;
    char payload[512];
    char type[16];
    harness_open(&harness, url);
    struct store_user alice = user_of("alice");
    (void)post(&harness, alice, 1);
    (void)post(&harness, user_of("bob"), 1); /* who has no device */
    expect_made(&harness, 0, 0);
    add_device(&harness, alice, 1);
    add_device(&harness, alice, 2);
    expect_made(&harness, 0, 0);
    struct store_row row = post(&harness, alice, 2);
    expect_made(&harness, 2, 0);
    expect_made(&harness, 0, 0);
    char id[UUID_TEXT_LEN + 1] = "";
    uuid_format(row.id, id);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(next_job(&harness, payload, type));
        cr_expect_str_eq(type, "push");
        cr_expect_not_null(strstr(payload, id), "%s", payload);
        cr_expect_not_null(strstr(payload, "alice"), "%s", payload);
    }
    cr_expect_not(next_job(&harness, payload, type));
    harness_close(&harness);
}

BOTH(push_of_what_is_read_before_it_is_arranged_is_not_made)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user alice = user_of("alice");
    add_device(&harness, alice, 1);
    struct store_row row = post(&harness, alice, 1);
    mark_row(&harness, &row, NOTIFICATION_MARK_READ);
    struct store_row other = post(&harness, alice, 2);
    mark_row(&harness, &other, NOTIFICATION_MARK_SEEN);
    expect_made(&harness, 1, 0);
    harness_close(&harness);
}

BOTH(push_that_was_sent_is_cleared_once_when_it_is_read)
{
    struct harness harness;
    char payload[512];
    char type[16];
    harness_open(&harness, url);
    struct store_user alice = user_of("alice");
    add_device(&harness, alice, 1);
    struct store_row row = post(&harness, alice, 1);
    struct store_row gone = post(&harness, alice, 2);
    struct store_row failed = post(&harness, alice, 3);
    struct store_row stays = post(&harness, alice, 4);
    expect_made(&harness, 4, 0);
    cr_expect_not(note(&harness, &row, 1, false));
    cr_expect_not(note(&harness, &gone, 1, false));
    cr_expect_not(note(&harness, &failed, 1, true));
    cr_expect_not(note(&harness, &stays, 1, false));
    expect_made(&harness, 0, 0);
    mark_row(&harness, &row, NOTIFICATION_MARK_READ);
    mark_row(&harness, &failed, NOTIFICATION_MARK_READ);
    mark_row(&harness, &stays, NOTIFICATION_MARK_SEEN);
    struct store_mark erase = erase_of(alice, 60);
    erase.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN]) & gone.id;
    erase.id_count = 1;
    cr_assert_eq(harness_run(&harness, 0, &erase.base), 0);
    store_request_finish(&erase.base);
    expect_made(&harness, 0, 1); /* both in one, for one device */
    expect_made(&harness, 0, 0);
    cr_assert(next_job(&harness, payload, type)); /* in front of those that show */
    cr_expect_str_eq(type, "clear");
    char id[UUID_TEXT_LEN + 1] = "";
    uuid_format(row.id, id);
    cr_expect_not_null(strstr(payload, id), "%s", payload);
    uuid_format(gone.id, id);
    cr_expect_not_null(strstr(payload, id), "%s", payload);
    uuid_format(stays.id, id);
    cr_expect_null(strstr(payload, id), "%s", payload);
    harness_close(&harness);
}

BOTH(push_that_is_read_while_it_is_sent_tells_so)
{
    struct harness harness;
    struct store_push_look seen = {0};
    harness_open(&harness, url);
    struct store_user alice = user_of("alice");
    add_device(&harness, alice, 1);
    struct store_row row = post(&harness, alice, 1);
    expect_made(&harness, 1, 0);
    mark_row(&harness, &row, NOTIFICATION_MARK_READ);
    expect_made(&harness, 0, 0); /* nobody knows yet that it was sent */
    cr_expect(note(&harness, &row, 1, false));
    expect_made(&harness, 0, 0); /* who was told clears it */
    look(&harness, &row, 1, &seen);
    cr_expect_eq(seen.state, PUSH_STATE_CLEARED);
    store_request_finish(&seen.base);
    harness_close(&harness);
}

BOTH(push_is_looked_at_as_it_stands)
{
    struct harness harness;
    struct store_push_look seen = {0};
    harness_open(&harness, url);
    struct store_user alice = user_of("alice");
    add_device(&harness, alice, 1);
    struct store_row row = post(&harness, alice, 1);
    struct store_row other = post(&harness, alice, 2);
    look(&harness, &row, 1, &seen);
    cr_expect(seen.has_row && seen.has_device);
    cr_expect(bytes_eq(seen.item.title, row.title));
    cr_expect(bytes_eq(seen.item.user, alice.user));
    cr_expect_eq(seen.item.seq, 1);
    cr_expect_eq(seen.position.unread, 2);
    cr_expect_eq(seen.received, 0);
    cr_expect_eq(seen.state, PUSH_STATE_NONE);
    cr_expect_eq(seen.preferences.len, 0);
    cr_expect(bytes_eq_str(seen.device.body, "{\"token\":\"t\"}"));
    cr_expect_eq(seen.device.address_hash[STORE_HASH_LEN - 1], 1);
    cr_expect(seen.now >= seen.device.registered_at && seen.device.registered_at > 0);
    store_request_finish(&seen.base);
    cr_expect_not(note(&harness, &row, 1, false));
    cr_expect_not(note(&harness, &other, 1, true));
    seen.recent_ms = 3600000;
    look(&harness, &row, 1, &seen);
    cr_expect_eq(seen.recent, 1);
    cr_expect_eq(seen.state, PUSH_STATE_SHOWN);
    store_request_finish(&seen.base);
    look(&harness, &row, 2, &seen); /* another device */
    cr_expect(seen.has_row && !seen.has_device);
    cr_expect_eq(seen.recent, 0);
    store_request_finish(&seen.base);
    struct store_row strange = row;
    strange.who = user_of("bob");
    look(&harness, &strange, 1, &seen);
    cr_expect(!seen.has_row && !seen.has_device);
    store_request_finish(&seen.base);
    harness_close(&harness);
}

static bool receive(struct harness *harness, struct store_user who, uint64_t seq)
{
    struct store_push_received received = {.base.op = STORE_PUSH_RECEIVED, .who = who, .seq = seq};
    cr_assert_eq(harness_run(harness, 0, &received.base), 0);
    bool known = received.known;
    store_request_finish(&received.base);
    return known;
}

BOTH(push_knows_what_was_received_of_who_has_devices)
{
    struct harness harness;
    struct store_push_look seen = {0};
    harness_open(&harness, url);
    struct store_user alice = user_of("alice");
    struct store_row row = post(&harness, alice, 1);
    cr_expect_not(receive(&harness, alice, 1));
    add_device(&harness, alice, 1);
    cr_expect(receive(&harness, alice, 7));
    cr_expect(receive(&harness, alice, 5)); /* it does not go back */
    look(&harness, &row, 1, &seen);
    cr_expect_eq(seen.received, 7);
    store_request_finish(&seen.base);
    harness_close(&harness);
}

BOTH(push_of_many_users_and_rows_takes_several_steps)
{
    enum { USERS = 130, ROWS = 130 };
    struct harness harness;
    char name[16];
    harness_open(&harness, url);
    for (unsigned i = 0; i < USERS; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        add_device(&harness, user_of(name), i);
        (void)post(&harness, user_of(name), 1);
    }
    struct made made = arrange_from(&harness, 0, 0);
    cr_expect_eq(made.jobs, USERS);
    cr_expect_gt(made.steps, 1);
    cr_expect_eq(made.held_at, 0);
    cr_expect_eq(arrange_from(&harness, 0, made.begin).jobs, 0);
    for (unsigned i = 0; i < ROWS; i++) {
        (void)post(&harness, user_of("u7"), 10 + i);
    }
    made = arrange_from(&harness, 0, made.begin);
    cr_expect_eq(made.jobs, STORE_PUSH_ROWS_MAX);
    cr_expect_gt(made.held_at, 0);
    made = arrange_from(&harness, 0, made.held_at);
    cr_expect_eq(made.jobs, ROWS - STORE_PUSH_ROWS_MAX);
    cr_expect_eq(made.held_at, 0);
    harness_close(&harness);
}

/* Several who arrange at the same time make each job once. */
BOTH(push_is_arranged_by_many_at_once)
{
    enum { USERS = 20, ROUNDS = 10 };
    struct harness harness;
    char name[16];
    harness_open(&harness, url);
    for (unsigned i = 0; i < USERS; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        add_device(&harness, user_of(name), i);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct store_push_arrange steps[HARNESS_SHARDS] = {0};
        uint64_t jobs = 0;
        for (unsigned i = 0; i < USERS; i++) {
            snprintf(name, sizeof(name), "u%u", i);
            (void)post(&harness, user_of(name), round);
        }
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            steps[i].base = (struct store_request){.op = STORE_PUSH_ARRANGE, .done = harness_done};
            store_submit(harness.shards[i].port, &steps[i].base);
        }
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            harness_wait_all(&harness, i, 1);
            cr_assert_eq(steps[i].base.status, 0, "%s", status_name(steps[i].base.status));
            jobs += steps[i].jobs;
            store_request_finish(&steps[i].base);
        }
        jobs += arrange_from(&harness, 0, 0).jobs; /* those that were locked for all others */
        cr_assert_eq(jobs, USERS, "%llu", (unsigned long long)jobs);
    }
    harness_close(&harness);
}

BOTH(push_of_one_user_is_arranged_alone)
{
    struct harness harness;
    harness_open(&harness, url);
    add_device(&harness, user_of("alice"), 1);
    add_device(&harness, user_of("bob"), 2);
    (void)post(&harness, user_of("alice"), 1);
    (void)post(&harness, user_of("bob"), 1);
    struct store_push_arrange arrange = {
        .base.op = STORE_PUSH_ARRANGE, .who = user_of("alice"), .after_ms = 3600000};
    cr_assert_eq(harness_run(&harness, 1, &arrange.base), 0);
    cr_expect_eq(arrange.jobs, 1);
    cr_expect_not(arrange.more);
    store_request_finish(&arrange.base);
    struct store_queue queue = queue_of(&harness, STORE_PUSH_QUEUE);
    cr_expect_eq(queue.counts[JOB_DELAYED], 1);
    cr_expect_eq(queue.counts[JOB_WAITING], 0);
    expect_made(&harness, 1, 0);
    harness_close(&harness);
}

BOTH(push_of_a_user_that_is_erased_is_forgotten)
{
    struct harness harness;
    struct store_push_look seen = {0};
    harness_open(&harness, url);
    struct store_user alice = user_of("alice");
    add_device(&harness, alice, 1);
    struct store_row row = post(&harness, alice, 1);
    expect_made(&harness, 1, 0);
    cr_expect_not(note(&harness, &row, 1, false));
    struct store_forget forget = {.base.op = STORE_FORGET, .who = alice};
    cr_assert_eq(harness_run(&harness, 0, &forget.base), 0);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_PUSHES], 1);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_PUSH_PLACES], 1);
    store_request_finish(&forget.base);
    cr_expect(note(&harness, &row, 1, false)); /* what was on its way is to be cleared */
    look(&harness, &row, 1, &seen);
    cr_expect_eq(seen.state, PUSH_STATE_NONE);
    store_request_finish(&seen.base);
    (void)post(&harness, alice, 2);
    expect_made(&harness, 0, 0);
    add_device(&harness, alice, 1); /* and begins anew */
    (void)post(&harness, alice, 3);
    expect_made(&harness, 1, 0);
    harness_close(&harness);
}

BOTH(job_that_is_put_off_waits_and_keeps_its_attempt)
{
    struct harness harness;
    struct store_job_rule rule = rule_of("mail");
    struct store_job_new job = job_of("mail", 1);
    struct store_job leased;
    uint8_t id[16];
    uint8_t lease[16];
    harness_open(&harness, url);
    cr_assert(add_job(&harness, &job, id));
    cr_assert(lease_one(&harness, &rule, &leased, lease));
    struct store_job_step step = {
        .base.op = STORE_JOB_STEP, .verb = JOB_RELEASE, .error = BYTES("away"), .wait_ms = 3600000};
    memcpy(step.id, id, sizeof(step.id));
    memcpy(step.lease, lease, sizeof(step.lease));
    cr_assert_eq(harness_run(&harness, 1, &step.base), 0);
    cr_expect_eq(step.outcome, JOB_DONE);
    cr_expect_eq(step.job.attempt, 0);
    cr_expect_eq(step.job.state, JOB_DELAYED);
    cr_expect(bytes_eq_str(step.job.error, "away"));
    store_request_finish(&step.base);
    cr_expect_not(lease_one(&harness, &rule, &leased, lease));
    cr_expect_eq(state_of(&harness, id), JOB_DELAYED);
    step.wait_ms = STORE_JOB_WAIT_MAX_MS + 1;
    cr_expect_eq(harness_run(&harness, 1, &step.base), STATUS_INVALID);
    harness_close(&harness);
}
