/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the store what is due, has it stored as a put, announces it, and asks again.
 *
 * Order of this file: parts, storing, what cannot be stored, looking, users of a node that died,
 * life.
 */
#include "actors/inbox/schedule.h"

#include <stdio.h>

#include "actors/bus.h"
#include "actors/inbox/announce.h"
#include "actors/inbox/post.h"
#include "actors/inbox/schedule_share.h"
#include "actors/inbox/teller.h"
#include "actors/lease.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/slot.h"

enum {
    ROWS_MAX = 500, /* of a transaction */
    BYTES_MAX = 2 << 20,
    POLL_MS = 500, /* with a bus: other nodes post, too */
    IDLE_MS = 60000, /* without: the database's clock may be set */
    RETRY_MS = 250,
    AGAIN_MS = 5,
    RENEW_MS = 400,
    CLAIM_MS = 250,
    UNHEARD_MS = 5000, /* without an answer of Redis for so long a part is everybody's */
    BEREAVED_MS = 10000, /* for how long what a node that is gone did last may be untold */
    LATE_MS = 5000, /* when the operator is told */
    PUT_OFF_MS = 60000,
    BACK_UNITS = 2, /* of STORE_CHANGED_UNIT_MS: what a node that died may not have announced */
    BACK_USERS = 20000,
};

struct part {
    struct schedule *schedule;
    struct lease lease;
    uint64_t denied_ms; /* when another node was last known to have it */
    bool denied; /* another node had it before, or was given it */
};

struct schedule {
    struct shard *shard;
    struct bus_link *link; /* NULL: without a bus all parts are ours */
    struct schedule_share share; /* with a bus */
    struct part parts[STORE_SCHEDULE_PARTS];
    struct timer timer;
    union { /* what is under way; all begin with the request */
        struct store_request base;
        struct store_put put;
        struct store_audience_post post;
        struct store_reschedule change;
        struct store_changed changed;
    } op;
    struct store_due due; /* what is being stored */
    struct store_row *rows; /* of users, from `due` */
    size_t row_count;
    size_t at; /* the next item of `due` that is for many */
    bool refused; /* some of it could not be stored */
    uint32_t limit; /* of the next question; fewer after a failure, down to one */
    uint32_t inherited; /* set of parts that another node had before */
    uint32_t told_parts; /* those whose users are asked for, or told */
    struct telling telling; /* of users in these, in op.changed */
    size_t told; /* of these, looked at so far */
    uint64_t next_at; /* wall clock of the database: what is due next; 0: nothing is known */
    uint64_t late_since_ms; /* monotonic: since when the operator knows that it is late; 0 */
    unsigned releasing; /* leases that Redis has not taken back yet */
    bool busy;
    bool again;
    bool closing;
};

static void look(struct schedule *schedule);
static void free_if_ended(struct schedule *schedule);

static uint64_t now_of(const struct schedule *schedule)
{
    return sched_now(schedule->shard->sched);
}

static void arm(struct schedule *schedule, uint64_t delay_ms)
{
    struct sched *sched = schedule->shard->sched;
    if (!schedule->closing) {
        timer_set(sched_timers(sched), &schedule->timer, sched_now(sched) + delay_ms);
    }
}

/* --- parts --- */

static unsigned number_of(const struct part *part)
{
    return (unsigned)(part - part->schedule->parts);
}

static bool may_claim(void *context)
{
    const struct part *part = context;
    const struct schedule *schedule = part->schedule;
    return !schedule->closing && store_is_writable(schedule->shard->store_root) &&
           schedule_share_has(&schedule->share, number_of(part));
}

static void on_held(void *context)
{
    struct part *part = context;
    struct schedule *schedule = part->schedule;
    /* A node that gives a part back announces itself what it stored. */
    if (part->denied && schedule_share_bereaved(&schedule->share, BEREAVED_MS)) {
        schedule->inherited |= 1u << number_of(part);
    }
    part->denied = false;
    look(schedule);
}

static void on_denied(void *context)
{
    struct part *part = context;
    part->denied_ms = now_of(part->schedule);
    part->denied = true;
}

static void on_lost(void *context, enum lease_end why)
{
    if (why == LEASE_TAKEN) {
        on_denied(context);
    } /* else Redis does not answer: others may look, too */
}

