/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear probing in two arrays of one allocation, the hashes and the objects; a seed of the process
 * is in every hash.
 */
#include "codec/base/map.h"

#include <pthread.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "codec/base/mem.h"

/*
 * What stands in the place of a hash. Removal leaves a mark, so that a walk may remove what it was
 * just given; growing drops marks. Looking for a key reads hashes alone until one fits.
 */
enum { NEVER_USED = 0, REMOVED = 1, HASH_MIN = 2 };

enum { FIRST_CAP = 8, SLOT_SIZE = sizeof(void *) + sizeof(uint32_t) };

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;
static uint64_t seed; /* set once, before any other thread can hash */

static void draw_seed(void)
{
    CHECK(getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed));
}

uint64_t hash_bytes(struct bytes key)
{
    pthread_once(&seed_once, draw_seed);
    return XXH3_64bits_withSeed(key.at, key.len, seed);
}

uint64_t hash_unseeded(struct bytes content)
{
    return XXH3_64bits(content.at, content.len);
}

void hash_fix_seed(uint64_t known)
{
    pthread_once(&seed_once, draw_seed);
    seed = known;
}

void map_init(struct map *map, map_key_fn key_of)
{
    *map = (struct map){.key_of = key_of};
}

void map_finish(struct map *map)
{
    mem_free(map->objects);
    map_init(map, map->key_of);
}

size_t map_count(const struct map *map)
{
    return map->count;
}

size_t map_bytes(const struct map *map)
{
    return map->cap * SLOT_SIZE;
}

/* The hash that a slot keeps: no mark. */
static uint32_t kept_hash(struct bytes key)
{
    uint32_t hash = (uint32_t)hash_bytes(key);
    return hash < HASH_MIN ? hash + HASH_MIN : hash;
}

/* The slot of `key`; map->cap when there is none. */
static size_t find(const struct map *map, uint32_t hash, struct bytes key)
{
    if (map->cap == 0) {
        return 0;
    }
    size_t i = hash & (map->cap - 1);
    while (map->hashes[i] != NEVER_USED) {
        if (map->hashes[i] == hash && bytes_eq(map->key_of(map->objects[i]), key)) {
            return i;
        }
        i = (i + 1) & (map->cap - 1);
    }
    return map->cap;
}

void *map_get(const struct map *map, struct bytes key)
{
    size_t i = find(map, kept_hash(key), key);
    return i < map->cap ? map->objects[i] : NULL;
}

/* Into the first slot that was never used: of a map that has such slots. */
static void insert(struct map *map, uint32_t hash, void *object)
{
    size_t i = hash & (map->cap - 1);
    while (map->hashes[i] != NEVER_USED) {
        i = (i + 1) & (map->cap - 1);
    }
    map->hashes[i] = hash;
    map->objects[i] = object;
}

/* False: no memory; the map is as it was. */
static bool rehash(struct map *map)
{
    struct map old = *map;
    size_t cap = FIRST_CAP;
    while (cap < old.count * 2 + 2) {
        cap *= 2;
    }
    CHECK(cap <= UINT32_MAX);
    void **objects = mem_try_calloc(cap, SLOT_SIZE);
    if (objects == NULL) {
        return false;
    }
    map->cap = cap;
    map->objects = objects;
    map->hashes = (uint32_t *)(void *)(map->objects + map->cap);
    for (size_t i = 0; i < old.cap; i++) {
        if (old.hashes[i] >= HASH_MIN) {
            insert(map, old.hashes[i], old.objects[i]);
        }
    }
    mem_free(old.objects);
    map->used = map->count;
    return true;
}

bool map_put(struct map *map, void *object)
{
    if ((map->used + 1) * 4 > map->cap * 3 && !rehash(map)) {
        return false;
    }
    struct bytes key = map->key_of(object);
    uint32_t hash = kept_hash(key);
    CHECK_SLOW(find(map, hash, key) == map->cap);
    insert(map, hash, object);
    map->count++;
    map->used++;
    return true;
}

void *map_replace(struct map *map, void *object)
{
    struct bytes key = map->key_of(object);
    size_t i = find(map, kept_hash(key), key);
    if (i >= map->cap) {
        return NULL;
    }
    void *before = map->objects[i];
    map->objects[i] = object;
    return before;
}

void *map_remove(struct map *map, struct bytes key)
{
    size_t i = find(map, kept_hash(key), key);
    if (i >= map->cap) {
        return NULL;
    }
    bool last_of_run = map->hashes[(i + 1) & (map->cap - 1)] == NEVER_USED;
    map->hashes[i] = last_of_run ? NEVER_USED : REMOVED;
    map->used -= last_of_run;
    map->count--;
    return map->objects[i];
}

void *map_next(const struct map *map, size_t *cursor)
{
    while (*cursor < map->cap) {
        size_t i = (*cursor)++;
        if (map->hashes[i] >= HASH_MIN) {
            return map->objects[i];
        }
    }
    return NULL;
}
