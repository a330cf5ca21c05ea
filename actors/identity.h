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
    uint32_t key_len;
    uint32_t space_len; /* bytes of the tenant in front of key's '/'; 0: the common space */
    struct claims *claims; /* owned */
    char key_at[]; /* "tenant/user", or "user" in the common space */
};

/*
 * A new identity with one reference that owns `claims`. With `tenants`, the tenant of the claims
 * (if there is one) is the space that its user and rooms belong to. Aborts without memory.
 */
MUST_CHECK struct identity *identity_new(struct claims *claims, bool tenants);

/* Add a reference and return `identity`. */
struct identity *identity_ref(struct identity *identity);

/* Drop a reference; NULL is allowed. */
void identity_unref(struct identity *identity);

/* The key of the user actor: "tenant/user", or "user". */
static inline struct bytes identity_key(const struct identity *identity)
{
    return bytes_of(identity->key_at, identity->key_len);
}

/* The tenant that users and rooms belong to; empty for the common space. */
static inline struct bytes identity_space(const struct identity *identity)
{
    return bytes_of(identity->key_at, identity->space_len);
}

#endif
