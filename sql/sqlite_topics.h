/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_topics - posting to many, subscriptions, and lists of them; private to the SQLite engine.
 */
#ifndef SQL_SQLITE_TOPICS_H
#define SQL_SQLITE_TOPICS_H

#include "codec/base/check.h"
#include "sql/engine.h"
#include "sql/sqlite_db.h"

/* Carry out STORE_AUDIENCE_POST, STORE_RETRACT or STORE_SUBSCRIBE. `*ret_results` as sqlite_write.
 */
MUST_CHECK int sqlite_topics_write(
    struct sqlite_db *db, struct store_request *request, struct put_result **ret_results);

/* Carry out STORE_POSTED, STORE_SUBSCRIBERS or STORE_TOPICS. */
MUST_CHECK int sqlite_topics_read(struct sqlite_db *db, struct store_request *request);

#endif
