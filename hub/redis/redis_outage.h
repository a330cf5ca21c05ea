/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_outage - what the buses of a process share of an outage of Redis; see redis_trouble.h.
 */
#ifndef HUB_REDIS_REDIS_OUTAGE_H
#define HUB_REDIS_REDIS_OUTAGE_H

#include <stdatomic.h>

/* Zero to begin with. */
struct redis_outage {
    atomic_uint buses; /* with a link that is down; relaxed, as all here */
    atomic_int status; /* of a refusal that was told; 0: none */
    atomic_ullong master_epoch; /* of the last change of master that was told */
    atomic_uint without_sentinel; /* buses that no sentinel answers */
    atomic_ullong masters; /* of a cluster, all of them, that were told; a hash */
    atomic_uint uncovered; /* slots of a cluster without a master, as told */
};

#endif
