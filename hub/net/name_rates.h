/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_rates - how often each name may do something on this node, without a lock.
 *
 * One table of token buckets for all shards, for addresses that are refused and users who call. A
 * name is given by its hash (hash_bytes). A bucket is one word, found within a window of a few: a
 * fingerprint and the bucket, changed together. Where a window is full, the fullest bucket of it is
 * forgotten: the one with the least to remember.
 */
#ifndef HUB_NET_NAME_RATES_H
#define HUB_NET_NAME_RATES_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/rate.h"
#include "codec/base/check.h"

struct name_rates;

/* Make a table; 256 KiB, whatever comes. */
MUST_CHECK struct name_rates *name_rates_create(void);

/* Free it; NULL is allowed. */
void name_rates_destroy(struct name_rates *rates);

/*
 * Take one token of `name` at time `now_ms` (monotonic, the same for all shards). False when there
 * is none: then `*ret_retry_ms` says in how many milliseconds there will be one. Any thread.
 */
bool name_rates_take(struct name_rates *rates, uint64_t name, const struct rate *rate,
    uint64_t now_ms, uint64_t *ret_retry_ms);

#endif
