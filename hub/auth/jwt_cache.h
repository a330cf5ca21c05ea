/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt_cache - claims of tokens that were verified, by the tokens' SHA-256, bounded.
 *
 * The token itself is not kept. The entry that was not used for longest goes first.
 */
#ifndef HUB_AUTH_JWT_CACHE_H
#define HUB_AUTH_JWT_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "codec/claims.h"
#include "hub/net/crypto.h"

struct jwt_cache;

/* Make a cache of at most `max` entries; 0 keeps none. */
MUST_CHECK struct jwt_cache *jwt_cache_create(size_t max);

/* Free it; NULL is allowed. */
void jwt_cache_destroy(struct jwt_cache *cache);

/* The claims under `digest`, borrowed until the next call, or NULL. */
struct claims *jwt_cache_get(struct jwt_cache *cache, const uint8_t digest[CRYPTO_SHA256_LEN]);

/* Keep a reference of `claims`; an entry under the same digest is replaced. */
void jwt_cache_put(
    struct jwt_cache *cache, const uint8_t digest[CRYPTO_SHA256_LEN], struct claims *claims);

/* Forget one entry, if it is there; or all. */
void jwt_cache_remove(struct jwt_cache *cache, const uint8_t digest[CRYPTO_SHA256_LEN]);

/* What the entries and their table take of memory, without the texts of claims. */
uint64_t jwt_cache_bytes(const struct jwt_cache *cache);

/* The number of entries. */
size_t jwt_cache_count(const struct jwt_cache *cache);

#endif
