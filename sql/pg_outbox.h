/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_outbox - what applications posted within their own transactions (peal.post, peal.publish),
 * read from a Postgres database in the order in which they committed: Peal's own, or another one.
 *
 * One connection, one question at a time, nothing prepared and nothing set, so that any pooler may
 * stand between; only a wake-up needs a session of its own. A row stays until it is removed, so
 * whoever takes rows and dies has not lost them.
 */
#ifndef SQL_PG_OUTBOX_H
#define SQL_PG_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/notification.h"

struct pg_outbox;
struct pg_result;
struct uv_loop_s;

enum { PG_OUTBOX_FIELDS = 15, PG_OUTBOX_ROWS_MAX = 500, PG_OUTBOX_BYTES_MAX = 2 << 20 };

/* What was posted; its texts are the page's. */
struct pg_outbox_row {
    uint64_t n; /* number of its transaction, as that committed */
    struct bytes xid;
    uint64_t id; /* 0: its transaction has nothing, only its number is to be removed */
    bool is_event;
    uint64_t committed_ms; /* wall clock of the database */
    struct notification_field fields[PG_OUTBOX_FIELDS]; /* as of a stream entry; UTF-8 */
    size_t field_count;
};

/* Rows in order: by transactions as they committed, within one as they were posted. */
struct pg_outbox_page {
    struct pg_outbox_row *rows;
    size_t count;
    uint64_t waited_ms; /* since the first of them committed */
    uint64_t waiting; /* transactions that are not removed yet, about */
    /* private */
    struct pg_result *result;
};

/* A row of a page that cannot be stored. */
struct pg_outbox_fault {
    size_t row;
    char field[NOTIFICATION_FIELD_MAX + 1]; /* "": no single one */
    const char *reason; /* static */
};

/* All are called in a later turn than what led to them, on the loop's thread. */
struct pg_outbox_events {
    /* Questions may be asked. */
    void (*on_up)(void *context);
    /* It was lost, or could not be had, and is tried again by itself. What was asked may have been
     * done or not. `text`: why, one line, borrowed. */
    void (*on_down)(void *context, const char *text);
    /* Somebody has committed. */
    void (*on_woken)(void *context);
    /* The answer to pg_outbox_read; takes the page. NULL: no memory for it. */
    void (*on_page)(void *context, struct pg_outbox_page *page);
    /* The answer to pg_outbox_arm: whether it was armed still. */
    void (*on_armed)(void *context, bool still);
    /* The answer to pg_outbox_remove: the events that this call has removed, by id. */
    void (*on_removed)(void *context, const uint64_t *events, size_t count);
    /* After pg_outbox_close: nothing more is called. */
    void (*on_closed)(void *context);
};

/*
 * Start connecting to `url`; it and `events` must outlive the outbox. `wakes`: on_woken is wanted,
 * for which the session must be ours.
 */
MUST_CHECK struct pg_outbox *pg_outbox_open(struct uv_loop_s *loop, const char *url, bool wakes,
    const struct pg_outbox_events *events, void *context);

/* Whether it is connected and no question waits for its answer. */
bool pg_outbox_is_idle(const struct pg_outbox *outbox);

/* Ask for up to `limit` rows (at most PG_OUTBOX_ROWS_MAX), of some PG_OUTBOX_BYTES_MAX bytes; idle
 * only. */
void pg_outbox_read(struct pg_outbox *outbox, size_t limit);

/* Have the next transaction that commits wake us; what commits while this is answered may not. Idle
 * only. */
void pg_outbox_arm(struct pg_outbox *outbox);

/*
 * Remove the rows of `page`, keeping those at fault as dead letters: all of it or nothing. May be
 * asked again after it was lost. Idle only.
 */
void pg_outbox_remove(struct pg_outbox *outbox, const struct pg_outbox_page *page,
    const struct pg_outbox_fault *faults, size_t fault_count);

/* Close for good; frees the outbox, on_closed follows. */
void pg_outbox_close(struct pg_outbox *outbox);

/* Free a page. NULL is allowed. */
void pg_outbox_page_destroy(struct pg_outbox_page *page);

#endif
