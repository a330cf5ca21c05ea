/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_channel - a channel that a link is subscribed to, or is to be.
 */
#ifndef HUB_REDIS_REDIS_CHANNEL_H
#define HUB_REDIS_REDIS_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct map;

/* There are three for every connection of a client. */
struct redis_channel {
    uint32_t ticket; /* number of its SUBSCRIBE on this connection, counted round and round */
    uint16_t len;
    bool confirmed : 1;
    bool quiet : 1; /* subscribed by a pattern, which is not counted */
    char name[];
};

/* The name, as the key of a map of channels. */
struct bytes redis_channel_key(const void *channel);

/* The bytes of a channel of that name, which has 1 to 65,535. */
size_t redis_channel_size(struct bytes name);

/* Make one and put it into `channels`, where it is not yet; freed with mem_free. NULL: no memory.
 */
MUST_CHECK struct redis_channel *redis_channel_add(
    struct map *channels, struct bytes name, bool quiet);

#endif
