/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity - who a session is: the claims of its verified token, and the names that follow from
 * them.
 *
 * Counted without atomics: it belongs to one shard, and moves to another one only together with the
 * one session that holds it.
 */
#ifndef ACTORS_IDENTITY_H
#define ACTORS_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/claims.h"

struct identity {
    uint32_t refs;
    bool spaced; /* the tenant of the claims is the space of users and rooms */
    /* struct claims follow */
};

/*
 * A new identity with one reference that holds a copy of `claims`, whose reference it takes. With
 * `tenants`, the tenant of the claims (if there is one) is the space that its user and rooms belong
 * to. Aborts without memory.
 */
MUST_CHECK struct identity *identity_new(struct claims *claims, bool tenants);

/* Add a reference and return `identity`. */
struct identity *identity_ref(struct identity *identity);

/* Drop a reference; NULL is allowed. */
void identity_unref(struct identity *identity);

/* What the token said; borrowed from the identity, and not counted (no claims_ref). */
static inline const struct claims *identity_claims(const struct identity *identity)
{
    return (const struct claims *)(const void *)(identity + 1);
}

/* The key of the user actor: "tenant/user", or "user" in the common space. */
static inline struct bytes identity_key(const struct identity *identity)
{
    const struct claims *claims = identity_claims(identity);
    return identity->spaced ? claims_path(claims) : claims_user(claims);
}

/* The tenant that users and rooms belong to; empty for the common space. */
static inline struct bytes identity_space(const struct identity *identity)
{
    return identity->spaced ? claims_tenant(identity_claims(identity)) : bytes_of(NULL, 0);
}

#endif
