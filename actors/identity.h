/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity - who a session is: the claims of its verified token, in one allocation.
 *
 * Counted without atomics: it belongs to one shard (a move makes a copy).
 */
#ifndef ACTORS_IDENTITY_H
#define ACTORS_IDENTITY_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct identity {
    uint32_t refs;
    uint32_t room_count;
    uint64_t expires_at; /* wall clock ms; 0: never */
    struct bytes key; /* "tenant/user" with tenants on and a tenant, else "user" */
    struct bytes user; /* inside key */
    struct bytes tenant; /* the claim, for rules and quotas; empty: none */
    struct bytes space; /* the tenant that users and rooms belong to; empty where tenants are off */
    struct bytes role;
    struct bytes name; /* empty: none given */
    const struct bytes *rooms; /* names, or prefixes ending in '*' */
};

/* What identity_new copies. */
struct identity_claims {
    struct bytes user;
    struct bytes tenant;
    struct bytes role;
    struct bytes name;
    const struct bytes *rooms;
    size_t room_count;
    uint64_t expires_at;
};

/* A copy of `claims` with one reference; with `tenants` the tenant becomes part of the key. Aborts.
 */
MUST_CHECK struct identity *identity_new(const struct identity_claims *claims, int tenants);

/* Add a reference and return `identity`. */
struct identity *identity_ref(struct identity *identity);

/* Drop a reference; NULL is allowed. */
void identity_unref(struct identity *identity);

#endif
