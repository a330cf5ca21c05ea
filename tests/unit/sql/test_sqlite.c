/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the SQLite engine has: its file, its lock, and what survives a kill.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/sqlite_db.h"
#include "tests/unit/sql/harness.h"

TestSuite(sqlite_file, .timeout = 120);

static void no_post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
}

static int open_again(const char *url, struct store **ret_store, char *error, size_t error_size)
{
    struct store_config config = {.url = bytes_str(url), .port_count = 1, .post = no_post};
    return store_open(&config, ret_store, error, error_size);
}

Test(sqlite_file, is_refused_to_a_second_process)
{
    char url[URL_MAX];
    harness_url("sqlite", url);
    struct harness harness;
    harness_open(&harness, url);
    pid_t child = fork();
    if (child == 0) {
        struct store *store;
        char error[512] = "";
        int status = open_again(url, &store, error, sizeof(error));
        _exit(status == STATUS_EXISTS && strstr(error, "in use by another process") ? 0 : 1);
    }
    int result = -1;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_expect_eq(result, 0);
    harness_close(&harness);
    struct store *store;
    char error[512] = "";
    cr_assert_eq(open_again(url, &store, error, sizeof(error)), 0, "%s", error);
    store_close(store);
}

Test(sqlite_file, explains_why_it_cannot_be_opened)
{
    char good[URL_MAX];
    harness_url("sqlite", good);
    char garbage[URL_MAX];
    harness_url("sqlite", garbage);
    FILE *file = fopen(garbage + strlen("sqlite:"), "w");
    cr_assert_not_null(file);
    for (int i = 0; i < 4096; i++) {
        (void)fputs("no database ", file);
    }
    (void)fclose(file);
    const struct {
        const char *url;
        int status;
        const char *word;
    } cases[] = {
        {"sqlite:", STATUS_INVALID, "path"},
        {"sqlite::memory:", STATUS_INVALID, "path"},
        {"mysql://x", STATUS_INVALID, "sqlite:"},
        {"", STATUS_INVALID, "sqlite:"},
        {"sqlite:/nonexistent/peal.db", STATUS_IO, "No such file"},
        {garbage, STATUS_UNAVAILABLE, "not a database"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store *store;
        char error[512] = "";
        int status = open_again(cases[i].url, &store, error, sizeof(error));
        cr_expect_eq(status, cases[i].status, "case %zu: %d %s", i, status, error);
        cr_expect_not_null(strstr(error, cases[i].word), "case %zu: %s", i, error);
    }
}

/* A file system without shared memory, as some network ones: the methods for it are missing. */

static sqlite3_vfs *true_vfs;
static sqlite3_io_methods methods;

static int open_without_memory(
    sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    int result = true_vfs->xOpen(true_vfs, name, file, flags, ret_flags);
    if (result == SQLITE_OK && file->pMethods != NULL) {
        methods = *file->pMethods;
        methods.iVersion = 1;
        file->pMethods = &methods;
    }
    return result;
}

Test(sqlite_file, is_refused_where_there_is_no_write_ahead_log)
{
    true_vfs = sqlite3_vfs_find(NULL);
    sqlite3_vfs vfs = *true_vfs;
    vfs.zName = "no-shared-memory";
    vfs.xOpen = open_without_memory;
    cr_assert_eq(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
    char url[URL_MAX];
    harness_url("sqlite", url);
    struct store *store;
    char error[512] = "";
    cr_expect_eq(open_again(url, &store, error, sizeof(error)), STATUS_UNSUPPORTED);
    cr_expect_not_null(strstr(error, "write-ahead log"), "%s", error);
    cr_expect_not_null(strstr(error, "store.path"), "%s", error);
}

Test(sqlite_file, that_was_replaced_stops_intake)
{
    char url[URL_MAX];
    harness_url("sqlite", url);
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    put_row(&harness, &row);
    cr_assert_eq(unlink(url + strlen("sqlite:")), 0);
    struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_UNAVAILABLE);
    cr_expect_not(harness_is_healthy(harness.store));
    struct store_health health;
    store_get_health(harness.store, &health);
    cr_expect_not_null(strstr(health.reason, "removed or replaced"), "%s", health.reason);
    cr_expect_eq(health.pooled_ms, 0, "a remedy alone speaks of no pooler");
    harness_close(&harness);
}

/* Runs in the child: store rows one by one and say each number that was acknowledged. */
static void store_until_killed(const char *url, int out)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct harness harness;
    harness_open(&harness, url);
    for (uint64_t i = 0;; i++) {
        struct store_row row = row_of(user_of("alice"), i, i);
        struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
        if (harness_run(&harness, 0, &put.base) != 0 || write(out, &i, sizeof(i)) != sizeof(i)) {
            _exit(1);
        }
        store_request_finish(&put.base);
    }
}