static const struct lease_events lease_events = {
    .may_claim = may_claim, .on_held = on_held, .on_denied = on_denied, .on_lost = on_lost};

/* Held, or nothing was heard of whose it is. */
static bool is_ours(const struct part *part)
{
    const struct schedule *schedule = part->schedule;
    uint64_t dealt_ms = schedule_share_has(&schedule->share, number_of(part))
                            ? 0
                            : schedule_share_heard(&schedule->share);
    uint64_t heard_ms = dealt_ms > part->denied_ms ? dealt_ms : part->denied_ms;
    return lease_is_held(&part->lease) || now_of(schedule) - heard_ms >= UNHEARD_MS;
}

/* A part is given back where it is another's share, or where this node cannot store. */
static void give_back(struct part *part)
{
    lease_release(&part->lease, NULL, NULL);
    part->denied_ms = now_of(part->schedule);
    part->denied = true;
}

/* The parts to look in; a node that cannot store leaves them to others. */
static uint32_t own_parts(struct schedule *schedule)
{
    uint32_t parts = 0;
    if (schedule->link == NULL) {
        return (1u << STORE_SCHEDULE_PARTS) - 1;
    }
    bool writable = store_is_writable(schedule->shard->store_root);
    for (unsigned i = 0; i < STORE_SCHEDULE_PARTS; i++) {
        struct part *part = &schedule->parts[i];
        bool keeps = writable && schedule_share_has(&schedule->share, i);
        if (!keeps && lease_is_held(&part->lease)) {
            give_back(part);
        }
        parts |= writable && is_ours(part) ? 1u << i : 0;
    }
    return parts;
}

/* --- storing --- */

static void store_next(struct schedule *schedule);
static void on_stored(struct store_request *request);

/* Nothing is due any more, or the store does not take it: when to look again. */
static void rest(struct schedule *schedule, uint64_t delay_ms)
{
    store_request_finish(&schedule->due.base);
    mem_free(schedule->rows);
    schedule->rows = NULL;
    schedule->row_count = 0;
    schedule->busy = false;
    if (schedule->closing) {
        free_if_ended(schedule);
    } else if (schedule->again || delay_ms == 0) {
        look(schedule);
    } else {
        arm(schedule, delay_ms);
    }
}

static void submit(struct schedule *schedule, enum store_op op)
{
    schedule->op.base.op = op;
    schedule->op.base.done = on_stored;
    store_submit(schedule->shard->store, &schedule->op.base);
}

static void put_rows(struct schedule *schedule)
{
    schedule->op.put = (struct store_put){.rows = schedule->rows, .count = schedule->row_count};
    submit(schedule, STORE_PUT);
}

static void put_post(struct schedule *schedule, const struct store_scheduled *item)
{
    const struct store_row *kept = &item->row;
    schedule->op.post = (struct store_audience_post){
        .tenant = kept->who.tenant,
        .kind = item->kind,
        .name = item->name,
        .include_new = item->include_new,
        .type = kept->type,
        .title = kept->title,
        .message = kept->message,
        .data = kept->data,
        .priority = kept->priority,
        .created_at = schedule->due.now,
        .expires_at = kept->expires_at,
        .deliver_at = kept->deliver_at,
        .unwanted = !preferences_want(schedule->shard->config->preferences, kept->type, true),
        .digest_ms = preferences_digest(schedule->shard->config->preferences, kept->type, 0),
        .due = true,
        .version = kept->version,
    };
    memcpy(schedule->op.post.id, kept->id, NOTIFICATION_ID_LEN);
    memcpy(schedule->op.post.key_hash, kept->key_hash, STORE_HASH_LEN);
    memcpy(schedule->op.post.content_hash, kept->content_hash, STORE_HASH_LEN);
    submit(schedule, STORE_AUDIENCE_POST);
}

/* The rows of users go first, as one transaction; then each post to many. */
static void store_next(struct schedule *schedule)
{
    struct store_due *due = &schedule->due;
    if (schedule->closing || schedule->refused) {
        rest(schedule, RETRY_MS);
        return;
    }
    if (schedule->row_count > 0) {
        put_rows(schedule);
        return;
    }
    while (schedule->at < due->count && due->items[schedule->at].kind == AUDIENCE_NONE) {
        schedule->at++;
    }
    if (schedule->at < due->count) {
        put_post(schedule, &due->items[schedule->at++]);
        return;
    }
    rest(schedule, 0);
}

