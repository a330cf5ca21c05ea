/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens stores on loops of the test's own and turns those until requests have completed.
 */
#include "tests/unit/sql/harness.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/slot.h"
#include "tests/support/postgres.h"

struct posted {
    struct posted *next;
    void (*fn)(void *arg, bool cancelled);
    void *arg;
};

/* What the executable as a whole owns: a directory for files, and the server. */

#define DIRECTORY_ENV "PEAL_TEST_DIRECTORY"

static struct postgres server;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
    char directory[] = "/tmp/peal-sql-XXXXXX";
    if (!mkdtemp(directory) || setenv(DIRECTORY_ENV, directory, 1) != 0) {
        abort();
    }
    (void)postgres_start(&server); /* else the tests that need it fail */
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    return remove(path);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    postgres_stop(&server);
    (void)nftw(getenv(DIRECTORY_ENV), remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void harness_url(const char *engine, char ret_url[URL_MAX])
{
    if (strcmp(engine, "postgres") == 0) {
        cr_assert(postgres_create_database(ret_url));
        return;
    }
    char directory[URL_MAX - 32];
    (void)snprintf(directory, sizeof(directory), "%s/XXXXXX", getenv(DIRECTORY_ENV));
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(ret_url, URL_MAX, "sqlite:%s/peal.db", directory);
}

static void on_wake(uv_async_t *wake)
{
    struct shard *shard = wake->data;
    pthread_mutex_lock(&shard->lock);
    struct posted *posted = shard->first;
    shard->first = NULL;
    shard->last = &shard->first;
    pthread_mutex_unlock(&shard->lock);
    while (posted) {
        struct posted *next = posted->next;
        posted->fn(posted->arg, false);
        free(posted);
        posted = next;
    }
}

static void post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
    struct harness *harness = context;
    struct shard *shard = &harness->shards[port];
    struct posted *posted = malloc(sizeof(*posted));
    *posted = (struct posted){.fn = fn, .arg = arg};
    pthread_mutex_lock(&shard->lock);
    *shard->last = posted;
    shard->last = &posted->next;
    pthread_mutex_unlock(&shard->lock);
    uv_async_send(&shard->wake);
}

static void open_all(
    struct harness *harness, const char *url, unsigned count, uint32_t least, uint32_t most)
{
    memset(harness, 0, sizeof(*harness));
    harness->count = count;
    struct store_config config = {
        .url = bytes_str(url),
        .port_count = count,
        .pool_min = least,
        .pool_max = most,
        .slow_ms = 100,
        .post = post,
        .post_context = harness,
    };
    char error[512] = "";
    int status = store_open(&config, &harness->store, error, sizeof(error));
    cr_assert_eq(status, 0, "%d: %s", status, error);
    for (unsigned i = 0; i < harness->count; i++) {
        struct shard *shard = &harness->shards[i];
        shard->last = &shard->first;
        pthread_mutex_init(&shard->lock, NULL);
        uv_loop_init(&shard->loop);
        uv_async_init(&shard->loop, &shard->wake, on_wake);
        shard->wake.data = shard;
        cr_assert_eq(store_port_open(harness->store, i, &shard->loop, &shard->port), 0);
    }
}

void harness_open_pool(struct harness *harness, const char *url, uint32_t least, uint32_t most)
{
    open_all(harness, url, HARNESS_SHARDS, least, most);
}

void harness_open_ports(struct harness *harness, const char *url, unsigned count)
{
    cr_assert_leq(count, HARNESS_SHARDS_MAX);
    open_all(harness, url, count, 2 * count, 2 * count);
}

void harness_open(struct harness *harness, const char *url)
{
    harness_open_ports(harness, url, HARNESS_SHARDS);
}

void harness_closed(void *context)
{
    bool *closed = context;
    *closed = true;
}

void harness_wait(struct harness *harness, unsigned shard, const bool *flag)
{
    while (!*flag) {
        uv_run(&harness->shards[shard].loop, UV_RUN_ONCE);
    }
}

void harness_close(struct harness *harness)
{
    for (unsigned i = 0; i < harness->count; i++) {
        struct shard *shard = &harness->shards[i];
        if (!shard->closed) {
            store_port_close(shard->port, harness_closed, &shard->closed);
        }
        harness_wait(harness, i, &shard->closed);
    }
    store_close(harness->store);
    for (unsigned i = 0; i < harness->count; i++) {
        struct shard *shard = &harness->shards[i];
        uv_close((uv_handle_t *)&shard->wake, NULL);
        uv_run(&shard->loop, UV_RUN_DEFAULT);
        cr_assert_eq(uv_loop_close(&shard->loop), 0, "a handle is still open");
        pthread_mutex_destroy(&shard->lock);
    }
}

