/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of a node to Postgres: how many there are, and ports that have none of their own.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/status.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/harness.h"

TestSuite(pool, .timeout = 120);

/* Shard 0, whose connections the others use, works on a thread of its own. */
struct lane {
    struct harness *harness;
    pthread_t thread;
    atomic_bool stop;
};

static void *run_lane(void *arg)
{
    struct lane *lane = arg;
    while (!atomic_load(&lane->stop)) {
        uv_run(&lane->harness->shards[0].loop, UV_RUN_ONCE);
    }
    return NULL;
}

static void start_lane(struct lane *lane, struct harness *harness)
{
    lane->harness = harness;
    atomic_init(&lane->stop, false);
    cr_assert_eq(pthread_create(&lane->thread, NULL, run_lane, lane), 0);
}

static void stop_lane(struct lane *lane)
{
    atomic_store(&lane->stop, true);
    uv_async_send(&lane->harness->shards[0].wake);
    cr_assert_eq(pthread_join(lane->thread, NULL), 0);
}

static unsigned count_connections(const char *url)
{
    char text[16] = "0";
    static const char sql[] = "SELECT count(*) FROM pg_stat_activity "
                              "WHERE datname = current_database() AND application_name = 'peal'";
    cr_assert(postgres_query(url, sql, text, sizeof(text)));
    return (unsigned)strtoul(text, NULL, 10);
}

Test(pool, ports_without_connections_use_those_of_others)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open_pool(&harness, url, 2, 2);
    struct lane lane;
    start_lane(&lane, &harness);
    enum { ROWS = 50 };
    for (uint64_t i = 0; i < ROWS; i++) {
        struct store_row row = row_of(user_of("alice"), i, i);
        struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
        cr_assert_eq(harness_run(&harness, 1 + i % 3, &put.base), 0);
        cr_expect_eq(row.seq, i + 1);
        store_request_finish(&put.base);
    }
    struct store_list list = {.base.op = STORE_LIST, .who = user_of("alice"), .limit = 100};
    cr_assert_eq(harness_run(&harness, 3, &list.base), 0);
    cr_expect_eq(list.count, ROWS);
    store_request_finish(&list.base);
    cr_expect_eq(count_connections(url), 2, "of four shards: %u", count_connections(url));
    stop_lane(&lane);
    harness_close(&harness);
}

/* The one with the connections ends first: what it has not answered is not left lying. */
Test(pool, requests_are_given_back_when_the_connections_close)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open_pool(&harness, url, 2, 2);
    enum { REQUESTS = 20 };
    static struct store_request pings[REQUESTS];
    static struct store_row rows[REQUESTS];
    static struct store_put puts[REQUESTS];
    for (unsigned i = 0; i < REQUESTS; i++) {
        rows[i] = row_of(user_of("alice"), i, i);
        puts[i] = (struct store_put){
            .base = {.op = STORE_PUT, .done = harness_done}, .rows = &rows[i], .count = 1};
        pings[i] = (struct store_request){.op = STORE_PING, .done = harness_done};
        store_submit(harness.shards[2].port, &puts[i].base);
        if (i == REQUESTS / 2) { /* half are there before it closes, half come later */
            struct shard *shard = &harness.shards[0];
            uv_run(&shard->loop, UV_RUN_NOWAIT);
            store_port_close(shard->port, harness_closed, &shard->closed);
            harness_wait(&harness, 0, &shard->closed);
        }
        store_submit(harness.shards[2].port, &pings[i]);
    }
    uv_run(&harness.shards[0].loop, UV_RUN_NOWAIT);
    harness_wait_all(&harness, 2, 2 * REQUESTS);
    for (unsigned i = 0; i < REQUESTS; i++) {
        cr_expect_eq(puts[i].base.status, STATUS_UNAVAILABLE);
        cr_expect_eq(pings[i].status, STATUS_UNAVAILABLE);
    }
    harness_close(&harness);
}

/* Reads that wait open more connections, up to the bound: three of twelve for each of four shards.
 */
Test(pool, reads_open_connections_up_to_the_bound)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    enum { MOST = 12, SHARE = MOST / HARNESS_SHARDS, READS = 400, ROUNDS_MAX = 200 };
    harness_open_pool(&harness, url, 8, MOST);
    static struct store_list lists[READS];
    struct store_row row = row_of(user_of("alice"), 1, 1);
    put_row(&harness, &row);
    unsigned connections = count_connections(url);
    cr_expect_eq(connections, 2, "of the one shard that runs: %u", connections);
    for (unsigned round = 0; round < ROUNDS_MAX && connections < SHARE; round++) {
        for (unsigned i = 0; i < READS; i++) {
            lists[i] = (struct store_list){.base = {.op = STORE_LIST, .done = harness_done},
                .who = user_of("alice"),
                .limit = 100};
            store_submit(harness.shards[0].port, &lists[i].base);
        }
        harness_wait_all(&harness, 0, READS);
        for (unsigned i = 0; i < READS; i++) {
            cr_expect_eq(lists[i].base.status, 0);
            store_request_finish(&lists[i].base);
        }
        connections = count_connections(url);
        cr_assert_leq(connections, SHARE);
    }
    cr_expect_eq(connections, SHARE, "none was opened: %u", connections);
    harness_close(&harness);
}