/* Rows of users as they are to be stored now; false without memory. */
static bool take_rows(struct schedule *schedule)
{
    const struct store_due *due = &schedule->due;
    const struct preferences *usual = schedule->shard->config->preferences;
    schedule->at = 0;
    schedule->row_count = 0;
    schedule->refused = false;
    schedule->rows = mem_try_calloc(due->count + 1, sizeof(*schedule->rows));
    for (size_t i = 0; schedule->rows != NULL && i < due->count; i++) {
        if (due->items[i].kind == AUDIENCE_NONE) {
            struct store_row *row = &schedule->rows[schedule->row_count++];
            *row = due->items[i].row;
            row->created_at = due->now;
            row->unwanted = !preferences_want(usual, row->type, true);
            row->digest_ms = preferences_digest(usual, row->type, 0);
        }
    }
    return schedule->rows != NULL;
}

/* --- what cannot be stored --- */

static void on_put_off(struct schedule *schedule)
{
    struct store_request *request = &schedule->op.base;
    store_request_finish(request);
    rest(schedule, RETRY_MS);
}

/* One alone is refused: it must not hold up what is due behind it. */
static void put_off(struct schedule *schedule, const struct store_row *row, int status)
{
    log_error("SCHEDULE-REFUSED", "what is due cannot be stored, it is tried again in a minute",
        "user=%s status=%s", log_quote(row->who.user), status_name(status));
    schedule->op.change = (struct store_reschedule){
        .tenant = row->who.tenant,
        .fields = NOTIFICATION_EDIT_DELIVER,
        .priority = row->priority,
        .deliver_at = schedule->due.now + PUT_OFF_MS,
    };
    memcpy(schedule->op.change.id, row->id, NOTIFICATION_ID_LEN);
    submit(schedule, STORE_RESCHEDULE);
}

/* Some of what was to be stored was not: by halves down to the one at fault. */
static void refuse(struct schedule *schedule, int status, size_t count)
{
    bool at_fault = status == STATUS_INVALID || status == STATUS_TIMEOUT;
    schedule->refused = true;
    if (at_fault && count == 1) {
        bool rows = schedule->row_count > 0;
        put_off(
            schedule, rows ? schedule->rows : &schedule->due.items[schedule->at - 1].row, status);
        return;
    }
    if (at_fault) {
        schedule->limit = count > 1 ? (uint32_t)(count / 2) : 1;
    }
    /* Taken by another, changed or cancelled: what there is now is asked for. */
    rest(schedule, status == STATUS_FENCED ? AGAIN_MS : RETRY_MS);
}

static void announce_rows(struct schedule *schedule)
{
    struct shard *shard = schedule->shard;
    shard->stats.delivered += schedule->row_count;
    post_announce_new(shard, schedule->rows, schedule->row_count);
}

/* Nobody knows whether it was stored: who is online looks. */
static void ask_users(const struct schedule *schedule)
{
    for (size_t i = 0; i < schedule->row_count; i++) {
        announce_repeat(schedule->shard, schedule->rows[i].who);
    }
}

static void on_stored(struct store_request *request)
{
    struct schedule *schedule = container_of(request, struct schedule, op.base);
    int status = request->status;
    if (request->op == STORE_RESCHEDULE) {
        on_put_off(schedule);
        return;
    }
    bool rows = request->op == STORE_PUT;
    size_t count = rows ? schedule->row_count : 1;
    if (status == 0 && rows) {
        announce_rows(schedule);
    } else if (status == 0) {
        schedule->shard->stats.delivered++;
        post_audience_announce(schedule->shard, &schedule->op.post);
    } else if (rows && status == STATUS_UNKNOWN) {
        ask_users(schedule);
    }
    store_request_finish(request);
    if (status != 0) {
        refuse(schedule, status, count);
        return;
    }
    schedule->row_count = rows ? 0 : schedule->row_count;
    schedule->limit = schedule->limit < ROWS_MAX / 2 ? 2 * schedule->limit : ROWS_MAX;
    store_next(schedule);
}

/* --- looking --- */

