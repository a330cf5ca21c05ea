/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_settings - what actors/values needs to know of the configuration; a part of actor_config.
 */
#ifndef ACTORS_VALUE_SETTINGS_H
#define ACTORS_VALUE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

struct value_settings {
    bool wanted; /* somebody may use them: with Redis, connections are opened */
    const char *prefix; /* of their names in Redis */
    unsigned warm; /* 1 more than the hook that is told of users who come; 0: none is */
    uint64_t bytes; /* that a shard keeps in memory */
    uint64_t stale_ms; /* how long a value that has ended is there for who waits for the next */
    uint64_t fill_ms; /* how long one who fills is waited for */
    uint32_t waiting; /* callers that wait for who fills, on a shard */
    uint32_t drops; /* of tags and prefixes, under way on a shard */
};

#endif
