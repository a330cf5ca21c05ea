/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sequencer_actor - the sequencer's state and the calls between its files (sequencer*.c); private
 * to actors/.
 */
#ifndef ACTORS_ORDER_SEQUENCER_ACTOR_H
#define ACTORS_ORDER_SEQUENCER_ACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/bus.h"
#include "actors/core/actor.h"
#include "actors/sequencer_proto.h"
#include "actors/shard.h"
#include "codec/adapter_wire.h"
#include "codec/base/buf.h"
#include "codec/base/list.h"
#include "codec/base/map.h"
#include "codec/stream_id.h"

struct kept_entry;
struct sequencer_kept;
struct waiter;

/* A room or a name of this node. With a bus an idle connection has two: no pointer it can do
 * without. */
struct interest {
    uint64_t shards; /* bit per shard with members */
    struct waiter *waiters; /* rooms to tell of the confirmation, the first that came first */
    uint16_t name_len;
    bool named; /* a user or a sid has this name */
    bool confirmed;
    char name_at[];
};

/* The wire name. */
static inline struct bytes interest_name(const struct interest *interest)
{
    return bytes_of(interest->name_at, interest->name_len);
}

/* The request of another node that is being carried out: each shard does its part. */
struct gathering {
    uint32_t serial; /* in messages: an answer to an earlier one is none */
    uint32_t waiting; /* shards that are not done; 0: there is no request */
    uint32_t found; /* sockets so far */
    bool failed; /* the answer became too large: it is not sent */
    struct builder text; /* elements so far */
};

enum { SEQUENCER_FLYING = 1024 }; /* counters of names; a power of two */

struct sequencer {
    struct actor actor;
    struct buf *nsp;
    uint64_t number; /* of the last broadcast */
    struct actor_ref fanouts[SHARD_MAX];
    struct map interests; /* struct interest by wire name */
    struct bus_link *link; /* subscribes; NULL on a single node, as `sender` */
    struct bus_link *sender; /* publishes: a subscribed connection cannot */
    bool recovers; /* every shard keeps every broadcast */
    bool remembers; /* every shard keeps what is for rooms with a memory */
    uint64_t born_ms; /* wall clock: without a bus, places in the order begin with it */
    struct sequencer_stream *stream; /* they travel on it; NULL: they do not */
    struct sequencer_kept *kept; /* what is kept of broadcasts, between nodes; NULL: nothing */
    struct stream_id passed; /* of the replay stream */
    uint32_t flying[SEQUENCER_FLYING]; /* broadcasts under way on it, by where they go */
    bool reads_stream; /* what other nodes have posted to it comes from there */
    struct list requests; /* struct request_waiting.link; the first is being carried out */
    uint32_t request_count;
    size_t request_bytes;
    struct gathering gathering;
};

/* The sockets of `name` (empty: all) on `shards` are closed: they miss something for want of
 * memory. */
void sequencer_lose_here(struct sequencer *sequencer, struct bytes name, uint64_t shards);

/* Interest (sequencer_interest.c). */

void sequencer_interest_init(struct sequencer *sequencer);
void sequencer_interest_finish(struct sequencer *sequencer);

/* Subscribe the channel of `room` (empty: of the namespace), or end it. False: no memory. */
bool sequencer_interest_subscribe(struct sequencer *sequencer, struct bytes room, bool on);

/* A shard has members of a room, or none any more. */
void sequencer_interest_shard(struct sequencer *sequencer, const struct sequencer_interest *msg);

/* A user or a sid is here, or not any more. */
void sequencer_interest_name(struct sequencer *sequencer, struct bytes name, bool on);

/* Nothing is confirmed any more; who waited is let through: local events come in any case. */
void sequencer_interest_lost(struct sequencer *sequencer);

/* The bus has confirmed the channel of `name`. */
void sequencer_interest_confirmed(struct sequencer *sequencer, struct bytes name);

/* Where sockets are (sequencer_names.c). */

/* The shards that may have sockets for `name`, as bits. */
uint64_t sequencer_shards_of_name(struct sequencer *sequencer, struct bytes name);

/* The sockets of `name` (empty: all) on `shards` are closed: they miss something for want of
 * memory. */
void sequencer_lose_here(struct sequencer *sequencer, struct bytes name, uint64_t shards);

/* Note whether a room with a memory is among those that `broadcast` goes to. */
void sequencer_remember(const struct sequencer *sequencer, struct broadcast *broadcast);

/*
 * What travels on the replay stream comes later than what does not. So what goes to a name that
 * something is under way to goes that way, too: the order of a poster holds.
 */

/* `broadcast` was posted to the stream; sequencer_deliver ends that. */
void sequencer_fly(struct sequencer *sequencer, struct broadcast *broadcast);

/* Whether anything is under way to where `broadcast` goes. Names share counters: now and then also
 * where nothing is. */
bool sequencer_is_behind(const struct sequencer *sequencer, const struct broadcast *broadcast);

/* What leaves it (sequencer_deliver.c). */

/* PUBLISH, without waiting for anything; lost while the link is down. */
void sequencer_bus_publish(struct sequencer *sequencer, struct bytes channel, struct bytes payload);

