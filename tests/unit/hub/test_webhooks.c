/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhooks over a real SQLite file and a backend on a port: what becomes of what they are told.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/jobs/jobs.h"
#include "actors/webhook_note.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/hooks/backend.h"
#include "hub/hooks/webhooks.h"
#include "hub/net/outgoing_guard.h"
#include "sql/store.h"
#include "tests/support/http_backend.h"
#include "tests/support/net_rig.h"

TestSuite(webhooks, .timeout = 120);

enum { QUEUES = 2, LONG_TEXT = 200000 };

struct world {
    struct rig rig;
    struct store *store;
    struct webhooks *webhooks;
    struct webhook_settings settings[2]; /* the second one is without any */
    struct outgoing_guard *guard;
    char url[64];
    char folder[64];
    uint16_t port;
    bool store_closed;
    const char *data; /* what is told next, and how often */
    unsigned times;
    enum webhook_event event;
    struct store_queues queues; /* the last count */
    struct store_job_list list; /* the last list */
    bool answered;
};

static struct world world;

static void fill(const char *path, uint32_t attempts)
{
    struct builder error = {0};
    const struct bytes allowed = BYTES("127.0.0.1");
    struct webhook_settings *settings = &world.settings[0];
    snprintf(world.url, sizeof(world.url), "http://127.0.0.1:%u%s", world.port, path);
    cr_assert_eq(outgoing_guard_create(&allowed, 1, &error, &world.guard), 0);
    world.settings[1] = (struct webhook_settings){.guard = world.guard, .ca = ""};
    *settings = (struct webhook_settings){.count = QUEUES, .guard = world.guard, .ca = ""};
    for (unsigned i = 0; i < QUEUES; i++) {
        settings->items[i] = (struct webhook_options){.name = i == 0 ? "crm" : "other",
            .url = world.url,
            .tenant = i == 0 ? "" : "acme",
            .secret_count = 1,
            .events = i == 0 ? 1u << WEBHOOK_READ | 1u << WEBHOOK_STORED : 1u << WEBHOOK_SEEN,
            .timeout_ms = 10000,
            .rule = {.queue = i == 0 ? BYTES("webhook.crm") : BYTES("webhook.other"),
                .concurrency = 1,
                .attempts = attempts,
                .keep_completed = 100,
                .keep_failed = 100,
                .timeout_ms = 15000}};
        cr_assert_eq(signature_read_secret(
                         "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &settings->items[i].secrets[0]),
            0);
    }
}

static void post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
    (void)context;
    sched_post(world.rig.system, port, fn, arg);
}

static struct shard *shard(void)
{
    return &world.rig.shards[0];
}

static void open_here(void *arg)
{
    (void)arg;
    CHECK(store_port_open(world.store, 0, loop_uv(world.rig.loops[0]), &shard()->store) == 0);
    shard()->jobs = jobs_create(shard());
    world.webhooks = webhooks_open(world.rig.loops[0], &world.settings[0]);
}

static void begin(const char *path, uint32_t attempts)
{
    char url[128];
    char error[256];
    memset(&world, 0, sizeof(world));
    world.port = http_backend_start();
    fill(path, attempts);
    snprintf(world.folder, sizeof(world.folder), "/tmp/peal-webhooks-XXXXXX");
    cr_assert_not_null(mkdtemp(world.folder));
    snprintf(url, sizeof(url), "sqlite:%s/peal.db", world.folder);
    world.rig.config.node = "node-1";
    rig_start(&world.rig, 1, NULL, NULL);
    const struct store_config config = {.url = bytes_str(url), .port_count = 1, .post = post};
    cr_assert_eq(store_open(&config, &world.store, error, sizeof(error)), 0, "%s", error);
    rig_call(&world.rig, 0, open_here, NULL);
}

static void close_webhooks(void *arg)
{
    (void)arg;
    webhooks_close(world.webhooks);
}

static bool are_closed(void *arg)
{
    (void)arg;
    return webhooks_count_open(world.webhooks) == 0;
}

static void close_jobs(void *arg)
{
    (void)arg;
    jobs_close(shard()->jobs);
}

static bool are_jobs_closed(void *arg)
{
    (void)arg;
    return jobs_pending(shard()->jobs) == 0;
}

static void on_closed(void *context)
{
    *(bool *)context = true;
}

