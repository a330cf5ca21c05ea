/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that have a number or another order: statements that skip and count, up to STORE_PAGED_MAX
 * rows.
 */
#include "sql/pg_page.h"

#include "codec/base/status.h"
#include "sql/pg_items.h"

enum pg_statement pg_page_add(struct pg_params *params, const struct store_page *page)
{
    const struct store_list *list = &page->list;
    int16_t start = list->ascending ? -1 : NOTIFICATION_PRIORITY_COUNT;
    pg_items_add_list(params, list);
    pg_add_u64(params, page->skip);
    pg_add_u64(params, page->counted ? STORE_PAGED_MAX + 1 : 0);
    pg_add_u64(params, STORE_PAGED_MAX + 1);
    if (!page->by_priority) {
        return list->ascending ? PG_STMT_PAGE_ASC : PG_STMT_PAGE;
    }
    pg_add_i16(params, list->before.new_rev == 0 ? start : (int16_t)page->rank);
    return list->ascending ? PG_STMT_PRIORITY_ASC : PG_STMT_PRIORITY;
}

int pg_page_read(struct store_page *page, const PGresult *rows)
{
    enum { TOTAL = 4, MORE, ITEM };
    if (PQntuples(rows) == 0) {
        return STATUS_UNAVAILABLE;
    }
    pg_items_read_list(&page->list, rows, ITEM);
    page->total = pg_u64(rows, 0, TOTAL);
    page->more = pg_bool(rows, 0, MORE);
    return 0;
}
