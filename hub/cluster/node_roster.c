/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The script by which nodes enter a sorted set and learn of each other, and what the operator is
 * told of strangers.
 *
 * Order of this file: entries, entering, keeping, leaving.
 */
#include "hub/cluster/node_roster.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "actors/bus.h"
#include "actors/core/timer.h"
#include "actors/shard.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "codec/bus_version.h"
#include "hub/cluster/bus_neighbours.h"
#include "hub/redis/redis_sync.h"

enum {
    RENEWALS = 5,
    RETRY_MS = 200,
    SLACK_MS = 1000,
    LOG_EVERY_MS = 60000,
    LIFETIME_TEXT = 21,
    ENTRY_MAX = 256
};

/* Enter ARGV[1] for ARGV[2] ms, forget who is not alive, and tell all the others. */
#define ENTER_SCRIPT                                                                               \
    "local t=redis.call('time') local now=t[1]*1000+math.floor(t[2]/1000) "                        \
    "redis.call('zremrangebyscore',KEYS[1],'-inf','('..now) "                                      \
    "redis.call('zrem',KEYS[1],ARGV[1]) local all=redis.call('zrange',KEYS[1],0,-1) "              \
    "redis.call('zadd',KEYS[1],now+ARGV[2],ARGV[1]) return all"

/* A member, read: slices of it. */
struct roster_entry {
    struct bytes tag;
    uint64_t version;
    struct bytes store;
    struct bytes epoch;
};

/* What a node found out about the others. */
struct census {
    unsigned others;
    unsigned lowest; /* version, of this node too */
    bool newer; /* somebody has a later version */
    bool strange_store;
    bool strange_version;
    char stranger[ENTRY_MAX]; /* the first one */
};

struct node_roster {
    struct shard *shard;
    const struct node_roster_options *options;
    struct bus_link *link;
    struct timer timer;
    uint64_t logged_ms; /* when strangers were last told of */
    bool asking;
    bool closing;
    char key[BUS_NAME_MAX];
    char member[ENTRY_MAX];
    char lifetime[LIFETIME_TEXT];
};

/* Entries. */

static bool take_word(struct bytes *text, struct bytes *ret_word)
{
    const char *blank = text->len > 0 ? memchr(text->at, ' ', text->len) : NULL;
    if (blank == NULL) {
        return false;
    }
    *ret_word = bytes_of(text->at, (size_t)(blank - text->at));
    *text = bytes_skip(*text, ret_word->len + 1);
    return true;
}

static bool read_entry(struct bytes member, struct roster_entry *ret_entry)
{
    struct roster_entry entry;
    struct bytes version;
    if (member.len >= ENTRY_MAX || !take_word(&member, &entry.tag) ||
        !take_word(&member, &version) || !take_word(&member, &entry.store) || member.len == 0 ||
        bytes_to_u64(version, UINT32_MAX, &entry.version) != 0) {
        return false;
    }
    entry.epoch = member;
    *ret_entry = entry;
    return true;
}

static void write_member(const struct node_roster_options *options, char ret_member[ENTRY_MAX])
{
    snprintf(ret_member, ENTRY_MAX, "%04x %u %s %s", (unsigned)options->tag, bus_version,
        options->store, options->epoch);
}

static void write_lifetime(const struct node_roster_options *options, char ret_text[LIFETIME_TEXT])
{
    snprintf(ret_text, LIFETIME_TEXT, "%llu", (unsigned long long)options->lifetime_ms);
}

static void count_one(
    const struct node_roster_options *options, struct bytes member, struct census *census)
{
    struct roster_entry entry;
    if (!read_entry(member, &entry)) {
        return;
    }
    bool strange_store = !bytes_eq_str(entry.store, options->store);
    bool strange_version = !bus_version_is_near((unsigned)entry.version);
    if ((strange_store || strange_version) && census->stranger[0] == '\0') {
        memcpy(census->stranger, member.at, member.len); /* zeroed behind it */
    }
    census->others++;
    census->strange_store = census->strange_store || strange_store;
    census->strange_version = census->strange_version || strange_version;
    if (!strange_store && entry.version < census->lowest) {
        census->lowest = (unsigned)entry.version;
    }
    census->newer = census->newer || entry.version > bus_version;
}

