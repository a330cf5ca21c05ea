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
 * Order of this file: life, where to begin, reading. Posting is in sequencer_post.c.
 */
#include "actors/order/sequencer_stream.h"

#include "actors/deliver/fanout_proto.h"
#include "actors/order/bus_origin.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"

enum {
    BLOCK_TIMEOUT_MS = 5000,
    RELIEF_MS = 1,
    ATTACH_MS = 5,
    RETRY_MS = 1000, /* after a refusal */
    REFUSAL_MAX = 120,
    READ_MAX = 500
};

#define BLOCK_MS "2000"
#define READ_MAX_TEXT "500"

static void on_up(void *context);
static void on_down(void *context);

static const struct bus_events reader_events = {.on_up = on_up, .on_down = on_down};

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
    if (!sequencer->recovers && !sequencer->remembers && sequencer->kept == NULL) {
        return;
    }
    struct shard *shard = shard_of(&sequencer->actor);
    struct sequencer_stream *stream = mem_alloc(sizeof(*stream));
    uint8_t random[STREAM_ORIGIN_LEN];
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

void sequencer_stream_close(struct sequencer *sequencer)
{
    struct sequencer_stream *stream = sequencer->stream;
    if (stream == NULL) {
        return;
    }
    sequencer->stream = NULL;
    stream->up = false;
    timer_cancel(sched_timers(sequencer->actor.sched), &stream->timer);
    stream_ops(stream)->close(stream->reader);
    while (!list_empty(&stream->posted)) {
        struct posted *first = container_of(stream->posted.next, struct posted, link);
        if (first->answered) {
            stream_posted_drop(first);
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
    stream->reading = false; /* what was under way is answered, or will not be */
    timer_cancel(sched_timers(stream->sequencer->actor.sched), &stream->timer);
    sequencer_kept_break(stream->sequencer);
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
        bytes_of(stream->origin, STREAM_ORIGIN_LEN), BYTES("gap"), BYTES("1")};
    if (stream->strayed && stream->sequencer->remembers) {
        stream->strayed = false;
        stream_ops(stream)->command(
            stream->reader, argv, ARRAY_LEN(argv), STREAM_TIMEOUT_MS, on_confessed, stream);
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
static void begin(struct sequencer_stream *stream, const struct stream_info *info)
{
    uint64_t age_ms = stream_wanted_ms(stream);
    stream->begun = true;
    stream->tip = info->tip;
    stream->sequencer->passed = info->tip;
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
            stream_posted_drop(posted);
        }
    }
}

/*
 * Again, or behind a full reading: whether more was dropped from the stream than was read. What
 * was dropped before `known` has been told. `unsure`: entries that are missing may be among what
 * the latest reading was to bring.
 */
static bool has_lost(const struct sequencer_stream *stream, const struct stream_info *info)
{
    struct stream_id since = stream->unsure ? stream->before : stream->last;
    return info->trimmed && stream_id_cmp(info->first, since) > 0 &&
           stream_id_cmp(info->first, stream->known) > 0;
}

static void go_on(struct sequencer_stream *stream, const struct stream_info *info)
{
    bool emptied = stream_id_cmp(info->tip, stream->last) < 0;
    bool lost = has_lost(stream, info);
    stream->unsure = false;
    if (emptied) {
        stream->last = info->tip;
        stream->sequencer->passed = info->tip;
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
    struct stream_info info;
    if (status != 0) {
        return; /* on_up follows, or the end */
    }
    if (!stream_info_read(reply, &info)) {
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
    stream_ops(stream)->command(
        stream->reader, argv, ARRAY_LEN(argv), STREAM_TIMEOUT_MS, fn, stream);
}

/* What is kept has been read: the stream, then. */
static void on_kept(void *context)
{
    ask_info(context, on_info);
}

/* Read what is kept first: what comes behind it is in the stream. */
static void read_kept(
    struct sequencer_stream *stream, const struct stream_info *info, void (*done)(void *context))
{
    bool emptied = stream_id_cmp(info->tip, stream->last) < 0;
    sequencer_kept_read(
        stream->sequencer, &(struct kept_reading){.link = stream->reader,
                               .known = stream->begun && !emptied ? stream->last : info->tip,
                               .first = info->trimmed ? info->first : (struct stream_id){0},
                               .anew = stream->begun && emptied,
                               .done = done,
                               .context = stream});
}

static void on_kept_info(void *context, int status, const struct bus_reply *reply)
{
    struct sequencer_stream *stream = context;
    struct stream_info info;
    if (status == 0 && stream_info_read(reply, &info)) {
        read_kept(stream, &info, on_kept);
    } else if (status == 0) {
        on_refused(stream, reply);
    }
}

static void on_up(void *context)
{
    struct sequencer_stream *stream = context;
    stream->sequencer->reads_stream = true;
    ask_info(stream, stream->sequencer->kept != NULL ? on_kept_info : on_info);
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
            stream_posted_drop(posted);
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
                stream_posted_drop(posted);
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

/* What an entry of the kind `origin` says; NULL: nothing; or, with `*ret_lost`, no memory. */
static struct broadcast *decode(struct sequencer_stream *stream, const struct bus_reply *fields,
    enum bus_origin origin, bool *ret_lost)
{
    struct adapter_broadcast message;
    struct broadcast *broadcast;
    if (adapter_broadcast_decode(field(fields, BYTES("message")), &message) != 0 ||
        bus_origin_of(stream_shard(stream), "replay", message.uid) != origin) {
        return NULL;
    }
    int status = sequencer_read_broadcast(stream->sequencer, &message, &broadcast);
    *ret_lost = status == STATUS_NOMEM;
    if (status != 0) {
        return NULL;
    }
    broadcast->stream = stream->last;
    sequencer_kept_of_entry(broadcast, &(struct kept_fields){.name = field(fields, BYTES("retain")),
                                           .until = field(fields, BYTES("until")),
                                           .removed = field(fields, BYTES("removed"))});
    return broadcast;
}

/* An entry of this node; NULL: it was delivered already. */
static struct broadcast *read_own(struct sequencer_stream *stream, const struct bus_reply *fields)
{
    struct bytes serial = field(fields, BYTES("serial"));
    struct broadcast *broadcast = take_posted(stream, serial);
    bool lost;
    if (broadcast == NULL && field(fields, BYTES("retain")).len > 0) {
        struct broadcast *again = decode(stream, fields, BUS_ORIGIN_SELF, &lost);
        if (again != NULL && again->retain != NULL &&
            bytes_to_u64(serial, UINT64_MAX, &again->serial) == 0) {
            sequencer_kept_landed(stream->sequencer, again);
        }
        broadcast_unref(again);
    }
    return broadcast;
}

static bool is_own(const struct sequencer_stream *stream, const struct bus_reply *fields)
{
    return bytes_eq(field(fields, BYTES("origin")), bytes_of(stream->origin, STREAM_ORIGIN_LEN));
}

static void take_entry(struct sequencer_stream *stream, const struct bus_reply *entry)
{
    struct stream_id id;
    if (entry->type != BUS_ARRAY || entry->count < 2 || entry->items[1]->type != BUS_ARRAY ||
        stream_id_read(entry->items[0]->text, &id) != 0 || stream_id_cmp(id, stream->last) <= 0) {
        return;
    }
    stream->last = id;
    if (stream_id_cmp(id, stream->sequencer->passed) > 0) {
        stream->sequencer->passed = id;
    }
    if (field(entry->items[1], BYTES("gap")).len > 0) {
        if (!is_own(stream, entry->items[1])) {
            tell_gap(stream, id);
        }
        return;
    }
    bool lost = false;
    struct broadcast *broadcast = is_own(stream, entry->items[1])
                                      ? read_own(stream, entry->items[1])
                                      : decode(stream, entry->items[1], BUS_ORIGIN_PEER, &lost);
    if (broadcast != NULL) {
        broadcast->stream = id;
        broadcast->keep_only = broadcast->keep_only || stream_id_cmp(id, stream->tip) <= 0;
        if (broadcast->keep_only) {
            sequencer_kept_past(stream->sequencer, broadcast);
        }
        broadcast->keep_only =
            broadcast->keep_only || sequencer_kept_repeats(stream->sequencer, broadcast);
        sequencer_deliver(stream->sequencer, broadcast, false);
    } else if (lost) {
        tell_from(stream, id); /* or who comes back would be told that nothing is missing */
    }
}

/* More was dropped from the stream than was read, and what is kept of that has been told. */
static void on_kept_behind(void *context)
{
    struct sequencer_stream *stream = context;
    stream->reading = false;
    if (stream->up) {
        go_on(stream, &stream->behind);
        read_more(stream);
    }
}

static void on_behind(void *context, int status, const struct bus_reply *reply)
{
    struct sequencer_stream *stream = context;
    struct stream_info info;
    stream->reading = false;
    if (status != 0 || !stream->up) {
        return;
    }
    if (!stream_info_read(reply, &info)) {
        on_refused(stream, reply);
        return;
    }
    if (stream->sequencer->kept != NULL && has_lost(stream, &info)) {
        stream->reading = true;
        stream->behind = info;
        read_kept(stream, &info, on_kept_behind);
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
    if (count < READ_MAX) {
        sequencer_kept_caught_up(stream->sequencer);
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
    stream_ops(stream)->command(
        stream->reader, argv, ARRAY_LEN(argv), BLOCK_TIMEOUT_MS, on_read, stream);
    builder_reset(&last);
}
