/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - what the actors of a shard and their tables take, by owner: counts times sizes.
 *
 * Heads of the allocator are in it; texts of names, windows, what waits to be sent and what lives
 * for a moment are not.
 */
#ifndef ACTORS_ASSEMBLY_MEMORY_H
#define ACTORS_ASSEMBLY_MEMORY_H

#include <stdint.h>

struct shard;

struct actor_memory {
    uint64_t sockets; /* and the table of their sids */
    uint64_t identities; /* one a socket: namespaces of a session share one, so this is the most */
    uint64_t users;
    uint64_t rooms; /* and leaves */
    uint64_t names; /* who wants which channel of the bus */
    uint64_t timers; /* the wheel; timers lie in their owners */
};

/* Count. A few dozen instructions: no walk over what is counted. */
void actor_memory_measure(struct shard *shard, struct actor_memory *ret_memory);

#endif