/* Read what the script answers; false when it is no answer. */
static bool count_all(
    const struct node_roster_options *options, const struct bus_reply *reply, struct census *census)
{
    *census = (struct census){.lowest = bus_version};
    for (size_t i = 0; reply->type == BUS_ARRAY && i < reply->count; i++) {
        if (reply->items[i]->type == BUS_STRING) {
            count_one(options, reply->items[i]->text, census);
        }
    }
    return reply->type == BUS_ARRAY;
}

/* Entering. */

struct entering {
    const struct node_roster_options *options;
    struct census census;
    bool answered;
};

static void on_entered(void *context, int status, const struct bus_reply *reply)
{
    struct entering *entering = context;
    entering->answered = status == 0 && count_all(entering->options, reply, &entering->census);
}

static void on_withdrawn(void *context, int status, const struct bus_reply *reply)
{
    (void)context;
    (void)status;
    (void)reply;
}

static void explain(
    const struct node_roster_options *options, const struct census *census, struct builder *error)
{
    if (census->strange_store) {
        builder_printf(error,
            "nodes with another store live on this Redis under bus.prefix \"%s\" (%s; ours: %s): "
            "give each environment a bus.prefix of its own; the store of a copy of another "
            "environment first gets an epoch of its own, by peal migrate --new-epoch",
            options->names->prefix, census->stranger, options->store);
    } else {
        builder_printf(error,
            "nodes of a version that does not work with this one are alive (%s; ours: %u): "
            "upgrade them one version at a time, or stop them first",
            census->stranger, bus_version);
    }
}

/* Ask once; a node that may not start takes itself out again. */
static int enter_once(
    const struct node_roster_options *options, struct redis_sync *sync, struct census *ret_census)
{
    char key[BUS_NAME_MAX];
    char member[ENTRY_MAX];
    char lifetime[LIFETIME_TEXT];
    struct entering entering = {.options = options};
    bus_name_roster(options->names, key);
    write_member(options, member);
    write_lifetime(options, lifetime);
    const struct bytes enter[] = {BYTES("EVAL"), BYTES(ENTER_SCRIPT), BYTES("1"), bytes_str(key),
        bytes_str(member), bytes_str(lifetime)};
    redis_sync_send(sync, enter, ARRAY_LEN(enter), on_entered, &entering);
    redis_sync_wait(sync, 0);
    *ret_census = entering.census;
    if (!entering.answered) {
        return STATUS_UNAVAILABLE;
    }
    if (!entering.census.strange_store && !entering.census.strange_version) {
        atomic_store_explicit(options->lowest, entering.census.lowest, memory_order_relaxed);
        return 0;
    }
    const struct bytes leave[] = {BYTES("ZREM"), bytes_str(key), bytes_str(member)};
    redis_sync_send(sync, leave, ARRAY_LEN(leave), on_withdrawn, NULL);
    redis_sync_wait(sync, 0);
    return STATUS_EXISTS;
}

static void pause_for(uint64_t ms)
{
    const struct timespec pause = {
        .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000L};
    nanosleep(&pause, NULL);
}

