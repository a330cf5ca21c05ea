/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name of a record has namespace, owner and pid: who knows a pid, but is another user, has
 * nothing to do with it. A shard is told on the channel of its home (its node and number), by the
 * uid of who tells, the pid and the namespace, with blanks between, that a socket has gone
 * elsewhere.
 *
 * Order of this file: life, being told, records, fetching.
 */
#include "actors/recover/recovery_bus.h"

#include "actors/bus.h"
#include "actors/identity.h"
#include "actors/order/bus_origin.h"
#include "actors/recover/recovery_state.h"
#include "actors/shard.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { COMMAND_MS = 5000, RETRY_MS = 10, PATIENCE_MS = 5000, MARGIN_MS = 5000 };

struct recovery_bus {
    struct shard *shard;
    struct bus_link *listener;
    struct bus_link *sender;
    struct map fetches; /* the first that is after a record, by the record's key */
};

struct fetch {
    struct recovery_fetch base; /* first */
    struct list link; /* followers of the first, when it is another one */
    struct list followers; /* others that are after the same record, fetch.link */
    struct buf *key; /* of the record */
    struct recovery_bus *bus;
    struct recovery *recovery;
    struct buf *owner;
    struct buf *pid;
    struct buf *offset;
    struct buf *record; /* NULL before it is there */
    struct timer timer;
    uint64_t until_ms; /* the stream may take that long to come up with the client */
};

static struct bytes fetch_key(const void *fetch)
{
    return buf_bytes(((const struct fetch *)fetch)->key);
}

/* Life. */

static void on_message(void *context, struct bytes channel, struct bytes payload);

static const struct bus_events listener_events = {.on_message = on_message};
static const struct bus_events no_events = {0};

static bool is_wanted(const struct shard *shard)
{
    list_for_each (link, &shard->fanouts) {
        if (recovery_of(container_of(link, struct fanout, shard_link)) != NULL) {
            return shard->bus != NULL;
        }
    }
    return false;
}

struct recovery_bus *recovery_bus_create(struct shard *shard)
{
    if (!is_wanted(shard)) {
        return NULL;
    }
    const struct bus_ops *ops = shard->bus->ops;
    struct recovery_bus *bus = mem_alloc(sizeof(*bus));
    bus->shard = shard;
    map_init(&bus->fetches, fetch_key);
    bus->listener = ops->open(shard->bus, "recovery-listener", &listener_events, bus);
    bus->sender = ops->open(shard->bus, "recovery", &no_events, bus);
    struct builder home = {0};
    struct builder channel = {0};
    recovery_record_write_home(shard, &home);
    bus_name_recovery(&shard->config->names, builder_bytes(&home), &channel);
    ops->subscribe(bus->listener, builder_bytes(&channel));
    builder_reset(&home);
    builder_reset(&channel);
    return bus;
}

static void free_fetch(struct fetch *fetch)
{
    timer_cancel(sched_timers(fetch->bus->shard->sched), &fetch->timer);
    list_remove(&fetch->link);
    buf_unref(fetch->key);
    buf_unref(fetch->owner);
    buf_unref(fetch->pid);
    buf_unref(fetch->offset);
    buf_unref(fetch->record);
    mem_free(fetch);
}

static void tell(struct fetch *fetch)
{
    if (fetch->base.done != NULL) {
        fetch->base.done(&fetch->base);
    }
    free_fetch(fetch);
}

/* Tell who waits for a record: the last one first, who is the one that the client still has. */
static void finish(struct fetch *fetch)
{
    map_remove(&fetch->bus->fetches, fetch_key(fetch));
    while (!list_empty(&fetch->followers)) {
        tell(container_of(fetch->followers.prev, struct fetch, link));
    }
    tell(fetch);
}

void recovery_bus_destroy(struct recovery_bus *bus)
{
    if (bus == NULL) {
        return;
    }
    const struct bus_ops *ops = bus->shard->bus->ops;
    ops->close(bus->listener);
    ops->close(bus->sender); /* answers what is under way: those fetches are finished by that */
    for (size_t cursor = 0; map_count(&bus->fetches) > 0; cursor = 0) {
        finish(map_next(&bus->fetches, &cursor));
    }
    map_finish(&bus->fetches);
    mem_free(bus);
}

/* Being told. */

/* Cut `text` before its next blank. */
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

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct recovery_bus *bus = context;
    struct bytes uid;
    struct bytes pid;
    (void)channel;
    if (!take_word(&payload, &uid) || !take_word(&payload, &pid) ||
        bus_origin_of(bus->shard, "recovery", uid) != BUS_ORIGIN_PEER) {
        return;
    }
    struct fanout *fanout = fanout_find(bus->shard, payload);
    if (fanout != NULL && recovery_of(fanout) != NULL) {
        recovery_hand_over(recovery_of(fanout), pid);
    }
}

/* Records. */

static struct bytes write_key(const struct recovery_bus *bus, struct bytes nsp, struct bytes owner,
    struct bytes pid, struct builder *out)
{
    bus_name_session(&bus->shard->config->names, nsp, owner, pid, out);
    return builder_bytes(out);
}

static struct bytes key_of(const struct recoverable *recoverable, struct builder *out)
{
    const struct fanout *fanout = recoverable->recovery->fanout;
    return write_key(fanout->shard->recovery_bus, fanout_nsp(fanout), buf_bytes(recoverable->owner),
        bytes_of(recoverable->pid, RECOVERY_PID_LEN), out);
}

