/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate - token buckets: so many at once, so many a minute.
 */
#ifndef ACTORS_RATE_H
#define ACTORS_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/shard.h"

enum { RATE_PACKED_BITS = 48 };

/* A bucket; all zero is a full one. */
struct rate_bucket {
    /* private */
    uint64_t empty_us; /* the time at which the bucket was empty; it fills from there */
};

/*
 * Take one token at time `now_ms` (monotonic). False when there is none: then `*ret_retry_ms` says
 * in how many milliseconds there will be one.
 */
bool rate_take(
    struct rate_bucket *bucket, const struct rate *rate, uint64_t now_ms, uint64_t *ret_retry_ms);

/* A bucket as a number above zero, of RATE_PACKED_BITS while `now_ms` is below four years, the
 * greater the emptier; and back. */
uint64_t rate_pack(struct rate_bucket bucket);
struct rate_bucket rate_unpack(uint64_t packed);

#endif
