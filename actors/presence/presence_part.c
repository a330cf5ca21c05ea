/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits to be told lies in two lists, those who have gone before those who are there: who goes
 * and comes back between is told in this order.
 *
 * Order of this file: what changes, telling, sweeping, answers, life.
 */
#include "actors/presence/presence_part.h"

#include <inttypes.h>
#include <stdio.h>

#include "actors/deliver/owner.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/slot.h"

enum {
    CHUNK = 500, /* users told with one command */
    HEAD = 10, /* arguments before them */
    NUMBER_MAX = 24,
    SWEEP_COUNT = 200, /* users looked at with one command */
};

/* A user that Redis was told of, and is here no more. */
struct presence_gone {
    struct list link; /* presence_part.gone */
    size_t len;
    char key[];
};

uint32_t presence_part_count(const struct shard *shard)
{
    uint32_t slots = shard->config->names.slots;
    return slots < PRESENCE_PARTS_MAX ? slots : PRESENCE_PARTS_MAX;
}

unsigned presence_part_of(const struct shard *shard, struct bytes key)
{
    const char *slash = key.len > 0 ? memchr(key.at, '/', key.len) : NULL;
    size_t tenant = slash != NULL ? (size_t)(slash - key.at) : 0;
    struct bytes user = slash != NULL ? bytes_skip(key, tenant + 1) : key;
    return slot_part(slot_of(bytes_of(key.at, tenant), user), presence_part_count(shard));
}

static uint64_t now_of(const struct presence_part *part)
{
    return sched_now(part->parts->shard->sched);
}

static void arm(struct presence_part *part, uint64_t in_ms)
{
    timer_set(sched_timers(part->parts->shard->sched), &part->timer, now_of(part) + in_ms);
}

static bool has_news(const struct presence_part *part)
{
    return !list_empty(&part->changed) || !list_empty(&part->gone);
}

/* What changes. */

/* Something is to be told soon, with what else changes until then. */
static void hurry(struct presence_part *part, bool had_news)
{
    if (!had_news && !part->asking && !part->parted) {
        arm(part, PRESENCE_GATHER_MS);
    }
}

void presence_part_changed(struct presence_part *part, struct socket_owner *owner)
{
    bool had_news = has_news(part);
    if (!owner->presence_changed) {
        owner->presence_changed = true;
        list_remove(&owner->presence_link);
        list_append(&part->changed, &owner->presence_link);
        hurry(part, had_news);
    }
}

static void forget_gone(struct presence_part *part)
{
    for (struct list *link; (link = list_pop(&part->gone)) != NULL;) {
        mem_free(container_of(link, struct presence_gone, link));
    }
}

void presence_part_left(struct presence_part *part, struct socket_owner *owner)
{
    bool had_news = has_news(part);
    struct bytes key = owner_key(owner);
    list_remove(&owner->presence_link);
    if (owner->presence_told == 0) {
        return;
    }
    struct presence_gone *gone = mem_try_calloc(1, sizeof(*gone) + key.len);
    if (gone == NULL) {
        part->doubted = true; /* told under the next term it is not */
        return;
    }
    gone->len = key.len;
    memcpy(gone->key, key.at, key.len);
    list_append(&part->gone, &gone->link);
    hurry(part, had_news);
}

/* Telling. */

static void write_place(const struct presence_part *part, char *at)
{
    snprintf(at, PRESENCE_PLACE_LEN + 1, "%012" PRIx64 "%04x", part->parts->secret,
        (unsigned)(part->term & 0xffff));
}

/* Another place: of all who are here Redis is told again. */
static void begin_term(struct presence_part *part)
{
    part->term++;
    part->told_number = 0;
    part->doubted = false;
    part->whole = false;
    forget_gone(part);
    list_for_each (link, &part->changed) {
        container_of(link, struct socket_owner, presence_link)->presence_told = 0;
    }
    list_for_each_safe (link, following, &part->known) {
        struct socket_owner *owner = container_of(link, struct socket_owner, presence_link);
        list_remove(link);
        owner->presence_told = 0;
        owner->presence_changed = owner->socket_count > 0;
        if (owner->presence_changed) {
            list_append(&part->changed, link);
        }
    }
}

