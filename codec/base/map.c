/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base/map.h"

#include <pthread.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "codec/base/mem.h"

/* Removal leaves a mark, so that a walk may remove what it was just given; growing drops marks. */
#define TOMBSTONE ((void *)1)

enum { FIRST_CAP = 8 };

struct map_slot {
    uint64_t hash;
    void *object; /* NULL: never used; TOMBSTONE: removed */
};

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
    mem_free(map->slots);
    map_init(map, map->key_of);
}

size_t map_count(const struct map *map)
{
    return map->count;
}

static struct map_slot *find(const struct map *map, uint64_t hash, struct bytes key)
{
    if (map->cap == 0) {
        return NULL;
    }
    for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
        struct map_slot *slot = &map->slots[i];
        if (slot->object == NULL) {
            return NULL;
        }
        if (slot->object != TOMBSTONE && slot->hash == hash &&
            bytes_eq(map->key_of(slot->object), key)) {
            return slot;
        }
    }
}

void *map_get(const struct map *map, struct bytes key)
{
    struct map_slot *slot = find(map, hash_bytes(key), key);
    return slot ? slot->object : NULL;
}

static void insert(struct map_slot *slots, size_t cap, uint64_t hash, void *object)
{
    size_t i = hash & (cap - 1);
    while (slots[i].object != NULL) {
        i = (i + 1) & (cap - 1);
    }
    slots[i] = (struct map_slot){.hash = hash, .object = object};
}

static void rehash(struct map *map)
{
    size_t cap = FIRST_CAP;
    while (cap < map->count * 2 + 2) {
        cap *= 2;
    }
    struct map_slot *slots = mem_alloc_array(cap, sizeof(*slots));
    for (size_t i = 0; i < map->cap; i++) {
        if (map->slots[i].object != NULL && map->slots[i].object != TOMBSTONE) {
            insert(slots, cap, map->slots[i].hash, map->slots[i].object);
        }
    }
    mem_free(map->slots);
    map->slots = slots;
    map->cap = cap;
    map->used = map->count;
}

void map_put(struct map *map, void *object)
{
    if ((map->used + 1) * 4 > map->cap * 3) {
        rehash(map);
    }
    struct bytes key = map->key_of(object);
    uint64_t hash = hash_bytes(key);
    CHECK_SLOW(find(map, hash, key) == NULL);
    insert(map->slots, map->cap, hash, object);
    map->count++;
    map->used++;
}

void *map_remove(struct map *map, struct bytes key)
{
    struct map_slot *slot = find(map, hash_bytes(key), key);
    if (slot == NULL) {
        return NULL;
    }
    void *object = slot->object;
    size_t following = ((size_t)(slot - map->slots) + 1) & (map->cap - 1);
    bool last_of_run = map->slots[following].object == NULL;
    slot->object = last_of_run ? NULL : TOMBSTONE;
    map->used -= last_of_run;
    map->count--;
    return object;
}

void *map_next(const struct map *map, size_t *cursor)
{
    while (*cursor < map->cap) {
        void *object = map->slots[(*cursor)++].object;
        if (object != NULL && object != TOMBSTONE) {
            return object;
        }
    }
    return NULL;
}
