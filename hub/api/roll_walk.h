/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roll_walk - what a node itself adds to a list: rooms with somebody in them, or connections, of
 * all its shards, one after the other.
 */
#ifndef HUB_API_ROLL_WALK_H
#define HUB_API_ROLL_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/wire_name.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/names.h"
#include "hub/api/roll.h"

struct shard;

enum roll_kind {
    ROLL_ROOMS,
    ROLL_CONNECTIONS,
    ROLL_END, /* the one connection whose sid is `prefix`, which is ended */
};

/* What is asked for; the texts lie in it. */
struct roll_question {
    enum roll_kind kind;
    uint32_t limit; /* 1 to ROLL_MAX */
    struct bytes tenant; /* space; empty: the common one */
    struct bytes after; /* as roll.after, roll.prefix */
    struct bytes prefix;
    struct bytes user; /* of connections; empty: of any */
    struct bytes room; /* that they are in, as clients name it; empty: any */
    struct bytes node; /* that they are on; empty: any */
    char tenant_at[NAMES_TENANT_MAX];
    char after_at[NAMES_ROOM_MAX];
    char prefix_at[NAMES_ROOM_MAX];
    char user_at[NAMES_USER_MAX];
    char room_at[NAMES_ROOM_MAX];
    char node_at[NAMES_USER_MAX];
};

/* Set `*text` of the question to a copy of `value` at `at`, which has room for it. */
static inline void roll_question_set(struct bytes *text, char *at, struct bytes value)
{
    if (value.len > 0) {
        memcpy(at, value.at, value.len);
    }
    *text = bytes_of(at, value.len);
}

/* Append it as another node reads it, one with the same store. */
void roll_question_write(
    const struct roll_question *question, const char *epoch, struct builder *out);

/* Read what another node asks; false: it is no such question, or of one with another store. */
MUST_CHECK bool roll_question_read(
    struct bytes body, const char *epoch, struct roll_question *ret_question);

struct roll_walk;

/* On the shard that began it, in a later turn. `cancelled`: by who destroys the actor system. */
typedef void (*roll_walk_fn)(struct roll_walk *walk, bool cancelled);

/* Embedded by who asks; it lives until `done`. All zero but for `question` before it begins. */
struct roll_walk {
    struct roll_question question;
    struct roll roll; /* what was found: its texts point into the question */
    roll_walk_fn done;
    /* private */
    struct actor_system *system;
    unsigned asker;
    unsigned next;
};

/* Go over all shards of this node, from `shard`. */
void roll_walk_begin(struct roll_walk *walk, struct shard *shard, roll_walk_fn done);

#endif
