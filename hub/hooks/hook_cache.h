/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hook_cache - answers of hooks that hold for a while: a bounded number, the least asked for goes.
 *
 * Time is passed in, in milliseconds. One thread.
 */
#ifndef HUB_HOOKS_HOOK_CACHE_H
#define HUB_HOOKS_HOOK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "codec/base/list.h"
#include "codec/base/map.h"

enum { HOOK_KEY_LEN = 16 };

struct hook_cache {
    uint64_t evicted; /* that would have held for longer */
    /* private */
    struct map by_key;
    struct list used; /* the least asked for first */
    size_t max;
};

/* Make an empty one for `max` answers. */
void hook_cache_init(struct hook_cache *cache, size_t max);

/* Free what it holds. */
void hook_cache_finish(struct hook_cache *cache);

/* Whether the answer to the question `key` is known and holds at `now`; `*ret_allow` then. */
MUST_CHECK bool hook_cache_get(
    struct hook_cache *cache, const uint8_t key[HOOK_KEY_LEN], uint64_t now, bool *ret_allow);

/* Remember an answer up to `until`. Without memory it is not. */
void hook_cache_put(struct hook_cache *cache, const uint8_t key[HOOK_KEY_LEN], bool allow,
    uint64_t now, uint64_t until);

#endif
