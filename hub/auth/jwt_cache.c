/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map by the token's hash, and a list by last use.
 */
#include "hub/auth/jwt_cache.h"

#include <string.h>

#include "codec/base/list.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"

struct entry {
    struct list link; /* jwt_cache.recent */
    struct claims *claims;
    uint8_t digest[CRYPTO_SHA256_LEN];
};

struct jwt_cache {
    struct map entries;
    struct list recent; /* entry.link; the one used last is last */
    size_t max;
};

static struct bytes key_of_entry(const void *object)
{
    const struct entry *entry = object;
    return bytes_of(entry->digest, sizeof(entry->digest));
}

struct jwt_cache *jwt_cache_create(size_t max)
{
    struct jwt_cache *cache = mem_alloc(sizeof(*cache));
    map_init(&cache->entries, key_of_entry);
    list_init(&cache->recent);
    cache->max = max;
    return cache;
}

static void drop(struct jwt_cache *cache, struct entry *entry)
{
    map_remove(&cache->entries, key_of_entry(entry));
    list_remove(&entry->link);
    claims_unref(entry->claims);
    mem_free(entry);
}

static void jwt_cache_clear(struct jwt_cache *cache)
{
    while (!list_empty(&cache->recent)) {
        drop(cache, container_of(cache->recent.next, struct entry, link));
    }
}

void jwt_cache_destroy(struct jwt_cache *cache)
{
    if (cache != NULL) {
        jwt_cache_clear(cache);
        map_finish(&cache->entries);
        mem_free(cache);
    }
}

static struct entry *find(const struct jwt_cache *cache, const uint8_t *digest)
{
    return map_get(&cache->entries, bytes_of(digest, CRYPTO_SHA256_LEN));
}

struct claims *jwt_cache_get(struct jwt_cache *cache, const uint8_t digest[CRYPTO_SHA256_LEN])
{
    struct entry *entry = find(cache, digest);
    if (entry == NULL) {
        return NULL;
    }
    list_remove(&entry->link);
    list_append(&cache->recent, &entry->link);
    return entry->claims;
}

void jwt_cache_put(
    struct jwt_cache *cache, const uint8_t digest[CRYPTO_SHA256_LEN], struct claims *claims)
{
    jwt_cache_remove(cache, digest);
    if (cache->max == 0) {
        return;
    }
    if (map_count(&cache->entries) == cache->max) {
        drop(cache, container_of(cache->recent.next, struct entry, link));
    }
    struct entry *entry = mem_alloc(sizeof(*entry));
    memcpy(entry->digest, digest, CRYPTO_SHA256_LEN);
    entry->claims = claims_ref(claims);
    if (!map_put(&cache->entries, entry)) {
        claims_unref(entry->claims);
        mem_free(entry); /* it is verified again next time */
        return;
    }
    list_append(&cache->recent, &entry->link);
}

void jwt_cache_remove(struct jwt_cache *cache, const uint8_t digest[CRYPTO_SHA256_LEN])
{
    struct entry *entry = find(cache, digest);
    if (entry != NULL) {
        drop(cache, entry);
    }
}

size_t jwt_cache_count(const struct jwt_cache *cache)
{
    return map_count(&cache->entries);
}

uint64_t jwt_cache_bytes(const struct jwt_cache *cache)
{
    size_t entry = mem_cost(sizeof(struct entry)) + mem_cost(offsetof(struct claims, text));
    return map_bytes(&cache->entries) + map_count(&cache->entries) * entry;
}
