/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_call - whether users are online, or how many are: asked of the shards that hold users
 * of these names here, and by them of Redis about all other nodes.
 *
 * Where Redis does not answer, what this node has is answered, and `complete` is false.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_CALL_H
#define ACTORS_PRESENCE_PRESENCE_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"
#include "codec/base/map.h"

struct presence_call;
struct shard;

enum { PRESENCE_USERS_MAX = 1000 /* of a call */ };

/* One user of a call. */
struct presence_ask {
    struct list link; /* presence_call.asks, in the order in which they were added */
    bool barred; /* who asks may not see this one: nothing was asked */
    bool open; /* who asks sees it though it hides: a backend, or itself */
    uint8_t shown; /* enum owner_shown, where it is online */
    uint64_t connections; /* 0: it is not online */
    struct buf *nodes; /* with `detailed`: the names of its nodes, each with a line feed */
    /* private */
    struct list way; /* of a parcel, or a question */
    size_t key_len;
    char key[];
};

/* All has been answered. On the shard that began it, in a later turn, exactly once. */
typedef void (*presence_call_fn)(struct presence_call *call);

/* Embedded by who asks; it lives until `done`. */
struct presence_call {
    presence_call_fn done;
    bool detailed; /* say on which nodes a user is */
    struct list asks; /* presence_ask.link */
    bool complete; /* nothing is missing of other nodes */
    bool starved; /* there was no memory for all of the answer */
    uint64_t users; /* with no asks: how many are online, of all nodes, */
    uint64_t connections; /* how many connections they have, */
    uint64_t nodes; /* and how many nodes there are */
    /* private */
    struct map by_key;
    struct shard *shard;
    size_t pending; /* parcels */
};

/* Whether the user with key `viewer` may see the one with `key`, whom it has named. */
bool presence_call_may_see(const struct shard *shard, struct bytes viewer, struct bytes key);

/* A call about nobody yet, which counts all if it stays so. */
void presence_call_init(struct presence_call *call, presence_call_fn done);

/* Free the users of a call that is not under way. */
void presence_call_finish(struct presence_call *call);

/*
 * Add a user of `space` (empty: no tenant); one that is there already changes nothing. `viewer`
 * (its key) is who asks, NULL: a backend, which sees all. STATUS_INVALID: that is no user's id;
 * STATUS_TOO_LARGE: there are PRESENCE_USERS_MAX already; STATUS_NOMEM.
 */
MUST_CHECK int presence_call_add(struct presence_call *call, const struct shard *shard,
    struct bytes space, struct bytes user, const struct bytes *viewer);

/* Begin. False: there is no memory for it, or presence has ended, and `done` is not called. */
MUST_CHECK bool presence_call_begin(struct presence_call *call, struct shard *shard);

/* Append the members of an object that says how the user of `ask` is; with `detailed` also where.
 */
void presence_ask_write(const struct presence_ask *ask, bool detailed, struct builder *out);

/* Append its members nodes and connections. */
void presence_ask_write_where(const struct presence_ask *ask, struct builder *out);

/* Append the members users and complete of an object. */
void presence_call_write(const struct presence_call *call, struct builder *out);

#endif
