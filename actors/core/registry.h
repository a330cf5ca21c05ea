/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry - the actors of one shard by slot and by key. Private to actors/core.
 *
 * A slot is given out again at once, the last one freed first, with its next generation. When
 * the generations of a slot are used up it is retired, so a ref never names a second actor.
 */
#ifndef ACTORS_CORE_REGISTRY_H
#define ACTORS_CORE_REGISTRY_H

#include <stdint.h>

#include "actors/core/actor.h"
#include "codec/base/map.h"

enum { GENERATION_MAX = (1 << 24) - 1 };

struct registry_slot {
    struct actor *actor; /* NULL: free or retired */
    uint32_t generation; /* of `actor`, or of the last one */
    uint32_t next_free; /* slot number + 1; 0 ends */
};

struct registry {
    struct registry_slot *slots;
    uint32_t cap;
    uint32_t used; /* slots given out at least once */
    uint32_t first_free; /* slot number + 1; 0: none */
    uint32_t count; /* actors alive */
    const struct behaviour *behaviours[BEHAVIOUR_MAX]; /* by id; NULL: not seen yet */
    struct map by_key[BEHAVIOUR_MAX]; /* by behaviour->id */
};

/* Make an empty registry. */
void registry_init(struct registry *registry);

/* Free the tables, not the actors. */
void registry_finish(struct registry *registry);

/*
 * Enter `actor`, whose behaviour is set, and set its ref, with `shard` in it. False: no memory, it
 * is not entered.
 */
MUST_CHECK bool registry_add(struct registry *registry, struct actor *actor, unsigned shard);

/* Take `actor` out: its ref is stale and its key free from now on. */
void registry_remove(struct registry *registry, struct actor *actor);

/* Bytes of the tables for the actors of `behaviour`: their names and their share of the slots. */
uint64_t registry_bytes(const struct registry *registry, const struct behaviour *behaviour);

/* Return the actor with the slot and generation of `ref`, or NULL. */
struct actor *registry_get(const struct registry *registry, struct actor_ref ref);

/* Return the actor of `behaviour` with `key`, or NULL. */
struct actor *registry_find(
    const struct registry *registry, const struct behaviour *behaviour, struct bytes key);

#endif
