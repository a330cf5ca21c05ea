/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map - hash map from byte strings to objects that hold their own key.
 *
 * Open addressing, 12 bytes a slot; the key stays inside the object and is found again with
 * `key_of`, so a map costs no copy of it. Hashing is seeded per process, because peers choose
 * keys. One thread.
 */
#ifndef CODEC_BASE_MAP_H
#define CODEC_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* Return the key of `object`; it must stay the same while the object is in the map. */
typedef struct bytes (*map_key_fn)(const void *object);

struct map {
    /* private */
    uint32_t *hashes; /* by slot: of its object, or one of two marks */
    void **objects; /* by slot; behind them, in one allocation, the hashes */
    size_t count;
    size_t cap; /* 0 or a power of two */
    size_t used; /* objects and marks of removed ones */
    map_key_fn key_of;
};

/* Make an empty map; it allocates with the first object. */
void map_init(struct map *map, map_key_fn key_of);

/* Free the slots, not the objects. */
void map_finish(struct map *map);

/* Return the number of objects. */
size_t map_count(const struct map *map);

/* Return the bytes of its slots, without the objects. */
size_t map_bytes(const struct map *map);

/* Return the object with `key`, or NULL. */
void *map_get(const struct map *map, struct bytes key);

/*
 * Put `object`, whose key must not be in the map yet. False: it is not in the map, there is no
 * memory for more slots; peers decide how many objects there are, so whom it was for is refused.
 */
MUST_CHECK bool map_put(struct map *map, void *object);

/*
 * Put `object` in the place of the one with the same key, which is returned; NULL: there is none,
 * and `object` is not in the map. Needs no memory.
 */
void *map_replace(struct map *map, void *object);

/* Take the object with `key` out and return it, or NULL. */
void *map_remove(struct map *map, struct bytes key);

/*
 * Walk over all objects: start with `*cursor` 0, ends with NULL. Changing the map other than
 * by removing the object just returned makes the walk miss or repeat objects.
 */
void *map_next(const struct map *map, size_t *cursor);

/* Hash bytes with the seed of this process; the same on every thread. */
uint64_t hash_bytes(struct bytes key);

/*
 * Hash bytes as every process does, of whatever run and node: for what leaves this one and comes
 * back to another. Who may choose the bytes can make collisions: no table is built on it.
 */
uint64_t hash_unseeded(struct bytes content);

/*
 * Replace the seed by a known one, so that a test can be repeated in another process: before
 * anything was hashed, and before threads start.
 */
TEST_SEAM void hash_fix_seed(uint64_t known);

#endif
