/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that asks one statement at a time, and the statements.
 *
 * Sections: statements; loss and connecting; asking; answers; life. The socket is watched in all
 * states but DOWN; the timer is the delay in DOWN, else the deadline of what is asked.
 */
#include "sql/pg_outbox.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "sql/pg_watch.h"

enum {
    CONNECT_DEADLINE_MS = 5000,
    ANSWER_DEADLINE_MS = 10000,
    DELAY_FIRST_MS = 50,
    DELAY_MAX_MS = 1000,
    TEXT_MAX = 300,
    NUMBER_MAX = 24,
};

enum ask { ASK_NOTHING, ASK_LISTEN, ASK_READ, ASK_ARM, ASK_REMOVE };

struct pg_outbox {
    const char *url;
    bool wakes;
    const struct pg_outbox_events *events;
    void *context;
    struct pg_watch *watch;
    PGconn *pg; /* NULL: not connected */
    enum { DOWN, CONNECTING, UP, CLOSED } state;
    enum ask asked;
    PGresult *answer; /* the first result of what was asked, until all are here */
    unsigned failures; /* attempts in a row */
    struct rand jitter;
};

/* --- statements --- */

/* Columns of read_text; those behind are fields, by their names. */
enum column { N, XID, ID, IS_EVENT, COMMITTED, WAITED, WAITING, FIELD_FIRST };

/*
 * All that is committed, by the snapshot of this statement: a transaction that is not over yet
 * comes with a later one, whatever its numbers are. A page ends with the row that makes it too
 * large.
 */
static const char read_text[] =
    "SELECT z.n, z.xid, z.id, z.is_event, z.committed, z.waited, z.waiting, "
    "z.\"user\", z.room, z.tenant, z.type, z.title, z.message, z.data, z.key, z.priority, "
    "z.expires_at, z.deliver_at, z.collapse, z.event, z.args, z.retain FROM ("
    "SELECT q.*, sum(q.size) OVER (ORDER BY q.n, q.id ROWS UNBOUNDED PRECEDING) AS total FROM ("
    "SELECT c.n, c.xid, o.id, o.is_event, "
    "floor(extract(epoch FROM c.at) * 1000)::bigint AS committed, "
    "floor(extract(epoch FROM clock_timestamp() - c.at) * 1000)::bigint AS waited, "
    "s.last_value - c.n + 1 AS waiting, coalesce(o.bytes, 0) AS size, "
    "CASE WHEN NOT o.is_event THEN o.target END AS \"user\", "
    "CASE WHEN o.is_event THEN o.target END AS room, o.tenant, o.type, o.title, o.message, o.data, "
    "o.key, o.priority, o.expires_at, o.deliver_at, o.collapse, o.event, o.args, o.retain "
    "FROM (SELECT n, xid, at FROM peal.outbox_commit ORDER BY n LIMIT $1::bigint) c "
    "CROSS JOIN peal.outbox_commit_n_seq s LEFT JOIN LATERAL ("
    "SELECT * FROM peal.outbox r WHERE r.xid = c.xid ORDER BY r.id LIMIT $1::bigint) o ON true "
    "ORDER BY c.n, o.id LIMIT $1::bigint) q) z "
    "WHERE z.total - z.size < $2::bigint ORDER BY z.n, z.id";

/* Whether it was armed, which an answer from before the setval tells. */
static const char arm_text[] =
    "SELECT a.last_value = 1, setval('peal.outbox_armed', 1) FROM peal.outbox_armed a";

