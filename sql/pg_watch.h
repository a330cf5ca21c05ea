/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_watch - a socket and a timer on the shard's loop: all that the Postgres engine needs of it.
 *
 * The socket belongs to libpq, which closes and reopens it: stop watching before any libpq call
 * that may do so. Everything here runs on the loop's thread.
 */
#ifndef SQL_PG_WATCH_H
#define SQL_PG_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"

struct uv_loop_s;
struct pg_watch;

struct pg_watch_events {
    /* The socket is ready, or has failed, which a read or a connect step will tell. */
    void (*on_ready)(void *context);
    void (*on_timer)(void *context);
    /* After pg_watch_close: nothing more will be called. */
    void (*on_closed)(void *context);
};

/* Make a watch that watches nothing. `events` must outlive it. */
MUST_CHECK struct pg_watch *pg_watch_create(
    struct uv_loop_s *loop, const struct pg_watch_events *events, void *context);

/*
 * Watch `fd` to be readable, writable or both. Another socket than the one that is watched: only
 * after a stop. STATUS_IO: it cannot be watched.
 */
MUST_CHECK int pg_watch_start(struct pg_watch *watch, int fd, bool readable, bool writable);

/* Watch no socket. Call it before the socket is closed: its number may be another's at once. */
void pg_watch_stop(struct pg_watch *watch);

/* Call on_timer once in `ms` milliseconds, in place of an earlier request; UINT64_MAX: never. */
void pg_watch_timer(struct pg_watch *watch, uint64_t ms);

/* Close the handles and free the watch; on_closed is called in a later turn. */
void pg_watch_close(struct pg_watch *watch);

#endif
