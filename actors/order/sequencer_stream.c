/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replay stream of a namespace: the one order, on all nodes, of broadcasts that are kept. In a
 * namespace that recovers sockets these are all; else those for rooms with a memory.
 *
 * What is published is added to the stream and delivered when it comes back from there, on this
 * node as on all others; the entry's id is its place. A node begins to read where the oldest event
 * that a client may want is, so that what it keeps is what any other node keeps. Stock nodes hear
 * of it on the adapter's channels as before, from a uid by which we know ourselves. While the
 * stream cannot be had, broadcasts go the way of other namespaces.
 *
 * Order of this file: life, where to begin, reading, posting.
 */
#include "actors/deliver/fanout_proto.h"
#include "actors/order/bus_origin.h"
#include "actors/order/sequencer_actor.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"

enum {
    BLOCK_TIMEOUT_MS = 5000,
    ADD_TIMEOUT_MS = 5000,
    TRIM_EVERY = 256,
    RELIEF_MS = 1,
    ATTACH_MS = 5,
    RETRY_MS = 1000, /* after a refusal */
    REFUSAL_MAX = 120,
    LEAST = 65536, /* entries: what is added at once must not be dropped before it is read */
    READ_MAX = 500,
    NAME_LEN = 16
};

#define BLOCK_MS "2000"
#define READ_MAX_TEXT "500"

/* A broadcast that was posted and has not come back. */
struct posted {
    struct list link; /* sequencer_stream.posted, by serial */
    struct sequencer_stream *stream;
    struct broadcast *broadcast; /* one reference; NULL: it was delivered without the stream */
    struct broadcast *copy; /* another, until Redis has answered */
    struct buf *payload; /* for the adapter's channel, once it is in the stream */
    uint64_t serial;
    bool answered; /* Redis has it, */
    struct stream_id id; /* here */
};

struct sequencer_stream {
    struct sequencer *sequencer;
    struct bus_link *reader;
    struct buf *key;
    struct timer timer; /* while a line is under pressure */
    struct stream_id last; /* read */
    struct stream_id before; /* `last` when the latest reading was asked for */
    struct stream_id known; /* from where on the shards were told that they have everything */
    struct stream_id tip; /* at the beginning: up to here events are past */
    bool begun; /* `last` is known */
    bool up; /* to be read */
    bool reading;
    bool told; /* of the refusal, to the operator */
    bool strayed; /* something was delivered on this node alone, and the others are to know */
    bool unsure; /* `before` is to be compared yet with where the stream begins */
    struct list posted;
    uint64_t serial;
    char origin[NAME_LEN]; /* tells entries of this node from those of others */
};

static void on_up(void *context);
static void on_down(void *context);

static const struct bus_events reader_events = {.on_up = on_up, .on_down = on_down};

static struct shard *shard_of_stream(const struct sequencer_stream *stream)
{
    return shard_of(&stream->sequencer->actor);
}

static const struct bus_ops *ops_of(const struct sequencer_stream *stream)
{
    return shard_of_stream(stream)->bus->ops;
}

/* How old an event becomes that somebody may still want. */
static uint64_t wanted_ms(const struct sequencer_stream *stream)
{
    const struct actor_config *config = shard_of_stream(stream)->config;
    uint64_t recovered = stream->sequencer->recovers ? config->recovery.replay_ms : 0;
    return recovered > config->memory.age_ms ? recovered : config->memory.age_ms;
}

/* Life. */

static void read_more(struct sequencer_stream *stream);

static void on_timer(struct timer *timer)
{
    struct sequencer_stream *stream = container_of(timer, struct sequencer_stream, timer);
    if (stream->up) {
        read_more(stream);
    } else {
        on_up(stream);
    }
}

static struct buf *write_key(const struct actor_config *config, struct bytes nsp)
{
    struct builder text = {0};
    bus_name_replay(&config->names, nsp, &text);
    struct buf *key = builder_finish(&text);
    CHECK(key != NULL);
    return key;
}

