/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets by name: each has its own, threads share them, a flood of names forgets the fullest. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "codec/base/map.h"
#include "hub/net/name_rates.h"

TestSuite(name_rates, .timeout = 60);

static const struct rate ten = {.burst = 10, .per_minute = 10};

static uint64_t named(const char *kind, unsigned i)
{
    char text[32];
    snprintf(text, sizeof(text), "%s-%u", kind, i);
    return hash_bytes(bytes_str(text));
}

static unsigned taken(struct name_rates *rates, uint64_t name, unsigned tries, uint64_t now_ms)
{
    unsigned count = 0;
    uint64_t retry_ms;
    for (unsigned i = 0; i < tries; i++) {
        count += name_rates_take(rates, name, &ten, now_ms, &retry_ms);
    }
    return count;
}

Test(name_rates, each_name_has_a_bucket_that_fills_again)
{
    struct name_rates *rates = name_rates_create();
    uint64_t retry_ms = 0;
    cr_assert_eq(taken(rates, named("a", 1), 30, 0), 10, "also when the clock is young");
    cr_assert_eq(taken(rates, named("a", 2), 30, 0), 10, "counted apart");
    cr_assert_not(name_rates_take(rates, named("a", 1), &ten, 1000, &retry_ms));
    cr_assert_eq(retry_ms, 5000);
    cr_assert_eq(taken(rates, named("a", 1), 30, 6000), 1);
    cr_assert_eq(taken(rates, named("a", 1), 30, 10 * 60 * 1000), 10);
    uint64_t late = UINT64_C(3) * 365 * 24 * 3600 * 1000;
    cr_assert_eq(taken(rates, named("a", 1), 30, late), 10, "after three years");
    name_rates_destroy(rates);
}

Test(name_rates, who_is_out_of_tokens_is_remembered_in_a_flood_of_names)
{
    struct name_rates *rates = name_rates_create();
    cr_assert_eq(taken(rates, named("bad", 0), 10, 0), 10);
    for (unsigned i = 0; i < 2000000; i++) {
        (void)taken(rates, named("flood", i), 1, 0);
    }
    cr_assert_eq(taken(rates, named("bad", 0), 10, 0), 0);
    name_rates_destroy(rates);
}

enum { THREADS = 4, TRIES = 5000 };

struct party {
    struct name_rates *rates;
    atomic_uint taken;
};

static void *take_many(void *arg)
{
    struct party *party = arg;
    for (unsigned i = 0; i < TRIES; i++) {
        atomic_fetch_add(&party->taken, taken(party->rates, named("shared", 0), 1, 0));
    }
    return NULL;
}

Test(name_rates, threads_share_one_bucket)
{
    struct party party = {.rates = name_rates_create()};
    pthread_t threads[THREADS];
    atomic_fetch_add(&party.taken, taken(party.rates, named("shared", 0), 1, 0));
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, take_many, &party), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_assert_eq(atomic_load(&party.taken), 10);
    name_rates_destroy(party.rates);
}