/* The arguments of one command; the numbers of users stand in `numbers`. */
struct telling {
    struct bytes argv[HEAD + 2 * CHUNK];
    size_t argc;
    char numbers[CHUNK][NUMBER_MAX];
    size_t users;
};

static void add_user(
    struct telling *telling, struct bytes key, unsigned connections, unsigned shown)
{
    static const char *const marks[] = {
        [OWNER_UNKNOWN] = "u", [OWNER_SHOWN] = "", [OWNER_HIDDEN] = "h"};
    char *number = telling->numbers[telling->users++];
    snprintf(number, NUMBER_MAX, "%u%s", connections, connections > 0 ? marks[shown] : "");
    telling->argv[telling->argc++] = key;
    telling->argv[telling->argc++] = bytes_str(number);
}

/* Add those who have changed, as many as there is room for; their keys live on in their owners. */
static void add_changed(struct presence_part *part, struct telling *telling)
{
    struct list *link;
    while (telling->users < CHUNK && (link = list_pop(&part->changed)) != NULL) {
        struct socket_owner *owner = container_of(link, struct socket_owner, presence_link);
        owner->presence_changed = false;
        if (owner->socket_count != owner->presence_told || owner->shown != owner->presence_said) {
            add_user(telling, owner_key(owner), owner->socket_count, owner->shown);
        }
        owner->presence_told = owner->socket_count;
        owner->presence_said = owner->shown;
        if (owner->presence_told > 0) {
            list_append(&part->known, link);
        }
    }
}

/* The same of those who have gone, which are moved to `taken`: they are freed when it was sent. */
static void add_gone(struct presence_part *part, struct telling *telling, struct list *taken)
{
    struct list *link;
    while (telling->users < CHUNK && (link = list_pop(&part->gone)) != NULL) {
        const struct presence_gone *gone = container_of(link, struct presence_gone, link);
        add_user(telling, bytes_of(gone->key, gone->len), 0, OWNER_UNKNOWN);
        list_append(taken, link);
    }
}

static void on_told(void *context, int status, const struct bus_reply *reply);

/* Fill in what stands before the users, and send; false: no memory. */
static bool send(struct presence_part *part, struct telling *telling, uint64_t lifetime_ms)
{
    struct presence_parts *parts = part->parts;
    const struct actor_config *config = parts->shard->config;
    char place[PRESENCE_PLACE_LEN + 1];
    char numbers[6][NUMBER_MAX];
    struct builder channel = {0};
    write_place(part, place);
    snprintf(numbers[0], NUMBER_MAX, "%u", bus_origin_version(parts->shard));
    snprintf(numbers[1], NUMBER_MAX, "%" PRIu64, part->told_number);
    snprintf(numbers[2], NUMBER_MAX, "%" PRIu64, lifetime_ms);
    snprintf(numbers[3], NUMBER_MAX, "%d", (int)PRESENCE_KEEP_MS);
    snprintf(numbers[4], NUMBER_MAX, "%" PRIu64, part->connections);
    snprintf(numbers[5], NUMBER_MAX, "%d", (int)PRESENCE_SUMS_MS);
    bus_name_presence_channel(&config->names, part->number, bytes_str(config->epoch), &channel);
    const struct bytes head[HEAD] = {bytes_str(place), bytes_str(numbers[0]),
        bytes_str(config->node), bytes_str(numbers[1]), bytes_str(numbers[2]),
        bytes_str(numbers[3]), bytes_str(numbers[4]), part->whole ? BYTES("1") : BYTES("0"),
        builder_bytes(&channel), bytes_str(numbers[5])};
    memcpy(telling->argv, head, sizeof(head));
    const struct presence_command command = {.script = PRESENCE_SCRIPT_TELL,
        .part = part->number,
        .argv = telling->argv,
        .argc = telling->argc};
    bool sent =
        !builder_failed(&channel) && presence_redis_run(parts->redis, &command, on_told, part);
    builder_reset(&channel);
    return sent;
}

/* It may be told another time; of those who are not in a list any more nothing is known then. */
static void put_off(struct presence_part *part)
{
    part->doubted = true;
    part->parts->stats->failed++;
    arm(part, PRESENCE_GATHER_MS);
}