void sequencer_stream_start(struct sequencer *sequencer)
{
    if (!sequencer->recovers && !sequencer->remembers) {
        return;
    }
    struct shard *shard = shard_of(&sequencer->actor);
    struct sequencer_stream *stream = mem_alloc(sizeof(*stream));
    uint8_t random[NAME_LEN];
    rand_secret(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        stream->origin[i] = "0123456789abcdef"[random[i] & 15];
    }
    stream->sequencer = sequencer;
    stream->key = write_key(shard->config, buf_bytes(sequencer->nsp));
    list_init(&stream->posted);
    timer_init(&stream->timer, on_timer);
    sequencer->stream = stream;
    sequencer->reads_stream = true;
    stream->reader = shard->bus->ops->open(shard->bus, "replay-reader", &reader_events, stream);
}

static void free_posted(struct posted *posted)
{
    broadcast_unref(posted->broadcast);
    broadcast_unref(posted->copy);
    buf_unref(posted->payload);
    list_remove(&posted->link);
    mem_free(posted);
}

void sequencer_stream_close(struct sequencer *sequencer)
{
    struct sequencer_stream *stream = sequencer->stream;
    if (stream == NULL) {
        return;
    }
    sequencer->stream = NULL;
    stream->up = false;
    timer_cancel(sched_timers(sequencer->actor.sched), &stream->timer);
    ops_of(stream)->close(stream->reader);
    while (!list_empty(&stream->posted)) {
        struct posted *first = container_of(stream->posted.next, struct posted, link);
        if (first->answered) {
            free_posted(first);
        } else { /* by its answer */
            list_remove(&first->link);
            first->stream = NULL;
        }
    }
    buf_unref(stream->key);
    mem_free(stream);
}

static void on_down(void *context)
{
    struct sequencer_stream *stream = context;
    stream->up = false;
}

/* Redis cannot say it now (it is busy, a right is missing, the key is something else): ask again
 * later, and do without the stream until then. */
static void on_refused(struct sequencer_stream *stream, const struct bus_reply *reply)
{
    struct sched *sched = stream->sequencer->actor.sched;
    struct bytes why = reply->type == BUS_ERROR ? reply->text : BYTES("not what was asked for");
    stream->up = false;
    stream->sequencer->reads_stream = stream->begun;
    timer_set(sched_timers(sched), &stream->timer, sched_now(sched) + RETRY_MS);
    if (!stream->told) {
        stream->told = true;
        log_error("REPLAY-REFUSED",
            "the replay stream cannot be read: who comes back may not get what was missed",
            "key=%s reply=%s", log_quote(buf_bytes(stream->key)),
            log_quote(bytes_of(why.at, why.len < REFUSAL_MAX ? why.len : REFUSAL_MAX)));
    }
}

/* What is delivered on this node alone. */

static void on_confessed(void *context, int status, const struct bus_reply *reply)
{
    struct sequencer_stream *stream = context;
    stream->strayed = stream->strayed || status != 0 || reply->type == BUS_ERROR;
}

/*
 * Tell the others, behind what was in the stream before, that something was sent here without a
 * place in it, which they lack, or have with a place: who was here, and comes to them from before,
 * is not continued.
 */
static void confess(struct sequencer_stream *stream)
{
    const struct bytes argv[] = {BYTES("XADD"), buf_bytes(stream->key), BYTES("*"), BYTES("origin"),
        bytes_of(stream->origin, NAME_LEN), BYTES("gap"), BYTES("1")};
    if (stream->strayed && stream->sequencer->remembers) {
        stream->strayed = false;
        ops_of(stream)->command(
            stream->reader, argv, ARRAY_LEN(argv), ADD_TIMEOUT_MS, on_confessed, stream);
    }
}

static void tell_gap(struct sequencer_stream *stream, struct stream_id at)
{
    struct sequencer *sequencer = stream->sequencer;
    for (unsigned i = 0; i < ARRAY_LEN(sequencer->fanouts); i++) {
        if (ref_is_set(sequencer->fanouts[i])) {
            struct fanout_stream *msg = fanout_stream_new();
            msg->from = at;
            msg->elsewhere = true;
            msg_send(sequencer->actor.sched, sequencer->fanouts[i], msg);
        }
    }
}

/* Where to begin. */

/* What XINFO STREAM says; zeros for a stream that is not there. */
struct info {
    struct stream_id tip;
    struct stream_id first;
    bool trimmed;
};