Test(sqlite_file, keeps_what_was_acknowledged_through_kill_9)
{
    char url[URL_MAX];
    harness_url("sqlite", url);
    uint64_t acknowledged = 0; /* so many: numbers 0 to this - 1 */
    for (unsigned round = 0; round < 3; round++) {
        int pipes[2];
        cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
        pid_t child = fork();
        if (child == 0) {
            store_until_killed(url, pipes[1]);
        }
        (void)close(pipes[1]);
        uint64_t number;
        for (unsigned i = 0; i < 100 + 37 * round; i++) {
            cr_assert_eq(read(pipes[0], &number, sizeof(number)), sizeof(number));
        }
        cr_assert_eq(kill(child, SIGKILL), 0);
        while (read(pipes[0], &number, sizeof(number)) == sizeof(number)) {
        }
        (void)close(pipes[0]);
        cr_assert_eq(waitpid(child, NULL, 0), child);
        acknowledged = number + 1 > acknowledged ? number + 1 : acknowledged;

        struct harness harness;
        harness_open(&harness, url);
        struct store_position position = position_of(&harness, user_of("alice"));
        cr_expect_geq(position.seq, acknowledged);
        cr_expect_leq(position.seq, acknowledged + 1, "at most the one under way");
        cr_expect_eq(position.rev, position.seq);
        cr_expect_eq(position.unread, position.seq);
        for (uint64_t i = 0; i < acknowledged; i++) {
            struct store_row row = row_of(user_of("alice"), i, i);
            put_row(&harness, &row);
            cr_assert_eq(row.outcome, OUTCOME_DUPLICATE, "number %lu was lost", i);
            cr_assert_eq(row.seq, i + 1);
        }
        harness_close(&harness);
    }
}

/* A file system that counts what was written to the log and would be lost with the power. */

static sqlite3_vfs counting;
static sqlite3_io_methods counting_methods;
static const sqlite3_io_methods *real_methods;
static atomic_uint log_writes;
static atomic_uint log_unsynced;

static int log_write(sqlite3_file *file, const void *at, int len, sqlite3_int64 offset)
{
    atomic_fetch_add(&log_writes, 1);
    atomic_fetch_add(&log_unsynced, 1);
    return real_methods->xWrite(file, at, len, offset);
}

static int log_sync(sqlite3_file *file, int flags)
{
    atomic_store(&log_unsynced, 0);
    return real_methods->xSync(file, flags);
}

static int counting_open(
    sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    sqlite3_vfs *real = vfs->pAppData;
    int code = real->xOpen(real, name, file, flags, ret_flags);
    if (code == SQLITE_OK && (flags & SQLITE_OPEN_WAL) != 0) {
        real_methods = file->pMethods;
        counting_methods = *real_methods;
        counting_methods.xWrite = log_write;
        counting_methods.xSync = log_sync;
        file->pMethods = &counting_methods;
    }
    return code;
}

Test(sqlite_file, has_synced_the_log_before_it_answers)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    counting = *real;
    counting.zName = "counting";
    counting.pAppData = real;
    counting.xOpen = counting_open;
    cr_assert_eq(sqlite3_vfs_register(&counting, 1), SQLITE_OK);
    char url[URL_MAX];
    harness_url("sqlite", url);
    struct harness harness;
    harness_open(&harness, url);
    for (uint64_t i = 0; i < 50; i++) {
        unsigned before = atomic_load(&log_writes);
        struct store_row row = row_of(user_of("alice"), i, i);
        put_row(&harness, &row);
        cr_expect_gt(atomic_load(&log_writes), before);
        cr_expect_eq(atomic_load(&log_unsynced), 0, "power loss would undo what was answered");
    }
    harness_close(&harness);
}

