/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "hub/auth/tenant_counts.h"

TestSuite(tenant_counts, .timeout = 60);

Test(tenant_counts, a_tenant_gets_its_limit_and_no_more)
{
    struct tenant_counts *counts = tenant_counts_create(10);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(tenant_counts_take(counts, BYTES("acme"), 3));
    }
    cr_assert_not(tenant_counts_take(counts, BYTES("acme"), 3));
    cr_assert(tenant_counts_take(counts, BYTES("other"), 3), "counted apart");
    cr_assert_eq(tenant_counts_get(counts, BYTES("acme")), 3);
    tenant_counts_release(counts, BYTES("acme"));
    cr_assert_eq(tenant_counts_get(counts, BYTES("acme")), 2);
    cr_assert(tenant_counts_take(counts, BYTES("acme"), 3), "there is room again");
    tenant_counts_release(counts, BYTES("other"));
    cr_assert_eq(tenant_counts_get(counts, BYTES("other")), 0);
    tenant_counts_destroy(counts);
}

Test(tenant_counts, many_tenants_are_counted_apart_and_leave_nothing)
{
    enum { TENANTS = 5000 };
    struct tenant_counts *counts = tenant_counts_create(TENANTS);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < TENANTS; i++) {
            char name[16];
            snprintf(name, sizeof(name), "tenant-%u", i);
            cr_assert_eq(tenant_counts_get(counts, bytes_str(name)), 0, "%s", name);
            cr_assert(tenant_counts_take(counts, bytes_str(name), 1), "%s", name);
            cr_assert_not(tenant_counts_take(counts, bytes_str(name), 1), "%s", name);
        }
        for (unsigned i = 0; i < TENANTS; i++) {
            char name[16];
            snprintf(name, sizeof(name), "tenant-%u", i);
            tenant_counts_release(counts, bytes_str(name));
        }
    }
    tenant_counts_destroy(counts);
}

enum { THREADS = 4, ROUNDS = 20000, NAMES = 8 };

static void *come_and_go(void *arg)
{
    struct tenant_counts *counts = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char name[2] = {(char)('a' + i % NAMES), 0};
        if (tenant_counts_take(counts, bytes_str(name), UINT32_MAX)) {
            tenant_counts_release(counts, bytes_str(name));
        }
    }
    return NULL;
}

Test(tenant_counts, threads_lose_and_invent_nothing)
{
    struct tenant_counts *counts = tenant_counts_create(10);
    pthread_t threads[THREADS];
    cr_assert(tenant_counts_take(counts, BYTES("a"), 1));
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, come_and_go, counts), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_assert_eq(tenant_counts_get(counts, BYTES("a")), 1);
    for (char c = 'b'; c < 'a' + NAMES; c++) {
        cr_assert_eq(tenant_counts_get(counts, bytes_of(&c, 1)), 0, "%c", c);
    }
    tenant_counts_destroy(counts);
}
