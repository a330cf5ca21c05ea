/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flight is what is under way of a key: questions to Redis, readers that share one, and who waits
 * for who fills. What Redis answers is kept in memory only if no other version was announced since
 * it was asked. Order of this file: flights, keeping, reads, writes, leases, waiting, what others
 * change, life.
 */
#include "actors/values/values.h"

#include <string.h>

#include "actors/shard.h"
#include "actors/values/value_link.h"
#include "actors/values/value_local.h"
#include "actors/values/value_memory.h"
#include "actors/values/value_op.h"
#include "actors/values/value_redis.h"
#include "actors/values/value_room.h"
#include "actors/values/values_state.h"
#include "codec/base/mem.h"

/* Who waits asks again so often while it cannot hear that it is filled. */
enum { DEAF_MS = 250 };

/* For how long operators are not told that changes are not heard. */
enum { PATIENCE_MS = 3000 };

struct value_flight {
    struct values *values;
    struct timer timer; /* who waits is due, or who fills is late */
    struct list waiters; /* value_op.link */
    struct value_op *reader; /* whose question others may share; NULL: none is under way */
    unsigned busy; /* questions under way */
    bool asking; /* one of them for a lease */
    bool changed; /* what was announced while something was under way: */
    uint64_t version; /* the last of it */
    bool again; /* something changed while a lease was asked for */
    uint64_t held_ms; /* until then somebody fills */
    uint64_t due_ms; /* of the timer, while it is armed */
    size_t name_len;
    char name[];
};

static struct bytes flight_name(const void *object)
{
    const struct value_flight *flight = object;
    return bytes_of(flight->name, flight->name_len);
}

static uint64_t now_of(const struct values *values)
{
    return sched_now(values->shard->sched);
}

/* Flights. */

static void on_timer(struct timer *timer);

/* NULL: no memory. */
static struct value_flight *take_flight(struct values *values, struct bytes name)
{
    struct value_flight *flight = map_get(&values->flights, name);
    if (flight != NULL) {
        return flight;
    }
    flight = mem_try_calloc(1, sizeof(*flight) + name.len);
    if (flight == NULL) {
        return NULL;
    }
    flight->name_len = name.len;
    memcpy(flight->name, name.at, name.len);
    if (!map_put(&values->flights, flight)) {
        mem_free(flight);
        return NULL;
    }
    flight->values = values;
    list_init(&flight->waiters);
    timer_init(&flight->timer, on_timer);
    return flight;
}

static void release_flight(struct value_flight *flight)
{
    struct values *values = flight->values;
    if (flight->busy > 0) {
        return;
    }
    flight->changed = false;
    if (list_empty(&flight->waiters)) {
        timer_cancel(sched_timers(values->shard->sched), &flight->timer);
        map_remove(&values->flights, flight_name(flight));
        mem_free(flight);
    }
}

static void finish(struct values *values, struct value_op *op)
{
    struct values_stats *stats = &values->stats;
    enum value_outcome outcome = op->result.outcome;
    bool reads = op->verb == VALUE_GET || op->verb == VALUE_LEASE;
    stats->hits += reads && outcome == VALUE_HIT;
    stats->misses += reads && (outcome == VALUE_MISS || outcome == VALUE_FILL);
    stats->stale += outcome == VALUE_STALE;
    stats->fills += outcome == VALUE_FILL;
    stats->lost += outcome == VALUE_LEASE_LOST;
    stats->writes += outcome == VALUE_DONE;
    bool gone = op->verb == VALUE_DELETE && outcome == VALUE_MISS; /* or was never there */
    if (!reads && op->verb != VALUE_RELEASE && (outcome == VALUE_DONE || gone)) {
        value_room_changed(values->shard, op);
    }
    op->answered(op);
}

/* Keeping. */

/* Whether an answer that was asked for when `op` says is still as new as what was announced. */
static bool may_keep(
    const struct values *values, const struct value_flight *flight, const struct value_op *op)
{
    uint32_t epoch;
    return values->link != NULL && value_link_hears(values->link, &epoch) && op->heard &&
           epoch == op->epoch && (!flight->changed || flight->version == op->result.version);
}

