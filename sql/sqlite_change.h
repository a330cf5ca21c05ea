/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_change - what every change of an inbox does; private to the SQLite engine.
 */
#ifndef SQL_SQLITE_CHANGE_H
#define SQL_SQLITE_CHANGE_H

#include "codec/base/check.h"
#include "sql/engine.h"
#include "sql/sqlite_db.h"

/* Take a row in this state into the counters, or out of them. */
void sqlite_count_in(struct store_position *position, enum notification_state state);
void sqlite_count_out(struct store_position *position, enum notification_state state);

/* Give the inbox its next rev, and the counters of `position`. */
MUST_CHECK int sqlite_change_inbox(
    struct sqlite_db *db, const struct store_user *who, const struct store_position *position);

/* Whoever has a position below `rev` is to list again. */
MUST_CHECK int sqlite_raise_floor(struct sqlite_db *db, const struct store_user *who, uint64_t rev);

/* Replace a row by its tombstone. 1: done; 0: it is gone already. */
MUST_CHECK int sqlite_make_tombstone(struct sqlite_db *db, const struct store_user *who,
    uint64_t rowid, const struct notification_change *change);

/* Advance the position of a partition. STATUS_FENCED: it has another owner. */
MUST_CHECK int sqlite_check_fence(
    struct sqlite_db *db, uint32_t partition, uint64_t token, struct bytes last_id);

#endif
