/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shed - which peers of a shard go when memory is short: those that have the most waiting.
 *
 * Whoever owns outboxes offers them (shed_offer_sockets, connection_offer), then the largest are
 * ended, in one turn.
 */
#ifndef ACTORS_DELIVER_SHED_H
#define ACTORS_DELIVER_SHED_H

#include <stdint.h>

struct outbox;
struct shard;

enum { SHED_MOST = 512, SHED_LEAST_BYTES = 65536 };

/* Whose outbox it is, and how that one is ended; `end` frees no outbox before the turn is over. */
struct shed_candidate {
    const struct outbox *outbox;
    void *owner;
    void (*end)(void *owner);
};

/* Zeroed: none was offered. */
struct shed {
    struct shed_candidate at[SHED_MOST]; /* with the most waiting, most first */
    unsigned count;
};

/* Keep it, if it is among the largest; none with less than SHED_LEAST_BYTES. */
void shed_offer(struct shed *shed, const struct shed_candidate *candidate);

/* Offer the sessions of all sockets. They end as slow (CLOSE_SLOW) and come back. */
void shed_offer_sockets(struct shed *shed, struct shard *shard);

/* End the largest until about `bytes` waited in them, what others wait for too counted by parts;
 * returns how many. */
unsigned shed_end(const struct shed *shed, uint64_t bytes);

#endif
