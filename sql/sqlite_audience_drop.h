/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_audience_drop - posts to many that nobody gets any more, and what is left of them.
 *
 * Called inside a transaction, on its thread; on a negative status the caller rolls back.
 */
#ifndef SQL_SQLITE_AUDIENCE_DROP_H
#define SQL_SQLITE_AUDIENCE_DROP_H

#include "codec/base/check.h"
#include "sql/sqlite_db.h"
#include "sql/store_audience.h"

/*
 * Drop a post that `tenant`, `n`, `kind` and `name` (of a list its own) tell, and before that the
 * members of its list and what digests hold of it, `most` of these at most; how many of these went.
 * Where that is `most` the post is still there, and some may be left.
 */
MUST_CHECK int sqlite_audience_drop(
    struct sqlite_db *db, const struct store_retract *post, uint64_t most);

/* Drop what has expired or is older than the sweep keeps: at most its limit of all. */
MUST_CHECK int sqlite_audience_drop_old(struct sqlite_db *db, struct store_sweep *sweep);

#endif
