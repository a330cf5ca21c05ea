/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram - latencies in microseconds, in buckets of one thirty-second of an octave (3 %).
 */
#ifndef TESTS_BENCH_HISTOGRAM_H
#define TESTS_BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 32, HISTOGRAM_BUCKETS = 64 * HISTOGRAM_STEPS };

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Forget everything. */
void histogram_reset(struct histogram *histogram);

/* Count `times` values of `us` microseconds. */
void histogram_add(struct histogram *histogram, uint64_t us, uint64_t times);

/* The value below which `permille` of a thousand lie, in milliseconds; 0 when nothing was counted.
 */
double histogram_quantile_ms(const struct histogram *histogram, unsigned permille);

#endif
