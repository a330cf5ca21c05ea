/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hook_share - answers of hooks that all nodes know: kept in Redis for as long as they hold.
 *
 * A key for each, with the slot of its user; its value has the store's epoch and the version of the
 * nodes, and one that has others is no answer. Redis is a hint: without it, or where it is late,
 * the backend is asked.
 */
#ifndef HUB_HOOKS_HOOK_SHARE_H
#define HUB_HOOKS_HOOK_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/hooks/hook_cache.h"

struct claims;
struct hook_share;
struct hook_share_look;
struct shard;

/* The longest that an answer of Redis is waited for. */
enum { HOOK_SHARE_MS = 250 };

/* `left_ms`: for how long the answer holds; 0: none is known. In a later turn than the look, or in
 * hook_share_close. */
typedef void (*hook_share_fn)(struct hook_share_look *look, bool allow, uint64_t left_ms);

/* Embedded by who looks, and there until `done`. */
struct hook_share_look {
    hook_share_fn done;
    /* private */
    struct hook_share *share;
    int allow; /* -1: no answer that is one */
};

/* Open the connection of a shard that has a bus. */
MUST_CHECK struct hook_share *hook_share_open(struct shard *shard);

/* Close it: who looks is told that nothing is known. Frees it; NULL is allowed. */
void hook_share_close(struct hook_share *share);

/* Whether it is there to be asked. */
bool hook_share_is_up(const struct hook_share *share);

/* Look for the answer to the question `key` about the user of `who`. */
void hook_share_get(struct hook_share *share, const struct claims *who,
    const uint8_t key[HOOK_KEY_LEN], struct hook_share_look *look);

/* Tell the others an answer that holds for `ms`, 1 or more. */
void hook_share_put(struct hook_share *share, const struct claims *who,
    const uint8_t key[HOOK_KEY_LEN], bool allow, uint64_t ms);

#endif
