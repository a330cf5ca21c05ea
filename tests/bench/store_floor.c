/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_store_floor - the store alone: Peal's statements and transactions on the same database,
 * with nobody in front of them and nobody to tell.
 *
 * Keeps a number of requests of the same number of rows under way, each row for the next user, and
 * counts the rows that were stored. What Peal does besides (HTTP, JSON, announcements, devices) is
 * the difference between its figure and this one.
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

enum { USER_LEN = 16, TEXT_LEN = 128, ROWS_MAX = STORE_PAGE_MAX, REQUESTS_MAX = 256 };

/* A completion that another thread handed over. */
struct posted {
    struct posted *next;
    void (*fn)(void *arg, bool cancelled);
    void *arg;
};

struct request {
    struct store_put put; /* first */
    struct store_row *rows;
    char (*names)[USER_LEN];
};

static struct {
    uv_loop_t loop;
    uv_async_t wake;
    pthread_mutex_t lock;
    struct posted *first;
    struct posted **last;
    struct store_port *port;
    uint32_t rows;
    uint32_t requests;
    uint32_t users;
    uint32_t next_user;
    uint32_t under_way;
    uint64_t until_ns;
    uint64_t most; /* rows; the end, also before the time is over */
    uint64_t stored;
    bool failed;
    bool closed;
    char text[TEXT_LEN];
} bench;

/* --- the loop ------------------------------------------------------------------------------ */

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

/* --- requests ------------------------------------------------------------------------------ */

static void fill_row(struct request *request, uint32_t index)
{
    struct store_row *row = &request->rows[index];
    uint64_t now = clock_wall_ms();
    int len = snprintf(request->names[index], USER_LEN, "u%u", bench.next_user++ % bench.users);
    *row = (struct store_row){
        .who.user = bytes_of(request->names[index], (size_t)len),
        .type = BYTES("bench"),
        .title = BYTES("bench"),
        .message = bytes_of(bench.text, sizeof(bench.text)),
        .priority = NOTIFICATION_URGENT,
        .created_at = now,
    };
    uuid7_make(now, slot_of(row->who.tenant, row->who.user), row->id);
    memcpy(row->key_hash, row->id, STORE_HASH_LEN);
    memcpy(row->content_hash, row->id, STORE_HASH_LEN);
}

static void submit(struct request *request);

static void on_done(struct store_request *base)
{
    struct request *request = container_of(base, struct request, put.base);
    bench.under_way--;
    store_request_finish(base);
    if (base->status != 0) {
        bench.failed = true;
    } else if (clock_mono_ns() < bench.until_ns && bench.stored < bench.most) {
        bench.stored += request->put.count;
        submit(request);
    }
}

static void submit(struct request *request)
{
    for (uint32_t i = 0; i < bench.rows; i++) {
        fill_row(request, i);
    }
    request->put = (struct store_put){
        .base = {.op = STORE_PUT, .done = on_done}, .rows = request->rows, .count = bench.rows};
    bench.under_way++;
    store_submit(bench.port, &request->put.base);
}

static void run(double seconds)
{
    struct request *requests = mem_alloc_array(bench.requests, sizeof(*requests));
    uint64_t started_ns = clock_mono_ns();
    bench.until_ns = started_ns + (uint64_t)(seconds * 1e9);
    for (uint32_t i = 0; i < bench.requests; i++) {
        requests[i].rows = mem_alloc_array(bench.rows, sizeof(*requests[i].rows));
        requests[i].names = mem_alloc_array(bench.rows, sizeof(*requests[i].names));
        submit(&requests[i]);
    }
    while (bench.under_way > 0) {
        uv_run(&bench.loop, UV_RUN_ONCE);
    }
    printf("{\"rows\":%llu,\"rows_per_s\":%.0f,\"ok\":%s}\n", (unsigned long long)bench.stored,
        (double)bench.stored / seconds, bench.failed || bench.stored == 0 ? "false" : "true");
    for (uint32_t i = 0; i < bench.requests; i++) {
        mem_free(requests[i].rows);
        mem_free(requests[i].names);
    }
    mem_free(requests);
}

/* --- life ---------------------------------------------------------------------------------- */

static void on_closed(void *context)
{
    (void)context;
    bench.closed = true;
}

static uint32_t number(const char *text, uint32_t most)
{
    unsigned long value = strtoul(text, NULL, 10);
    return value > most ? most : (uint32_t)value;
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
        (void)fprintf(stderr, "bench_store_floor: %s\n", error);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 6 && argc != 7) {
        (void)fputs(
            "usage: bench_store_floor URL ROWS REQUESTS USERS SECONDS [MOST_ROWS]\n", stderr);
        return 2;
    }
    struct store *store;
    bench.rows = number(argv[2], ROWS_MAX);
    bench.requests = number(argv[3], REQUESTS_MAX);
    bench.users = number(argv[4], 1000000);
    bench.most = argc == 7 ? strtoull(argv[6], NULL, 10) : UINT64_MAX;
    memset(bench.text, 'x', sizeof(bench.text));
    if (bench.rows == 0 || bench.users == 0 || !open_store(argv[1], &store)) {
        return 2;
    }
    run(strtod(argv[5], NULL));
    store_port_close(bench.port, on_closed, NULL);
    while (!bench.closed) {
        uv_run(&bench.loop, UV_RUN_ONCE);
    }
    store_close(store);
    return bench.failed ? 1 : 0;
}