/* A transaction's number goes with its last row: $6 and $7 are how far each was read. */
static const char remove_text[] =
    "WITH gone AS (DELETE FROM peal.outbox o USING unnest($1::xid8[], $2::bigint[]) AS p (xid, id) "
    "WHERE o.xid = p.xid AND o.id = p.id RETURNING o.*), "
    "dead AS (INSERT INTO peal.outbox_dead (field, reason, post) SELECT f.field, f.reason, "
    "jsonb_strip_nulls(to_jsonb(g) - ARRAY['xid', 'first', 'bytes']) "
    "FROM unnest($3::bigint[], $4::text[], $5::text[]) AS f (id, field, reason) "
    "JOIN gone g ON g.id = f.id ORDER BY g.id), "
    "kept AS (DELETE FROM peal.outbox_dead "
    "WHERE number <= (SELECT max(number) FROM peal.outbox_dead) - 10000), "
    "ended AS (DELETE FROM peal.outbox_commit c USING unnest($6::bigint[], $7::bigint[]) "
    "AS e (n, id) WHERE c.n = e.n AND NOT EXISTS (SELECT FROM peal.outbox o "
    "WHERE o.xid = c.xid AND o.id > e.id)) "
    "SELECT id FROM gone WHERE is_event";

/* --- loss and connecting --- */

static void drop(struct pg_outbox *outbox)
{
    pg_watch_stop(outbox->watch); /* before libpq closes the socket */
    PQclear(outbox->answer);
    PQfinish(outbox->pg);
    outbox->answer = NULL;
    outbox->pg = NULL;
    outbox->asked = ASK_NOTHING;
}

static uint64_t reconnect_delay(struct pg_outbox *outbox)
{
    unsigned doubled = outbox->failures < 8 ? outbox->failures : 8;
    uint64_t delay = (uint64_t)DELAY_FIRST_MS << doubled;
    delay = delay < DELAY_MAX_MS ? delay : DELAY_MAX_MS;
    return delay / 2 + rand_below(&outbox->jitter, delay / 2 + 1);
}

/* Give the connection up; `why` is libpq's word for it where it is NULL. */
static void lose(struct pg_outbox *outbox, const char *why)
{
    char text[TEXT_MAX];
    const char *said = why != NULL ? why : PQerrorMessage(outbox->pg);
    (void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(said, "\n"), said);
    drop(outbox);
    outbox->state = DOWN;
    pg_watch_timer(outbox->watch, reconnect_delay(outbox));
    outbox->failures++;
    outbox->events->on_down(outbox->context, text);
}

/* What an error reply says; that there is no outbox has a remedy. */
static void lose_by(struct pg_outbox *outbox, const PGresult *result)
{
    char text[TEXT_MAX];
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    bool missing = state != NULL && (strcmp(state, "42P01") == 0 || strcmp(state, "3F000") == 0);
    (void)snprintf(text, sizeof(text), "%s: %s%s", state != NULL ? state : "-",
        said != NULL ? said : PQresultErrorMessage(result),
        missing ? " (peal migrate --outbox makes it)" : "");
    lose(outbox, text);
}

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static void start(struct pg_outbox *outbox)
{
    /* What the URL says comes later and holds, but for where rows can be removed. */
    static const char *const keys[] = {"client_encoding", "fallback_application_name",
        "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "dbname",
        "target_session_attrs", NULL};
    const char *const values[] = {
        "UTF8", "peal outbox", "2", "1", "3", "5000", outbox->url, "primary", NULL};
    outbox->state = CONNECTING;
    outbox->pg = PQconnectStartParams(keys, values, 1);
    if (outbox->pg == NULL || PQstatus(outbox->pg) == CONNECTION_BAD) {
        lose(outbox, NULL);
        return;
    }
    (void)PQsetNoticeReceiver(outbox->pg, ignore_notice, NULL);
    pg_watch_timer(outbox->watch, CONNECT_DEADLINE_MS);
    if (pg_watch_start(outbox->watch, PQsocket(outbox->pg), false, true) < 0) {
        lose(outbox, "the socket cannot be watched");
    }
}

static void begin(struct pg_outbox *outbox);

