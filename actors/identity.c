/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counted holder of claims, with the key under which the user is known.
 */
#include "actors/identity.h"

#include <assert.h>

#include "codec/base/mem.h"

static_assert(sizeof(struct identity) % _Alignof(struct claims) == 0, "claims follow it");

struct identity *identity_new(struct claims *claims, bool tenants)
{
    struct identity *identity = mem_try_calloc(1, sizeof(*identity) + claims_size(claims));
    if (identity == NULL) {
        claims_unref(claims);
        return NULL;
    }
    identity->refs = 1;
    identity->spaced = tenants && claims->tenant_len > 0;
    claims_copy(claims, identity + 1);
    claims_unref(claims);
    return identity;
}

struct identity *identity_ref(struct identity *identity)
{
    identity->refs++;
    return identity;
}

void identity_unref(struct identity *identity)
{
    if (identity != NULL && --identity->refs == 0) {
        mem_free(identity);
    }
}
