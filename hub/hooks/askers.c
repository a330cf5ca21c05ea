/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A count for each user with something open.
 */
#include "hub/hooks/askers.h"

#include "actors/identity.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

struct hook_asker {
    struct identity *who; /* one reference */
    uint32_t open;
};

static struct bytes key_of(const void *object)
{
    return identity_key(((const struct hook_asker *)object)->who);
}

void askers_init(struct askers *askers)
{
    map_init(&askers->users, key_of);
}

void askers_finish(struct askers *askers)
{
    map_finish(&askers->users);
}

/* NULL: no memory. */
static struct hook_asker *make_asker(struct askers *askers, const struct identity *who)
{
    struct hook_asker *asker = mem_try_calloc(1, sizeof(*asker));
    if (asker == NULL) {
        return NULL;
    }
    asker->who = identity_ref((struct identity *)(uintptr_t)who);
    if (!map_put(&askers->users, asker)) {
        identity_unref(asker->who);
        mem_free(asker);
        return NULL;
    }
    return asker;
}

int askers_take(
    struct askers *askers, const struct identity *who, uint32_t most, struct hook_asker **ret_asker)
{
    struct hook_asker *asker = map_get(&askers->users, identity_key(who));
    asker = asker != NULL ? asker : make_asker(askers, who);
    if (asker == NULL) {
        return STATUS_UNAVAILABLE;
    }
    if (asker->open >= most) {
        askers->bounded++;
        return STATUS_RATE_LIMITED;
    }
    asker->open++;
    *ret_asker = asker;
    return 0;
}

void askers_release(struct askers *askers, struct hook_asker *asker)
{
    if (asker != NULL && --asker->open == 0) {
        map_remove(&askers->users, key_of(asker));
        identity_unref(asker->who);
        mem_free(asker);
    }
}