static void close_store(void *arg)
{
    (void)arg;
    jobs_destroy(shard()->jobs);
    shard()->jobs = NULL;
    store_port_close(shard()->store, on_closed, &world.store_closed);
}

static bool is_store_closed(void *arg)
{
    (void)arg;
    return world.store_closed;
}

static void end(void)
{
    char command[128];
    rig_call(&world.rig, 0, close_webhooks, NULL);
    cr_assert(rig_wait(&world.rig, 0, are_closed, NULL));
    rig_call(&world.rig, 0, close_jobs, NULL);
    cr_assert(rig_wait(&world.rig, 0, are_jobs_closed, NULL));
    rig_call(&world.rig, 0, close_store, NULL);
    cr_assert(rig_wait(&world.rig, 0, is_store_closed, NULL));
    rig_stop(&world.rig);
    webhooks_destroy(world.webhooks);
    outgoing_guard_destroy(world.guard);
    store_close(world.store);
    http_backend_stop();
    snprintf(command, sizeof(command), "rm -r %s", world.folder);
    cr_assert_eq(system(command), 0);
}

static void tell_here(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < world.times; i++) {
        const struct webhook_note note = {.event = world.event,
            .tenant = BYTES("acme"),
            .at = sched_wall(shard()->sched),
            .data = bytes_str(world.data)};
        webhooks_tell(world.webhooks, &note);
    }
}

static void tell(enum webhook_event event, const char *data, unsigned times)
{
    world.event = event;
    world.data = data;
    world.times = times;
    rig_call(&world.rig, 0, tell_here, NULL);
}

static void on_counted(struct store_request *request)
{
    cr_assert_eq(request->status, 0);
    world.answered = true;
}

static void count_here(void *arg)
{
    static struct bytes names[QUEUES];
    (void)arg;
    names[0] = BYTES("webhook.crm");
    names[1] = BYTES("webhook.other");
    world.answered = false;
    store_request_finish(&world.queues.base);
    world.queues = (struct store_queues){
        .base = {.op = STORE_QUEUES, .done = on_counted}, .names = names, .name_count = QUEUES};
    store_submit(shard()->store, &world.queues.base);
}

static void list_here(void *arg)
{
    world.answered = false;
    store_request_finish(&world.list.base);
    world.list = (struct store_job_list){.base = {.op = STORE_JOB_LIST, .done = on_counted},
        .queue = BYTES("webhook.crm"),
        .state = *(enum job_state *)arg,
        .limit = 100};
    store_submit(shard()->store, &world.list.base);
}

static bool is_answered(void *arg)
{
    (void)arg;
    return world.answered;
}

static uint64_t count(unsigned queue, enum job_state state)
{
    rig_call(&world.rig, 0, count_here, NULL);
    cr_assert(rig_wait(&world.rig, 0, is_answered, NULL));
    uint64_t jobs = world.queues.queues[queue].counts[state];
    store_request_finish(&world.queues.base);
    return jobs;
}

/* Wait until so many jobs of the first webhook are in that state. */
static void wait_for(enum job_state state, uint64_t jobs)
{
    unsigned looks = 0;
    while (count(0, state) != jobs) {
        cr_assert_lt(++looks, 100000);
    }
}

static struct webhook_stats last;

static void read_stats(void *arg)
{
    (void)arg;
    last = *webhooks_get_stats(world.webhooks);
}

static struct webhook_stats stats(void)
{
    rig_call(&world.rig, 0, read_stats, NULL);
    return last;
}

/* The first job in that state; until the next call. */
static const struct store_job *first(enum job_state state)
{
    rig_call(&world.rig, 0, list_here, &state);
    cr_assert(rig_wait(&world.rig, 0, is_answered, NULL));
    cr_assert_gt(world.list.count, 0);
    return &world.list.jobs[0];
}