int node_roster_enter(
    const struct node_roster_options *options, struct builder *error, unsigned *ret_alive)
{
    struct redis_sync *sync;
    struct census census;
    int status = redis_sync_open(options->redis, error, &sync);
    if (status != 0) {
        return status;
    }
    uint64_t until = clock_mono_ms() + options->lifetime_ms + SLACK_MS;
    status = enter_once(options, sync, &census);
    while (status == STATUS_EXISTS && clock_mono_ms() < until) {
        pause_for(RETRY_MS);
        status = enter_once(options, sync, &census);
    }
    if (status == 0 && census.newer) {
        /* Who is alone writes its own version: it must have seen us before we listen. */
        pause_for(options->lifetime_ms / RENEWALS + RETRY_MS);
    }
    redis_sync_close(sync);
    if (status == STATUS_EXISTS) {
        explain(options, &census, error);
    } else if (status != 0) {
        builder_str(error, "Redis does not tell which nodes are alive");
    } else {
        *ret_alive = census.others + 1;
    }
    return status;
}

/* Keeping. */

/* Strangers that came while this node could not say that it is here: after Redis lost its data. */
static void tell_strangers(struct node_roster *roster, const struct census *census)
{
    uint64_t now = sched_now(roster->shard->sched);
    bool strange = census->strange_store || census->strange_version;
    if (!strange || (roster->logged_ms != 0 && now - roster->logged_ms < LOG_EVERY_MS)) {
        return;
    }
    roster->logged_ms = now;
    log_error("NODE-STRANGE",
        "a node that does not work with this one lives on the same Redis under the same prefix",
        "node=%s why=%s", log_quote(bytes_str(census->stranger)),
        census->strange_store ? "store" : "version");
}

static void on_kept(void *context, int status, const struct bus_reply *reply)
{
    struct node_roster *roster = context;
    struct census census;
    roster->asking = false;
    if (roster->closing || status != 0 || !count_all(roster->options, reply, &census)) {
        return;
    }
    atomic_store_explicit(roster->options->lowest, census.lowest, memory_order_relaxed);
    atomic_store_explicit(roster->options->strangers, census.strange_store, memory_order_relaxed);
    tell_strangers(roster, &census);
}

static void on_timer(struct timer *timer)
{
    struct node_roster *roster = container_of(timer, struct node_roster, timer);
    struct shard *shard = roster->shard;
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(ENTER_SCRIPT), BYTES("1"),
        bytes_str(roster->key), bytes_str(roster->member), bytes_str(roster->lifetime)};
    if (!roster->asking) {
        roster->asking = true;
        shard->bus->ops->command(roster->link, argv, ARRAY_LEN(argv), 0, on_kept, roster);
    }
    timer_set(sched_timers(shard->sched), timer,
        sched_now(shard->sched) + roster->options->lifetime_ms / RENEWALS);
}

static void on_up(void *context)
{
    struct node_roster *roster = context;
    bus_neighbours_look(roster->shard, roster->link);
}

struct node_roster *node_roster_start(
    struct shard *shard, const struct node_roster_options *options)
{
    static const struct bus_events events = {.on_up = on_up};
    struct node_roster *roster = mem_alloc(sizeof(*roster));
    roster->shard = shard;
    roster->options = options;
    bus_name_roster(options->names, roster->key);
    write_member(options, roster->member);
    write_lifetime(options, roster->lifetime);
    roster->link = shard->bus->ops->open(shard->bus, "peal-roster", &events, roster);
    timer_init(&roster->timer, on_timer);
    timer_set(sched_timers(shard->sched), &roster->timer, sched_now(shard->sched) + 1);
    return roster;
}

/* Leaving. */

static void on_left(void *context, int status, const struct bus_reply *reply)
{
    struct node_roster *roster = context;
    (void)reply;
    if (status != STATUS_CANCELLED) {
        roster->shard->bus->ops->close(roster->link);
    }
    mem_free(roster); /* where it could not be taken back, it runs out by itself */
}

void node_roster_stop(struct node_roster *roster)
{
    struct shard *shard = roster->shard;
    roster->closing = true;
    timer_cancel(sched_timers(shard->sched), &roster->timer);
    const struct bytes argv[] = {BYTES("ZREM"), bytes_str(roster->key), bytes_str(roster->member)};
    shard->bus->ops->command(roster->link, argv, ARRAY_LEN(argv), 0, on_left, roster);
}
