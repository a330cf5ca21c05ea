/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What applications post within their own transactions: in which order it is read, how it goes, and
 * who is woken.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "codec/base/status.h"
#include "sql/pg_outbox.h"
#include "sql/store.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/harness.h"

TestSuite(outbox, .timeout = 120);

/* A reader, and what it was told. */
struct reader {
    uv_loop_t loop;
    struct pg_outbox *outbox;
    struct pg_outbox_page *page;
    uint64_t events[PG_OUTBOX_ROWS_MAX];
    size_t event_count;
    unsigned ups;
    unsigned downs;
    unsigned wakes;
    unsigned removals;
    unsigned armings;
    bool still;
    bool closed;
    char why[400];
};

static void on_up(void *context)
{
    ((struct reader *)context)->ups++;
}

static void on_down(void *context, const char *text)
{
    struct reader *reader = context;
    reader->downs++;
    (void)snprintf(reader->why, sizeof(reader->why), "%s", text);
}

static void on_woken(void *context)
{
    ((struct reader *)context)->wakes++;
}

static void on_page(void *context, struct pg_outbox_page *page)
{
    cr_assert_not_null(page);
    ((struct reader *)context)->page = page;
}

static void on_armed(void *context, bool still)
{
    struct reader *reader = context;
    reader->armings++;
    reader->still = still;
}

static void on_removed(void *context, const uint64_t *events, size_t count)
{
    struct reader *reader = context;
    memcpy(reader->events, events, count * sizeof(*events));
    reader->event_count = count;
    reader->removals++;
}

static void on_closed(void *context)
{
    ((struct reader *)context)->closed = true;
}

static const struct pg_outbox_events events = {
    on_up, on_down, on_woken, on_page, on_armed, on_removed, on_closed};

/* Run the loop until `*count` is more than `than`. */
static void wait_for(struct reader *reader, const unsigned *count, unsigned than)
{
    while (*count <= than) {
        (void)uv_run(&reader->loop, UV_RUN_ONCE);
    }
}

static void make_database(char url[URL_MAX])
{
    char error[256] = "";
    cr_assert(postgres_create_database(url));
    cr_assert_eq(store_install_outbox(bytes_str(url), error, sizeof(error)), 0, "%s", error);
}

static void open_reader(struct reader *reader, const char *url)
{
    *reader = (struct reader){.closed = false};
    cr_assert_eq(uv_loop_init(&reader->loop), 0);
    reader->outbox = pg_outbox_open(&reader->loop, url, true, &events, reader);
}

static void close_reader(struct reader *reader)
{
    pg_outbox_page_destroy(reader->page);
    pg_outbox_close(reader->outbox);
    while (!reader->closed) {
        (void)uv_run(&reader->loop, UV_RUN_ONCE);
    }
    (void)uv_run(&reader->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&reader->loop), 0);
}

static const struct pg_outbox_page *read_page(struct reader *reader, size_t limit)
{
    pg_outbox_page_destroy(reader->page);
    reader->page = NULL;
    pg_outbox_read(reader->outbox, limit);
    while (reader->page == NULL) {
        (void)uv_run(&reader->loop, UV_RUN_ONCE);
    }
    return reader->page;
}

static void remove_page(
    struct reader *reader, const struct pg_outbox_fault *faults, size_t fault_count)
{
    unsigned before = reader->removals;
    pg_outbox_remove(reader->outbox, reader->page, faults, fault_count);
    wait_for(reader, &reader->removals, before);
}

/* The value of a field of a row; empty: it has none of that name. */
static struct bytes field_of(const struct pg_outbox_row *row, const char *name)
{
    for (size_t i = 0; i < row->field_count; i++) {
        if (bytes_eq_str(row->fields[i].name, name)) {
            return row->fields[i].value;
        }
    }
    return bytes_of(NULL, 0);
}

/* The titles of a page, and where a transaction begins a bar. */
static const char *titles_of(const struct pg_outbox_page *page, char text[256])
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < page->count; i++) {
        struct bytes title = field_of(&page->rows[i], "title");
        bool begins = i == 0 || page->rows[i].n != page->rows[i - 1].n;
        len += (size_t)snprintf(text + len, 256 - len, "%s%.*s", begins ? "|" : " ", (int)title.len,
            title.len > 0 ? title.at : "");
    }
    return text;
}

static void expect_titles(struct reader *reader, size_t limit, const char *expected)
{
    char text[256];
    cr_expect_str_eq(titles_of(read_page(reader, limit), text), expected, "%s", text);
}

static void run(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    cr_assert(
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(pg));
    PQclear(result);
}

static void run_once(const char *url, const char *sql)
{
    cr_assert(postgres_query(url, sql, NULL, 0), "%s", sql);
}

static void expect_value(const char *url, const char *sql, const char *expected)
{
    char text[256] = "";
    cr_assert(postgres_query(url, sql, text, sizeof(text)), "%s", sql);
    cr_expect_str_eq(text, expected, "%s: %s", sql, text);
}

