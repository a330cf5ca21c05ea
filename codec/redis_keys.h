/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_keys - where a command of Redis belongs in a cluster: its keys, and their slot.
 *
 * Source: redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec.
 */
#ifndef CODEC_REDIS_KEYS_H
#define CODEC_REDIS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { REDIS_SLOTS = 16384 };

/* Who carries a command out. */
enum redis_aim {
    REDIS_AIM_UNKNOWN, /* it is not in redis_keys.def, or malformed */
    REDIS_AIM_KEY, /* who has its keys */
    REDIS_AIM_ANY, /* any server: it is about none of them */
    REDIS_AIM_MASTERS, /* each server that has keys (SCRIPT LOAD) */
    REDIS_AIM_EVERYBODY, /* each server, replicas too (PUBSUB) */
    REDIS_AIM_SCAN, /* each server that has keys, one after the other (SCAN) */
};

struct redis_keys {
    enum redis_aim aim;
    size_t first; /* of REDIS_AIM_KEY: which words are the keys */
    size_t count;
};

/* Find the keys of a command whose first word is in capitals. */
struct redis_keys redis_keys_find(const struct bytes *argv, size_t argc);

/* The slot of a key, below REDIS_SLOTS: CRC-16 of what stands in its first braces, else of all. */
uint16_t redis_keys_slot(struct bytes key);

/* Whether all keys of a command lie in one slot; true where there are none. */
TEST_SEAM bool redis_keys_agree(const struct bytes *argv, const struct redis_keys *keys);

#endif