/* Tell the other nodes of a broadcast. */
void sequencer_bus_broadcast(struct sequencer *sequencer, const struct broadcast *broadcast);

/* Number the broadcast and send it to the shards with interest. Takes the reference. */
void sequencer_deliver(struct sequencer *sequencer, struct broadcast *broadcast, bool from_bus);

/* Broadcasts on the bus (sequencer_wire.c). */

/*
 * A broadcast in the adapter's format. STATUS_NOT_FOUND: it is none of this namespace;
 * STATUS_NOMEM: whoever is here and would get it is closed; another status: it is none.
 */
MUST_CHECK int sequencer_read_broadcast(struct sequencer *sequencer,
    const struct adapter_broadcast *message, struct broadcast **ret_broadcast);

/*
 * Whether a message that came on the channel of `room` (empty: of the namespace) is to be
 * delivered: it is not ours, not strange, and does not come by another way as well.
 */
bool sequencer_is_news(
    struct sequencer *sequencer, const struct adapter_broadcast *message, struct bytes room);

/* What is published of a broadcast, by `uid`. */
struct adapter_emit sequencer_emit_of(
    const struct sequencer *sequencer, const struct broadcast *broadcast, struct bytes uid);

/* The replay stream (sequencer_stream.c). */

void sequencer_stream_start(struct sequencer *sequencer);
void sequencer_stream_close(struct sequencer *sequencer);

/*
 * Post a broadcast to the stream, from which it comes back and is delivered; takes the reference.
 * False, with the reference untouched, while that cannot be.
 */
bool sequencer_stream_post(struct sequencer *sequencer, struct broadcast *broadcast);

/* What is kept, between nodes (sequencer_kept.c). */

void sequencer_kept_start(struct sequencer *sequencer);
void sequencer_kept_finish(struct sequencer *sequencer);

/* Whether `broadcast` travels on the stream because of what is kept of those that it goes to. */
bool sequencer_kept_orders(const struct sequencer *sequencer, const struct broadcast *broadcast);

/* `broadcast` is posted to the stream: whether that is done by sequencer_kept_add. */
bool sequencer_kept_posts(struct sequencer *sequencer, struct broadcast *broadcast);

/* An entry of the stream whose event is kept. */
struct kept_entry {
    const struct broadcast *broadcast;
    struct bytes stream; /* its key */
    struct bytes most; /* entries of the stream */
    struct bytes origin;
    struct bytes serial;
    struct bytes message;
};

/* Add it, and keep the event, in one command; `fn` gets its id, as of XADD. False: there is no
 * memory for that, and nothing is done: `fn` is not called. */
MUST_CHECK bool sequencer_kept_add(
    struct sequencer *sequencer, const struct kept_entry *entry, bus_reply_fn fn, void *context);

/* Whether an entry of the stream removes what this node has told to be gone already, of its own. */
bool sequencer_kept_repeats(const struct sequencer *sequencer, const struct broadcast *broadcast);

/* What an entry of another node says of keeping. */
struct kept_fields {
    struct bytes name; /* empty: nothing */
    struct bytes until;
    struct bytes removed;
};

void sequencer_kept_of_entry(struct broadcast *broadcast, const struct kept_fields *fields);

/* `broadcast` is about to be delivered. */
void sequencer_kept_pass(struct sequencer *sequencer, struct broadcast *broadcast);

/* The same, read (kept_read.c). */

/* An entry from before this node began: what is kept of it is told, and it is a plain one then. */
void sequencer_kept_past(struct sequencer *sequencer, struct broadcast *broadcast);

/*
 * An entry of this node, decoded again, whose event was delivered when nothing was known of it: it
 * is kept, at its place.
 */
void sequencer_kept_landed(struct sequencer *sequencer, const struct broadcast *broadcast);

/* A reading of what Redis keeps. What is behind `known`, and not before `first`, comes by the
 * stream. */
struct kept_reading {
    struct bus_link *link;
    struct stream_id known;
    struct stream_id first;
    bool anew; /* Redis is not what it was: what it has is right, and nothing else */
    void (*done)(void *context); /* not when the link goes down */
    void *context;
};

/* Begin it, instead of one that is under way. */
void sequencer_kept_read(struct sequencer *sequencer, const struct kept_reading *reading);

/* The connection is down: a reading goes on no more. */
void sequencer_kept_break(struct sequencer *sequencer);

/* The stream was read to its end: what Redis could not keep is posted again. */
void sequencer_kept_caught_up(struct sequencer *sequencer);

/* Requests of other nodes (sequencer_requests.c). */

void sequencer_requests_init(struct sequencer *sequencer);
void sequencer_requests_finish(struct sequencer *sequencer);

/* Append the channel that requests travel on. */
void sequencer_requests_channel(const struct sequencer *sequencer, struct builder *out);

/* A request arrived: it is carried out behind those before it, or refused and counted. */
void sequencer_requests_take(struct sequencer *sequencer, struct bytes payload);

/* A shard has done its part, or a slice of it. */
void sequencer_requests_part(struct sequencer *sequencer, struct sequencer_part *msg);

/* A client has acknowledged a broadcast. */
void sequencer_requests_acked(struct sequencer *sequencer, const struct sequencer_acked *msg);

#endif