/* --- memory that it can do without --- */

static void fill(struct harness *harness, unsigned rows)
{
    char text[8000];
    memset(text, 'm', sizeof(text));
    for (unsigned i = 0; i < rows; i++) {
        struct store_row row = row_of(user_of("alice"), i, i);
        row.message = bytes_of(text, sizeof(text));
        put_row(harness, &row);
    }
}

/* Its two threads look when they have worked and twice a second. */
static bool falls_below(long long bytes)
{
    for (unsigned i = 0; i < 1000 && sqlite3_memory_used() >= bytes; i++) {
        (void)usleep(10000);
    }
    return sqlite3_memory_used() < bytes;
}

Test(sqlite_file, gives_its_page_caches_back_when_memory_is_asked_for)
{
    char url[URL_MAX];
    harness_url("sqlite", url);
    struct harness harness;
    harness_open(&harness, url);
    long long before = sqlite3_memory_used();
    fill(&harness, 600);
    long long filled = sqlite3_memory_used();
    cr_assert_gt(filled, before + (3 << 20), "%lld to %lld", before, filled);
    mem_ask_back();
    cr_expect(falls_below(before + (1 << 20)), "%lld", sqlite3_memory_used());
    fill(&harness, 600);
    cr_expect_lt(sqlite3_memory_used(), before + (3 << 20), "it stays small: memory is short");
    harness_close(&harness);
}

static void *map_nothing(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    errno = ENOMEM;
    return MAP_FAILED;
}

static int try_put(struct harness *harness, uint64_t number)
{
    char text[8000];
    memset(text, 'm', sizeof(text));
    struct store_row row = row_of(user_of("alice"), number, number);
    row.message = bytes_of(text, sizeof(text));
    struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
    int status = harness_run(harness, 0, &put.base);
    store_request_finish(&put.base);
    return status;
}

/* Where the address space is used up, the index of a log that grows cannot be mapped. */
Test(sqlite_file, begins_its_log_anew_when_it_cannot_grow)
{
    char url[URL_MAX];
    harness_url("sqlite", url);
    struct harness harness;
    harness_open(&harness, url);
    cr_assert_eq(try_put(&harness, 0), 0);
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    cr_assert_eq(vfs->xSetSystemCall(vfs, "mmap", (sqlite3_syscall_ptr)(void (*)(void))map_nothing),
        SQLITE_OK);
    unsigned failed = 0;
    for (uint64_t i = 1; i < 3000; i++) {
        failed += try_put(&harness, i) != 0 ? 1 : 0;
    }
    cr_expect_gt(failed, 0, "the log came to its bound");
    cr_expect_lt(failed, 30, "%u were refused", failed);
    harness_close(&harness);
    cr_assert_eq(vfs->xSetSystemCall(vfs, NULL, NULL), SQLITE_OK);
}

static int take_number(void *context, int count, char **texts, char **names)
{
    (void)count;
    (void)names;
    *(int *)context = atoi(texts[0]);
    return 0;
}

static int cache_of(struct sqlite_db *db)
{
    int kib = 0;
    cr_assert_eq(sqlite3_exec(db->handle, "PRAGMA cache_size", take_number, &kib, NULL), SQLITE_OK);
    return kib;
}

Test(sqlite_db, lets_its_cache_grow_again_after_a_minute)
{
    struct sqlite_db db;
    char url[URL_MAX];
    harness_url("sqlite", url);
    cr_assert_eq(sqlite_db_open(&db, url + strlen("sqlite:"), NULL), 0);
    uint64_t now = 1000;
    mem_ask_back();
    sqlite_db_give_back(&db, now);
    cr_expect_eq(cache_of(&db), -1024);
    mem_ask_back();
    sqlite_db_give_back(&db, now + 30000);
    sqlite_db_give_back(&db, now + 89999);
    cr_expect_eq(cache_of(&db), -1024);
    sqlite_db_give_back(&db, now + 90000);
    cr_expect_eq(cache_of(&db), -16384);
    sqlite_db_close(&db);
}