/* Keep what Redis has answered, or forget what was there. Without Redis memory is what answered. */
static void keep(const struct values *values, const struct value_flight *flight,
    const struct value_op *op, struct value_body body)
{
    struct bytes name = value_op_name(op);
    if (values->local != NULL) {
        return;
    }
    if (!may_keep(values, flight, op) || body.bytes == NULL) {
        value_memory_remove(values->memory, name);
        return;
    }
    const struct value_item item = {
        .body = body,
        .version = op->result.version,
        .fresh_ms = op->issued_ms + op->result.left_ms,
        .stale_ms = op->issued_ms + op->result.left_ms,
        .expires_ms = op->result.expires_ms,
    };
    (void)value_memory_put(values->memory, name, &item); /* else Redis is asked again */
}

/* Answer from memory, if what it has is good. */
static bool answer_here(struct values *values, struct value_op *op)
{
    if (values->link == NULL || !value_link_is_good(values->link)) {
        return false;
    }
    const struct value_item *item = value_memory_get(values->memory, value_op_name(op));
    if (item == NULL || item->fresh_ms <= now_of(values)) {
        return false;
    }
    op->result.outcome = VALUE_HIT;
    op->result.body = item->body;
    (void)buf_ref(item->body.bytes);
    op->result.version = item->version;
    op->result.expires_ms = item->expires_ms;
    values->stats.local++;
    finish(values, op);
    return true;
}

/* Ask Redis. */
static void ask(struct value_flight *flight, struct value_op *op)
{
    struct values *values = flight->values;
    op->issued_ms = now_of(values);
    op->heard = value_link_hears(values->link, &op->epoch);
    flight->busy++;
    value_redis_ask(values->redis, op);
}

/* Reads. */

static void share(struct value_op *op, const struct value_result *result)
{
    op->result = *result;
    if (op->result.body.bytes != NULL) {
        (void)buf_ref(op->result.body.bytes);
    }
}

/* Whether who begins at `begun_ms` may have what is answered to a question of `issued_ms`: one that
 * has been under way for long may have been answered before the last change. */
static bool may_share(uint64_t issued_ms, uint64_t begun_ms)
{
    return begun_ms < issued_ms + VALUE_LINK_GOOD_MS;
}

/* All of `ops` get what `result` says. */
static void finish_all(struct values *values, struct list *ops, const struct value_result *result)
{
    struct list *link;
    while ((link = list_pop(ops)) != NULL) {
        struct value_op *op = container_of(link, struct value_op, link);
        share(op, result);
        finish(values, op);
    }
}

static void read_answered(struct value_flight *flight, struct value_op *op)
{
    struct values *values = flight->values;
    flight->reader = flight->reader == op ? NULL : flight->reader;
    if (op->result.outcome == VALUE_HIT) {
        keep(values, flight, op, op->result.body);
    } else if (op->result.outcome == VALUE_MISS) { /* it may have gone without a word: FLUSHALL */
        value_memory_remove(values->memory, value_op_name(op));
    } else if (op->result.outcome == VALUE_UNKNOWN || op->result.outcome == VALUE_UNAVAILABLE) {
        op->result.outcome = VALUE_MISS; /* a cache that is away is slow, not an error */
    }
    finish_all(values, &op->followers, &op->result);
    finish(values, op);
}

static void begin_read(struct values *values, struct value_op *op)
{
    struct value_flight *flight = take_flight(values, value_op_name(op));
    if (flight == NULL) {
        op->result.outcome = VALUE_NO_MEMORY;
        finish(values, op);
    } else if (flight->reader != NULL && may_share(flight->reader->issued_ms, now_of(values))) {
        list_append(&flight->reader->followers, &op->link);
    } else {
        flight->reader = op;
        ask(flight, op);
    }
}

/* Writes. */

static void write_answered(struct value_flight *flight, struct value_op *op)
{
    struct values *values = flight->values;
    struct value_body none = {.bytes = NULL};
    flight->reader = NULL; /* who reads from now on sees it: no question of before is theirs */
    if (op->result.outcome == VALUE_DONE && op->verb != VALUE_DELETE) {
        keep(values, flight, op, op->verb == VALUE_PUT ? op->body : op->result.body);
    } else if (op->verb == VALUE_DELETE || op->result.outcome == VALUE_UNKNOWN) {
        keep(values, flight, op, none);
    }
    finish(values, op);
}