static bool read_info(const struct bus_reply *reply, struct info *ret_info)
{
    struct info info = {0};
    int64_t length = 0;
    int64_t added = 0;
    if (reply->type == BUS_ERROR) {
        *ret_info = info;
        return bytes_starts(reply->text, BYTES("ERR no such key"));
    }
    for (size_t i = 0; reply->type == BUS_ARRAY && i + 1 < reply->count; i += 2) {
        struct bytes name = reply->items[i]->text;
        const struct bus_reply *value = reply->items[i + 1];
        if (bytes_eq(name, BYTES("length"))) {
            length = value->integer;
        } else if (bytes_eq(name, BYTES("entries-added"))) {
            added = value->integer;
        } else if (bytes_eq(name, BYTES("last-generated-id")) &&
                   stream_id_read(value->text, &info.tip) != 0) {
            return false;
        } else if (bytes_eq(name, BYTES("first-entry")) && value->type == BUS_ARRAY &&
                   value->count > 0 && stream_id_read(value->items[0]->text, &info.first) != 0) {
            return false;
        }
    }
    info.trimmed = added != length;
    if (length == 0) { /* all up to the tip was dropped */
        info.first = (struct stream_id){.ms = info.tip.ms, .seq = info.tip.seq + 1};
    }
    *ret_info = info;
    return reply->type == BUS_ARRAY;
}

/* Tell the shards from where on the stream is known without a gap. */
static void tell_from(struct sequencer_stream *stream, struct stream_id from)
{
    struct sequencer *sequencer = stream->sequencer;
    struct sched *sched = sequencer->actor.sched;
    stream->known = from;
    for (unsigned i = 0; i < actor_system_shards(sched_system(sched)); i++) {
        if (ref_is_set(sequencer->fanouts[i])) {
            struct fanout_stream *msg = fanout_stream_new();
            msg->from = from;
            msg_send(sched, sequencer->fanouts[i], msg);
        }
    }
}

/* The first time: with what clients may still want. */
static void begin(struct sequencer_stream *stream, const struct info *info)
{
    uint64_t age_ms = wanted_ms(stream);
    stream->begun = true;
    stream->tip = info->tip;
    stream->last = (struct stream_id){.ms = info->tip.ms > age_ms ? info->tip.ms - age_ms : 0};
    bool lost = info->trimmed && stream_id_cmp(info->first, stream->last) > 0;
    tell_from(stream, lost ? info->first : stream->last);
}

/*
 * What was added and will not come back: it was dropped from the stream, which begins at `first`
 * now, before it was read.
 */
static void deliver_lost(struct sequencer_stream *stream, struct stream_id first)
{
    list_for_each_safe (link, following, &stream->posted) {
        struct posted *posted = container_of(link, struct posted, link);
        bool passed = stream_id_cmp(posted->id, stream->last) <= 0;
        if (posted->answered && (passed || stream_id_cmp(posted->id, first) < 0)) {
            stream->strayed = true; /* to others it may have come with its place */
            sequencer_deliver(stream->sequencer, posted->broadcast, false);
            posted->broadcast = NULL;
            free_posted(posted);
        }
    }
}

/*
 * Again, or behind a full reading: whether more was dropped from the stream than was read. What
 * was dropped before `known` has been told. `unsure`: entries that are missing may be among what
 * the latest reading was to bring.
 */
static void go_on(struct sequencer_stream *stream, const struct info *info)
{
    struct stream_id since = stream->unsure ? stream->before : stream->last;
    bool emptied = stream_id_cmp(info->tip, stream->last) < 0;
    bool lost = info->trimmed && stream_id_cmp(info->first, since) > 0 &&
                stream_id_cmp(info->first, stream->known) > 0;
    stream->unsure = false;
    if (emptied) {
        stream->last = info->tip;
        deliver_lost(stream, (struct stream_id){.ms = UINT64_MAX});
        tell_from(stream, info->tip);
    } else if (lost) {
        bool ahead = stream_id_cmp(info->first, stream->last) > 0;
        deliver_lost(stream, info->first);
        tell_from(stream, ahead ? info->first : stream->last);
    }
}

