/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_audience - making the rows of posts to many, and taking them back; private to the SQLite
 * engine. Whoever writes does so inside a transaction of the one writer, so that nothing comes in
 * between.
 */
#ifndef SQL_SQLITE_AUDIENCE_H
#define SQL_SQLITE_AUDIENCE_H

#include "codec/base/check.h"
#include "sql/engine.h"
#include "sql/sqlite_db.h"

/* The number of the tenant's last post to many; 0: there is none. */
MUST_CHECK int sqlite_audience_head(struct sqlite_db *db, struct bytes tenant, uint64_t *ret_n);

/*
 * Make the inbox if it is missing, and all rows that it lacks. STATUS_AGAIN: with them the open
 * transaction would make more than AUDIENCE_INLINE_MAX; none was made.
 */
MUST_CHECK int sqlite_audience_enter(struct sqlite_db *db, const struct store_user *who);

/*
 * Make rows for users of a request that lack some, at most AUDIENCE_STEP_MAX and what the open
 * transaction may still make, and take back what was retracted; whether it is enough is found when
 * the request is read again.
 */
MUST_CHECK int sqlite_audience_mend(struct sqlite_db *db, const struct store_request *request);

/*
 * Give the row of an id the content that its post to many was given: 1, or 0 where there is nothing
 * to do. What is read is kept in `arena`.
 */
MUST_CHECK int sqlite_audience_renew(struct sqlite_db *db, const struct store_user *who,
    const uint8_t id[NOTIFICATION_ID_LEN], struct result *arena);

/*
 * Give rows that a sweep finds due the content that their posts to many were given, which may end
 * later: 1, those that were are told; 0: all have it.
 */
MUST_CHECK int sqlite_audience_renew_due(struct sqlite_db *db, struct store_sweep *sweep);

/* Note which users of a request that reads lack rows (audience_lack). */
MUST_CHECK int sqlite_audience_ask(struct sqlite_db *db, struct store_request *request);

/* Carry out STORE_AUDIENCE_SWEEP. */
MUST_CHECK int sqlite_audience_sweep(struct sqlite_db *db, struct store_sweep *sweep);

#endif
