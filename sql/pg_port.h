/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_port - a shard's part of the Postgres engine: its queues, one connection that writes and
 * some that read; or nothing of this, where other shards have the connections ("lanes").
 */
#ifndef SQL_PG_PORT_H
#define SQL_PG_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/list.h"
#include "sql/engine.h"
#include "sql/pg_conn.h"
#include "sql/pg_last.h"

struct pg_reader {
    struct pg_conn conn;
    uint64_t used_ms; /* when it last had work, monotonic */
    bool open; /* until it has told that it is closed */
};

struct pg_port {
    struct store_port base;
    bool lane; /* has connections */
    bool released;
    struct pg_conn writer;
    bool writer_lost; /* a session has ended, or could not be had */
    struct pg_last last;
    struct pg_reader *readers;
    size_t reader_count; /* open */
    size_t reader_min;
    size_t reader_max;
    size_t open_count; /* connections that have not told that they are closed */
    struct list writes; /* store_request.link, not sent yet */
    uint64_t flown; /* flights that others follow were numbered up to here */
    struct list reads; /* likewise */
    struct list again; /* were sent, and come again before `writes` when the round is over */
    size_t again_count;
    uint64_t shares_until_ms; /* until then each put takes the statement for rows that share one */
    /* The first `isolate_left` writes contain one at fault: send at most `isolate_max` at once,
     * half of those that failed, twice as many as passed: about 2 log2 of them for each fault. */
    size_t isolate_left;
    size_t isolate_max;
    struct pg_watch *patience; /* how long a write may be under way before it is looked at */
    struct uv_loop_s *loop;
    bool waiting; /* patience is running */
    bool waiting_short; /* for a write */
};

/* Put what comes again in front of the writes that are queued. */
void pg_write_gather(struct pg_port *port);

/* Send queued writes if no transaction is under way (pg_write.c). */
void pg_write_dispatch(struct pg_port *port);

/* When a port is looked at: after how long without an answer, and so often as long as it has more
 * connections than it must. */
enum { PG_PATIENCE_MS = 250, PG_TICK_MS = 10000 };

/* Whether a write is under way, or anything waits to be sent (pg_patience.c). */
bool pg_patience_busy(const struct pg_port *port);

/* Have the port looked at when it is time: soon while it is busy (pg_patience.c). */
void pg_patience_arm(struct pg_port *port);

/* About how many bytes a writing request takes on the wire. */
size_t pg_write_size(const struct store_request *request);

/* Take in the rows of a writing statement. */
MUST_CHECK int pg_write_rows(
    struct pg_flight *flight, const struct pg_run *run, const PGresult *rows);

/* A transaction is over: complete its requests, or queue them again to find the one at fault. */
void pg_write_landed(struct pg_port *port, struct pg_flight *flight);

/* Add the statement of a reading request to its flight (pg_read.c). */
void pg_read_add(struct pg_conn *conn, struct pg_flight *flight);

/* Send one reading request as a flight of its own. */
void pg_read_send(struct pg_conn *conn, struct store_request *request);

/*
 * End the sessions of ours that keep the session of pid `blocked` waiting for a lock while they
 * wait for their own client.
 */
void pg_read_unblock(struct pg_conn *conn, int blocked);

/* Add the parameters of a request about preferences, and tell its statement (pg_preference.c). */
MUST_CHECK enum pg_statement pg_preference_add(
    struct pg_params *params, const struct store_preference *preference);

/* Take in its rows. */
MUST_CHECK int pg_preference_rows(struct store_preference *preference, const PGresult *rows);

/* Take in the rows of a reading statement. */
MUST_CHECK int pg_read_rows(
    struct pg_flight *flight, const struct pg_run *run, const PGresult *rows);

#endif