Test(outbox, transactions_come_as_they_committed_not_as_they_posted)
{
    char url[URL_MAX];
    struct reader reader;
    make_database(url);
    PGconn *early = PQconnectdb(url);
    PGconn *late = PQconnectdb(url);
    run(early, "BEGIN; SELECT peal.post('u', 't', 'a')");
    run(late, "BEGIN; SELECT peal.post('u', 't', 'b'); SELECT peal.post('v', 't', 'c'); COMMIT");
    run(late, "SELECT peal.post('u', 't', 'd')");
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    expect_titles(&reader, 100, "|b c|d");
    run(early, "SELECT peal.post('u', 't', 'e'); COMMIT");
    run(late, "BEGIN; SELECT peal.post('u', 't', 'never'); ROLLBACK");
    expect_titles(&reader, 100, "|b c|d|a e");
    remove_page(&reader, NULL, 0);
    expect_titles(&reader, 100, "");
    expect_value(url, "SELECT count(*) FROM peal.outbox_commit", "0");
    PQfinish(early);
    PQfinish(late);
    close_reader(&reader);
}

Test(outbox, savepoints_that_are_undone_leave_nothing)
{
    char url[URL_MAX];
    struct reader reader;
    make_database(url);
    PGconn *pg = PQconnectdb(url);
    run(pg, "BEGIN; SAVEPOINT s; SELECT peal.post('u', 't', 'a'); ROLLBACK TO s; "
            "SELECT peal.post('u', 't', 'b'); SAVEPOINT s; SELECT peal.post('u', 't', 'c'); "
            "ROLLBACK TO s; SELECT peal.post('u', 't', 'd'); COMMIT");
    run(pg, "BEGIN; SAVEPOINT s; SELECT peal.post('u', 't', 'e'); ROLLBACK TO s; COMMIT");
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    expect_titles(&reader, 100, "|b d");
    expect_value(url, "SELECT count(*) FROM peal.outbox_commit", "1");
    PQfinish(pg);
    close_reader(&reader);
}

Test(outbox, a_transaction_may_be_larger_than_a_page)
{
    char url[URL_MAX];
    struct reader reader;
    make_database(url);
    run_once(url, "SELECT peal.post('u', 't', n::text) FROM generate_series(1, 4) n");
    run_once(url, "SELECT peal.post('u', 't', '5')");
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    expect_titles(&reader, 2, "|1 2");
    remove_page(&reader, NULL, 0);
    expect_value(url, "SELECT count(*) FROM peal.outbox_commit", "2");
    expect_titles(&reader, 2, "|3 4");
    remove_page(&reader, NULL, 0);
    expect_value(url, "SELECT count(*) FROM peal.outbox_commit", "1");
    expect_titles(&reader, 2, "|5");
    remove_page(&reader, NULL, 0);
    expect_value(url, "SELECT count(*) FROM peal.outbox_commit", "0");
    close_reader(&reader);
}

Test(outbox, a_page_is_bounded_in_bytes)
{
    char url[URL_MAX];
    struct reader reader;
    make_database(url);
    run_once(url,
        "SELECT peal.post('u', 't', n::text, repeat('x', 1000000)) FROM generate_series(1, 5) n");
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    expect_titles(&reader, 100, "|1 2 3");
    remove_page(&reader, NULL, 0);
    expect_titles(&reader, 100, "|4 5");
    cr_expect_not(
        postgres_query(url, "SELECT peal.post('u', 't', 'x', repeat('x', 1048577))", NULL, 0));
    close_reader(&reader);
}

Test(outbox, a_number_without_rows_goes)
{
    char url[URL_MAX];
    struct reader reader;
    make_database(url);
    run_once(url, "SELECT peal.post('u', 't', 'a')");
    run_once(url, "DELETE FROM peal.outbox");
    run_once(url, "SELECT peal.post('u', 't', 'b')");
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    const struct pg_outbox_page *page = read_page(&reader, 100);
    cr_assert_eq(page->count, 2);
    cr_expect_eq(page->rows[0].id, 0);
    remove_page(&reader, NULL, 0);
    expect_value(url, "SELECT count(*) FROM peal.outbox_commit", "0");
    close_reader(&reader);
}

