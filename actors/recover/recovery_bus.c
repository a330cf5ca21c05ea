/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name of a record has namespace, owner and pid: who knows a pid, but is another user, has
 * nothing to do with it. The record of a connected socket has no end; whether it counts, its lease
 * says (recovery_lease.h). That of a kept one ends when the socket would be given up. A shard is
 * told on the channel of its home (its node and number), by the uid of who tells, the pid and the
 * namespace, with blanks between, that a socket has gone elsewhere.
 *
 * Order of this file: life, being told, records, fetching.
 */
#include "actors/recover/recovery_bus.h"

#include "actors/bus.h"
#include "actors/identity.h"
#include "actors/order/bus_origin.h"
#include "actors/recover/recovery.h"
#include "actors/recover/recovery_state.h"
#include "actors/recover/recovery_sweep.h"
#include "actors/shard.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { COMMAND_MS = 5000, RETRY_MS = 10, PATIENCE_MS = 5000, LISTED_MAX = 100 };

/* Write the record KEYS[1] as ARGV[2], for ARGV[3] ms (empty: for ever), unless one is there that
 * ARGV[1] is not in. */
#define REWRITE_SCRIPT                                                                             \
    "local at=redis.call('get',KEYS[1]) "                                                          \
    "if at and not string.find(at,ARGV[1],1,true) then return 0 end "                              \
    "if ARGV[3]=='' then redis.call('set',KEYS[1],ARGV[2]) "                                       \
    "else redis.call('set',KEYS[1],ARGV[2],'PX',ARGV[3]) end return 1"

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
    struct buf *lease; /* what its lease says; NULL: that has ended, or is not known yet */
    unsigned parts; /* what is asked for together and was not answered yet */
    bool lost; /* of these, one was not */
    struct timer timer;
    uint64_t until_ms; /* the stream may take that long to come up with the client */
};

static struct bytes fetch_key(const void *fetch)
{
    return buf_bytes(((const struct fetch *)fetch)->key);
}

/* Life. */

static void on_message(void *context, struct bytes channel, struct bytes payload);
static void on_up(void *context);

static const struct bus_events listener_events = {.on_message = on_message};
static const struct bus_events sender_events = {.on_up = on_up};

static bool is_wanted(const struct shard *shard)
{
    list_for_each (link, &shard->fanouts) {
        if (recovery_of(container_of(link, struct fanout, shard_link)) != NULL) {
            return shard->bus != NULL;
        }
    }
    return false;
}

static void rewrite(struct recovery_member *member)
{
    recovery_record_later(container_of(member, struct recoverable, member));
}

static const struct recovery_records records;

/* Each recovery of the shard has a lease for its records. */
static void lease_all(struct recovery_bus *bus)
{
    list_for_each (link, &bus->shard->fanouts) {
        struct recovery *recovery = recovery_of(container_of(link, struct fanout, shard_link));
        if (recovery != NULL) {
            const struct recovery_lease_options options = {.shard = bus->shard,
                .sender = bus->sender,
                .replay = recovery->replay,
                .nsp = fanout_nsp(recovery->fanout),
                .rewrite = rewrite};
            recovery->lease = recovery_lease_create(&options);
            recovery->records = &records;
            recovery_arm(recovery);
        }
    }
}

static void end_leases(struct recovery_bus *bus)
{
    list_for_each (link, &bus->shard->fanouts) {
        struct recovery *recovery = recovery_of(container_of(link, struct fanout, shard_link));
        if (recovery != NULL) {
            recovery_lease_destroy(recovery->lease);
            recovery->lease = NULL;
            recovery->records = NULL;
        }
    }
}

