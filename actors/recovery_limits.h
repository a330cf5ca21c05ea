/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery_limits - how much is kept for sockets that drop, and for how long.
 */
#ifndef ACTORS_RECOVERY_LIMITS_H
#define ACTORS_RECOVERY_LIMITS_H

#include <stdint.h>

/* Of connection state recovery: how long and how much a shard keeps in one namespace. */
struct recovery_limits {
    uint32_t age_ms; /* of sockets that dropped */
    uint32_t replay_ms; /* of events */
    uint32_t bytes; /* of events */
    uint32_t events;
    uint32_t sessions; /* sockets that dropped */
};

#endif