static void begin_write(struct values *values, struct value_op *op)
{
    struct value_flight *flight = take_flight(values, value_op_name(op));
    if (flight == NULL) {
        op->result.outcome = VALUE_NO_MEMORY;
        finish(values, op);
    } else {
        ask(flight, op);
    }
}

/* Leases. */

static void ask_lease(struct value_flight *flight, struct value_op *op);

/* Who waits is looked after again at `due_ms`, or earlier. */
static void arm(struct value_flight *flight, uint64_t due_ms)
{
    struct values *values = flight->values;
    uint32_t epoch;
    uint64_t deaf_ms = now_of(values) + DEAF_MS;
    bool deaf = values->link != NULL && !value_link_hears(values->link, &epoch);
    uint64_t due = deaf && deaf_ms < due_ms ? deaf_ms : due_ms;
    if (!timer_armed(&flight->timer) || due < flight->due_ms) {
        flight->due_ms = due;
        timer_set(sched_timers(values->shard->sched), &flight->timer, due);
    }
}

/* Wait for who fills, or be told to compute it. */
static void wait_for_fill(struct value_flight *flight, struct value_op *op)
{
    struct values *values = flight->values;
    if (values->closing || op->until_ms <= now_of(values) ||
        values->stats.waiting >= values->shard->config->values.waiting) {
        op->result = (struct value_result){.outcome = VALUE_MISS};
        finish(values, op);
        return;
    }
    values->stats.waiting++;
    list_append(&flight->waiters, &op->link);
    arm(flight, op->until_ms < flight->held_ms ? op->until_ms : flight->held_ms);
}

static struct value_op *take_waiter(struct value_flight *flight)
{
    struct list *link = list_pop(&flight->waiters);
    flight->values->stats.waiting -= link != NULL;
    return link != NULL ? container_of(link, struct value_op, link) : NULL;
}

/* The next of those who wait asks whether it is filled, or is who fills. */
static void ask_again(struct value_flight *flight)
{
    struct value_op *op = flight->asking ? NULL : take_waiter(flight);
    if (op != NULL) {
        ask_lease(flight, op);
    }
}

/* All who wait get what `result` says, but for those who came too late for it (may_share). */
static void finish_waiters(
    struct value_flight *flight, const struct value_result *result, uint64_t issued_ms)
{
    list_for_each_safe (link, following, &flight->waiters) {
        struct value_op *op = container_of(link, struct value_op, link);
        if (may_share(issued_ms, op->until_ms - op->wait_ms)) {
            list_remove(link);
            flight->values->stats.waiting--;
            share(op, result);
            finish(flight->values, op);
        }
    }
}

static void lease_answered(struct value_flight *flight, struct value_op *op)
{
    struct values *values = flight->values;
    bool again = flight->again;
    flight->asking = false;
    flight->again = false;
    switch ((int)op->result.outcome) {
    case VALUE_HIT:
        keep(values, flight, op, op->result.body);
        again = true; /* of those who came too late for it */
        finish_waiters(flight, &op->result, op->issued_ms);
        finish(values, op);
        break;
    case VALUE_FILL:
        flight->held_ms = now_of(values) + values->shard->config->values.fill_ms;
        finish(values, op);
        break;
    case VALUE_MISS:
        flight->held_ms = now_of(values) + op->result.held_ms;
        wait_for_fill(flight, op);
        break;
    default: /* what it was, or Redis does not answer: nobody waits */
        op->result.outcome = op->result.outcome == VALUE_STALE ? VALUE_STALE : VALUE_MISS;
        again = op->result.outcome == VALUE_STALE;
        finish_waiters(flight, &op->result, again ? op->issued_ms : now_of(values));
        finish(values, op);
        break;
    }
    if (again) {
        ask_again(flight);
    } else if (!list_empty(&flight->waiters)) {
        arm(flight, flight->held_ms);
    }
}

static void ask_lease(struct value_flight *flight, struct value_op *op)
{
    struct values *values = flight->values;
    flight->asking = true;
    if (values->local == NULL) {
        ask(flight, op);
        return;
    }
    flight->busy++;
    op->issued_ms = now_of(values);
    value_local_ask(values->local, op);
    flight->busy--;
    lease_answered(flight, op);
}

