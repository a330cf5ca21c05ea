/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seed - what a randomised test begins with: PEAL_SEED, else another one each time; it is printed.
 */
#ifndef TESTS_SUPPORT_SEED_H
#define TESTS_SUPPORT_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/rand.h"

static inline uint64_t seed_draw(void)
{
    uint32_t drawn = 0;
    rand_secret(&drawn, sizeof(drawn));
    const char *given = getenv("PEAL_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : drawn;
    (void)fprintf(stderr, "PEAL_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

#endif
