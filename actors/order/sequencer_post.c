/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posting to the replay stream (sequencer_stream.c): what is published is added there, by XADD or
 * with what is kept of it (sequencer_kept.c), and delivered when it comes back.
 */
#include "actors/deliver/broadcast.h"
#include "actors/order/bus_origin.h"
#include "actors/order/sequencer_stream.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum {
    TRIM_EVERY = 256,
    LEAST = 65536 /* entries: what is added at once must not be dropped before it is read */
};

void stream_posted_drop(struct posted *posted)
{
    broadcast_unref(posted->broadcast);
    broadcast_unref(posted->copy);
    buf_unref(posted->payload);
    list_remove(&posted->link);
    mem_free(posted);
}

/*
 * Tell everybody, now that it is known whether nodes that read the stream find it there. What was
 * refused goes as what travels on no stream.
 */
static void publish(struct posted *posted, bool refused)
{
    struct sequencer *sequencer = posted->stream->sequencer;
    bool later = sequencer->kept != NULL && posted->copy->retain != NULL; /* it is posted again */
    if (refused && !later) {
        sequencer_bus_broadcast(sequencer, posted->copy);
    } else if (!refused) {
        struct adapter_emit emit = sequencer_emit_of(sequencer, posted->copy, bytes_of(NULL, 0));
        struct builder channel = {0};
        adapter_emit_channel(
            &emit, bytes_str(stream_shard(posted->stream)->config->adapter_key), &channel);
        if (!builder_failed(&channel)) { /* else stock nodes lack it */
            sequencer_bus_publish(sequencer, builder_bytes(&channel), buf_bytes(posted->payload));
        }
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
    stream_posted_drop(posted);
}

/* False: there is no memory for it, and nothing was sent. */
static bool send_entry(
    struct sequencer_stream *stream, const struct kept_entry *entry, struct posted *posted)
{
    if (sequencer_kept_posts(stream->sequencer, posted->copy)) {
        return sequencer_kept_add(stream->sequencer, entry, on_added, posted);
    }
    const struct bytes argv[] = {BYTES("XADD"), entry->stream, BYTES("MAXLEN"), BYTES("~"),
        entry->most, BYTES("*"), BYTES("origin"), entry->origin, BYTES("serial"), entry->serial,
        BYTES("message"), entry->message};
    stream_ops(stream)->command(
        stream->sequencer->sender, argv, ARRAY_LEN(argv), STREAM_TIMEOUT_MS, on_added, posted);
    return true;
}

/* The same of what was posted. */
static bool add(struct sequencer_stream *stream, struct posted *posted)
{
    const struct actor_config *config = stream_shard(stream)->config;
    struct builder serial = {0};
    struct builder most = {0};
    builder_u64(&serial, posted->serial);
    builder_u64(&most, config->recovery.events > LEAST ? config->recovery.events : LEAST);
    const struct kept_entry entry = {.broadcast = posted->copy,
        .stream = buf_bytes(stream->key),
        .most = builder_bytes(&most),
        .origin = bytes_of(stream->origin, STREAM_ORIGIN_LEN),
        .serial = builder_bytes(&serial),
        .message = buf_bytes(posted->payload)};
    bool good =
        !builder_failed(&serial) && !builder_failed(&most) && send_entry(stream, &entry, posted);
    builder_reset(&serial);
    builder_reset(&most);
    return good;
}

/* Now and then drop what is too old, whatever its number. */
static void trim(struct sequencer_stream *stream)
{
    uint64_t age_ms = stream_wanted_ms(stream);
    struct builder oldest = {0};
    builder_u64(&oldest, stream->last.ms > age_ms ? stream->last.ms - age_ms : 0);
    const struct bytes argv[] = {
        BYTES("XTRIM"), buf_bytes(stream->key), BYTES("MINID"), BYTES("~"), builder_bytes(&oldest)};
    stream_ops(stream)->command(
        stream->sequencer->sender, argv, ARRAY_LEN(argv), STREAM_TIMEOUT_MS, NULL, NULL);
    builder_reset(&oldest);
}

bool sequencer_stream_post(struct sequencer *sequencer, struct broadcast *broadcast)
{
    struct sequencer_stream *stream = sequencer->stream;
    if (stream == NULL) {
        return false;
    }
    if (!stream->up || !stream_ops(stream)->is_up(sequencer->sender)) {
        stream->strayed = true;
        return false;
    }
    struct builder uid = {0};
    bus_origin_write_uid(stream_shard(stream), &uid);
    struct adapter_emit emit = sequencer_emit_of(sequencer, broadcast, builder_bytes(&uid));
    emit.flags |= ADAPTER_REPLAYED;
    struct builder text = {0};
    bool good = !builder_failed(&uid) && adapter_broadcast_encode(&emit, &text) == 0;
    struct buf *payload = builder_finish(&text);
    builder_reset(&uid);
    struct posted *posted = good && payload != NULL ? mem_try_calloc(1, sizeof(*posted)) : NULL;
    if (posted == NULL) {
        stream->strayed = true;
        buf_unref(payload);
        return false;
    }
    posted->stream = stream;
    posted->broadcast = broadcast;
    posted->copy = broadcast_ref(broadcast);
    posted->payload = payload;
    posted->serial = ++stream->serial;
    broadcast->serial = posted->serial;
    list_append(&stream->posted, &posted->link);
    if (!add(stream, posted)) {
        stream->strayed = true;
        posted->broadcast = NULL; /* the caller's */
        stream_posted_drop(posted);
        return false;
    }
    sequencer_fly(sequencer, broadcast);
    if (stream->serial % TRIM_EVERY == 0) {
        trim(stream);
    }
    return true;
}
