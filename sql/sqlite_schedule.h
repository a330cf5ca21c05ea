/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_schedule - what is posted for later; private to the SQLite engine.
 */
#ifndef SQL_SQLITE_SCHEDULE_H
#define SQL_SQLITE_SCHEDULE_H

#include "codec/base/check.h"
#include "sql/engine.h"
#include "sql/sqlite_db.h"
#include "sql/store_audience.h"

/* Keep a row, or a post to many, until its `deliver_at`; not its key, nor the users of a list. */
MUST_CHECK int sqlite_schedule_keep(struct sqlite_db *db, const struct store_row *row);
MUST_CHECK int sqlite_schedule_keep_many(
    struct sqlite_db *db, const struct store_audience_post *post);

/*
 * Take what is kept away, with its key, because it is stored next. STATUS_FENCED: it was delivered,
 * changed or cancelled.
 */
MUST_CHECK int sqlite_schedule_take(
    struct sqlite_db *db, const uint8_t id[NOTIFICATION_ID_LEN], uint64_t version);

/* Give the post `n` to a list that was kept its users; `name` is the post's id. */
MUST_CHECK int sqlite_schedule_list(
    struct sqlite_db *db, struct bytes tenant, struct bytes name, uint64_t n);

/* Carry out STORE_DUE and STORE_RESCHEDULE. */
MUST_CHECK int sqlite_schedule_due(struct sqlite_db *db, struct store_due *due);
MUST_CHECK int sqlite_schedule_change(struct sqlite_db *db, struct store_reschedule *change);

#endif