static void begin_lease(struct values *values, struct value_op *op)
{
    struct value_flight *flight = take_flight(values, value_op_name(op));
    op->until_ms = now_of(values) + op->wait_ms;
    if (flight == NULL) {
        op->result.outcome = VALUE_NO_MEMORY;
        finish(values, op);
        return;
    }
    bool held = !list_empty(&flight->waiters) && flight->held_ms > now_of(values);
    if (flight->asking || held) {
        wait_for_fill(flight, op);
    } else {
        ask_lease(flight, op);
    }
    release_flight(flight);
}

/* Waiting. */

/* End the wait of those who have waited long enough; when the next of the others is due. */
static uint64_t end_waits(struct value_flight *flight)
{
    struct values *values = flight->values;
    uint64_t next = UINT64_MAX;
    list_for_each_safe (link, following, &flight->waiters) {
        struct value_op *op = container_of(link, struct value_op, link);
        if (op->until_ms > now_of(values)) {
            next = op->until_ms < next ? op->until_ms : next;
            continue;
        }
        list_remove(link);
        values->stats.waiting--;
        op->result = (struct value_result){.outcome = VALUE_MISS};
        finish(values, op);
    }
    return next;
}

static void on_timer(struct timer *timer)
{
    struct value_flight *flight = container_of(timer, struct value_flight, timer);
    uint64_t next = end_waits(flight);
    uint32_t epoch;
    bool deaf = flight->values->link != NULL && !value_link_hears(flight->values->link, &epoch);
    if (!list_empty(&flight->waiters)) {
        if (deaf || flight->held_ms <= now_of(flight->values)) {
            ask_again(flight);
        }
        arm(flight, next < flight->held_ms || flight->asking ? next : flight->held_ms);
    }
    release_flight(flight);
}

/* A key was changed: who waits for it asks again. */
static void wake(struct value_flight *flight)
{
    if (flight->asking) {
        flight->again = true;
    } else {
        ask_again(flight);
    }
}

void values_wake_all(struct values *values)
{
    size_t cursor = 0;
    for (struct value_flight *flight; (flight = map_next(&values->flights, &cursor)) != NULL;) {
        wake(flight);
        release_flight(flight);
    }
}

/* What others change. */

static void on_changed(void *context, struct bytes name, uint64_t version)
{
    struct values *values = context;
    const struct value_item *item = value_memory_get(values->memory, name);
    struct value_flight *flight = map_get(&values->flights, name);
    if (item != NULL && item->version != version) {
        value_memory_remove(values->memory, name);
    }
    if (flight != NULL) {
        flight->changed = flight->busy > 0;
        flight->version = version;
        wake(flight);
        release_flight(flight);
    }
}

static void on_lost(void *context)
{
    value_memory_clear(((struct values *)context)->memory);
}

/* What is asked. */

static void on_answered(void *context, struct value_op *op)
{
    struct values *values = context;
    struct value_flight *flight = map_get(&values->flights, value_op_name(op));
    CHECK(flight != NULL && flight->busy > 0);
    values->stats.failed +=
        op->result.outcome == VALUE_UNKNOWN || op->result.outcome == VALUE_UNAVAILABLE;
    if (op->verb == VALUE_GET) {
        read_answered(flight, op);
    } else if (op->verb == VALUE_LEASE) {
        lease_answered(flight, op);
    } else {
        write_answered(flight, op);
    }
    flight->busy--;
    release_flight(flight);
}

/* Without Redis: the answer is there at once. */
static void begin_local(struct values *values, struct value_op *op)
{
    struct value_flight *flight = map_get(&values->flights, value_op_name(op));
    bool writes = op->verb != VALUE_GET;
    value_local_ask(values->local, op);
    finish(values, op);
    if (flight != NULL && writes) {
        wake(flight);
        release_flight(flight);
    }
}

bool values_are_away(const struct values *values)
{
    return values->local == NULL && (values->redis == NULL || !value_redis_is_up(values->redis));
}

