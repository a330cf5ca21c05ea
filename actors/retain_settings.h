/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retain_settings - how much is kept of last values, and for how long; a part of actor_config.
 */
#ifndef ACTORS_RETAIN_SETTINGS_H
#define ACTORS_RETAIN_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"

struct retain_settings {
    size_t bytes; /* of all together; 0: nothing is kept. The same as long as the node lives */
    uint32_t names; /* of one room, of one user, or of all */
    uint64_t age_ms; /* of rooms and of all */
    uint64_t user_age_ms; /* of users */
    /* Whether any are kept for `room` (as clients name it), as the members of actor_config that
     * are functions. NULL: for every room. Pure. */
    bool (*keeps)(void *context, struct bytes room);
};

/* What of it a shard counts. */
struct retain_stats {
    uint64_t values; /* that are kept now */
    uint64_t bytes; /* what they take, on one shard */
    uint64_t told; /* to those who joined or connected */
    uint64_t dropped; /* for which there was no room or no memory */
    uint64_t strays; /* that were posted while Redis could not keep them */
};

#endif
