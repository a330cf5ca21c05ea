/* SPDX-License-Identifier: Apache-2.0 */
/*
 * askers - how many questions to backends each user has open on its shard, and a bound of them.
 */
#ifndef HUB_HOOKS_ASKERS_H
#define HUB_HOOKS_ASKERS_H

#include <stdint.h>

#include "codec/base/check.h"
#include "codec/base/map.h"

struct hook_asker;
struct identity;

struct askers {
    uint64_t bounded; /* questions that found no place */
    /* private */
    struct map users; /* struct hook_asker by user */
};

/* Begin and end; nothing is open then. */
void askers_init(struct askers *askers);
void askers_finish(struct askers *askers);

/*
 * Take a place among the questions of `who`, of which `most` may be open: 0;
 * STATUS_RATE_LIMITED: there is none; STATUS_UNAVAILABLE: no memory.
 */
MUST_CHECK int askers_take(struct askers *askers, const struct identity *who, uint32_t most,
    struct hook_asker **ret_asker);

/* Give it back; NULL is allowed. */
void askers_release(struct askers *askers, struct hook_asker *asker);

#endif
