/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One libpq connection without blocking: a pipeline of flights, each of which ends with its Sync or
 * with the connection.
 */
#include "sql/pg_conn.h"

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/pg_watch.h"

/*
 * Sections: statuses; loss and connecting; preparing; sending; receiving. The socket is watched
 * in all states but DOWN and CLOSED; the timer is the reconnect delay in DOWN, else the deadline
 * for the next progress.
 */

enum {
    CONNECT_DEADLINE_MS = 5000,
    ANSWER_DEADLINE_MS = 5000, /* for a sign of the server; longer than its own statement_timeout */
    DELAY_FIRST_MS = 50,
    DELAY_MAX_MS = 500,
};

const char *const pg_statement_names[] = {
#define X(name, label, text) [PG_STMT_##name] = (label),
#include "sql/pg.def"
#undef X
};

static const char *const statement_texts[] = {
#define X(name, label, text) [PG_STMT_##name] = (text),
#include "sql/pg.def"
#undef X
};

const char pg_pooler_text[] = "a pooler stands between that changes sessions: give the address of "
                              "the database itself, or a pool in session mode";

/* What a session must be like, whatever the database's defaults; the planner: see pg.def. */
static const char session_text[] =
    "SELECT set_config('synchronous_commit', 'on', false), "
    "set_config('default_transaction_isolation', 'read committed', false), "
    "set_config('default_transaction_read_only', 'off', false), "
    "set_config('statement_timeout', '4500ms', false), "
    "set_config('lock_timeout', '4s', false), "
    "set_config('plan_cache_mode', 'force_generic_plan', false), "
    "set_config('enable_seqscan', 'off', false), "
    "set_config('enable_bitmapscan', 'off', false), "
    "set_config('enable_sort', 'off', false), set_config('jit', 'off', false), "
    "set_config('idle_in_transaction_session_timeout', '30s', false)";

static int status_from_pg(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!state) {
        return STATUS_UNAVAILABLE;
    }
    if (strcmp(state, "PE001") == 0) {
        return STATUS_FENCED;
    }
    if (strcmp(state, "PE002") == 0 || strcmp(state, "PE004") == 0) {
        return STATUS_AGAIN; /* rows must be made first, or what was sent before it comes first */
    }
    if (strcmp(state, "PE003") == 0) {
        return STATUS_UNSUPPORTED; /* rows may share one: the statement is not for them */
    }
    static const char *const waits[] = {"55P03", "57014", "40P01", "40001"};
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        if (strcmp(state, waits[i]) == 0) {
            return STATUS_TIMEOUT; /* a lock, a deadlock, or the statement's own time */
        }
    }
    /* Data exceptions, violated constraints, and values beyond a limit of Postgres. */
    static const char *const classes[] = {"22", "23", "54"};
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (strncmp(state, classes[i], 2) == 0) {
            return STATUS_INVALID;
        }
    }
    return STATUS_UNAVAILABLE;
}

static bool was_passed_over(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state != NULL && strcmp(state, "PE004") == 0;
}