/* The socket may be another one after each step. */
static void connect_step(struct pg_outbox *outbox)
{
    pg_watch_stop(outbox->watch);
    PostgresPollingStatusType wanted = PQconnectPoll(outbox->pg);
    if (wanted == PGRES_POLLING_OK) {
        begin(outbox);
        return;
    }
    bool reading = wanted == PGRES_POLLING_READING;
    if (wanted == PGRES_POLLING_FAILED ||
        pg_watch_start(outbox->watch, PQsocket(outbox->pg), reading, !reading) < 0) {
        lose(outbox, NULL);
    }
}

/* --- asking --- */

/* Write what can be written and watch for what is missing; false: the connection is lost. */
static bool flush(struct pg_outbox *outbox)
{
    int more = PQflush(outbox->pg);
    return more >= 0 && pg_watch_start(outbox->watch, PQsocket(outbox->pg), true, more == 1) == 0;
}

/* What fails is found in a later turn, as an answer would be. */
static void ask(
    struct pg_outbox *outbox, enum ask what, const char *text, int count, const char *const *values)
{
    CHECK(pg_outbox_is_idle(outbox));
    outbox->asked = what;
    bool sent = PQsendQueryParams(outbox->pg, text, count, NULL, values, NULL, NULL, 0) == 1 &&
                flush(outbox);
    if (!sent) {
        pg_watch_stop(outbox->watch); /* libpq may have closed the socket */
    }
    pg_watch_timer(outbox->watch, sent ? ANSWER_DEADLINE_MS : 0);
}

static void begin(struct pg_outbox *outbox)
{
    outbox->state = UP;
    outbox->failures = 0;
    if (PQsetnonblocking(outbox->pg, 1) != 0 || !flush(outbox)) {
        lose(outbox, NULL);
    } else if (outbox->wakes) {
        ask(outbox, ASK_LISTEN, "LISTEN peal_outbox", 0, NULL);
    } else {
        pg_watch_timer(outbox->watch, UINT64_MAX);
        outbox->events->on_up(outbox->context);
    }
}

bool pg_outbox_is_idle(const struct pg_outbox *outbox)
{
    return outbox->state == UP && outbox->asked == ASK_NOTHING;
}

void pg_outbox_read(struct pg_outbox *outbox, size_t limit)
{
    char rows[NUMBER_MAX];
    char bytes[NUMBER_MAX];
    (void)snprintf(
        rows, sizeof(rows), "%zu", limit < PG_OUTBOX_ROWS_MAX ? limit : PG_OUTBOX_ROWS_MAX);
    (void)snprintf(bytes, sizeof(bytes), "%d", (int)PG_OUTBOX_BYTES_MAX);
    const char *const values[] = {rows, bytes};
    ask(outbox, ASK_READ, read_text, 2, values);
}

void pg_outbox_arm(struct pg_outbox *outbox)
{
    ask(outbox, ASK_ARM, arm_text, 0, NULL);
}

/* The parameters of remove_text, as array literals. */
enum array { XIDS, IDS, DEAD_IDS, DEAD_FIELDS, DEAD_REASONS, NUMBERS, LAST_IDS, ARRAY_COUNT };

static void add_text(struct builder *array, const char *text)
{
    builder_byte(array, '"');
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            builder_byte(array, '\\');
        }
        builder_byte(array, *at);
    }
    builder_byte(array, '"');
}

static struct builder *next_item(struct builder *array)
{
    builder_byte(array, builder_bytes(array).len == 0 ? '{' : ',');
    return array;
}

static void write_rows(const struct pg_outbox_page *page, struct builder arrays[ARRAY_COUNT])
{
    for (size_t i = 0; i < page->count; i++) {
        const struct pg_outbox_row *row = &page->rows[i];
        if (row->id != 0) {
            builder_add(next_item(&arrays[XIDS]), row->xid);
            builder_u64(next_item(&arrays[IDS]), row->id);
        }
        if (i + 1 == page->count || page->rows[i + 1].n != row->n) {
            builder_u64(next_item(&arrays[NUMBERS]), row->n);
            builder_u64(next_item(&arrays[LAST_IDS]), row->id);
        }
    }
}

