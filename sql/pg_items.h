/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_items - rows of inboxes as Postgres takes and gives them: the parameters of a list, the
 * columns of an item.
 */
#ifndef SQL_PG_ITEMS_H
#define SQL_PG_ITEMS_H

#include "sql/pg_conn.h"
#include "sql/store_list.h"

/* Add parameters 1 to 12 of the statements that list. */
void pg_items_add_list(struct pg_params *params, const struct store_list *list);

/* Read an item, PG_ITEM of pg.def, from column `at`; its texts are copied into the arena. */
void pg_items_read(const PGresult *rows, int row, int at, struct result *arena,
    struct notification_item *ret_item);

/* The same behind an array of the arena; nothing when memory ran out (result_failed tells). */
void pg_items_append(const PGresult *rows, int row, int at, struct result *arena,
    struct notification_item **items, size_t *count);

/* The first four columns of the first row. */
struct store_position pg_items_position(const PGresult *rows);

/* Where a list goes on behind the rows that were looked at, from column `at` on; 0: nowhere. */
struct store_cursor pg_items_edge(const PGresult *rows, int at);

/* Read position, items from column `at`, and where the list goes on. There is a first row. */
void pg_items_read_list(struct store_list *list, const PGresult *rows, int at);

#endif
