/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a channel and tells what it takes.
 */
#include "hub/redis/redis_channel.h"

#include <string.h>

#include "codec/base/map.h"
#include "codec/base/mem.h"

struct bytes redis_channel_key(const void *channel)
{
    const struct redis_channel *one = channel;
    return bytes_of(one->name, one->len);
}

size_t redis_channel_size(struct bytes name)
{
    return offsetof(struct redis_channel, name) + name.len;
}

struct redis_channel *redis_channel_add(struct map *channels, struct bytes name, bool quiet)
{
    CHECK(name.len > 0 && name.len <= UINT16_MAX);
    struct redis_channel *channel = mem_try_calloc(1, redis_channel_size(name));
    if (channel == NULL) {
        return NULL;
    }
    channel->len = (uint16_t)name.len;
    channel->quiet = quiet;
    memcpy(channel->name, name.at, name.len);
    if (!map_put(channels, channel)) {
        mem_free(channel);
        return NULL;
    }
    return channel;
}
