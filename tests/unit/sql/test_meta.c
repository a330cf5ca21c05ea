/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store knows of itself: its identity, its epoch, what its nodes share.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "tests/unit/sql/both.h"

static void no_post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
}

static int open_with(const char *url, const struct store_shared *shared, bool replace,
    struct store **ret_store, char error[512])
{
    struct store_config config = {.url = bytes_str(url),
        .port_count = 1,
        .post = no_post,
        .shared = shared,
        .shared_count = shared ? 2 : 0,
        .replace_shared = replace};
    error[0] = '\0';
    return store_open(&config, ret_store, error, 512);
}

BOTH(another_epoch_of_the_same_store_keeps_its_identity)
{
    struct store *store;
    char error[512];
    char identity[STORE_IDENTITY_MAX + 1];
    char epoch[STORE_EPOCH_LEN + 1];
    cr_assert_eq(open_with(url, NULL, false, &store, error), 0, "%s", error);
    strcpy(identity, store_identity(store));
    strcpy(epoch, store_epoch(store));
    cr_expect_gt(strlen(identity), 10);
    cr_expect_eq(strlen(epoch), STORE_EPOCH_LEN);
    cr_assert_eq(store_new_epoch(store), 0);
    cr_expect_str_neq(store_epoch(store), epoch);
    strcpy(epoch, store_epoch(store));
    store_close(store);
    cr_assert_eq(open_with(url, NULL, false, &store, error), 0, "%s", error);
    cr_expect_str_eq(store_identity(store), identity);
    cr_expect_str_eq(store_epoch(store), epoch);
    store_close(store);

    char other[URL_MAX];
    harness_url(strncmp(url, "sqlite", 6) == 0 ? "sqlite" : "postgres", other);
    cr_assert_eq(open_with(other, NULL, false, &store, error), 0, "%s", error);
    cr_expect_str_neq(store_identity(store), identity, "another database of the same server");
    cr_expect_str_neq(store_epoch(store), epoch);
    store_close(store);
}

/* All that find the same epoch gone make one new one between them. */
BOTH(of_several_that_renew_an_epoch_one_does)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_renewal read = {.base.op = STORE_EPOCH};
    cr_assert_eq(harness_run(&harness, 0, &read.base), 0);
    cr_expect_str_eq(read.epoch, store_epoch(harness.store));
    struct store_renewal renewals[5];
    for (unsigned i = 0; i < 5; i++) {
        renewals[i] = (struct store_renewal){.base = {.op = STORE_EPOCH, .done = harness_done},
            .from = bytes_of(read.epoch, STORE_EPOCH_LEN)};
        store_submit(harness.shards[i % 2].port, &renewals[i].base);
    }
    harness_wait_all(&harness, 0, 3);
    harness_wait_all(&harness, 1, 2);
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_eq(renewals[i].base.status, 0);
        cr_expect_str_neq(renewals[i].epoch, read.epoch);
        cr_expect_str_eq(renewals[i].epoch, renewals[0].epoch);
    }
    cr_assert_eq(harness_run(&harness, 2, &read.base), 0);
    cr_expect_str_eq(read.epoch, renewals[0].epoch);
    struct store_renewal bad = {.base.op = STORE_EPOCH, .from = BYTES("short")};
    cr_expect_eq(harness_run(&harness, 0, &bad.base), STATUS_INVALID);
    harness_close(&harness);
}

BOTH(what_nodes_share_is_kept_by_the_first)
{
    const struct store_shared first[] = {{"bus.slots", 1024}, {"bus.partitions", 4}};
    const struct store_shared other[] = {{"bus.slots", 1024}, {"bus.partitions", 8}};
    struct store *store;
    char error[512];
    cr_assert_eq(open_with(url, first, false, &store, error), 0, "%s", error);
    store_close(store);
    cr_assert_eq(open_with(url, first, false, &store, error), 0, "%s", error);
    store_close(store);
    cr_assert_eq(open_with(url, other, false, &store, error), STATUS_CONFLICT);
    cr_expect_not_null(strstr(error, "bus.partitions is 8 here and 4 on the nodes"), "%s", error);
    cr_expect_not_null(strstr(error, "peal migrate --set-bus"), "%s", error);
    cr_expect_null(strchr(error, '\n'));
    cr_assert_eq(open_with(url, NULL, false, &store, error), 0, "without a bus: %s", error);
    store_close(store);
    cr_assert_eq(open_with(url, other, true, &store, error), 0, "%s", error);
    store_close(store);
    cr_assert_eq(open_with(url, other, false, &store, error), 0, "%s", error);
    store_close(store);
    cr_expect_eq(open_with(url, first, false, &store, error), STATUS_CONFLICT);
}
