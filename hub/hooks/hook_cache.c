/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map of answers, and a list of them in the order of their last use.
 */
#include "hub/hooks/hook_cache.h"

#include <string.h>

#include "codec/base/mem.h"

struct known {
    struct list link; /* hook_cache.used */
    uint64_t until;
    bool allow;
    uint8_t key[HOOK_KEY_LEN];
};

static struct bytes key_of(const void *object)
{
    return bytes_of(((const struct known *)object)->key, HOOK_KEY_LEN);
}

void hook_cache_init(struct hook_cache *cache, size_t max)
{
    *cache = (struct hook_cache){.max = max};
    map_init(&cache->by_key, key_of);
    list_init(&cache->used);
}

static void drop(struct hook_cache *cache, struct known *known)
{
    map_remove(&cache->by_key, key_of(known));
    list_remove(&known->link);
    mem_free(known);
}

static struct known *first_of(const struct hook_cache *cache)
{
    return container_of(cache->used.next, struct known, link);
}

void hook_cache_finish(struct hook_cache *cache)
{
    while (!list_empty(&cache->used)) {
        drop(cache, first_of(cache));
    }
    map_finish(&cache->by_key);
}

bool hook_cache_get(
    struct hook_cache *cache, const uint8_t key[HOOK_KEY_LEN], uint64_t now, bool *ret_allow)
{
    struct known *known = map_get(&cache->by_key, bytes_of(key, HOOK_KEY_LEN));
    if (known == NULL) {
        return false;
    }
    if (now >= known->until) {
        drop(cache, known);
        return false;
    }
    list_remove(&known->link);
    list_append(&cache->used, &known->link);
    *ret_allow = known->allow;
    return true;
}

/* What ended on the way is let go with the one that has to. */
static void make_place(struct hook_cache *cache, uint64_t now)
{
    while (map_count(&cache->by_key) >= cache->max ||
           (!list_empty(&cache->used) && now >= first_of(cache)->until)) {
        cache->evicted += now < first_of(cache)->until;
        drop(cache, first_of(cache));
    }
}

void hook_cache_put(struct hook_cache *cache, const uint8_t key[HOOK_KEY_LEN], bool allow,
    uint64_t now, uint64_t until)
{
    struct known *known = map_get(&cache->by_key, bytes_of(key, HOOK_KEY_LEN));
    if (known != NULL) {
        drop(cache, known);
    }
    make_place(cache, now);
    known = mem_try_calloc(1, sizeof(*known));
    if (known == NULL) {
        return;
    }
    memcpy(known->key, key, HOOK_KEY_LEN);
    known->allow = allow;
    known->until = until;
    list_init(&known->link);
    if (!map_put(&cache->by_key, known)) {
        mem_free(known);
        return;
    }
    list_append(&cache->used, &known->link);
}