/* Whether every shard's fan-out is known: each must be told from where on it has everything. */
static bool is_attached(const struct sequencer_stream *stream)
{
    const struct sequencer *sequencer = stream->sequencer;
    unsigned shards = actor_system_shards(sched_system(sequencer->actor.sched));
    for (unsigned i = 0; i < shards; i++) {
        if (!ref_is_set(sequencer->fanouts[i])) {
            return false;
        }
    }
    return true;
}

static void on_info(void *context, int status, const struct bus_reply *reply)
{
    struct sequencer_stream *stream = context;
    struct info info;
    if (status != 0) {
        return; /* on_up follows, or the end */
    }
    if (!read_info(reply, &info)) {
        on_refused(stream, reply);
        return;
    }
    if (!is_attached(stream)) {
        struct sched *sched = stream->sequencer->actor.sched;
        timer_set(sched_timers(sched), &stream->timer, sched_now(sched) + ATTACH_MS);
        return;
    }
    (stream->begun ? go_on : begin)(stream, &info);
    stream->up = true;
    read_more(stream);
}

static void ask_info(struct sequencer_stream *stream, bus_reply_fn fn)
{
    const struct bytes argv[] = {BYTES("XINFO"), BYTES("STREAM"), buf_bytes(stream->key)};
    ops_of(stream)->command(stream->reader, argv, ARRAY_LEN(argv), ADD_TIMEOUT_MS, fn, stream);
}

static void on_up(void *context)
{
    struct sequencer_stream *stream = context;
    stream->sequencer->reads_stream = true;
    ask_info(stream, on_info);
}

/* Reading. */

/* What was posted before `serial`, which has come back, will not: it was dropped before that. */
static void deliver_overtaken(struct sequencer_stream *stream, uint64_t serial)
{
    list_for_each_safe (link, following, &stream->posted) {
        struct posted *posted = container_of(link, struct posted, link);
        if (posted->serial >= serial) {
            return;
        }
        if (posted->broadcast != NULL) {
            stream->strayed = true;
            sequencer_deliver(stream->sequencer, posted->broadcast, false);
            posted->broadcast = NULL;
        }
        if (posted->answered) {
            free_posted(posted);
        }
    }
}

/* Our own entry: the broadcast as it was posted; NULL: it was delivered already. */
static struct broadcast *take_posted(struct sequencer_stream *stream, struct bytes serial_text)
{
    uint64_t serial;
    struct broadcast *broadcast = NULL;
    if (bytes_to_u64(serial_text, UINT64_MAX, &serial) != 0) {
        return NULL;
    }
    deliver_overtaken(stream, serial);
    list_for_each (link, &stream->posted) {
        struct posted *posted = container_of(link, struct posted, link);
        if (posted->serial == serial) {
            broadcast = posted->broadcast;
            posted->broadcast = NULL;
            if (posted->answered) {
                free_posted(posted);
            }
            break;
        }
    }
    return broadcast;
}

/* A field of an entry; empty: it has none of that name. */
static struct bytes field(const struct bus_reply *fields, struct bytes name)
{
    for (size_t i = 0; i + 1 < fields->count; i += 2) {
        if (bytes_eq(fields->items[i]->text, name)) {
            return fields->items[i + 1]->text;
        }
    }
    return bytes_of(NULL, 0);
}

/* NULL: it is nothing to be delivered; or, with `*ret_lost`, there was no memory for it. */
static struct broadcast *read_entry(
    struct sequencer_stream *stream, const struct bus_reply *fields, bool *ret_lost)
{
    struct adapter_broadcast message;
    struct broadcast *broadcast;
    if (bytes_eq(field(fields, BYTES("origin")), bytes_of(stream->origin, NAME_LEN))) {
        return take_posted(stream, field(fields, BYTES("serial")));
    }
    if (adapter_broadcast_decode(field(fields, BYTES("message")), &message) != 0 ||
        bus_origin_of(shard_of_stream(stream), "replay", message.uid) != BUS_ORIGIN_PEER) {
        return NULL;
    }
    int status = sequencer_read_broadcast(stream->sequencer, &message, &broadcast);
    *ret_lost = status == STATUS_NOMEM;
    return status == 0 ? broadcast : NULL;
}