/* Whether a failure says that another session would fare better. */
static bool wants_new_session(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    static const char *const states[] = {
        "0A000", /* a prepared plan no longer fits the schema */
        "26000", /* a prepared statement is unknown: a pooler moved us */
        "42P05", /* or there is one already, of another client of it */
        "25006", /* read only: this server is no longer the primary */
    };
    for (size_t i = 0; state && i < ARRAY_LEN(states); i++) {
        if (strcmp(state, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

struct pg_flight *pg_flight_create(size_t requests, size_t runs)
{
    void *(*allocate)(size_t count, size_t size) = requests > 1 ? mem_try_calloc : mem_alloc_array;
    struct pg_flight *flight = mem_alloc(sizeof(*flight));
    list_init(&flight->link);
    flight->runs = allocate(runs, sizeof(*flight->runs));
    flight->results = allocate(requests, sizeof(*flight->results));
    flight->requests = allocate(requests, sizeof(*flight->requests));
    if (flight->runs == NULL || flight->results == NULL || flight->requests == NULL) {
        pg_flight_destroy(flight);
        return NULL;
    }
    return flight;
}

void pg_flight_destroy(struct pg_flight *flight)
{
    mem_free(flight->runs);
    mem_free(flight->results);
    mem_free(flight->requests);
    mem_free(flight);
}

/* --- loss and connecting --- */

static void land_all(struct pg_conn *conn)
{
    for (struct list *link = list_pop(&conn->flights); link; link = list_pop(&conn->flights)) {
        struct pg_flight *flight = container_of(link, struct pg_flight, link);
        flight->status = STATUS_UNKNOWN;
        conn->flight_count--;
        conn->events->on_landed(conn, flight);
    }
}

static uint64_t reconnect_delay(struct pg_conn *conn)
{
    unsigned doubled = conn->failures < 8 ? conn->failures : 8;
    uint64_t delay = (uint64_t)DELAY_FIRST_MS << doubled;
    if (delay > DELAY_MAX_MS) {
        delay = DELAY_MAX_MS;
    }
    return delay / 2 + rand_below(&conn->jitter, delay / 2 + 1);
}

/* What an error reply says, with its SQLSTATE; a pooler that changes sessions is known by it. */
static void explain(struct pg_conn *conn, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    bool pooled = state && (strcmp(state, "26000") == 0 || strcmp(state, "42P05") == 0);
    struct builder line = {.max = HEALTH_REASON_MAX};
    builder_printf(
        &line, "%s: %s", state ? state : "-", text ? text : PQresultErrorMessage(result));
    builder_byte(&line, '\0');
    if (!builder_failed(&line)) {
        conn->events->on_trouble(conn, builder_bytes(&line).at, pooled ? pg_pooler_text : NULL);
    }
    builder_reset(&line);
}

static void drop(struct pg_conn *conn)
{
    pg_watch_stop(conn->watch); /* before libpq closes the socket */
    PQfinish(conn->pg);
    conn->pg = NULL;
}

/* Give the connection up; `why` is libpq's word for it where it is NULL. */
static void lose(struct pg_conn *conn, const char *why)
{
    bool was_up = conn->state == CONN_UP;
    const char *text = why ? why : PQerrorMessage(conn->pg);
    if (text[0] != '\0') { /* else an error reply has told why */
        conn->events->on_trouble(conn, text, NULL);
    }
    drop(conn);
    conn->state = CONN_DOWN;
    conn->reopen = false;
    pg_watch_timer(conn->watch, reconnect_delay(conn));
    conn->failures++;
    land_all(conn);
    conn->events->on_down(conn, was_up);
}

static void ignore_notice(void *context, const PGresult *result)
{
}

static void connect_step(struct pg_conn *conn);
static void prepare(struct pg_conn *conn);
static void receive(struct pg_conn *conn);

static void start(struct pg_conn *conn)
{
    /* What the URL says comes later and holds, but for where to write. A network that is silent
     * ends the connection. */
    const char *const keys[] = {"client_encoding", "fallback_application_name", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "tcp_user_timeout", "dbname",
        conn->writes ? "target_session_attrs" : NULL, NULL};
    const char *const values[] = {
        "UTF8", "peal", "2", "1", "3", "5000", conn->url, "primary", NULL};
    conn->state = CONN_CONNECTING;
    conn->pg = PQconnectStartParams(keys, values, 1);
    if (!conn->pg || PQstatus(conn->pg) == CONNECTION_BAD) {
        lose(conn, NULL);
        return;
    }
    (void)PQsetNoticeReceiver(conn->pg, ignore_notice, NULL);
    pg_watch_timer(conn->watch, CONNECT_DEADLINE_MS);
    /* The first step is to wait until the socket is writable. */
    if (pg_watch_start(conn->watch, PQsocket(conn->pg), false, true) < 0) {
        lose(conn, "the socket cannot be watched");
    }
}

/* The socket may be another one after each step. */
static void connect_step(struct pg_conn *conn)
{
    pg_watch_stop(conn->watch);
    PostgresPollingStatusType wanted = PQconnectPoll(conn->pg);
    if (wanted == PGRES_POLLING_OK) {
        prepare(conn);
        return;
    }
    bool failed = wanted == PGRES_POLLING_FAILED;
    bool reading = wanted == PGRES_POLLING_READING;
    if (failed || pg_watch_start(conn->watch, PQsocket(conn->pg), reading, !reading) < 0) {
        lose(conn, NULL);
    }
}

static void on_ready(void *context)
{
    struct pg_conn *conn = context;
    switch (conn->state) {
    case CONN_CONNECTING:
        connect_step(conn);
        break;
    case CONN_PREPARING:
    case CONN_UP:
        receive(conn);
        break;
    case CONN_DOWN:
    case CONN_CLOSED:
        break;
    }
}

static void on_timer(void *context)
{
    struct pg_conn *conn = context;
    if (conn->state == CONN_DOWN) {
        start(conn);
    } else if (conn->state != CONN_CLOSED) {
        lose(conn, conn->reopen                     ? NULL
                   : conn->state == CONN_CONNECTING ? "no connection within 5 s"
                                                    : "no answer within 5 s");
    }
}

static void on_closed(void *context)
{
    struct pg_conn *conn = context;
    conn->events->on_closed(conn);
}

static const struct pg_watch_events watch_events = {
    .on_ready = on_ready,
    .on_timer = on_timer,
    .on_closed = on_closed,
};

void pg_conn_open(struct pg_conn *conn, struct uv_loop_s *loop, const char *url,
    struct stats *stats, const struct pg_conn_events *events)
{
    uint64_t seed;
    rand_secret(&seed, sizeof(seed));
    rand_init(&conn->jitter, seed);
    list_init(&conn->flights);
    conn->url = url;
    conn->stats = stats;
    conn->events = events;
    conn->watch = pg_watch_create(loop, &watch_events, conn);
    pg_watch_timer(conn->watch, 0); /* the first attempt, not before we return */
}

uint64_t pg_conn_waited_ms(const struct pg_conn *conn)
{
    if (list_empty(&conn->flights)) {
        return 0;
    }
    const struct pg_flight *flight = container_of(conn->flights.next, struct pg_flight, link);
    return (clock_mono_ns() - flight->since_ns) / 1000000;
}

int pg_conn_pid(const struct pg_conn *conn)
{
    return PQbackendPID(conn->pg);
}

bool pg_conn_is_up(const struct pg_conn *conn)
{
    return conn->state == CONN_UP && !conn->reopen;
}

void pg_conn_close(struct pg_conn *conn)
{
    drop(conn);
    conn->state = CONN_CLOSED;
    land_all(conn);
    pg_params_finish(&conn->params);
    pg_watch_close(conn->watch);
}

/* --- writing out what libpq holds --- */

/* Write what can be written and watch for what is missing; false: the connection is lost. */
static bool flush(struct pg_conn *conn)
{
    int more = PQflush(conn->pg);
    return more >= 0 && pg_watch_start(conn->watch, PQsocket(conn->pg), true, more == 1) == 0;
}

/* Start the deadline anew where something is to be answered: there was progress, or the first was
 * sent. What is sent behind it is no progress. */
static void expect_answer(struct pg_conn *conn)
{
    bool waiting = conn->state == CONN_PREPARING || !list_empty(&conn->flights);
    pg_watch_timer(conn->watch, waiting ? ANSWER_DEADLINE_MS : UINT64_MAX);
}

/* --- preparing --- */

static bool send_preparations(struct pg_conn *conn)
{
    if (PQsetnonblocking(conn->pg, 1) != 0 || PQenterPipelineMode(conn->pg) != 1 ||
        PQsendQueryParams(conn->pg, session_text, 0, NULL, NULL, NULL, NULL, 0) != 1) {
        return false;
    }
    for (size_t i = 0; i < PG_STMT_COUNT; i++) {
        if (PQsendPrepare(conn->pg, pg_statement_names[i], statement_texts[i], 0, NULL) != 1) {
            return false;
        }
    }
    return PQpipelineSync(conn->pg) == 1;
}

static void prepare(struct pg_conn *conn)
{
    conn->state = CONN_PREPARING;
    conn->preparing = 1 + PG_STMT_COUNT;
    if (!send_preparations(conn) || !flush(conn)) {
        lose(conn, NULL);
        return;
    }
    expect_answer(conn);
}

/* 1: all is prepared; 0: more is to come; negative: it failed. */
static int read_preparation(struct pg_conn *conn, const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) {
        return conn->preparing == 0 ? 1 : STATUS_UNAVAILABLE;
    }
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        if (status == PGRES_FATAL_ERROR) {
            explain(conn, result);
        }
        return STATUS_UNAVAILABLE;
    }
    conn->preparing -= conn->preparing > 0;
    return 0;
}

/* --- sending --- */

struct pg_params *pg_conn_params(struct pg_conn *conn)
{
    pg_params_clear(&conn->params);
    return &conn->params;
}

void pg_conn_send(struct pg_conn *conn, struct pg_flight *flight, struct pg_run run)
{
    if (conn->reopen) {
        return;
    }
    if (!pg_params_send(&conn->params, conn->pg, pg_statement_names[run.which])) {
        conn->reopen = true;
        return;
    }
    if (run.count == 0) { /* answered at once, so that its time is not counted with the next */
        conn->reopen = PQsendFlushRequest(conn->pg) != 1;
    }
    flight->runs[flight->run_count++] = run;
}

void pg_conn_commit(struct pg_conn *conn, struct pg_flight *flight)
{
    bool first = list_empty(&conn->flights);
    flight->since_ns = clock_mono_ns();
    list_append(&conn->flights, &flight->link);
    conn->flight_count++;
    /* Without its Sync a flight that was sent in part cannot commit. */
    if (conn->reopen || PQpipelineSync(conn->pg) != 1 || !flush(conn)) {
        conn->reopen = true;
        pg_watch_stop(conn->watch); /* libpq may have closed the socket */
        pg_watch_timer(conn->watch, 0);
    } else if (first) {
        expect_answer(conn);
    }
}

/* --- receiving --- */

static void read_rows(struct pg_conn *conn, struct pg_flight *flight, const PGresult *result)
{
    if (flight->run_next == flight->run_count) {
        flight->status = STATUS_UNAVAILABLE; /* more answers than questions */
        conn->reopen = true;
        return;
    }
    const struct pg_run *run = &flight->runs[flight->run_next++];
    uint64_t now = clock_mono_ns();
    stats_note(conn->stats, run->which, now - flight->since_ns);
    flight->since_ns = now;
    if (flight->status == 0) {
        flight->status = conn->events->on_rows(flight, run, result);
    }
}

static void land(struct pg_conn *conn, struct pg_flight *flight)
{
    list_remove(&flight->link);
    conn->flight_count--;
    if (!list_empty(&conn->flights)) {
        struct pg_flight *next = container_of(conn->flights.next, struct pg_flight, link);
        next->since_ns = clock_mono_ns();
    }
    conn->events->on_landed(conn, flight);
}

static void read_result(struct pg_conn *conn, const PGresult *result)
{
    if (list_empty(&conn->flights)) {
        conn->reopen = true; /* an error that answers nothing: the session is ending */
        return;
    }
    struct pg_flight *flight = container_of(conn->flights.next, struct pg_flight, link);
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        read_rows(conn, flight, result);
    } else if (status == PGRES_PIPELINE_SYNC) {
        land(conn, flight);
    } else if (status != PGRES_PIPELINE_ABORTED) {
        if (flight->status == 0) {
            flight->status = status_from_pg(result);
            flight->passed_over = was_passed_over(result);
            if (flight->status != STATUS_AGAIN) { /* which is no trouble */
                explain(conn, result);
            }
        }
        conn->reopen |= wants_new_session(result);
    }
}

/* Read all results that are here. Returns 0, or negative when preparing failed. */
static int read_results(struct pg_conn *conn, bool *ret_up)
{
    unsigned nothing = 0; /* in a row: one ends a statement, a second one ends all */
    while (nothing < 2 && !PQisBusy(conn->pg)) {
        PGresult *result = PQgetResult(conn->pg);
        if (!result) {
            nothing++;
            continue;
        }
        nothing = 0;
        int status = 0;
        if (conn->state == CONN_PREPARING) {
            status = read_preparation(conn, result);
        } else {
            read_result(conn, result);
        }
        PQclear(result);
        if (status < 0) {
            return status;
        }
        if (status > 0) {
            conn->state = CONN_UP;
            conn->failures = 0;
            *ret_up = true;
        }
    }
    return 0;
}

static void receive(struct pg_conn *conn)
{
    bool up = false;
    bool lost = PQconsumeInput(conn->pg) != 1; /* what came before is read all the same */
    lost |= read_results(conn, &up) < 0;
    lost |= PQstatus(conn->pg) == CONNECTION_BAD || conn->reopen;
    if (lost || !flush(conn)) {
        lose(conn, NULL);
        return;
    }
    expect_answer(conn);
    if (up) {
        conn->events->on_up(conn);
    } else if (conn->state == CONN_UP) {
        conn->events->on_idle(conn);
    }
}