void pg_outbox_remove(struct pg_outbox *outbox, const struct pg_outbox_page *page,
    const struct pg_outbox_fault *faults, size_t fault_count)
{
    struct builder arrays[ARRAY_COUNT] = {{0}};
    const char *values[ARRAY_COUNT];
    bool failed = false;
    write_rows(page, arrays);
    for (size_t i = 0; i < fault_count; i++) {
        builder_u64(next_item(&arrays[DEAD_IDS]), page->rows[faults[i].row].id);
        add_text(next_item(&arrays[DEAD_FIELDS]), faults[i].field);
        add_text(next_item(&arrays[DEAD_REASONS]), faults[i].reason);
    }
    for (unsigned i = 0; i < ARRAY_COUNT; i++) {
        builder_str(&arrays[i], builder_bytes(&arrays[i]).len == 0 ? "{}" : "}");
        builder_byte(&arrays[i], '\0');
        failed |= builder_failed(&arrays[i]);
        values[i] = builder_bytes(&arrays[i]).at;
    }
    if (failed) { /* no memory: as if it was lost, and it is asked again */
        outbox->asked = ASK_REMOVE;
        pg_watch_timer(outbox->watch, 0);
    } else {
        ask(outbox, ASK_REMOVE, remove_text, ARRAY_COUNT, values);
    }
    for (unsigned i = 0; i < ARRAY_COUNT; i++) {
        builder_reset(&arrays[i]);
    }
}

/* --- answers --- */

static struct bytes text_at(const PGresult *result, int row, int column)
{
    return bytes_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

static uint64_t number_at(const PGresult *result, int row, int column)
{
    uint64_t number = 0;
    return bytes_to_u64(text_at(result, row, column), INT64_MAX, &number) == 0 ? number : 0;
}

static void read_row(const PGresult *result, int at, struct pg_outbox_row *row)
{
    row->n = number_at(result, at, N);
    row->xid = text_at(result, at, XID);
    row->id = number_at(result, at, ID);
    row->is_event = PQgetvalue(result, at, IS_EVENT)[0] == 't';
    row->committed_ms = number_at(result, at, COMMITTED);
    for (int column = FIELD_FIRST; column < PQnfields(result); column++) {
        if (!PQgetisnull(result, at, column) && row->field_count < PG_OUTBOX_FIELDS) {
            row->fields[row->field_count++] = (struct notification_field){
                .name = bytes_str(PQfname(result, column)), .value = text_at(result, at, column)};
        }
    }
}

void pg_outbox_page_destroy(struct pg_outbox_page *page)
{
    if (page != NULL) {
        PQclear(page->result);
        mem_free(page->rows);
        mem_free(page);
    }
}

/* Takes the result. */
static struct pg_outbox_page *make_page(PGresult *result)
{
    struct pg_outbox_page *page = mem_alloc(sizeof(*page));
    page->result = result;
    page->count = (size_t)PQntuples(result);
    page->rows = mem_try_calloc(page->count + 1, sizeof(*page->rows));
    if (page->rows == NULL) {
        pg_outbox_page_destroy(page);
        return NULL;
    }
    for (size_t i = 0; i < page->count; i++) {
        read_row(result, (int)i, &page->rows[i]);
    }
    if (page->count > 0) {
        page->waited_ms = number_at(result, 0, WAITED);
        page->waiting = number_at(result, 0, WAITING);
    }
    return page;
}

static void tell_removed(struct pg_outbox *outbox, const PGresult *result)
{
    uint64_t events[PG_OUTBOX_ROWS_MAX];
    size_t count = (size_t)PQntuples(result);
    count = count < PG_OUTBOX_ROWS_MAX ? count : PG_OUTBOX_ROWS_MAX;
    for (size_t i = 0; i < count; i++) {
        events[i] = number_at(result, (int)i, 0);
    }
    outbox->events->on_removed(outbox->context, events, count);
}

/* All of an answer is here. */
static void take_answer(struct pg_outbox *outbox)
{
    PGresult *result = outbox->answer;
    ExecStatusType status = PQresultStatus(result);
    enum ask asked = outbox->asked;
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        lose_by(outbox, result);
        return;
    }
    outbox->answer = NULL;
    outbox->asked = ASK_NOTHING;
    pg_watch_timer(outbox->watch, UINT64_MAX);
    if (asked == ASK_READ) {
        outbox->events->on_page(outbox->context, make_page(result));
        return;
    }
    if (asked == ASK_LISTEN) {
        outbox->events->on_up(outbox->context);
    } else if (asked == ASK_ARM) {
        outbox->events->on_armed(outbox->context, PQgetvalue(result, 0, 0)[0] == 't');
    } else {
        tell_removed(outbox, result);
    }
    PQclear(result);
}

