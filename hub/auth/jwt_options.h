/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt_options - what a check of tokens is made of, what a token is made of, and what is said of one
 * that is refused.
 */
#ifndef HUB_AUTH_JWT_OPTIONS_H
#define HUB_AUTH_JWT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
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

/* What jwt_sign puts into a token; empty members are left out. */
struct jwt_sign_options {
    struct claims_fields claims; /* `extra` is not written */
    struct bytes audience;
    uint64_t issued_at; /* seconds since 1970 UTC */
};

#endif
