/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apikey - the keys backends show, and what each may do.
 */
#ifndef HUB_AUTH_APIKEY_H
#define HUB_AUTH_APIKEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum {
    APIKEY_MIN = 16, /* bytes of a key */
    APIKEY_MAX = 1024,
};

/* What a key is allowed to do. */
enum apikey_scopes {
    APIKEY_PUBLISH = 1u << 0,
    APIKEY_READ = 1u << 1,
    APIKEY_WRITE = 1u << 2, /* marks: read, and what else a user does to an inbox */
    APIKEY_VALUES = 1u << 3,
    APIKEY_JOBS = 1u << 4,
    APIKEY_METRICS = 1u << 5,
    APIKEY_VIEWER = 1u << 6,
    APIKEY_ADMIN = 1u << 7, /* includes none of the others */
};

/* One configured key, borrowed. */
struct apikey_options {
    struct bytes name; /* shown in logs and metrics; unique */
    struct bytes key; /* the secret */
    const char *const *scopes; /* words: publish, read, write, values, …; at least one */
    size_t scope_count;
    struct bytes tenant; /* empty: every tenant */
};

/* A key that was shown; valid until its set is destroyed. */
struct apikey {
    struct bytes name;
    struct bytes tenant; /* empty: every tenant */
    unsigned scopes; /* enum apikey_scopes */
};

struct apikey_set;

/* A sentence that names the first of `scopes`, which a key lacks. */
const char *apikey_needs(unsigned scopes);

/*
 * Make a set of keys; only SHA-256 digests of the secrets are kept. STATUS_INVALID with a
 * sentence appended to `error`: a key is too short or too long, a name or key is there twice, a
 * scope is unknown.
 */
MUST_CHECK int apikey_set_create(const struct apikey_options *keys, size_t count,
    struct builder *error, struct apikey_set **ret_set);

/* Free the set; NULL is allowed. */
void apikey_set_destroy(struct apikey_set *set);

/* Return the key whose secret is `secret`, or NULL, in a time that does not tell which. */
const struct apikey *apikey_find(const struct apikey_set *set, struct bytes secret);

/*
 * What says later, without the secret, which key of `set` was found; never 0. It outlives the set:
 * apikey_recall returns NULL for a mark of another one, and for 0.
 */
uint64_t apikey_mark(const struct apikey_set *set, const struct apikey *key);
const struct apikey *apikey_recall(const struct apikey_set *set, uint64_t mark);

/*
 * Take the token out of the value of an Authorization header, "Bearer <token>" (RFC 6750 2.1;
 * the scheme in any case). STATUS_NOT_FOUND when the value is empty or of another scheme,
 * STATUS_INVALID when the token is missing or has characters that none has.
 */
MUST_CHECK int apikey_parse_bearer(struct bytes header, struct bytes *ret_token);

#endif