/* Whether we were woken; however often, it is once. */
static bool take_notices(struct pg_outbox *outbox)
{
    bool woken = false;
    for (PGnotify *notice = PQnotifies(outbox->pg); notice != NULL;
         notice = PQnotifies(outbox->pg)) {
        PQfreemem(notice);
        woken = true;
    }
    return woken;
}

/* Whether what was asked is answered. */
static bool take_results(struct pg_outbox *outbox)
{
    while (outbox->asked != ASK_NOTHING && !PQisBusy(outbox->pg)) {
        PGresult *result = PQgetResult(outbox->pg);
        if (result == NULL) {
            return outbox->answer != NULL;
        }
        if (outbox->answer == NULL) {
            outbox->answer = result;
        } else {
            PQclear(result);
        }
    }
    return false;
}

static void receive(struct pg_outbox *outbox)
{
    bool lost = PQconsumeInput(outbox->pg) != 1;
    bool answered = take_results(outbox);
    bool woken = take_notices(outbox);
    lost |= PQstatus(outbox->pg) == CONNECTION_BAD || !flush(outbox);
    if (woken) {
        outbox->events->on_woken(outbox->context);
    }
    if (answered && outbox->state == UP) { /* else closed by who was told */
        take_answer(outbox);
    }
    if (lost && outbox->state == UP) {
        lose(outbox, NULL);
    }
}

static void on_ready(void *context)
{
    struct pg_outbox *outbox = context;
    if (outbox->state == CONNECTING) {
        connect_step(outbox);
    } else if (outbox->state == UP) {
        receive(outbox);
    }
}

static void on_timer(void *context)
{
    struct pg_outbox *outbox = context;
    if (outbox->state == DOWN) {
        start(outbox);
    } else if (outbox->state == CONNECTING) {
        lose(outbox, "no connection within 5 s");
    } else if (outbox->state == UP) {
        bool bad = PQstatus(outbox->pg) == CONNECTION_BAD;
        lose(outbox, bad ? NULL : "no answer");
    }
}

/* --- life --- */

static void on_closed(void *context)
{
    struct pg_outbox *outbox = context;
    const struct pg_outbox_events *events = outbox->events;
    void *owner = outbox->context;
    mem_free(outbox);
    events->on_closed(owner);
}

static const struct pg_watch_events watch_events = {
    .on_ready = on_ready,
    .on_timer = on_timer,
    .on_closed = on_closed,
};

struct pg_outbox *pg_outbox_open(struct uv_loop_s *loop, const char *url, bool wakes,
    const struct pg_outbox_events *events, void *context)
{
    struct pg_outbox *outbox = mem_alloc(sizeof(*outbox));
    uint64_t seed;
    rand_secret(&seed, sizeof(seed));
    rand_init(&outbox->jitter, seed);
    outbox->url = url;
    outbox->wakes = wakes;
    outbox->events = events;
    outbox->context = context;
    outbox->watch = pg_watch_create(loop, &watch_events, outbox);
    pg_watch_timer(outbox->watch, 0); /* the first attempt, not before we return */
    return outbox;
}

void pg_outbox_close(struct pg_outbox *outbox)
{
    drop(outbox);
    outbox->state = CLOSED;
    pg_watch_close(outbox->watch);
}