Test(outbox, fields_are_those_of_a_stream_entry)
{
    char url[URL_MAX];
    struct reader reader;
    make_database(url);
    run_once(url, "SELECT peal.post('u', 'order', 'T', 'M', '{\"n\": 1}', 'k', 'high', "
                  "'2040-01-01Z', '-infinity', 'c', 'acme')");
    run_once(url, "SELECT peal.publish('r', 'e', '[1, 2]', 'acme', 'urgent', 'last')");
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    const struct pg_outbox_page *page = read_page(&reader, 100);
    static const char *const fields[][3] = {{"user", "u", ""}, {"room", "", "r"},
        {"type", "order", ""}, {"title", "T", ""}, {"message", "M", ""}, {"data", "{\"n\": 1}", ""},
        {"key", "k", ""}, {"priority", "high", "urgent"}, {"expires_at", "2208988800000", ""},
        {"deliver_at", "-infinity", ""}, {"collapse", "c", ""}, {"tenant", "acme", "acme"},
        {"event", "", "e"}, {"args", "", "[1, 2]"}, {"retain", "", "last"}};
    cr_assert_eq(page->count, 2);
    cr_expect(!page->rows[0].is_event && page->rows[1].is_event);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        for (size_t row = 0; row < 2; row++) {
            struct bytes value = field_of(&page->rows[row], fields[i][0]);
            cr_expect(bytes_eq_str(value, fields[i][row + 1]), "%s of row %zu", fields[i][0], row);
        }
    }
    close_reader(&reader);
}

Test(outbox, what_is_at_fault_is_kept_and_events_are_removed_once)
{
    char url[URL_MAX];
    struct reader reader;
    make_database(url);
    run_once(
        url, "SELECT peal.post('u', 't', 'a'), peal.publish('r', 'e'), peal.post('u', 't', 'b')");
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    const struct pg_outbox_page *page = read_page(&reader, 100);
    struct pg_outbox_fault fault = {.row = 0, .field = "ti\"t\\le", .reason = "it, is {bad}"};
    cr_assert_eq(page->count, 3);
    uint64_t event = page->rows[1].id;
    remove_page(&reader, &fault, 1);
    cr_assert_eq(reader.event_count, 1);
    cr_expect_eq(reader.events[0], event);
    expect_value(url,
        "SELECT field || '/' || reason || '/' || (post->>'title') FROM peal.outbox_dead",
        "ti\"t\\le/it, is {bad}/a");
    remove_page(&reader, &fault, 1);
    cr_expect_eq(reader.event_count, 0);
    expect_value(url, "SELECT count(*) FROM peal.outbox_dead", "1");
    close_reader(&reader);
}

Test(outbox, one_of_many_transactions_wakes_who_armed)
{
    char url[URL_MAX];
    struct reader reader;
    make_database(url);
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    pg_outbox_arm(reader.outbox);
    wait_for(&reader, &reader.armings, 0);
    cr_expect_not(reader.still);
    PGconn *first = PQconnectdb(url);
    run(first, "BEGIN; SELECT peal.post('u', 't', 'a')");
    expect_value(url, "SELECT last_value FROM peal.outbox_armed", "1");
    run(first, "COMMIT");
    wait_for(&reader, &reader.wakes, 0);
    expect_value(url, "SELECT last_value FROM peal.outbox_armed", "0");
    run(first, "SELECT peal.post('u', 't', 'b')");
    run(first, "BEGIN; SET LOCAL peal.wake = off; SELECT peal.post('u', 't', 'c'); COMMIT");
    pg_outbox_arm(reader.outbox);
    wait_for(&reader, &reader.armings, 1);
    cr_expect_not(reader.still);
    cr_expect_eq(reader.wakes, 1, "nobody else wakes: %u", reader.wakes);
    pg_outbox_arm(reader.outbox);
    wait_for(&reader, &reader.armings, 2);
    cr_expect(reader.still);
    PQfinish(first);
    close_reader(&reader);
}

Test(outbox, a_session_that_is_lost_is_had_again)
{
    char url[URL_MAX];
    struct reader reader;
    make_database(url);
    run_once(url, "SELECT peal.post('u', 't', 'a')");
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    run_once(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                  "WHERE datname = current_database() AND pid <> pg_backend_pid()");
    wait_for(&reader, &reader.downs, 0);
    cr_expect_gt(strlen(reader.why), 5);
    wait_for(&reader, &reader.ups, 1);
    expect_titles(&reader, 100, "|a");
    close_reader(&reader);
}

Test(outbox, a_database_without_one_is_told_with_the_remedy)
{
    char url[URL_MAX];
    char error[256] = "";
    struct reader reader;
    cr_assert(postgres_create_database(url));
    cr_expect_eq(
        store_probe_outbox(bytes_str(url), error, sizeof(error)), STATUS_NOT_FOUND, "%s", error);
    open_reader(&reader, url);
    wait_for(&reader, &reader.ups, 0);
    pg_outbox_read(reader.outbox, 1);
    wait_for(&reader, &reader.downs, 0);
    cr_expect_not_null(strstr(reader.why, "peal migrate --outbox"), "%s", reader.why);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(store_install_outbox(bytes_str(url), error, sizeof(error)), 0, "%s", error);
    }
    cr_expect_eq(store_probe_outbox(bytes_str(url), error, sizeof(error)), 0, "%s", error);
    wait_for(&reader, &reader.ups, 1);
    expect_titles(&reader, 1, "");
    run_once(url, "UPDATE peal.migration SET checksum = 'other'");
    cr_expect_eq(
        store_install_outbox(bytes_str(url), error, sizeof(error)), STATUS_CONFLICT, "%s", error);
    close_reader(&reader);
}