Test(webhooks, what_is_told_is_a_signed_call_of_the_jobs_id)
{
    begin("/answer", 3);
    tell(WEBHOOK_READ, "{\"userId\":\"ann\"}", 1);
    wait_for(JOB_COMPLETED, 1);
    const struct store_job *job = first(JOB_COMPLETED);
    char *call = http_backend_last();
    char id[64] = "\r\nwebhook-id: msg_";
    for (size_t i = 0; i < sizeof(job->id); i++) {
        snprintf(id + strlen(id), 3, "%02x", job->id[i]);
    }
    cr_expect_not_null(strstr(call, id), "%s", call);
    cr_expect_not_null(strstr(call, "\r\nwebhook-signature: v1,"));
    const char *body = strstr(call, "\r\n\r\n") + 4;
    cr_expect(bytes_eq(bytes_str(body), job->payload), "%s", body);
    cr_expect(strncmp(body, "{\"type\":\"events\",\"timestamp\":\"20", 30) == 0, "%s", body);
    cr_expect_not_null(strstr(body, "\"data\":{\"events\":[{\"id\":\""));
    cr_expect_not_null(
        strstr(body, "\"type\":\"notification.read\",\"timestamp\":\"20"), "%s", body);
    cr_expect_not_null(strstr(body, ",\"data\":{\"userId\":\"ann\"}}]}}"), "%s", body);
    cr_expect_eq(job->attempt, 1);
    cr_expect(bytes_eq_str(job->worker, "node-1"));
    mem_free(call);
    store_request_finish(&world.list.base);
    cr_expect_eq(stats().delivered, 1);
    cr_expect_eq(stats().recorded, 1);
    end();
}

Test(webhooks, what_happens_together_is_one_call_of_a_hundred_at_most)
{
    begin("/answer", 3);
    tell(WEBHOOK_READ, "{}", WEBHOOK_CALL_EVENTS + 1);
    wait_for(JOB_COMPLETED, 2);
    cr_expect_eq(http_backend_requests(), 2);
    cr_expect_eq(stats().recorded, WEBHOOK_CALL_EVENTS + 1);
    cr_expect_eq(stats().waiting, 0);
    end();
}

Test(webhooks, each_is_told_what_it_wants)
{
    begin("/answer", 3);
    tell(WEBHOOK_EXPIRED, "{}", 1);
    tell(WEBHOOK_SEEN, "{}", 1);
    tell(WEBHOOK_READ, "{}", 1);
    wait_for(JOB_COMPLETED, 1);
    while (count(1, JOB_COMPLETED) != 1) {
    }
    cr_expect_eq(stats().recorded, 2);
    end();
}

static struct webhook_settling settling;
static unsigned settled;
static bool had_to_wait;

static void on_settled(struct webhook_settling *one)
{
    cr_assert_eq(one, &settling);
    cr_expect_eq(webhooks_get_stats(world.webhooks)->waiting, 0);
    settled++;
}

static void tell_and_settle(void *arg)
{
    tell_here(arg);
    settling.done = on_settled;
    had_to_wait = webhooks_settle(world.webhooks, &settling);
}

static bool is_settled(void *arg)
{
    (void)arg;
    return settled == 1;
}

Test(webhooks, who_waits_is_told_when_what_was_told_is_in_the_store)
{
    begin("/answer", 3);
    rig_call(&world.rig, 0, tell_and_settle, NULL);
    cr_expect_not(had_to_wait, "nothing was told");
    world.event = WEBHOOK_READ;
    world.data = "{}";
    world.times = 3;
    rig_call(&world.rig, 0, tell_and_settle, NULL);
    cr_expect(had_to_wait);
    cr_assert(rig_wait(&world.rig, 0, is_settled, NULL));
    wait_for(JOB_COMPLETED, 1);
    cr_expect_eq(settled, 1);
    end();
}

static void tell_settle_and_close(void *arg)
{
    tell_and_settle(arg);
    webhooks_close(world.webhooks);
}

Test(webhooks, who_waits_when_the_node_ends_is_told)
{
    begin("/answer", 3);
    world.event = WEBHOOK_READ;
    world.data = "{}";
    world.times = 1;
    rig_call(&world.rig, 0, tell_settle_and_close, NULL);
    cr_expect(had_to_wait);
    cr_assert(rig_wait(&world.rig, 0, is_settled, NULL));
    end();
}

static bool is_recorded(void *arg)
{
    (void)arg;
    return webhooks_get_stats(world.webhooks)->waiting == 0;
}

/* The store is asked once the turn is over: what it cannot take before that has a bound. */
Test(webhooks, what_waits_for_the_store_has_a_bound_and_the_rest_is_counted)
{
    enum { FIT = WEBHOOK_WAITING_BYTES / LONG_TEXT, MORE = 10 };
    static char data[LONG_TEXT];
    begin("/answer", 1);
    memset(data, 'x', sizeof(data) - 1);
    memcpy(data, "{\"a\":\"", 6);
    memcpy(data + sizeof(data) - 3, "\"}", 3);
    tell(WEBHOOK_STORED, data, FIT + MORE);
    cr_expect_geq(stats().lost, MORE);
    cr_expect_leq(stats().lost, MORE + 1);
    cr_assert(rig_wait(&world.rig, 0, is_recorded, NULL));
    cr_expect_eq(stats().recorded + stats().lost, FIT + MORE);
    end();
}