/* Records of a lease that Redis does not know yet do not count. */
static void on_up(void *context)
{
    struct recovery_bus *bus = context;
    list_for_each (link, &bus->shard->fanouts) {
        struct recovery *recovery = recovery_of(container_of(link, struct fanout, shard_link));
        if (recovery != NULL) {
            recovery_lease_on_up(recovery->lease, sched_now(bus->shard->sched));
        }
    }
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
    bus->sender = ops->open(shard->bus, "recovery", &sender_events, bus);
    struct builder home = {0};
    struct builder channel = {0};
    recovery_record_write_home(shard, &home);
    bus_name_recovery(&shard->config->names, builder_bytes(&home), &channel);
    CHECK(ops->subscribe(bus->listener, builder_bytes(&channel))); /* as the node starts */
    builder_reset(&home);
    builder_reset(&channel);
    lease_all(bus);
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
    buf_unref(fetch->lease);
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
    end_leases(bus);
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

/* What is sent for a record; the lease is told how it went. */
static void send(const struct recovery *recovery, const struct bytes *argv, size_t argc)
{
    const struct recovery_bus *bus = recovery->fanout->shard->recovery_bus;
    bus->shard->bus->ops->command(
        bus->sender, argv, argc, COMMAND_MS, recovery_lease_on_written, recovery->lease);
}

/* What the records of this shard have, and no others. */
static void write_mark(const struct shard *shard, struct builder *out)
{
    builder_str(out, "\"home\":\"");
    recovery_record_write_home(shard, out);
    builder_byte(out, '"');
}

/* A node that was stopped for a while goes on where it was: it must not write over another one's.
 */
static void write_again(
    const struct recovery *recovery, struct bytes key, struct bytes record, struct bytes left)
{
    struct builder mark = {0};
    write_mark(recovery->fanout->shard, &mark);
    const struct bytes argv[] = {
        BYTES("EVAL"), BYTES(REWRITE_SCRIPT), BYTES("1"), key, builder_bytes(&mark), record, left};
    send(recovery, argv, ARRAY_LEN(argv));
    builder_reset(&mark);
}

static void remove_record(const struct recoverable *recoverable)
{
    const struct recovery *recovery = recoverable->recovery;
    struct builder key = {0};
    struct builder mark = {0};
    write_mark(recovery->fanout->shard, &mark);
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(RECOVERY_DROP_SCRIPT), BYTES("1"),
        key_of(recoverable, &key), builder_bytes(&mark)};
    send(recovery, argv, ARRAY_LEN(argv));
    builder_reset(&key);
    builder_reset(&mark);
}

/* Write a record; `again`: another node may have taken it out meanwhile, and told us, or tells. */
static void write_record(const struct recoverable *recoverable, struct bytes key, bool again)
{
    uint64_t now = sched_now(recoverable->recovery->fanout->shard->sched);
    struct builder record = {0};
    struct builder left = {0};
    recovery_record_write(recoverable, &record);
    builder_u64(&left, recoverable->due_ms > now ? recoverable->due_ms - now : 1);
    bool connected = recoverable->socket != NULL;
    const struct bytes argv[] = {
        BYTES("SET"), key, builder_bytes(&record), BYTES("PX"), builder_bytes(&left)};
    if (builder_failed(&record)) {
        remove_record(recoverable); /* better none than one that is not true any more */
    } else if (again) {
        struct bytes end = connected ? BYTES("") : builder_bytes(&left);
        write_again(recoverable->recovery, key, builder_bytes(&record), end);
    } else {
        send(recoverable->recovery, argv, connected ? 3 : ARRAY_LEN(argv));
    }
    builder_reset(&record);
    builder_reset(&left);
}

/* SADD or SREM: the keys are listed before there are records, and as long as there are. */
static void change_list(
    const struct recovery *recovery, struct bytes command, struct bytes *keys, size_t count)
{
    const struct bus_names *names = &recovery->fanout->shard->config->names;
    struct bytes argv[LISTED_MAX + 2];
    struct builder list = {0};
    bus_name_record_list(names, recovery_lease_name(recovery->lease), &list);
    argv[0] = command;
    argv[1] = builder_bytes(&list);
    memcpy(argv + 2, keys, count * sizeof(*keys));
    if (count > 0) {
        send(recovery, argv, count + 2);
    }
    builder_reset(&list);
}

static void unlist_record(const struct recoverable *recoverable)
{
    const struct recovery *recovery = recoverable->recovery;
    if (recoverable->listed != recovery_lease_term(recovery->lease)) {
        return;
    }
    struct builder key = {0};
    struct bytes listed = key_of(recoverable, &key);
    change_list(recovery, BYTES("SREM"), &listed, 1);
    builder_reset(&key);
}

