/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_items - rows of inboxes as SQLite takes and gives them: the parameters of a list, the
 * columns of an item.
 */
#ifndef SQL_SQLITE_ITEMS_H
#define SQL_SQLITE_ITEMS_H

#include "codec/base/check.h"
#include "sql/result.h"
#include "sql/sqlite_db.h"
#include "sql/store_list.h"

/* The columns of the statements that look at rows without reading them (PLACES). */
enum sqlite_place {
    PLACE_ROWID,
    PLACE_NEW_REV,
    PLACE_SEQ,
    PLACE_PRIORITY,
    PLACE_TYPE,
    PLACE_STATE,
    PLACE_CREATED,
};

/* Whether the row that is looked at is one that the list means. */
bool sqlite_items_is_meant(const struct store_list *list, const struct query *query);

/*
 * Go through rows behind the cursor, STORE_LOOKED_MAX at most, and have `take` append those that
 * are meant until the list is full; sets `next`. Returns 0, or what failed.
 */
MUST_CHECK int sqlite_items_walk(struct sqlite_db *db, struct store_list *list,
    int (*take)(struct sqlite_db *db, struct store_list *list, const struct query *place));

/* Append the row of a place to the list, as a whole. */
MUST_CHECK int sqlite_items_take(
    struct sqlite_db *db, struct store_list *list, const struct query *place);

/* Read the row of ITEM_COLUMNS; its texts are copied into the arena. */
void sqlite_items_read(
    const struct query *query, struct result *result, struct notification_item *ret_item);

/* Keep the row behind an array of the arena; what query_step says of the next, or STATUS_NOMEM. */
MUST_CHECK int sqlite_items_append(
    struct query *query, struct result *result, struct notification_item **items, size_t *count);

#endif