/* How late the first that is due is; told to the operator when that lasts. */
static void judge(struct schedule *schedule, uint64_t late_ms)
{
    schedule->shard->stats.schedule_late_ms = late_ms;
    if (late_ms >= LATE_MS && schedule->late_since_ms == 0) {
        schedule->late_since_ms = now_of(schedule);
        log_warn("SCHEDULE-LATE", "what was posted for later is not delivered in time",
            "late_ms=%llu", (unsigned long long)late_ms);
    } else if (late_ms < LATE_MS && schedule->late_since_ms != 0) {
        log_info("SCHEDULE-IN-TIME", "what was posted for later is delivered in time again",
            "after_ms=%llu", (unsigned long long)(now_of(schedule) - schedule->late_since_ms));
        schedule->late_since_ms = 0;
    }
}

/* While the store does not answer, what was known to be next is late by this node's clock. */
static void judge_unanswered(struct schedule *schedule)
{
    uint64_t now = sched_wall(schedule->shard->sched);
    bool late = schedule->next_at > 0 && schedule->next_at < now;
    judge(schedule, late ? now - schedule->next_at : 0);
}

static uint64_t time_to_next(const struct schedule *schedule)
{
    const struct store_due *due = &schedule->due;
    uint64_t most = schedule->link != NULL ? POLL_MS : IDLE_MS;
    if (due->next > 0 && due->next <= due->now) {
        return RETRY_MS; /* somebody holds an inbox locked */
    }
    uint64_t left = due->next > due->now ? due->next - due->now : most;
    return left < most ? left : most;
}

static void tell_inherited(struct schedule *schedule);

static void go_on(struct schedule *schedule)
{
    const struct store_due *due = &schedule->due;
    if (due->count > 0 && take_rows(schedule)) {
        store_next(schedule);
    } else if (due->count > 0) {
        rest(schedule, RETRY_MS); /* no memory */
    } else {
        rest(schedule, due->more ? 0 : time_to_next(schedule));
    }
}

static void on_due(struct store_request *request)
{
    struct schedule *schedule = container_of(request, struct schedule, due.base);
    struct store_due *due = &schedule->due;
    if (request->status != 0) {
        judge_unanswered(schedule);
        rest(schedule, RETRY_MS);
        return;
    }
    schedule->shard->stats.lapsed += due->expired;
    uint64_t first = due->count > 0 ? due->items[0].row.deliver_at : due->now;
    first = due->next > 0 && due->next < first ? due->next : first;
    judge(schedule, due->now > first ? due->now - first : 0);
    schedule->next_at = due->count > 0 ? first : due->next;
    if (schedule->inherited != 0 && !schedule->closing) {
        tell_inherited(schedule);
    } else {
        go_on(schedule);
    }
}

static void look(struct schedule *schedule)
{
    schedule->again = schedule->busy;
    if (schedule->busy || schedule->closing || schedule->shard->store == NULL) {
        return;
    }
    uint32_t parts = own_parts(schedule);
    if (parts == 0) {
        judge(schedule, 0); /* another node's */
        arm(schedule, POLL_MS);
        return;
    }
    schedule->busy = true;
    schedule->due = (struct store_due){
        .base = {.op = STORE_DUE, .done = on_due},
        .parts = parts,
        .limit = schedule->limit,
        .max_bytes = BYTES_MAX,
    };
    store_submit(schedule->shard->store, &schedule->due.base);
}

static void on_timer(struct timer *timer)
{
    look(container_of(timer, struct schedule, timer));
}

/* Something was kept: it may be due before what is known. */
static void on_kept(struct schedule *schedule, uint64_t deliver_at)
{
    uint64_t next = schedule->next_at;
    if (next == 0 || deliver_at < next || schedule->busy) {
        look(schedule);
    }
}

/* --- users of a node that died --- */

/* It may have stored what it could not announce any more: who is online looks. */
static bool tell_some(struct telling *telling, unsigned most)
{
    struct schedule *schedule = container_of(telling, struct schedule, telling);
    const struct store_changed *changed = &schedule->op.changed;
    for (; most > 0 && schedule->told < changed->user_count; schedule->told++) {
        struct store_user who = changed->users[schedule->told].who;
        uint32_t part = slot_part(slot_of(who.tenant, who.user), STORE_SCHEDULE_PARTS);
        if (schedule->told_parts & 1u << part) {
            announce_repeat(schedule->shard, who);
            most--;
        }
    }
    if (schedule->told < changed->user_count) {
        return true;
    }
    store_request_finish(&schedule->op.base);
    go_on(schedule);
    return false;
}

