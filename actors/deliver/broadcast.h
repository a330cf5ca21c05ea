/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broadcast - one event with its addressees: any list of rooms, any exceptions, one number.
 *
 * Made by who publishes, numbered once by the sequencer, then shared read-only by all shards. A
 * name is the wire name of a room, a socket's sid, or `user:<id>` (`tenant/user:<id>` in a tenant's
 * space).
 */
#ifndef ACTORS_DELIVER_BROADCAST_H
#define ACTORS_DELIVER_BROADCAST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/event.h"
#include "codec/stream_id.h"

enum { BROADCAST_NAMES_MAX = 1024 };

/* What is kept of a broadcast, for those it goes to (deliver/retained.h). */
struct broadcast_retain {
    uint64_t until_ms; /* wall clock: when it ends by itself */
    bool removes; /* what was kept under the name goes */
    uint32_t name_len;
    char name_at[];
};

struct broadcast {
    uint64_t number; /* 0 before the sequencer */
    struct event *event;
    uint32_t room_count; /* 0: everyone in the namespace */
    uint32_t except_count;
    bool local; /* not to be published on the bus */
    bool remembered; /* a room that it goes to has a memory: every shard keeps it */
    bool keep_only; /* from before this node began: to be kept, not to be delivered */
    bool apart; /* not of the order: neither numbered nor remembered */
    bool late; /* what is kept, told to those who are here now */
    bool reposted; /* it was delivered here while it could not be kept */
    bool pending; /* it was posted to the replay stream and has not come back, */
    uint64_t serial; /* as this one */
    struct stream_id stream; /* its place in the replay stream; 0-0: none */
    struct broadcast_retain *retain; /* owned; NULL: nothing of it is kept */
    /* private */
    atomic_uint refs;
    struct bytes names[]; /* rooms, then exceptions */
};

/*
 * A new broadcast with one reference; copies the names (at most BROADCAST_NAMES_MAX in all, checked
 * by the caller) and takes over the reference of `event`, also when it returns NULL: without
 * memory, or for the event NULL, for which there was none.
 */
MUST_CHECK struct broadcast *broadcast_new(struct event *event, const struct bytes *rooms,
    uint32_t room_count, const struct bytes *except, uint32_t except_count);

/* Names that are made or read one after the other, until a broadcast is made of them. */
struct broadcast_names {
    /* private */
    struct builder texts;
    struct bytes *names; /* their lengths; NULL: no memory */
    uint32_t count;
    uint32_t max;
};

/* Begin a list of at most `max` names; that there is no memory for it is told at its end. */
void broadcast_names_init(struct broadcast_names *names, uint32_t max);

/* Copy one more name. */
void broadcast_names_add(struct broadcast_names *names, struct bytes name);

/*
 * As broadcast_new, with the first `room_count` names as rooms and the others as exceptions. The
 * list is free afterwards.
 */
MUST_CHECK struct broadcast *broadcast_from_names(
    struct event *event, struct broadcast_names *names, uint32_t room_count);

/*
 * Have the event kept under `name` until `until_ms` for those that the broadcast goes to, or
 * (`removes`) what is kept under it let go. False: no memory. Before it is shared.
 */
MUST_CHECK bool broadcast_keep(
    struct broadcast *broadcast, struct bytes name, uint64_t until_ms, bool removes);

/* The name under which it is kept. */
static inline struct bytes broadcast_kept_name(const struct broadcast *broadcast)
{
    return bytes_of(broadcast->retain->name_at, broadcast->retain->name_len);
}

/* Add a reference and return `broadcast`. Any thread. */
struct broadcast *broadcast_ref(struct broadcast *broadcast);

/* Drop a reference; NULL is allowed. Any thread. */
void broadcast_unref(struct broadcast *broadcast);

/* The rooms it goes to. */
static inline const struct bytes *broadcast_rooms(const struct broadcast *broadcast)
{
    return broadcast->names;
}

/* The names whose sockets do not get it. */
static inline const struct bytes *broadcast_except(const struct broadcast *broadcast)
{
    return broadcast->names + broadcast->room_count;
}

#endif
