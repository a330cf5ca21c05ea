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

/* Bind parameters 1 to 9 of the statements that list. */
void sqlite_items_bind(struct query *query, const struct store_list *list);

/* Whether a row of `type` is meant: the statements see to everything else. */
bool sqlite_items_is_of_type(const struct store_list *list, struct bytes type);

/* Read the row of ITEM_COLUMNS; its texts are copied into the arena. */
void sqlite_items_read(
    const struct query *query, struct result *result, struct notification_item *ret_item);

/* Keep the row behind an array of the arena; what query_step says of the next, or STATUS_NOMEM. */
MUST_CHECK int sqlite_items_append(
    struct query *query, struct result *result, struct notification_item **items, size_t *count);

#endif
