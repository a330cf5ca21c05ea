/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots are an array with a list of the free ones, keys one map for each behaviour; both may find
 * no memory, and then nothing has changed.
 */
#include "actors/core/registry.h"

#include "codec/base/mem.h"

enum { FIRST_CAP = 64 };

/* An object in a map of the registry is a struct actor. */
static struct bytes key_of(const void *object)
{
    const struct actor *actor = object;
    return actor->behaviour->key_of(actor);
}

void registry_init(struct registry *registry)
{
    *registry = (struct registry){0};
    for (unsigned id = 0; id < BEHAVIOUR_MAX; id++) {
        map_init(&registry->by_key[id], key_of);
    }
}

void registry_finish(struct registry *registry)
{
    for (unsigned id = 0; id < BEHAVIOUR_MAX; id++) {
        map_finish(&registry->by_key[id]);
    }
    mem_free(registry->slots);
    *registry = (struct registry){0};
}

/* Room for one more slot; false: no memory. */
static bool grow(struct registry *registry)
{
    CHECK(registry->cap <= UINT32_MAX / 2);
    uint32_t cap = registry->cap == 0 ? FIRST_CAP : registry->cap * 2;
    struct registry_slot *slots =
        mem_try_realloc(registry->slots, (size_t)cap * sizeof(*registry->slots));
    if (slots == NULL) {
        return false;
    }
    registry->slots = slots;
    registry->cap = cap;
    return true;
}

/* A free slot stands first in the list of free ones. False: no memory. */
static bool have_slot(struct registry *registry)
{
    if (registry->first_free != 0) {
        return true;
    }
    if (registry->used == registry->cap && !grow(registry)) {
        return false;
    }
    registry->slots[registry->used] = (struct registry_slot){0};
    registry->first_free = ++registry->used;
    return true;
}

/* Two behaviours with one id would find each other's actors. */
static void check_id(struct registry *registry, const struct behaviour *behaviour)
{
    CHECK(behaviour->id < BEHAVIOUR_MAX);
    const struct behaviour **known = &registry->behaviours[behaviour->id];
    CHECK(*known == NULL || *known == behaviour);
    *known = behaviour;
}

bool registry_add(struct registry *registry, struct actor *actor, unsigned shard)
{
    check_id(registry, actor->behaviour);
    bool named = actor->behaviour->key_of != NULL;
    if (!have_slot(registry) ||
        (named && !map_put(&registry->by_key[actor->behaviour->id], actor))) {
        return false;
    }
    uint32_t number = registry->first_free - 1;
    struct registry_slot *slot = &registry->slots[number];
    registry->first_free = slot->next_free;
    slot->actor = actor;
    slot->generation++;
    actor->self = (struct actor_ref){.slot = number, .shard = (uint8_t)shard};
    actor->self.generation = slot->generation & GENERATION_MAX;
    registry->count++;
    return true;
}

void registry_remove(struct registry *registry, struct actor *actor)
{
    struct registry_slot *slot = &registry->slots[actor->self.slot];
    CHECK(slot->actor == actor);
    slot->actor = NULL;
    registry->count--;
    if (slot->generation < GENERATION_MAX) {
        slot->next_free = registry->first_free;
        registry->first_free = actor->self.slot + 1;
    }
    if (actor->behaviour->key_of != NULL) {
        struct map *map = &registry->by_key[actor->behaviour->id];
        CHECK(map_remove(map, actor->behaviour->key_of(actor)) == actor);
    }
}

uint64_t registry_bytes(const struct registry *registry, const struct behaviour *behaviour)
{
    const struct map *map = &registry->by_key[behaviour->id];
    uint64_t slots = registry->cap * sizeof(*registry->slots);
    uint64_t share = registry->count > 0 ? slots * map_count(map) / registry->count : 0;
    return map_bytes(map) + share;
}

struct actor *registry_get(const struct registry *registry, struct actor_ref ref)
{
    if (ref.slot >= registry->used) {
        return NULL;
    }
    const struct registry_slot *slot = &registry->slots[ref.slot];
    return slot->generation == ref.generation ? slot->actor : NULL;
}

struct actor *registry_find(
    const struct registry *registry, const struct behaviour *behaviour, struct bytes key)
{
    return map_get(&registry->by_key[behaviour->id], key);
}