/* Tell what there is room for, and renew the place for `lifetime_ms`; false: no memory. */
static bool tell(struct presence_part *part, uint64_t lifetime_ms)
{
    /* Not zeroed: it is large, and what is used of it is filled in. */
    struct telling *telling = mem_try_alloc(sizeof(*telling));
    struct list gone;
    if (telling == NULL) {
        return false;
    }
    if (part->doubted) {
        part->parts->stats->rewrites += part->term > 0;
        begin_term(part);
    }
    list_init(&gone);
    telling->argc = HEAD;
    telling->users = 0;
    add_gone(part, telling, &gone);
    add_changed(part, telling);
    part->whole = part->whole || !has_news(part);
    part->full = telling->users == CHUNK;
    part->asking = send(part, telling, lifetime_ms);
    part->parts->stats->told += part->asking ? telling->users : 0;
    for (struct list *link; (link = list_pop(&gone)) != NULL;) {
        mem_free(container_of(link, struct presence_gone, link));
    }
    mem_free(telling);
    return part->asking;
}

static void on_timer(struct timer *timer)
{
    struct presence_part *part = container_of(timer, struct presence_part, timer);
    if (part->asking || part->parted) {
        return;
    }
    if (!presence_redis_is_up(part->parts->redis)) {
        arm(part, PRESENCE_RENEW_MS);
    } else if (!tell(part, PRESENCE_LIFETIME_MS)) {
        put_off(part);
    }
}

/* Sweeping: whom Redis has named ended places takes out what they have left. */

static void on_swept(void *context, int status, const struct bus_reply *reply);

static void sweep_some(struct presence_part *part, struct bytes cursor)
{
    char count[NUMBER_MAX];
    snprintf(count, sizeof(count), "%d", (int)SWEEP_COUNT);
    const struct bytes argv[] = {cursor, bytes_str(count), builder_bytes(&part->sweep)};
    const struct presence_command command = {.script = PRESENCE_SCRIPT_SWEEP,
        .part = part->number,
        .argv = argv,
        .argc = ARRAY_LEN(argv)};
    part->sweeping = presence_redis_run(part->parts->redis, &command, on_swept, part);
    part->parts->stats->failed += !part->sweeping;
}

static void on_swept(void *context, int status, const struct bus_reply *reply)
{
    struct presence_part *part = context;
    part->sweeping = false;
    if (status == STATUS_CANCELLED) {
        return;
    }
    if (status != 0 || reply->type != BUS_STRING || reply->text.len == 0) {
        if (status == 0) {
            (void)presence_redis_forgot(part->parts->redis, reply);
        }
        part->parts->stats->failed++;
        return; /* they are named again, some time later */
    }
    if (!bytes_eq(reply->text, BYTES("0"))) {
        sweep_some(part, reply->text);
        return;
    }
    part->parts->stats->swept += builder_bytes(&part->sweep).len / (PRESENCE_PLACE_LEN + 1);
}

static void sweep(struct presence_part *part)
{
    if (!part->sweeping && builder_bytes(&part->sweep).len > 0 && !part->parted) {
        sweep_some(part, BYTES("0"));
    }
}

/* Answers. */

static void log_refused(const struct presence_part *part, const struct bus_reply *reply)
{
    static _Thread_local struct log_limit limit;
    unsigned suppressed;
    if (log_allow(&limit, &suppressed)) {
        log_warn("PRESENCE-REFUSED", "Redis refused what it was told of who is online",
            "part=%u answer=%s suppressed=%u", (unsigned)part->number,
            log_quote(reply->type == BUS_ERROR ? reply->text : BYTES("not understood")),
            suppressed);
    }
}

/* The place has ended, or Redis is not the one it was. */
static void log_lost(struct presence_part *part)
{
    static _Thread_local struct log_limit limit;
    unsigned suppressed;
    if (log_allow(&limit, &suppressed)) {
        log_info("PRESENCE-REWRITE",
            "Redis has not what it was told of who is online, telling it again",
            "part=%u suppressed=%u", (unsigned)part->number, suppressed);
    }
}

