/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_conn - one connection of a port to Postgres: connecting, pipelining, loss, reconnecting.
 *
 * A flight is what stands between two Syncs, which is one transaction: some statements, serving
 * some requests. Flights are answered in the order sent. A flight is over when its Sync is
 * answered, with the status of its first failure; or when the connection is lost, with
 * STATUS_UNKNOWN, because nobody knows then whether it has committed.
 */
#ifndef SQL_PG_CONN_H
#define SQL_PG_CONN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "codec/base/list.h"
#include "codec/base/rand.h"
#include "sql/engine.h"
#include "sql/pg_wire.h"

enum pg_statement {
#define X(name, label, text) PG_STMT_##name,
#include "sql/pg.def"
#undef X
    PG_STMT_COUNT,
};

/* Names by enum pg_statement. */
extern const char *const pg_statement_names[];

/* What is wrong with a pooler in transaction mode, and the remedy. */
extern const char pg_pooler_text[];

struct pg_conn;
struct pg_watch;

/* One statement of a flight, for `count` of its requests from `first`. */
struct pg_run {
    enum pg_statement which;
    size_t first;
    size_t count;
};

struct pg_flight {
    struct list link; /* pg_conn.flights */
    int status;
    bool passed_over; /* undone because the one before it was (peal.follow): STATUS_AGAIN */
    uint64_t since_ns; /* when the statement being answered could begin */
    struct pg_run *runs;
    size_t run_count;
    size_t run_next; /* the one being answered */
    struct put_result **results; /* by request: a put's rows, in the request's arena */
    struct store_request **requests;
    size_t request_count;
};

struct pg_conn_events {
    /* Ready for flights; the owner may send at once. */
    void (*on_up)(struct pg_conn *conn);
    /* Lost, or an attempt to connect failed (`was_up` false). Flights are given back before. */
    void (*on_down)(struct pg_conn *conn, bool was_up);
    /* What the server or the connection says of a failure, in one line or more; and a remedy, or
     * NULL. Borrowed. */
    void (*on_trouble)(struct pg_conn *conn, const char *text, const char *remedy);
    /* A statement returned rows; a negative return fails the flight's requests. */
    int (*on_rows)(struct pg_flight *flight, const struct pg_run *run, const PGresult *rows);
    /* The flight is over; takes it (pg_flight_destroy). May not send. */
    void (*on_landed)(struct pg_conn *conn, struct pg_flight *flight);
    /* After on_landed of one or more flights: the owner may send. */
    void (*on_idle)(struct pg_conn *conn);
    /* After pg_conn_close. */
    void (*on_closed)(struct pg_conn *conn);
};

struct pg_conn {
    void *owner;
    bool writes; /* only a primary will do: a standby may lack what was committed, and not write */
    /* private */
    const struct pg_conn_events *events;
    const char *url;
    struct stats *stats;
    struct pg_watch *watch;
    PGconn *pg; /* NULL: not connected */
    enum pg_conn_state { CONN_DOWN, CONN_CONNECTING, CONN_PREPARING, CONN_UP, CONN_CLOSED } state;
    unsigned failures; /* attempts in a row */
    size_t preparing; /* results still to come */
    struct list flights; /* sent, oldest first */
    size_t flight_count;
    struct pg_params params;
    struct rand jitter;
    bool reopen; /* the session is of no use any more, after what it has answered */
};

/*
 * Make a flight for up to `requests` requests; `runs` statements. NULL: no memory for as many; for
 * one request there is always.
 */
MUST_CHECK struct pg_flight *pg_flight_create(size_t requests, size_t runs);

/* Free a flight, not its requests. */
void pg_flight_destroy(struct pg_flight *flight);

/* Start connecting to `url`, which must outlive the connection. */
void pg_conn_open(struct pg_conn *conn, struct uv_loop_s *loop, const char *url,
    struct stats *stats, const struct pg_conn_events *events);

/* For how long the statement that is being answered has been under way; 0 when none is. */
uint64_t pg_conn_waited_ms(const struct pg_conn *conn);

/* The process that serves the connection, 0 when there is none. */
int pg_conn_pid(const struct pg_conn *conn);

/* Whether flights can be sent. */
bool pg_conn_is_up(const struct pg_conn *conn);

/*
 * Begin a statement of `flight`: fill what is returned and call pg_conn_send. The flight belongs
 * to the caller until pg_conn_commit.
 */
struct pg_params *pg_conn_params(struct pg_conn *conn);

/*
 * Send the filled statement, whose size the caller has checked. When that fails the connection is
 * given up, and nothing of the flight commits.
 */
void pg_conn_send(struct pg_conn *conn, struct pg_flight *flight, struct pg_run run);

/* End the transaction; takes the flight, which is given back by on_landed in a later turn. */
void pg_conn_commit(struct pg_conn *conn, struct pg_flight *flight);

/* Close for good, landing what is under way; on_closed follows in a later turn. */
void pg_conn_close(struct pg_conn *conn);

#endif