/* Keeps the writer waiting, so that what is submitted meanwhile shares a transaction. */
static sqlite3 *lock_out(const char *url)
{
    sqlite3 *other;
    cr_assert_eq(sqlite3_open(url + strlen("sqlite:"), &other), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return other;
}

static void let_in(sqlite3 *other)
{
    cr_assert_eq(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_close(other), SQLITE_OK);
}

/* Every so many requests of a transaction is too large for what there is of memory. */
static void expect_others_stored(unsigned every)
{
    enum { REQUESTS = 40, LARGE_BYTES = 8 << 20, ROOM = 4 << 20 };
    char url[URL_MAX];
    harness_url("sqlite", url);
    struct harness harness;
    harness_open(&harness, url);
    struct store_row first = row_of(user_of("alice"), REQUESTS, 1);
    put_row(&harness, &first); /* its statements are prepared */
    char *large = malloc(LARGE_BYTES);
    memset(large, 'l', LARGE_BYTES);
    static struct store_row rows[REQUESTS];
    static struct store_put puts[REQUESTS];
    sqlite3 *other = lock_out(url);
    (void)sqlite3_hard_heap_limit64(sqlite3_memory_used() + ROOM);
    for (unsigned i = 0; i < REQUESTS; i++) {
        rows[i] = row_of(user_of("alice"), i, 1);
        if (i % every == every / 2) {
            rows[i].message = bytes_of(large, LARGE_BYTES);
        }
        puts[i] = (struct store_put){
            .base = {.op = STORE_PUT, .done = harness_done}, .rows = &rows[i], .count = 1};
        store_submit(harness.shards[0].port, &puts[i].base);
    }
    let_in(other);
    harness_wait_all(&harness, 0, REQUESTS);
    (void)sqlite3_hard_heap_limit64(0);
    uint64_t seq = first.seq;
    for (unsigned i = 0; i < REQUESTS; i++) {
        bool fits = i % every != every / 2;
        cr_expect_eq(
            puts[i].base.status, fits ? 0 : STATUS_UNAVAILABLE, "%u: %d", i, puts[i].base.status);
        cr_expect(!fits || rows[i].seq == ++seq, "%u", i);
        store_request_finish(&puts[i].base);
    }
    put_row(&harness, &rows[every / 2]);
    cr_expect_eq(rows[every / 2].seq, seq + 1, "there is memory again");
    free(large);
    harness_close(&harness);
}

Test(sqlite_file, without_memory_for_one_request_the_others_are_stored)
{
    expect_others_stored(40);
}

Test(sqlite_file, without_memory_for_many_requests_the_others_are_stored)
{
    expect_others_stored(4);
}

static int read_newest(struct harness *harness, const char *user, uint32_t limit)
{
    struct store_list list = {.base.op = STORE_LIST, .who = user_of(user), .limit = limit};
    int status = harness_run(harness, 0, &list.base);
    cr_expect(status != 0 || list.count > 0);
    store_request_finish(&list.base);
    return status;
}

/* The pages that it has kept are worth less than the one that is asked for. */
Test(sqlite_file, a_read_without_memory_is_tried_again_without_the_cache)
{
    enum { ROWS = 100, LARGE_BYTES = 3 << 20, LESS = 300 << 10 };
    char url[URL_MAX];
    harness_url("sqlite", url);
    struct harness harness;
    harness_open(&harness, url);
    char *large = malloc(LARGE_BYTES);
    memset(large, 'l', LARGE_BYTES);
    struct store_row row = row_of(user_of("bob"), 0, 0);
    row.message = bytes_of(large, LARGE_BYTES);
    put_row(&harness, &row);
    fill(&harness, ROWS);
    harness_close(&harness);
    harness_open(&harness, url);
    cr_assert_eq(read_newest(&harness, "alice", 1), 0);
    long long before = sqlite3_memory_used();
    (void)sqlite3_memory_highwater(1);
    cr_assert_eq(read_newest(&harness, "bob", 1), 0);
    long long takes = sqlite3_memory_highwater(0) - before;
    harness_close(&harness);
    harness_open(&harness, url);
    cr_assert_eq(read_newest(&harness, "alice", ROWS), 0);
    (void)sqlite3_hard_heap_limit64(sqlite3_memory_used() + takes - LESS);
    cr_expect_eq(read_newest(&harness, "bob", 1), 0, "%lld bytes", takes);
    (void)sqlite3_hard_heap_limit64(0);
    free(large);
    harness_close(&harness);
}