static void take_entry(struct sequencer_stream *stream, const struct bus_reply *entry)
{
    struct stream_id id;
    if (entry->type != BUS_ARRAY || entry->count < 2 || entry->items[1]->type != BUS_ARRAY ||
        stream_id_read(entry->items[0]->text, &id) != 0 || stream_id_cmp(id, stream->last) <= 0) {
        return;
    }
    stream->last = id;
    if (field(entry->items[1], BYTES("gap")).len > 0) {
        if (!bytes_eq(
                field(entry->items[1], BYTES("origin")), bytes_of(stream->origin, NAME_LEN))) {
            tell_gap(stream, id);
        }
        return;
    }
    bool lost = false;
    struct broadcast *broadcast = read_entry(stream, entry->items[1], &lost);
    if (broadcast != NULL) {
        broadcast->stream = id;
        broadcast->keep_only = stream_id_cmp(id, stream->tip) <= 0;
        sequencer_deliver(stream->sequencer, broadcast, false);
    } else if (lost) {
        tell_from(stream, id); /* or who comes back would be told that nothing is missing */
    }
}

static void on_behind(void *context, int status, const struct bus_reply *reply)
{
    struct sequencer_stream *stream = context;
    struct info info;
    stream->reading = false;
    if (status != 0 || !stream->up) {
        return;
    }
    if (!read_info(reply, &info)) {
        on_refused(stream, reply);
        return;
    }
    go_on(stream, &info);
    read_more(stream);
}

static void on_read(void *context, int status, const struct bus_reply *reply)
{
    struct sequencer_stream *stream = context;
    size_t count = 0;
    stream->reading = false;
    if (status != 0 || !stream->up) {
        return;
    }
    if (reply->type == BUS_ERROR) {
        on_refused(stream, reply);
        return;
    }
    stream->told = false;
    if (reply->type == BUS_ARRAY && reply->count > 0 && reply->items[0]->count > 1) {
        const struct bus_reply *entries = reply->items[0]->items[1];
        count = entries->count;
        for (size_t i = 0; i < count; i++) {
            take_entry(stream, entries->items[i]);
        }
    }
    if (count == READ_MAX) {
        stream->unsure = true;
        stream->reading = true;
        ask_info(stream, on_behind);
        return;
    }
    read_more(stream);
}

static bool is_pressured(const struct sequencer_stream *stream)
{
    struct sched *sched = stream->sequencer->actor.sched;
    for (unsigned i = 0; i < actor_system_shards(sched_system(sched)); i++) {
        if (sched_pressured(sched, i)) {
            return true;
        }
    }
    return false;
}

static void read_more(struct sequencer_stream *stream)
{
    struct sched *sched = stream->sequencer->actor.sched;
    if (!stream->up || stream->reading) {
        return;
    }
    confess(stream);
    if (is_pressured(stream)) {
        timer_set(sched_timers(sched), &stream->timer, sched_now(sched) + RELIEF_MS);
        return;
    }
    stream->reading = true;
    if (!stream->unsure) {
        stream->before = stream->last;
    }
    struct builder last = {0};
    stream_id_write(stream->last, &last);
    const struct bytes argv[] = {BYTES("XREAD"), BYTES("COUNT"), BYTES(READ_MAX_TEXT),
        BYTES("BLOCK"), BYTES(BLOCK_MS), BYTES("STREAMS"), buf_bytes(stream->key),
        builder_bytes(&last)};
    ops_of(stream)->command(
        stream->reader, argv, ARRAY_LEN(argv), BLOCK_TIMEOUT_MS, on_read, stream);
    builder_reset(&last);
}

/* Posting. */

/*
 * Tell everybody, now that it is known whether nodes that read the stream find it there. What was
 * refused goes as what travels on no stream.
 */
static void publish(struct posted *posted, bool refused)
{
    struct sequencer *sequencer = posted->stream->sequencer;
    if (refused) {
        sequencer_bus_broadcast(sequencer, posted->copy);
    } else {
        struct adapter_emit emit = sequencer_emit_of(sequencer, posted->copy, bytes_of(NULL, 0));
        struct builder channel = {0};
        adapter_emit_channel(
            &emit, bytes_str(shard_of_stream(posted->stream)->config->adapter_key), &channel);
        sequencer_bus_publish(sequencer, builder_bytes(&channel), buf_bytes(posted->payload));
        builder_reset(&channel);
    }
    broadcast_unref(posted->copy);
    buf_unref(posted->payload);
    posted->copy = NULL;
    posted->payload = NULL;
}

