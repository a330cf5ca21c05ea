/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - the durable truth: notifications, inboxes, keys, stream positions.
 *
 * One store per process, one port per shard. A request is a struct of the caller that begins with
 * `struct store_request base`; it is submitted on a shard's port and completes exactly once, by
 * its `done` on the same shard's thread, never before store_submit returned. Inputs are
 * borrowed until then; outputs are owned by the request and freed by store_request_finish.
 * Writes commit at once when the store is idle; what arrives while a commit is under way
 * joins the next one.
 *
 * Two engines implement it with the same results: Postgres (sql/pg*.c) and SQLite (sql/sqlite*.c).
 * `seq` numbers a user's notifications, `rev` every change of the inbox, both 1, 2, 3 … without
 * holes, assigned in the transaction that stores the change; `unread` changes in it too. All times
 * are wall clock milliseconds since 1970 UTC; 0 = not set.
 */
#ifndef SQL_STORE_H
#define SQL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "sql/store_audience.h"
#include "sql/store_device.h"
#include "sql/store_edit.h"
#include "sql/store_forget.h"
#include "sql/store_history.h"
#include "sql/store_job.h"
#include "sql/store_list.h"
#include "sql/store_note.h"
#include "sql/store_preference.h"
#include "sql/store_push.h"
#include "sql/store_request.h"
#include "sql/store_retention.h"
#include "sql/store_schedule.h"
#include "sql/store_summary.h"
#include "sql/store_types.h"

struct store;
struct store_port;
struct uv_loop_s;

/*
 * Open the store: connects, runs migrations under a lock, reads the epoch. Blocks (start-up only).
 * On failure returns a negative status and writes one line for the operator, which names what to
 * mend and holds no password, into `ret_error`.
 */
MUST_CHECK int store_open(const struct store_config *config, struct store **ret_store,
    char *ret_error, size_t error_size);

/*
 * Connect once to the Postgres at `url` and change nothing. Blocks, for 5 s at most for each of its
 * hosts. STATUS_UNAVAILABLE with one line for the operator in `ret_error`, without a password.
 */
MUST_CHECK int store_probe(struct bytes url, char *ret_error, size_t error_size);

/*
 * The same, and whether applications can post there within their own transactions (pg_outbox.h):
 * STATUS_NOT_FOUND where they cannot yet.
 */
MUST_CHECK int store_probe_outbox(struct bytes url, char *ret_error, size_t error_size);

/*
 * Make what they need in the Postgres at `url`, which may be no store of ours, unless it is there.
 * Blocks. Statuses and `ret_error` of store_open.
 */
MUST_CHECK int store_install_outbox(struct bytes url, char *ret_error, size_t error_size);

/* What is to be known of a Postgres before nodes are begun with it. */
struct store_examination {
    bool read_only; /* a standby */
    bool fsync; /* what is committed survives the machine */
    bool pooled; /* a pooler changes sessions between transactions */
    bool may_create; /* the schema is there, or may be made */
    uint32_t connections; /* that all programs may have together */
    uint32_t connections_used;
    uint64_t clock_ms; /* wall clock */
    uint32_t version; /* 150004: 15.4 */
};

/* The same as store_probe, and ask for that. */
MUST_CHECK int store_examine(struct bytes url, struct store_examination *ret_examination,
    char *ret_error, size_t error_size);

/*
 * The epoch when the store was opened: travels with every position, since positions of two epochs
 * do not compare. NUL-terminated; lives with the store.
 */
const char *store_epoch(const struct store *store);

/*
 * Which store this is, whatever its epoch: Postgres' system identifier, a slash and the name of the
 * database; for SQLite (and where the role may not ask for the identifier) a random id that was
 * made with the tables. At most STORE_IDENTITY_MAX bytes of UTF-8 without blanks or control
 * characters. Two nodes of one bus whose stores differ in it must not both run. NUL-terminated;
 * lives with the store.
 */
const char *store_identity(const struct store *store);

/* How many connections the server takes from all programs together; 0: there is no such number. */
uint32_t store_connections(const struct store *store);

/* "postgres" or "sqlite". */
const char *store_engine(const struct store *store);

/* Replace the epoch (after a restore from a backup), if nobody has since it was opened. Blocks. */
MUST_CHECK int store_new_epoch(struct store *store);

/*
 * Attach port `index` to the loop of the calling shard thread; before its first request. Postgres
 * connects in the background; requests wait in a bounded queue meanwhile (then STATUS_UNAVAILABLE).
 */
MUST_CHECK int store_port_open(
    struct store *store, unsigned index, struct uv_loop_s *loop, struct store_port **ret_port);

/* How many requests of this port have been submitted and not been answered. Its shard's thread. */
size_t store_port_pending(const struct store_port *port);

/* How many requests this port has refused at the bound of what may wait. Its shard's thread. */
uint64_t store_port_refused(const struct store_port *port);

/* Start a request; see the top. */
void store_submit(struct store_port *port, struct store_request *request);

/* Free the outputs of a completed request; the request's own memory stays the caller's. */
void store_request_finish(struct store_request *request);

/* What the store last achieved. Times are monotonic ms. */
struct store_health {
    uint64_t write_failed_ms; /* when the last put failed; 0: it was carried out */
    uint64_t read_failed_ms; /* when the last read failed; 0: it was answered */
    uint64_t pooled_ms; /* when a pooler that changes sessions was met last; 0: never */
    uint64_t failures; /* requests that failed so far because the database could not do them */
    uint64_t sessions; /* for writing, begun after one was lost: it may be with another server */
    char reason[STORE_REASON_MAX]; /* the engine's words for what failed last; "" for nothing */
    uint64_t explained_ms; /* when it said so */
    struct store_loss loss; /* store_tell_loss */
};

/* Read it. Any thread. */
void store_get_health(const struct store *store, struct store_health *ret_health);

/* store_health.sessions alone. */
uint64_t store_sessions(const struct store *store);

/* Somebody has the proof that the store lost commits; the first one is kept. Any thread. */
void store_tell_loss(struct store *store, const struct store_loss *loss);

/*
 * The verdict of who watches the store (hub/node/store_watch.c): whether it can be written to now.
 * True until somebody says otherwise. Any thread.
 */
void store_set_writable(struct store *store, bool writable);
bool store_is_writable(const struct store *store);

/*
 * Refuse new requests and, when those under way have completed, release the port's loop handles
 * and call `closed` on the shard's thread.
 */
void store_port_close(struct store_port *port, void (*closed)(void *context), void *context);

/* Close the store after all its ports. Blocks until written. */
void store_close(struct store *store);

/* Set store_config.slow_ms for statements to come. Any thread. */
void store_set_slow(struct store *store, uint32_t slow_ms);

/* Copy statistics of up to `max` statements, or the slowest recent ones; return how many. Any
 * thread. */
size_t store_statements(
    const struct store *store, struct store_statement_stats *ret_stats, size_t max);
size_t store_slow_log(const struct store *store, struct store_slow *ret_slow, size_t max);

#endif