/* Places that have ended are not cleared away. */
static void log_crowded(const struct presence_part *part)
{
    static _Thread_local struct log_limit limit;
    unsigned suppressed;
    if (log_allow(&limit, &suppressed)) {
        log_warn("PRESENCE-CROWDED",
            "Redis has too many places of this shard that have ended, waiting until some are gone",
            "part=%u most=%d suppressed=%u", (unsigned)part->number, (int)PRESENCE_SHARD_PLACES,
            suppressed);
    }
}

/* Read the answer into the view: 0; STATUS_NOT_FOUND, or another: all is to be told again. */
static int take_answer(struct presence_part *part, const struct bus_reply *reply)
{
    struct builder ended = {0};
    int status = presence_view_read(part->parts->shard, reply, &part->view, &ended);
    if (status == STATUS_NOT_FOUND) {
        log_lost(part);
    } else if (status == STATUS_TOO_LARGE) {
        part->parts->stats->crowded++;
        log_crowded(part);
    } else if (status != 0 && !presence_redis_forgot(part->parts->redis, reply)) {
        log_refused(part, reply);
    }
    if (status == 0 && !part->sweeping && !builder_failed(&ended)) {
        builder_reset(&part->sweep);
        part->sweep = ended;
    } else {
        builder_reset(&ended);
    }
    return status;
}

static void part_from(struct presence_part *part)
{
    struct presence_parts *parts = part->parts;
    struct timer_wheel *timers = sched_timers(parts->shard->sched);
    part->parted = true;
    timer_cancel(timers, &part->timer);
    if (--parts->parting == 0) {
        timer_set(timers, &parts->end, now_of(part));
    }
}

static void on_good(struct presence_part *part)
{
    struct presence_parts *parts = part->parts;
    part->told_number++;
    part->viewed_ms = now_of(part);
    sweep(part);
    parts->viewed(parts, part);
    arm(part, part->full ? 0 : has_news(part) ? PRESENCE_GATHER_MS : PRESENCE_RENEW_MS);
}

static void on_told(void *context, int status, const struct bus_reply *reply)
{
    struct presence_part *part = context;
    part->asking = false;
    if (status == STATUS_CANCELLED) {
        return;
    }
    status = status == 0 ? take_answer(part, reply) : status;
    if (part->leaving) {
        part_from(part);
        return;
    }
    if (status == 0) {
        on_good(part);
    } else {
        part->doubted = true;
        part->parts->stats->failed++;
        arm(part, status == STATUS_NOT_FOUND ? PRESENCE_GATHER_MS : PRESENCE_RENEW_MS);
    }
    if (part->parts->closing) {
        presence_part_leave(part);
    }
}

/* Life. */

void presence_part_start(struct presence_part *part, struct presence_parts *parts, uint32_t number)
{
    *part = (struct presence_part){.parts = parts, .number = number, .doubted = true};
    list_init(&part->known);
    list_init(&part->changed);
    list_init(&part->gone);
    timer_init(&part->timer, on_timer);
    arm(part, (uint64_t)number * PRESENCE_RENEW_MS / parts->count);
}

static void empty(struct list *owners)
{
    for (struct list *link; (link = list_pop(owners)) != NULL;) {
        struct socket_owner *owner = container_of(link, struct socket_owner, presence_link);
        owner->presence_changed = false;
        owner->presence_told = 0;
    }
}

void presence_part_finish(struct presence_part *part)
{
    timer_cancel(sched_timers(part->parts->shard->sched), &part->timer);
    empty(&part->known);
    empty(&part->changed);
    forget_gone(part);
    builder_reset(&part->sweep);
}

void presence_part_up(struct presence_part *part)
{
    if (!part->asking && !part->parted) {
        arm(part, (uint64_t)part->number * PRESENCE_GATHER_MS / part->parts->count);
    }
}

void presence_part_leave(struct presence_part *part)
{
    if (part->parted || part->asking) {
        return; /* or when it is answered */
    }
    bool there = part->told_number > 0 && !part->doubted;
    part->leaving = there && presence_redis_is_up(part->parts->redis) && tell(part, 0);
    if (!part->leaving) {
        part_from(part);
    }
}

bool presence_part_is_fresh(const struct presence_part *part)
{
    return part->viewed_ms != 0 && now_of(part) < part->viewed_ms + PRESENCE_STALE_MS;
}
