/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets: the burst, the rate, and nothing beyond.
 */
#include <criterion/criterion.h>

#include "actors/rate.h"

TestSuite(rate, .timeout = 60);

static const struct {
    struct rate rate;
    uint64_t start_ms;
} cases[] = {
    {{.burst = 1, .per_minute = 60}, 0}, /* the machine has just started */
    {{.burst = 10, .per_minute = 60}, 0},
    {{.burst = 60, .per_minute = 60}, 5},
    {{.burst = 20, .per_minute = 600}, 100000},
    {{.burst = 5, .per_minute = 1}, 1000000000},
    {{.burst = 1000, .per_minute = 40000}, 1},
    {{.burst = 3, .per_minute = 0}, 77},
};

Test(rate, a_burst_and_then_the_rate)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct rate *rate = &cases[i].rate;
        struct rate_bucket bucket = {0};
        uint64_t now = cases[i].start_ms;
        uint64_t retry_ms = 0;
        for (uint32_t n = 0; n < rate->burst; n++) {
            cr_assert(rate_take(&bucket, rate, now, &retry_ms), "case %zu: token %u", i, n);
        }
        for (unsigned n = 0; n < 50; n++) {
            uint64_t ignored;
            cr_assert_not(rate_take(&bucket, rate, now, &retry_ms), "case %zu", i);
            cr_assert_gt(retry_ms, 0);
            cr_assert(retry_ms == 1 || !rate_take(&bucket, rate, now + retry_ms - 1, &ignored),
                "case %zu: not before it is time", i);
            now += retry_ms;
            cr_assert(rate_take(&bucket, rate, now, &retry_ms), "case %zu: then", i);
        }
    }
}

Test(rate, fills_up_to_the_burst_and_no_further)
{
    const struct rate rate = {.burst = 4, .per_minute = 60};
    struct rate_bucket bucket = {0};
    uint64_t retry_ms;
    uint64_t now = 10;
    unsigned taken = 0;
    for (unsigned round = 0; round < 3; round++, now += 1000000) {
        for (unsigned i = 0; i < 10; i++) {
            taken += rate_take(&bucket, &rate, now, &retry_ms);
        }
        cr_assert_eq(taken, 4 * (round + 1));
    }
}

Test(rate, nothing_without_a_burst)
{
    const struct rate rate = {.burst = 0, .per_minute = 60};
    struct rate_bucket bucket = {0};
    uint64_t retry_ms;
    cr_assert_not(rate_take(&bucket, &rate, 0, &retry_ms));
    cr_assert_not(rate_take(&bucket, &rate, 100000000, &retry_ms));
}