static _Thread_local unsigned done_count;

void harness_done(struct store_request *request)
{
    done_count++;
}

void harness_wait_all(struct harness *harness, unsigned shard, unsigned count)
{
    while (done_count < count) {
        uv_run(&harness->shards[shard].loop, UV_RUN_ONCE);
    }
    cr_assert_eq(done_count, count);
    done_count = 0;
}

/* The request being waited for on this thread. */
static _Thread_local struct store_request *awaited;

static void on_done(struct store_request *request)
{
    if (request == awaited) {
        awaited = NULL;
    }
}

int harness_run(struct harness *harness, unsigned shard, struct store_request *request)
{
    request->done = on_done;
    awaited = request;
    store_submit(harness->shards[shard].port, request);
    cr_assert_not_null(awaited, "completed before store_submit returned");
    while (awaited) {
        uv_run(&harness->shards[shard].loop, UV_RUN_ONCE);
    }
    return request->status;
}

struct store_user user_of(const char *name)
{
    return (struct store_user){.user = bytes_str(name)};
}

static void fill_hash(uint8_t *hash, struct store_user who, uint64_t number)
{
    uint64_t seed = number * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < who.tenant.len; i++) {
        seed = (seed ^ (uint8_t)who.tenant.at[i]) * 0x100000001b3u;
    }
    for (size_t i = 0; i < who.user.len; i++) {
        seed = (seed ^ (uint8_t)who.user.at[i]) * 0x100000001b3u;
    }
    struct rand rand;
    rand_init(&rand, seed);
    uint64_t words[2] = {rand_u64(&rand), number};
    memcpy(hash, words, STORE_HASH_LEN);
}

struct store_row row_of(struct store_user who, uint64_t key, uint64_t content)
{
    struct store_row row = {
        .type = BYTES("invoice"),
        .title = BYTES("Paid"),
        .message = BYTES("It is d\xc3\xb6ne"),
        .data = BYTES("{\"id\": 7}"),
        .priority = NOTIFICATION_HIGH,
        .created_at = 1700000000000 + key,
    };
    fill_hash(row.key_hash, who, key);
    fill_hash(row.content_hash, who, content);
    give_row(&row, who);
    return row;
}

void give_row(struct store_row *row, struct store_user who)
{
    row->who = who;
    uuid7_make(row->created_at, slot_of(who.tenant, who.user), row->id);
}

void put_row(struct harness *harness, struct store_row *row)
{
    struct store_put put = {.base.op = STORE_PUT, .rows = row, .count = 1};
    cr_assert_eq(harness_run(harness, 0, &put.base), 0);
    store_request_finish(&put.base);
}

struct store_position position_of(struct harness *harness, struct store_user who)
{
    struct store_positions positions = {.base.op = STORE_POSITIONS, .users = &who, .count = 1};
    cr_assert_eq(harness_run(harness, 0, &positions.base), 0);
    struct store_position position = positions.positions[0];
    store_request_finish(&positions.base);
    return position;
}

void expect_position(
    struct harness *harness, struct store_user who, uint64_t seq, uint64_t rev, uint64_t unread)
{
    struct store_position position = position_of(harness, who);
    cr_expect_eq(position.seq, seq, "seq %lu", position.seq);
    cr_expect_eq(position.rev, rev, "rev %lu", position.rev);
    cr_expect_eq(position.unread, unread, "unread %lu", position.unread);
}

struct store_mark erase_of(struct store_user who, uint64_t at)
{
    struct store_mark mark = mark_of(who, NOTIFICATION_MARK_DELETE, at);
    mark.up_to = UINT64_MAX;
    return mark;
}

struct store_mark mark_of(struct store_user who, enum notification_verb verb, uint64_t at)
{
    return (struct store_mark){.base.op = STORE_MARK,
        .who = who,
        .verb = verb,
        .states = notification_mark_states(verb, false),
        .late_states = notification_mark_late_states(verb),
        .if_rev = INT64_MAX,
        .at = at};
}

void mark_row(struct harness *harness, const struct store_row *row, enum notification_verb verb)
{
    struct store_mark mark = mark_of(row->who, verb, 50);
    mark.ids = &row->id;
    mark.id_count = 1;
    mark.until = 1000;
    cr_assert_eq(harness_run(harness, 0, &mark.base), 0);
    cr_assert_eq(mark.change_count, 1);
    store_request_finish(&mark.base);
}

bool harness_is_healthy(const struct store *store)
{
    struct store_health health;
    store_get_health(store, &health);
    return health.write_failed_ms == 0 && health.read_failed_ms == 0;
}
