/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_recheck - what it costs to compare the positions of users online with the store: by user,
 * many in a query, and by what has changed since.
 *
 * Fills USERS inboxes, waits until that is no longer recent, then repeats: change CHANGED of them,
 * ask for all users, ask what has changed. Prints the median of the time of both in microseconds,
 * and how many rows were told; the load beside it makes single values mean little.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/slot.h"
#include "sql/store.h"

enum { USER_LEN = 16, BATCH = 500, ROUNDS = 21, RECENT_MS = 90000, USERS_MAX = 1000000 };

struct posted {
    struct posted *next;
    void (*fn)(void *arg, bool cancelled);
    void *arg;
};

static struct {
    uv_loop_t loop;
    uv_async_t wake;
    pthread_mutex_t lock;
    struct posted *first;
    struct posted **last;
    struct store_port *port;
    uint32_t users;
    uint32_t changed;
    uint64_t key;
    char (*names)[USER_LEN];
    bool done;
    bool closed;
} bench;

/* The loop. */

static void on_wake(uv_async_t *wake)
{
    (void)wake;
    pthread_mutex_lock(&bench.lock);
    struct posted *posted = bench.first;
    bench.first = NULL;
    bench.last = &bench.first;
    pthread_mutex_unlock(&bench.lock);
    while (posted != NULL) {
        struct posted *next = posted->next;
        posted->fn(posted->arg, false);
        mem_free(posted);
        posted = next;
    }
}

static void post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
    (void)context;
    (void)port;
    struct posted *posted = mem_alloc(sizeof(*posted));
    posted->fn = fn;
    posted->arg = arg;
    pthread_mutex_lock(&bench.lock);
    *bench.last = posted;
    bench.last = &posted->next;
    pthread_mutex_unlock(&bench.lock);
    uv_async_send(&bench.wake);
}

static void on_done(struct store_request *request)
{
    (void)request;
    bench.done = true;
}

static void run(struct store_request *request)
{
    bench.done = false;
    request->done = on_done;
    store_submit(bench.port, request);
    while (!bench.done) {
        uv_run(&bench.loop, UV_RUN_ONCE);
    }
    if (request->status != 0) {
        (void)fprintf(stderr, "bench_recheck: a request failed: %d\n", request->status);
        exit(1);
    }
}

/* What is measured. */

static void put_users(uint32_t first, uint32_t count)
{
    static struct store_row rows[BATCH];
    for (uint32_t i = 0; i < count; i++) {
        struct bytes user = bytes_str(bench.names[first + i]);
        rows[i] = (struct store_row){.who.user = user,
            .type = BYTES("bench"),
            .title = BYTES("bench"),
            .created_at = clock_wall_ms()};
        bench.key++;
        memcpy(rows[i].key_hash, &bench.key, sizeof(bench.key));
        uuid7_make(rows[i].created_at, slot_of(bytes_of(NULL, 0), user), rows[i].id);
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = count};
    run(&put.base);
    store_request_finish(&put.base);
}

static void put_all(uint32_t count)
{
    for (uint32_t i = 0; i < count; i += BATCH) {
        put_users(i, count - i < BATCH ? count - i : BATCH);
    }
}

static uint64_t ask_by_user(void)
{
    static struct store_user users[BATCH];
    uint64_t started_ns = clock_mono_ns();
    for (uint32_t i = 0; i < bench.users; i += BATCH) {
        uint32_t count = bench.users - i < BATCH ? bench.users - i : BATCH;
        for (uint32_t j = 0; j < count; j++) {
            users[j] = (struct store_user){.user = bytes_str(bench.names[i + j])};
        }
        struct store_positions positions = {
            .base.op = STORE_POSITIONS, .users = users, .count = count};
        run(&positions.base);
        store_request_finish(&positions.base);
    }
    return (clock_mono_ns() - started_ns) / 1000;
}

/* Returns the time; the rows told and what to ask with next time are outputs. */
static uint64_t ask_by_change(uint64_t since, size_t *ret_rows, uint64_t *ret_next)
{
    uint64_t started_ns = clock_mono_ns();
    struct store_changed changed = {
        .base.op = STORE_CHANGED, .since = since, .limit = STORE_CHANGED_MAX};
    run(&changed.base);
    *ret_rows = changed.user_count;
    *ret_next = changed.next;
    store_request_finish(&changed.base);
    return (clock_mono_ns() - started_ns) / 1000;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void measure(void)
{
    uint64_t by_user[ROUNDS];
    uint64_t by_change[ROUNDS];
    uint64_t since;
    size_t rows;
    put_all(bench.users);
    uv_sleep(RECENT_MS);
    (void)ask_by_change(0, &rows, &since);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t next; /* not used: each round asks for the same span */
        put_all(bench.changed);
        by_user[i] = ask_by_user();
        by_change[i] = ask_by_change(since, &rows, &next);
    }
    qsort(by_user, ROUNDS, sizeof(by_user[0]), compare);
    qsort(by_change, ROUNDS, sizeof(by_change[0]), compare);
    printf("{\"users\":%u,\"by_user_us\":%llu,\"by_change_us\":%llu,\"rows\":%zu}\n", bench.users,
        (unsigned long long)by_user[ROUNDS / 2], (unsigned long long)by_change[ROUNDS / 2], rows);
}

/* Life. */

static void on_closed(void *context)
{
    (void)context;
    bench.closed = true;
}

static bool open_store(const char *url, struct store **ret_store)
{
    struct store_config config = {.url = bytes_str(url),
        .port_count = 1,
        .pool_min = 2,
        .pool_max = 2,
        .slow_ms = 60000,
        .post = post};
    char error[512] = "";
    bench.last = &bench.first;
    CHECK(pthread_mutex_init(&bench.lock, NULL) == 0 && uv_loop_init(&bench.loop) == 0);
    CHECK(uv_async_init(&bench.loop, &bench.wake, on_wake) == 0);
    if (store_open(&config, ret_store, error, sizeof(error)) != 0 ||
        store_port_open(*ret_store, 0, &bench.loop, &bench.port) != 0) {
        (void)fprintf(stderr, "bench_recheck: %s\n", error);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct store *store;
    unsigned long users = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    unsigned long changed = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    if (users == 0 || users > USERS_MAX || changed > users) {
        (void)fputs("usage: bench_recheck URL USERS CHANGED\n", stderr);
        return 2;
    }
    bench.users = (uint32_t)users;
    bench.changed = (uint32_t)changed;
    bench.names = mem_alloc_array(users, sizeof(*bench.names));
    for (uint32_t i = 0; i < bench.users; i++) {
        (void)snprintf(bench.names[i], USER_LEN, "u%u", i);
    }
    if (!open_store(argv[1], &store)) {
        return 2;
    }
    measure();
    store_port_close(bench.port, on_closed, NULL);
    while (!bench.closed) {
        uv_run(&bench.loop, UV_RUN_ONCE);
    }
    store_close(store);
    mem_free(bench.names);
    return 0;
}