static const struct recovery_records records = {.remove = remove_record, .unlist = unlist_record};

/* Write some of the records that are to be written, which are on the list first. */
static void write_some(struct recovery *recovery)
{
    uint32_t term = recovery_lease_term(recovery->lease);
    struct recoverable *some[LISTED_MAX];
    struct builder keys[LISTED_MAX] = {0};
    struct bytes added[LISTED_MAX];
    bool again[LISTED_MAX];
    size_t count = 0;
    size_t add_count = 0;
    for (struct list *link; count < LISTED_MAX && (link = list_pop(&recovery->dirty)) != NULL;) {
        struct recoverable *each = container_of(link, struct recoverable, dirty_link);
        struct bytes key = key_of(each, &keys[count]);
        again[count] = each->listed != 0;
        if (each->listed != term) {
            each->listed = term;
            added[add_count++] = key;
        }
        some[count++] = each;
    }
    change_list(recovery, BYTES("SADD"), added, add_count);
    for (size_t i = 0; i < count; i++) {
        write_record(some[i], builder_bytes(&keys[i]), again[i]);
        builder_reset(&keys[i]);
    }
}

void recovery_bus_flush(struct recovery *recovery)
{
    while (recovery->lease != NULL && !list_empty(&recovery->dirty)) {
        write_some(recovery);
    }
}

/* Fetching. */

static void adopt(struct fetch *fetch)
{
    struct sched *sched = fetch->bus->shard->sched;
    int status =
        recovery_record_adopt(fetch->recovery, buf_bytes(fetch->record), buf_bytes(fetch->lease),
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

/* One of the two was answered: they may come from two servers, in any order. */
static void take_part(struct fetch *fetch, int status)
{
    fetch->lost = fetch->lost || status != 0;
    if (--fetch->parts > 0) {
        return;
    }
    if (fetch->lost || fetch->lease == NULL) { /* the node was away for too long */
        finish(fetch);
        return;
    }
    adopt(fetch);
}

/* GET of the lease */
static void on_lease(void *context, int status, const struct bus_reply *reply)
{
    struct fetch *fetch = context;
    if (status == 0 && reply->type == BUS_STRING) {
        fetch->lease = buf_new(reply->text);
    }
    take_part(fetch, status);
}

/* The other node, if it lives, knows now that its socket is none any more. */
static void on_told(void *context, int status, const struct bus_reply *reply)
{
    (void)reply;
    take_part(context, status);
}

static void ask_for_lease(struct fetch *fetch, struct bytes name)
{
    struct recovery_bus *bus = fetch->bus;
    struct builder key = {0};
    bus_name_record_lease(&bus->shard->config->names, name, &key);
    const struct bytes argv[] = {BYTES("GET"), builder_bytes(&key)};
    bus->shard->bus->ops->command(bus->sender, argv, ARRAY_LEN(argv), COMMAND_MS, on_lease, fetch);
    builder_reset(&key);
}

static void on_record(void *context, int status, const struct bus_reply *reply)
{
    struct fetch *fetch = context;
    struct recovery_bus *bus = fetch->bus;
    struct record_origin origin;
    if (status != 0 || reply->type != BUS_STRING ||
        recovery_record_origin(reply->text, &origin) != 0 ||
        (fetch->record = buf_new(reply->text)) == NULL) {
        finish(fetch);
        return;
    }
    fetch->parts = 2;
    ask_for_lease(fetch, origin.lease);
    struct builder channel = {0};
    struct builder message = {0};
    bus_name_recovery(&bus->shard->config->names, origin.home, &channel);
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
    if (!map_put(&bus->fetches, fetch)) {
        free_fetch(fetch);
        return NULL;
    }
    const struct bytes argv[] = {BYTES("GETDEL"), fetch_key(fetch)};
    shard->bus->ops->command(bus->sender, argv, ARRAY_LEN(argv), COMMAND_MS, on_record, fetch);
    return &fetch->base;
}

void recovery_fetch_cancel(struct recovery_fetch *fetch)
{
    fetch->done = NULL;
}
