/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts values in buckets and reads quantiles from their sums.
 */
#include "tests/bench/histogram.h"

#include <string.h>

void histogram_reset(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

/* Values below HISTOGRAM_STEPS have a bucket each; above, the top six bits choose. */
static unsigned bucket_of(uint64_t us)
{
    if (us < HISTOGRAM_STEPS) {
        return (unsigned)us;
    }
    unsigned shift = 63U - (unsigned)__builtin_clzll(us) - 5U;
    return (shift + 1) * HISTOGRAM_STEPS + (unsigned)((us >> shift) & (HISTOGRAM_STEPS - 1));
}

static double middle_of(unsigned bucket)
{
    if (bucket < HISTOGRAM_STEPS) {
        return bucket;
    }
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    double low = (double)((uint64_t)(HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS) << shift);
    return low + (double)(UINT64_C(1) << shift) / 2;
}

void histogram_add(struct histogram *histogram, uint64_t us, uint64_t times)
{
    histogram->count += times;
    histogram->buckets[bucket_of(us)] += times;
    if (us > histogram->max) {
        histogram->max = us;
    }
}

double histogram_quantile_ms(const struct histogram *histogram, unsigned permille)
{
    uint64_t wanted = (histogram->count * permille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= wanted && seen > 0) {
            double us = middle_of(bucket);
            return (us < (double)histogram->max ? us : (double)histogram->max) / 1000;
        }
    }
    return 0;
}
