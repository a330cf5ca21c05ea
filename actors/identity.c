/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/identity.h"

#include "codec/base/mem.h"

struct identity *identity_new(struct claims *claims, bool tenants)
{
    struct bytes space = tenants ? claims->tenant : bytes_of(NULL, 0);
    size_t len = claims->user.len + (space.len > 0 ? space.len + 1 : 0);
    struct identity *identity = mem_alloc(sizeof(*identity) + len);
    identity->refs = 1;
    identity->claims = claims;
    identity->key_len = (uint32_t)len;
    identity->space_len = (uint32_t)space.len;
    char *at = identity->key_at;
    if (space.len > 0) {
        memcpy(at, space.at, space.len);
        at[space.len] = '/';
        at += space.len + 1;
    }
    memcpy(at, claims->user.at, claims->user.len);
    return identity;
}

struct identity *identity_ref(struct identity *identity)
{
    identity->refs++;
    return identity;
}

void identity_unref(struct identity *identity)
{
    if (identity == NULL || --identity->refs > 0) {
        return;
    }
    claims_unref(identity->claims);
    mem_free(identity);
}
