/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claims - who a connected user is, as its verified token said.
 *
 * The token check (hub/auth/jwt.c) makes them, the user's identity keeps them, access rules read
 * them. Every idle connection holds some, so they are packed: one allocation, lengths of two bytes,
 * no pointers (so that they may be copied and moved between shards as bytes).
 */
#ifndef CODEC_CLAIMS_H
#define CODEC_CLAIMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* One value of a claim that the configuration asked to keep; a list makes several of these. */
struct claims_extra {
    struct bytes name;
    struct bytes value;
};

/* What claims are made of; no text longer than 65,535 bytes, and no more entries. */
struct claims_fields {
    struct bytes user; /* `sub` or `userId`; never empty */
    struct bytes role; /* empty when absent, as the following */
    struct bytes name;
    struct bytes tenant; /* `tenant` or `companyId` */
    struct bytes issuer;
    uint64_t expires_at; /* seconds since 1970 UTC; 0 = never */
    size_t room_count;
    const struct bytes *rooms; /* room names, or prefixes that end in '*' */
    size_t extra_count;
    const struct claims_extra *extra;
};

struct claims {
    uint64_t expires_at; /* as in claims_fields */
    /* private */
    atomic_uint refs;
    uint16_t tenant_len;
    uint16_t user_len;
    uint16_t role_len;
    uint16_t name_len;
    uint16_t issuer_len;
    uint16_t room_count;
    uint16_t extra_count;
    char text[]; /* "tenant/user" or "user", role, name, issuer; then entries, each with its length
                  */
};

/* New claims with one reference; NULL when out of memory. Never changed; for any thread. */
MUST_CHECK struct claims *claims_new(const struct claims_fields *fields);

/* Add a reference to what claims_new returned, and return it. Any thread. */
struct claims *claims_ref(struct claims *claims);

/* Drop a reference, freeing the claims with the last one; NULL is allowed. Any thread. */
void claims_unref(struct claims *claims);

/* How many bytes claims are, and a copy into as many of the caller's, which are 8-aligned. */
size_t claims_size(const struct claims *claims);
void claims_copy(const struct claims *claims, void *at);

static inline size_t claims_user_offset(const struct claims *claims)
{
    return claims->tenant_len + (claims->tenant_len > 0 ? 1u : 0u);
}

static inline struct bytes claims_tenant(const struct claims *claims)
{
    return bytes_of(claims->text, claims->tenant_len);
}

static inline struct bytes claims_user(const struct claims *claims)
{
    return bytes_of(claims->text + claims_user_offset(claims), claims->user_len);
}

/* "tenant/user", or "user" of who has no tenant. */
static inline struct bytes claims_path(const struct claims *claims)
{
    return bytes_of(claims->text, claims_user_offset(claims) + claims->user_len);
}

static inline struct bytes claims_role(const struct claims *claims)
{
    struct bytes before = claims_path(claims);
    return bytes_of(before.at + before.len, claims->role_len);
}

static inline struct bytes claims_name(const struct claims *claims)
{
    struct bytes before = claims_role(claims);
    return bytes_of(before.at + before.len, claims->name_len);
}

static inline struct bytes claims_issuer(const struct claims *claims)
{
    struct bytes before = claims_name(claims);
    return bytes_of(before.at + before.len, claims->issuer_len);
}

/* Whether the token's `rooms` claim names `room`, or a prefix of it. */
bool claims_list_room(const struct claims *claims, struct bytes room);

/* Whether the kept claim `name` has `value`, alone or in its list. */
bool claims_have(const struct claims *claims, struct bytes name, struct bytes value);

#endif