/* By path: what the job says, and whether the breaker opens after five of them. */
Test(webhooks, who_does_not_take_it_is_told_again_until_it_is_dead)
{
    static const struct {
        const char *path;
        const char *error;
        bool opens;
    } rows[] = {
        {"/status/500", "status 500", true},
        {"/status/401", "status 401", true},
        {"/status/408", "status 408", true},
        {"/status/429", "status 429", true},
        {"/status/400", "status 400", false},
        {"/status/404", "status 404", false},
        {"/status/422", "status 422", false},
        {"/redirect", "status 302", true},
        {"/noise", "the answer is no HTTP, or was cut", true},
        {"/large", "the answer is too large", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(rows[i].path, WEBHOOKS_FAILURES);
        tell(WEBHOOK_READ, "{}", 1);
        wait_for(JOB_DEAD, 1);
        const struct store_job *job = first(JOB_DEAD);
        cr_expect(bytes_eq_str(job->error, rows[i].error), "%s: %.*s", rows[i].path,
            (int)job->error.len, job->error.at);
        cr_expect_eq(job->attempt, WEBHOOKS_FAILURES);
        store_request_finish(&world.list.base);
        cr_expect_eq(stats().failed, WEBHOOKS_FAILURES, "%s", rows[i].path);
        cr_expect_eq(stats().open[0], rows[i].opens, "%s", rows[i].path);
        end();
    }
}

static bool is_held(void *arg)
{
    (void)arg;
    return http_backend_held() == 1;
}

Test(webhooks, who_ends_gives_back_what_is_under_way)
{
    begin("/held", 3);
    tell(WEBHOOK_READ, "{}", 1);
    cr_assert(rig_wait(&world.rig, 0, is_held, NULL));
    cr_expect_eq(first(JOB_ACTIVE)->attempt, 1);
    store_request_finish(&world.list.base);
    tell(WEBHOOK_STORED, "{}", 1); /* told last: it is recorded, too */
    rig_call(&world.rig, 0, close_webhooks, NULL);
    cr_assert(rig_wait(&world.rig, 0, are_closed, NULL));
    wait_for(JOB_WAITING, 2);
    cr_expect_eq(first(JOB_WAITING)->attempt, 0, "nobody has taken it");
    store_request_finish(&world.list.base);
    http_backend_release();
    end();
}

static void set(void *arg)
{
    webhooks_set(world.webhooks, arg);
}

Test(webhooks, one_that_is_gone_is_not_called_until_it_is_there_again)
{
    begin("/answer", 3);
    rig_call(&world.rig, 0, set, &world.settings[1]);
    tell(WEBHOOK_READ, "{}", 1);
    cr_expect_eq(stats().recorded + stats().waiting, 0);
    rig_call(&world.rig, 0, set, &world.settings[0]);
    tell(WEBHOOK_READ, "{}", 1);
    wait_for(JOB_COMPLETED, 1);
    rig_call(&world.rig, 0, set, &world.settings[0]); /* the same again */
    tell(WEBHOOK_READ, "{}", 1);
    wait_for(JOB_COMPLETED, 2);
    end();
}

Test(webhooks, a_backend_is_there_when_it_says_that_it_does_not_like_what_it_was_asked)
{
    for (unsigned status = 200; status < 600; status++) {
        const struct outgoing_request request = {.end = OUTGOING_ANSWERED, .status = status};
        bool there =
            status >= 400 && status < 500 && status != 401 && status != 408 && status != 429;
        cr_expect_eq(backend_is_there(&request), there, "%u", status);
        cr_expect_eq(backend_fault(&request) == NULL, status < 300, "%u", status);
    }
    for (enum outgoing_end how = OUTGOING_NO_HOST; how < OUTGOING_END_COUNT; how++) {
        const struct outgoing_request request = {.end = how, .status = 404};
        cr_expect_not(backend_is_there(&request));
        cr_expect_str_eq(backend_fault(&request), outgoing_end_text(how));
    }
}
