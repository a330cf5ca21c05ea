/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts of names that several threads change at once: none is lost, none invented.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "codec/base/map.h"
#include "hub/net/name_counts.h"

TestSuite(name_counts, .timeout = 60);

Test(name_counts, a_tenant_gets_its_limit_and_no_more)
{
    struct name_counts *counts = name_counts_create(10);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(name_counts_take(counts, hash_bytes(BYTES("acme")), 3));
    }
    cr_assert_not(name_counts_take(counts, hash_bytes(BYTES("acme")), 3));
    cr_assert(name_counts_take(counts, hash_bytes(BYTES("other")), 3), "counted apart");
    cr_assert_eq(name_counts_get(counts, hash_bytes(BYTES("acme"))), 3);
    name_counts_release(counts, hash_bytes(BYTES("acme")));
    cr_assert_eq(name_counts_get(counts, hash_bytes(BYTES("acme"))), 2);
    cr_assert(name_counts_take(counts, hash_bytes(BYTES("acme")), 3), "there is room again");
    name_counts_release(counts, hash_bytes(BYTES("other")));
    cr_assert_eq(name_counts_get(counts, hash_bytes(BYTES("other"))), 0);
    name_counts_destroy(counts);
}

Test(name_counts, many_tenants_are_counted_apart_and_leave_nothing)
{
    enum { TENANTS = 5000 };
    struct name_counts *counts = name_counts_create(TENANTS);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < TENANTS; i++) {
            char name[16];
            snprintf(name, sizeof(name), "tenant-%u", i);
            cr_assert_eq(name_counts_get(counts, hash_bytes(bytes_str(name))), 0, "%s", name);
            cr_assert(name_counts_take(counts, hash_bytes(bytes_str(name)), 1), "%s", name);
            cr_assert_not(name_counts_take(counts, hash_bytes(bytes_str(name)), 1), "%s", name);
        }
        for (unsigned i = 0; i < TENANTS; i++) {
            char name[16];
            snprintf(name, sizeof(name), "tenant-%u", i);
            name_counts_release(counts, hash_bytes(bytes_str(name)));
        }
    }
    name_counts_destroy(counts);
}

enum { THREADS = 4, ROUNDS = 20000, NAMES = 8 };

static void *come_and_go(void *arg)
{
    struct name_counts *counts = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char name[2] = {(char)('a' + i % NAMES), 0};
        if (name_counts_take(counts, hash_bytes(bytes_str(name)), UINT32_MAX)) {
            name_counts_release(counts, hash_bytes(bytes_str(name)));
        }
    }
    return NULL;
}

Test(name_counts, threads_lose_and_invent_nothing)
{
    struct name_counts *counts = name_counts_create(10);
    pthread_t threads[THREADS];
    cr_assert(name_counts_take(counts, hash_bytes(BYTES("a")), 1));
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, come_and_go, counts), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_assert_eq(name_counts_get(counts, hash_bytes(BYTES("a"))), 1);
    for (char c = 'b'; c < 'a' + NAMES; c++) {
        cr_assert_eq(name_counts_get(counts, hash_bytes(bytes_of(&c, 1))), 0, "%c", c);
    }
    name_counts_destroy(counts);
}