/* Redis is away: nothing is asked. */
static void refuse(struct values *values, struct value_op *op)
{
    bool reads = op->verb == VALUE_GET || op->verb == VALUE_LEASE;
    op->result.outcome = reads ? VALUE_MISS : VALUE_UNAVAILABLE;
    values->stats.failed++;
    finish(values, op);
}

void values_begin(struct values *values, struct value_op *op)
{
    bool reads = op->verb == VALUE_GET || op->verb == VALUE_LEASE;
    if (reads && answer_here(values, op)) {
        return;
    }
    if (values->closing || values_are_away(values)) {
        refuse(values, op);
    } else if (op->verb == VALUE_LEASE) {
        begin_lease(values, op);
    } else if (values->local != NULL) {
        begin_local(values, op);
    } else if (op->verb == VALUE_GET) {
        begin_read(values, op);
    } else {
        begin_write(values, op);
    }
}

/* Life. */

static const struct value_link_events link_events = {.changed = on_changed, .lost = on_lost};

static void open_links(struct values *values)
{
    values->good_ms = now_of(values);
    values->redis = value_redis_create(values->shard, &values->names, on_answered, values);
    values->link =
        value_link_create(values->shard, &values->names, values->redis, &link_events, values);
}

void values_reload(struct values *values)
{
    const struct value_settings *settings = &values->shard->config->values;
    value_memory_set_max(values->memory, settings->bytes);
    if (values->local == NULL && values->redis == NULL && settings->wanted && !values->closing) {
        open_links(values);
    }
}

struct values *values_create(struct shard *shard)
{
    struct values *values = mem_alloc(sizeof(*values));
    values->shard = shard;
    values->names = (struct value_names){.prefix = shard->config->values.prefix,
        .slots = shard->config->names.slots,
        .db = shard->config->names.db};
    values->memory = value_memory_create(shard->bus != NULL);
    map_init(&values->flights, flight_name);
    list_init(&values->drops);
    if (shard->bus == NULL) {
        values->local = value_local_create(shard, values->memory);
    }
    values_reload(values);
    return values;
}

static void end_waiting(struct values *values)
{
    const struct value_result nothing = {.outcome = VALUE_MISS};
    size_t cursor = 0;
    for (struct value_flight *flight; (flight = map_next(&values->flights, &cursor)) != NULL;) {
        finish_waiters(flight, &nothing, now_of(values));
        release_flight(flight);
    }
}

void values_close(struct values *values)
{
    if (values->closing) {
        return;
    }
    values->closing = true;
    value_redis_destroy(values->redis); /* what it was asked is answered by that */
    end_waiting(values);
    value_link_destroy(values->link);
    values->redis = NULL;
    values->link = NULL;
    value_memory_clear(values->memory);
}

void values_destroy(struct values *values)
{
    if (values == NULL) {
        return;
    }
    CHECK(values->closing && map_count(&values->flights) == 0);
    value_local_destroy(values->local);
    value_memory_destroy(values->memory);
    map_finish(&values->flights);
    mem_free(values);
}

const struct value_names *values_names(const struct values *values)
{
    return &values->names;
}

void values_count_call(struct values *values, bool begun)
{
    values->stats.calls = begun ? values->stats.calls + 1 : values->stats.calls - 1;
}

void values_tidy(struct values *values)
{
    value_memory_tidy(values->memory, now_of(values));
    if (values->redis != NULL && value_redis_is_up(values->redis)) {
        value_redis_read_clock(values->redis);
    }
}

/* Whether operators are to know: changes are not heard, beyond the moment after a start or an
 * outage of Redis, or Redis refuses what it is asked. */
static bool is_deaf(struct values *values)
{
    if (values->link == NULL || value_link_is_good(values->link)) {
        values->good_ms = now_of(values);
    }
    return now_of(values) > values->good_ms + PATIENCE_MS ||
           (values->redis != NULL && value_redis_refuses(values->redis));
}

const struct values_stats *values_get_stats(struct values *values)
{
    const struct value_memory_stats *memory = value_memory_stats(values->memory);
    values->stats.evicted = memory->evicted;
    values->stats.items = memory->items;
    values->stats.bytes = memory->bytes + map_bytes(&values->flights);
    values->stats.deaf = is_deaf(values);
    return &values->stats;
}
