/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt - checks users' tokens (JSON Web Tokens, RFC 7519) against pinned keys and a policy.
 *
 * Every key has exactly one algorithm; a token whose header says another is refused before any
 * arithmetic. Nothing in a token's header is ever fetched or used as a path. One struct jwt per
 * shard: it caches the tokens that public keys have verified, by their SHA-256; to verify an HS256
 * token again costs less.
 */
#ifndef HUB_AUTH_JWT_H
#define HUB_AUTH_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/claims.h"
#include "hub/auth/jwt_options.h"

struct jwt;

/*
 * Make a token check. On failure a sentence for people is appended to `error` and the status is
 * STATUS_INVALID (a key or option is wrong; the sentence names it, never its content).
 */
MUST_CHECK int jwt_create(
    const struct jwt_options *options, struct builder *error, struct jwt **ret_jwt);

/* Free it; NULL is allowed. */
void jwt_destroy(struct jwt *jwt);

/*
 * Replace keys and policy and forget the cached tokens; on failure (as jwt_create) nothing
 * changes.
 */
MUST_CHECK int jwt_reload(
    struct jwt *jwt, const struct jwt_options *options, struct builder *error);

/*
 * Verify a token at wall-clock time `now_s` and hand out its claims, freed by the caller with
 * claims_unref. STATUS_NOT_FOUND: empty token; STATUS_EXPIRED: signature, audience and issuer
 * are right and `exp` has passed; STATUS_UNAUTHORIZED: anything else; STATUS_NOMEM.
 */
MUST_CHECK int jwt_verify(
    struct jwt *jwt, struct bytes token, uint64_t now_s, struct claims **ret_claims);

/* Why jwt_verify refused last; valid until it is called again. */
const struct jwt_refusal *jwt_last_refusal(const struct jwt *jwt);

/* Counters since jwt_create. */
struct jwt_stats {
    uint64_t verified; /* signatures computed */
    uint64_t cache_hits;
    uint64_t refused; /* tokens not accepted */
    size_t cached; /* tokens in the cache now */
    size_t keys; /* keys in use now */
    uint64_t cache_bytes; /* of memory, without the texts of claims */
};
struct jwt_stats jwt_get_stats(const struct jwt *jwt);

/* What is counted, without what would have to be looked up: verified, cache_hits, refused. */
const struct jwt_stats *jwt_counts(const struct jwt *jwt);

/*
 * Append a compact token signed with the key, which must be a secret or a private PEM or JWK.
 * STATUS_INVALID (and a sentence in `error`) when the key cannot sign. Any thread.
 */
MUST_CHECK int jwt_sign(const struct jwt_key_options *key, const struct jwt_sign_options *options,
    struct builder *error, struct builder *token);

#endif
