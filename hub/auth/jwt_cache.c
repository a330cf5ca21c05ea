/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map by the token's hash, and a list by last use.
 */
#include "hub/auth/jwt_cache.h"

#include <string.h>

#include "codec/base/list.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"

struct verified {
    struct list link; /* jwt_cache.recent */
    struct claims *claims;
    uint8_t digest[CRYPTO_SHA256_LEN];
};

struct jwt_cache {
    struct map tokens;
    struct list recent; /* verified.link; the one used last is last */
    size_t max;
};

static struct bytes key_of_verified(const void *object)
{
    const struct verified *verified = object;
    return bytes_of(verified->digest, sizeof(verified->digest));
}

struct jwt_cache *jwt_cache_create(size_t max)
{
    struct jwt_cache *cache = mem_alloc(sizeof(*cache));
    map_init(&cache->tokens, key_of_verified);
    list_init(&cache->recent);
    cache->max = max;
    return cache;
}

static void drop(struct jwt_cache *cache, struct verified *verified)
{
    map_remove(&cache->tokens, key_of_verified(verified));
    list_remove(&verified->link);
    claims_unref(verified->claims);
    mem_free(verified);
}

static void jwt_cache_clear(struct jwt_cache *cache)
{
    while (!list_empty(&cache->recent)) {
        drop(cache, container_of(cache->recent.next, struct verified, link));
    }
}

void jwt_cache_destroy(struct jwt_cache *cache)
{
    if (cache != NULL) {
        jwt_cache_clear(cache);
        map_finish(&cache->tokens);
        mem_free(cache);
    }
}

static struct verified *find(const struct jwt_cache *cache, const uint8_t *digest)
{
    return map_get(&cache->tokens, bytes_of(digest, CRYPTO_SHA256_LEN));
}

struct claims *jwt_cache_get(struct jwt_cache *cache, const uint8_t digest[CRYPTO_SHA256_LEN])
{
    struct verified *verified = find(cache, digest);
    if (verified == NULL) {
        return NULL;
    }
    list_remove(&verified->link);
    list_append(&cache->recent, &verified->link);
    return verified->claims;
}

void jwt_cache_put(
    struct jwt_cache *cache, const uint8_t digest[CRYPTO_SHA256_LEN], struct claims *claims)
{
    jwt_cache_remove(cache, digest);
    if (cache->max == 0) {
        return;
    }
    if (map_count(&cache->tokens) == cache->max) {
        drop(cache, container_of(cache->recent.next, struct verified, link));
    }
    struct verified *verified = mem_try_calloc(1, sizeof(*verified));
    if (verified == NULL) {
        return; /* it is verified again next time */
    }
    memcpy(verified->digest, digest, CRYPTO_SHA256_LEN);
    verified->claims = claims_ref(claims);
    if (!map_put(&cache->tokens, verified)) {
        claims_unref(verified->claims);
        mem_free(verified); /* as above */
        return;
    }
    list_append(&cache->recent, &verified->link);
}

void jwt_cache_remove(struct jwt_cache *cache, const uint8_t digest[CRYPTO_SHA256_LEN])
{
    struct verified *verified = find(cache, digest);
    if (verified != NULL) {
        drop(cache, verified);
    }
}

size_t jwt_cache_count(const struct jwt_cache *cache)
{
    return map_count(&cache->tokens);
}

uint64_t jwt_cache_bytes(const struct jwt_cache *cache)
{
    size_t verified = mem_cost(sizeof(struct verified)) + mem_cost(offsetof(struct claims, text));
    return map_bytes(&cache->tokens) + map_count(&cache->tokens) * verified;
}
