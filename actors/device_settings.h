/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_settings - what actors need to know of the configuration about devices, and what a shard
 * counts of them; parts of actor_config and shard_stats.
 */
#ifndef ACTORS_DEVICE_SETTINGS_H
#define ACTORS_DEVICE_SETTINGS_H

#include <stdint.h>

struct device_settings {
    uint32_t per_user; /* 1 to STORE_DEVICES_MAX */
    const char *push_key; /* of Web Push, that pages subscribe with now; NULL: none */
};

struct device_stats {
    uint64_t registered; /* anew, or again */
    uint64_t removed; /* by their users, or backends */
    uint64_t moved; /* to another user */
    uint64_t dropped; /* at limits.devices */
};

#endif
