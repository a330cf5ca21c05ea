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

enum {
    JWT_TOKEN_MAX = 8192, /* bytes of a token */
    JWT_SECRET_MIN = 32, /* bytes of an HS256 secret (RFC 7518 3.2) */
    JWT_ROOMS_MAX = 512, /* entries of the `rooms` claim, and kept extra values */
};

enum jwt_alg { JWT_ALG_NONE, JWT_ALG_HS256, JWT_ALG_RS256, JWT_ALG_PS256, JWT_ALG_ES256 };

enum jwt_key_kind {
    JWT_KEY_SECRET, /* the bytes of an HS256 secret */
    JWT_KEY_PEM, /* a PEM public (or private) key or certificate */
    /* One JWK or a JWK set, as JSON text; each key with its own `alg`. Keys of a set that are not
     * for signatures, or of an algorithm that Peal does not have, are passed over. */
    JWT_KEY_JWK,
};

/* One configured key or key set. */
struct jwt_key_options {
    enum jwt_key_kind kind;
    struct bytes material; /* the content, not a path */
    /* Required for PEM with an RSA key; for others NONE, or what the key must be. */
    enum jwt_alg alg;
    /* Of a secret or PEM. A token with a kid is tried with the keys of that kid and those without
     * one, a token without with all. */
    struct bytes kid;
    struct bytes issuer; /* if not empty, the key counts only for tokens of this `iss` */
};

/* The policy; all borrowed for the call. */
struct jwt_options {
    const struct jwt_key_options *keys;
    size_t key_count;
    struct bytes issuer; /* `iss` must equal it; empty: any */
    struct bytes audience; /* `aud` must be or contain it; empty: any */
    bool allow_no_exp; /* accept tokens without `exp` */
    bool allow_short_secret; /* accept secrets under JWT_SECRET_MIN bytes (warned about) */
    uint32_t leeway_s; /* for `exp` and `nbf`, at most 300 */
    size_t cache_max; /* tokens verified by public keys that are kept; 0: none */
    const struct bytes *extra_claims; /* names of further claims to keep for access rules */
    size_t extra_count;
};

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

enum { JWT_SHOWN_MAX = 128 };

/* Why a token was refused, for the operator: clients are told none of it. */
struct jwt_refusal {
    const char *reason; /* "exp is missing" */
    struct bytes kid; /* as its header says, unproven; empty: none */
    struct bytes user; /* who the token is for; empty unless its signature is right */
    /* private */
    char kid_at[JWT_SHOWN_MAX];
    char user_at[JWT_SHOWN_MAX];
};

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

/* What jwt_sign puts into a token; empty members are left out. */
struct jwt_sign_options {
    struct claims_fields claims; /* `extra` is not written */
    struct bytes audience;
    uint64_t issued_at; /* seconds since 1970 UTC */
};

/*
 * Append a compact token signed with the key, which must be a secret or a private PEM or JWK.
 * STATUS_INVALID (and a sentence in `error`) when the key cannot sign. Any thread.
 */
MUST_CHECK int jwt_sign(const struct jwt_key_options *key, const struct jwt_sign_options *options,
    struct builder *error, struct builder *token);

#endif
