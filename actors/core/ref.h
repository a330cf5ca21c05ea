/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ref - the name of an actor: shard, slot, generation. Never a pointer, safe to keep for ever.
 */
#ifndef ACTORS_CORE_REF_H
#define ACTORS_CORE_REF_H

#include <stdbool.h>
#include <stdint.h>

enum { SHARD_MAX = 64 };

/*
 * A slot is reused with the next generation; generation 0 is never given out, so an all-zero ref
 * names nobody.
 */
struct actor_ref {
    uint32_t slot;
    uint32_t generation : 24;
    uint32_t shard : 8;
};

/* Whether `ref` was ever given to an actor (which may be gone). */
static inline bool ref_is_set(struct actor_ref ref)
{
    return ref.generation != 0;
}

/* Whether both name the same actor. */
static inline bool ref_eq(struct actor_ref a, struct actor_ref b)
{
    return a.slot == b.slot && a.generation == b.generation && a.shard == b.shard;
}

#endif
