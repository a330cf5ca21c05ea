/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sequencer_stream - the state of a replay stream, for the two files that read it and post to it.
 */
#ifndef ACTORS_ORDER_SEQUENCER_STREAM_H
#define ACTORS_ORDER_SEQUENCER_STREAM_H

#include "actors/order/sequencer_actor.h"
#include "actors/order/stream_info.h"

enum {
    STREAM_TIMEOUT_MS = 5000, /* of commands */
    STREAM_ORIGIN_LEN = 16,
    STREAM_KEPT_MS = 60000 /* so long what is kept is in the stream, too: for nodes that are slow */
};

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
    struct stream_info behind; /* where it begins, while what is kept is read because of that */
    bool unsure; /* `before` is to be compared yet with where the stream begins */
    struct list posted;
    uint64_t serial;
    char origin[STREAM_ORIGIN_LEN]; /* tells entries of this node from those of others */
};

static inline struct shard *stream_shard(const struct sequencer_stream *stream)
{
    return shard_of(&stream->sequencer->actor);
}

static inline const struct bus_ops *stream_ops(const struct sequencer_stream *stream)
{
    return stream_shard(stream)->bus->ops;
}

/* How old an event becomes that somebody may still want. */
static inline uint64_t stream_wanted_ms(const struct sequencer_stream *stream)
{
    const struct actor_config *config = stream_shard(stream)->config;
    uint64_t wanted = stream->sequencer->recovers ? config->recovery.replay_ms : 0;
    if (stream->sequencer->kept != NULL && wanted < STREAM_KEPT_MS) {
        wanted = STREAM_KEPT_MS;
    }
    return wanted > config->memory.age_ms ? wanted : config->memory.age_ms;
}

/* Forget what was posted. */
void stream_posted_drop(struct posted *posted);

#endif