/* A record must outlive the node for as long as a client may take to come back. */
static uint64_t lifetime(const struct recoverable *recoverable)
{
    const struct shard *shard = recoverable->recovery->fanout->shard;
    uint64_t now = sched_now(shard->sched);
    uint64_t left = recoverable->due_ms > now ? recoverable->due_ms - now : 1;
    return recoverable->socket == NULL ? left : left + shard->config->recovery.age_ms + MARGIN_MS;
}

static void write_record(const struct recoverable *recoverable)
{
    struct recovery_bus *bus = recoverable->recovery->fanout->shard->recovery_bus;
    struct builder key = {0};
    struct builder record = {0};
    struct builder left = {0};
    recovery_record_write(recoverable, &record);
    builder_u64(&left, lifetime(recoverable));
    const struct bytes argv[] = {BYTES("SET"), key_of(recoverable, &key), builder_bytes(&record),
        BYTES("PX"), builder_bytes(&left)};
    if (!builder_failed(&record)) {
        bus->shard->bus->ops->command(bus->sender, argv, ARRAY_LEN(argv), COMMAND_MS, NULL, NULL);
    }
    builder_reset(&key);
    builder_reset(&record);
    builder_reset(&left);
}

void recovery_bus_flush(struct recovery *recovery)
{
    for (struct list *link; (link = list_pop(&recovery->dirty)) != NULL;) {
        if (recovery->fanout->shard->recovery_bus != NULL) {
            write_record(container_of(link, struct recoverable, dirty_link));
        }
    }
}

void recovery_bus_delete(const struct recoverable *recoverable)
{
    struct recovery_bus *bus = recoverable->recovery->fanout->shard->recovery_bus;
    if (bus == NULL) {
        return;
    }
    struct builder key = {0};
    const struct bytes argv[] = {BYTES("DEL"), key_of(recoverable, &key)};
    bus->shard->bus->ops->command(bus->sender, argv, ARRAY_LEN(argv), COMMAND_MS, NULL, NULL);
    builder_reset(&key);
}

/* Fetching. */

static void adopt(struct fetch *fetch)
{
    struct sched *sched = fetch->bus->shard->sched;
    int status = recovery_record_adopt(fetch->recovery, buf_bytes(fetch->record),
        buf_bytes(fetch->owner), buf_bytes(fetch->pid), buf_bytes(fetch->offset));
    if (status == STATUS_AGAIN && sched_now(sched) < fetch->until_ms) {
        timer_set(sched_timers(sched), &fetch->timer, sched_now(sched) + RETRY_MS);
        return;
    }
    finish(fetch);
}

static void on_timer(struct timer *timer)
{
    adopt(container_of(timer, struct fetch, timer));
}

/* The other node, if it lives, knows now that its socket is none any more. */
static void on_told(void *context, int status, const struct bus_reply *reply)
{
    struct fetch *fetch = context;
    (void)reply;
    if (status != 0) {
        finish(fetch);
        return;
    }
    adopt(fetch);
}

static void on_record(void *context, int status, const struct bus_reply *reply)
{
    struct fetch *fetch = context;
    struct recovery_bus *bus = fetch->bus;
    struct bytes home;
    if (status != 0 || reply->type != BUS_STRING || recovery_record_home(reply->text, &home) != 0 ||
        (fetch->record = buf_new(reply->text)) == NULL) {
        finish(fetch);
        return;
    }
    struct builder channel = {0};
    struct builder message = {0};
    bus_name_recovery(&bus->shard->config->names, home, &channel);
    bus_origin_write_uid(bus->shard, &message);
    builder_byte(&message, ' ');
    builder_add(&message, buf_bytes(fetch->pid));
    builder_byte(&message, ' ');
    builder_add(&message, fanout_nsp(fetch->recovery->fanout));
    const struct bytes argv[] = {
        BYTES("PUBLISH"), builder_bytes(&channel), builder_bytes(&message)};
    bus->shard->bus->ops->command(bus->sender, argv, ARRAY_LEN(argv), COMMAND_MS, on_told, fetch);
    builder_reset(&channel);
    builder_reset(&message);
}

struct recovery_fetch *recovery_fetch_start(struct shard *shard, const struct recovery_claim *claim)
{
    struct recovery_bus *bus = shard->recovery_bus;
    struct fanout *fanout = fanout_find(shard, claim->nsp);
    if (bus == NULL || fanout == NULL || recovery_of(fanout) == NULL ||
        claim->pid.len != RECOVERY_PID_LEN || !shard->bus->ops->is_up(bus->sender)) {
        return NULL;
    }
    struct fetch *fetch = mem_alloc(sizeof(*fetch));
    fetch->bus = bus;
    fetch->recovery = recovery_of(fanout);
    fetch->owner = buf_new_name(identity_key(claim->identity));
    fetch->pid = buf_new_name(claim->pid);
    fetch->offset = buf_new_name(claim->offset);
    fetch->until_ms = sched_now(shard->sched) + PATIENCE_MS;
    timer_init(&fetch->timer, on_timer);
    list_init(&fetch->link);
    list_init(&fetch->followers);
    struct builder key = {0};
    write_key(bus, claim->nsp, buf_bytes(fetch->owner), claim->pid, &key);
    fetch->key = builder_finish(&key);
    CHECK(fetch->key != NULL);
    struct fetch *first = map_get(&bus->fetches, fetch_key(fetch));
    if (first != NULL) {
        list_append(&first->followers, &fetch->link);
        return &fetch->base;
    }
    map_put(&bus->fetches, fetch);
    const struct bytes argv[] = {BYTES("GETDEL"), fetch_key(fetch)};
    shard->bus->ops->command(bus->sender, argv, ARRAY_LEN(argv), COMMAND_MS, on_record, fetch);
    return &fetch->base;
}

void recovery_fetch_cancel(struct recovery_fetch *fetch)
{
    fetch->done = NULL;
}