/* The node ends: what is due is another's. */
static void drop_telling(struct telling *telling)
{
    struct schedule *schedule = container_of(telling, struct schedule, telling);
    store_request_finish(&schedule->op.base);
    rest(schedule, RETRY_MS);
}

static void on_changed(struct store_request *request)
{
    struct schedule *schedule = container_of(request, struct schedule, op.base);
    if (request->status != 0) { /* once more, with what is asked next */
        store_request_finish(request);
        go_on(schedule);
        return;
    }
    schedule->told = 0;
    schedule->inherited &= ~schedule->told_parts;
    schedule->telling = (struct telling){.tell = tell_some, .drop = drop_telling};
    teller_tell(schedule->shard, &schedule->telling);
}

static void tell_inherited(struct schedule *schedule)
{
    uint64_t unit = schedule->due.now / STORE_CHANGED_UNIT_MS;
    schedule->told_parts = schedule->inherited;
    schedule->op.changed = (struct store_changed){
        .since = unit > BACK_UNITS ? unit - BACK_UNITS : 0, .limit = BACK_USERS};
    schedule->op.base.op = STORE_CHANGED;
    schedule->op.base.done = on_changed;
    store_submit(schedule->shard->store, &schedule->op.base);
}

/* --- life --- */

static const struct bus_events no_events = {0};

/* Other parts are ours: those that are not any more are given back now. */
static void on_share(void *context)
{
    struct schedule *schedule = context;
    if (!schedule->closing) {
        look(schedule);
    }
}

static void claim_parts(struct schedule *schedule)
{
    struct shard *shard = schedule->shard;
    const struct actor_config *config = shard->config;
    schedule->link = shard->bus->ops->open(shard->bus, "schedule", &no_events, schedule);
    schedule_share_start(&schedule->share, shard, schedule->link, on_share, schedule);
    for (unsigned i = 0; i < STORE_SCHEDULE_PARTS; i++) {
        struct part *part = &schedule->parts[i];
        char key[BUS_NAME_MAX];
        bus_name_schedule(&config->names, i, key);
        part->schedule = schedule;
        part->denied_ms = now_of(schedule);
        lease_start(&part->lease, shard, schedule->link,
            &(struct lease_config){
                .key = key,
                .holder = config->holder != NULL ? config->holder : config->node,
                .ttl_ms = config->lease_ms,
                .renew_ms = RENEW_MS,
                .claim_ms = CLAIM_MS,
            },
            &lease_events, part);
    }
}

void schedule_start(struct shard *shard)
{
    struct schedule *schedule = mem_alloc(sizeof(*schedule));
    schedule->shard = shard;
    schedule->limit = ROWS_MAX;
    timer_init(&schedule->timer, on_timer);
    shard->schedule = schedule;
    shard->schedule_kept = on_kept;
    if (shard->bus != NULL) {
        claim_parts(schedule);
    }
    arm(schedule, 1);
}

static void free_if_ended(struct schedule *schedule)
{
    if (!schedule->closing || schedule->busy || schedule->releasing > 0) {
        return;
    }
    if (schedule->link != NULL) {
        schedule->shard->bus->ops->close(schedule->link);
    }
    schedule->shard->schedule = NULL;
    mem_free(schedule);
}

static void on_released(void *context, int status, const struct bus_reply *reply)
{
    struct schedule *schedule = context;
    (void)status;
    (void)reply; /* or it runs out by itself */
    schedule->releasing--;
    free_if_ended(schedule);
}

void schedule_stop(struct shard *shard)
{
    struct schedule *schedule = shard->schedule;
    schedule->closing = true;
    timer_cancel(sched_timers(shard->sched), &schedule->timer);
    schedule->releasing = 1;
    if (schedule->link != NULL) {
        schedule->releasing++;
        schedule_share_stop(&schedule->share, on_released, schedule);
    }
    for (unsigned i = 0; schedule->link != NULL && i < STORE_SCHEDULE_PARTS; i++) {
        lease_stop(&schedule->parts[i].lease);
        schedule->releasing++;
        lease_release(&schedule->parts[i].lease, on_released, schedule);
    }
    schedule->releasing--;
    free_if_ended(schedule);
}