/* What could not be added is delivered here and now: on this node nothing is lost with Redis. */
static void on_added(void *context, int status, const struct bus_reply *reply)
{
    struct posted *posted = context;
    posted->answered =
        status == 0 && reply->type == BUS_STRING && stream_id_read(reply->text, &posted->id) == 0;
    if (status == 0 && posted->stream != NULL) {
        publish(posted, !posted->answered);
    }
    bool comes = posted->answered && posted->stream != NULL &&
                 stream_id_cmp(posted->id, posted->stream->last) > 0;
    if (comes && posted->broadcast != NULL) {
        return;
    }
    if (posted->stream != NULL && posted->broadcast != NULL) {
        posted->stream->strayed = posted->stream->strayed || !posted->answered;
        sequencer_deliver(posted->stream->sequencer, posted->broadcast, false);
        posted->broadcast = NULL;
    }
    free_posted(posted);
}

static void add(struct sequencer_stream *stream, struct bytes payload, struct posted *posted)
{
    const struct actor_config *config = shard_of_stream(stream)->config;
    struct builder serial = {0};
    struct builder most = {0};
    builder_u64(&serial, posted->serial);
    builder_u64(&most, config->recovery.events > LEAST ? config->recovery.events : LEAST);
    const struct bytes argv[] = {BYTES("XADD"), buf_bytes(stream->key), BYTES("MAXLEN"), BYTES("~"),
        builder_bytes(&most), BYTES("*"), BYTES("origin"), bytes_of(stream->origin, NAME_LEN),
        BYTES("serial"), builder_bytes(&serial), BYTES("message"), payload};
    ops_of(stream)->command(
        stream->sequencer->sender, argv, ARRAY_LEN(argv), ADD_TIMEOUT_MS, on_added, posted);
    builder_reset(&serial);
    builder_reset(&most);
}

/* Now and then drop what is too old, whatever its number. */
static void trim(struct sequencer_stream *stream)
{
    uint64_t age_ms = wanted_ms(stream);
    struct builder oldest = {0};
    builder_u64(&oldest, stream->last.ms > age_ms ? stream->last.ms - age_ms : 0);
    const struct bytes argv[] = {
        BYTES("XTRIM"), buf_bytes(stream->key), BYTES("MINID"), BYTES("~"), builder_bytes(&oldest)};
    ops_of(stream)->command(
        stream->sequencer->sender, argv, ARRAY_LEN(argv), ADD_TIMEOUT_MS, NULL, NULL);
    builder_reset(&oldest);
}

bool sequencer_stream_post(struct sequencer *sequencer, struct broadcast *broadcast)
{
    struct sequencer_stream *stream = sequencer->stream;
    if (stream == NULL) {
        return false;
    }
    if (!stream->up || !ops_of(stream)->is_up(sequencer->sender)) {
        stream->strayed = true;
        return false;
    }
    struct builder uid = {0};
    bus_origin_write_uid(shard_of_stream(stream), &uid);
    struct adapter_emit emit = sequencer_emit_of(sequencer, broadcast, builder_bytes(&uid));
    emit.flags |= ADAPTER_REPLAYED;
    struct builder text = {0};
    bool good = adapter_broadcast_encode(&emit, &text) == 0;
    struct buf *payload = builder_finish(&text);
    builder_reset(&uid);
    if (!good || payload == NULL) {
        buf_unref(payload);
        return false;
    }
    struct posted *posted = mem_alloc(sizeof(*posted));
    posted->stream = stream;
    posted->broadcast = broadcast;
    posted->copy = broadcast_ref(broadcast);
    posted->payload = payload;
    posted->serial = ++stream->serial;
    list_append(&stream->posted, &posted->link);
    add(stream, buf_bytes(payload), posted);
    if (stream->serial % TRIM_EVERY == 0) {
        trim(stream);
    }
    return true;
}
