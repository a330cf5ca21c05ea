/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets as one point in time each: when the bucket would have been empty.
 */
#include "actors/rate.h"

enum { MINUTE_US = 60 * 1000 * 1000 };

/* Longer than any bucket takes to fill: a bucket of zeros is full also when the clock is young. */
#define CLOCK_BASE_US (UINT64_C(1) << 62)

bool rate_take(
    struct rate_bucket *bucket, const struct rate *rate, uint64_t now_ms, uint64_t *ret_retry_ms)
{
    /* In microseconds: one token is worth `step` of time; the bucket holds `burst` steps. */
    uint64_t now = CLOCK_BASE_US + now_ms * 1000;
    uint64_t step = MINUTE_US / (rate->per_minute ? rate->per_minute : 1);
    uint64_t full = (uint64_t)rate->burst * step;
    uint64_t oldest = now - full;
    uint64_t empty = bucket->empty_us > oldest ? bucket->empty_us : oldest;
    if (empty + step > now) {
        *ret_retry_ms = (empty + step - now + 999) / 1000;
        return false;
    }
    bucket->empty_us = empty + step;
    return true;
}

/* Half of what can be packed lies before the clock's zero: no bucket takes so long to fill. */
#define PACK_BASE_US (CLOCK_BASE_US - (UINT64_C(1) << (RATE_PACKED_BITS - 1)))

uint64_t rate_pack(struct rate_bucket bucket)
{
    return bucket.empty_us > PACK_BASE_US ? bucket.empty_us - PACK_BASE_US : 1;
}

struct rate_bucket rate_unpack(uint64_t packed)
{
    return (struct rate_bucket){.empty_us = PACK_BASE_US + packed};
}
