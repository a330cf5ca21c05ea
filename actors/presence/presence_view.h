/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_view - the answers of Redis about a part of the users, read.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_VIEW_H
#define ACTORS_PRESENCE_PRESENCE_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct bus_reply;
struct shard;

/* Nodes that one user is said to be on are too many to be real beyond this. */
enum { PRESENCE_NODES_MAX = 1024 };

/* What is known of a part, of one moment but for `changes`. */
struct presence_view {
    uint64_t users; /* with those that only ended places hold */
    uint64_t connections; /* of places that count */
    uint64_t nodes; /* that have such a place */
    uint64_t ended; /* places that are still to be swept */
    uint64_t changes; /* that were told so far, of all places */
    uint64_t places; /* names those that count: another number, others */
};

/*
 * Read the answer to PRESENCE_SCRIPT_TELL: 0 with the view, and the places that this one is to
 * sweep, each followed by a comma, appended to `ended`. STATUS_NOT_FOUND: the place is not there as
 * it was left; STATUS_TOO_LARGE: the shard has too many; STATUS_INVALID. Places of strange versions
 * do not count, and are counted in the stats of `shard`.
 */
MUST_CHECK int presence_view_read(struct shard *shard, const struct bus_reply *reply,
    struct presence_view *ret_view, struct builder *ended);

/* What nodes say of a user. */
struct presence_others {
    uint64_t connections; /* the sum, of each node the most that one of its places says */
    uint8_t shown; /* enum owner_shown, the highest */
};

/*
 * Read what PRESENCE_SCRIPT_LOOK answers of one user, of nodes other than `own`; their names are
 * appended to `nodes` (NULL: they are not asked for), each with a line feed. STATUS_INVALID.
 */
MUST_CHECK int presence_view_read_user(const struct bus_reply *reply, struct bytes own,
    struct presence_others *ret_others, struct builder *nodes);

#endif
