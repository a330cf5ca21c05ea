/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that have a number or another order: the keys of up to STORE_PAGED_MAX rows are walked,
 * then the rows of the page are read one by one.
 */
#include "sql/sqlite_page.h"

#include <stdlib.h>

#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/sqlite_items.h"
#include "sql/sqlite_ops.h"

enum { LOOKED_MAX = STORE_PAGED_MAX + 1 };

/* What a row is found and sorted by. */
struct place {
    uint64_t rowid;
    uint64_t new_rev;
    uint64_t seq;
    uint32_t rank; /* 0 where the order is that of lists */
};

struct places {
    struct place *at;
    size_t count;
    size_t looked; /* rows, at most LOOKED_MAX */
};

/* Those of the newest rows that are meant, newest first; in the order of lists that asked for. */
static int walk(struct sqlite_db *db, const struct store_page *page, struct result *result,
    struct places *ret_places)
{
    bool ascending = page->list.ascending && !page->by_priority;
    struct query query;
    query_open(&query, db, ascending ? SQLITE_STMT_PLACES_ASC : SQLITE_STMT_PLACES);
    sqlite_bind_user(&query, &page->list.who);
    query_u64(&query, 4, LOOKED_MAX);
    int more = query_step(&query);
    while (more > 0) {
        ret_places->looked++;
        if (sqlite_items_is_meant(&page->list, &query)) {
            struct place *grown =
                result_grow(result, ret_places->at, ret_places->count, sizeof(*grown));
            if (!grown) {
                more = STATUS_NOMEM;
                break;
            }
            ret_places->at = grown;
            grown[ret_places->count++] = (struct place){
                .rowid = query_column_u64(&query, PLACE_ROWID),
                .new_rev = query_column_u64(&query, PLACE_NEW_REV),
                .seq = query_column_u64(&query, PLACE_SEQ),
                .rank = page->by_priority ? (uint32_t)query_column_u64(&query, PLACE_PRIORITY) : 0,
            };
        }
        more = query_step(&query);
    }
    query_close(&query);
    return more > 0 ? 0 : more;
}

/* Below 0: `a` is lower, or older. */
static int compare(const void *a, const void *b)
{
    const struct place *one = a;
    const struct place *two = b;
    if (one->rank != two->rank) {
        return one->rank < two->rank ? -1 : 1;
    }
    if (one->new_rev != two->new_rev) {
        return one->new_rev < two->new_rev ? -1 : 1;
    }
    return one->seq < two->seq ? -1 : one->seq > two->seq;
}

static int compare_back(const void *a, const void *b)
{
    return compare(b, a);
}

/* Where the page begins: behind its cursor, or behind what is skipped. */
static size_t first_of(const struct store_page *page, const struct places *places)
{
    const struct store_cursor *before = &page->list.before;
    const struct place cursor = {
        .new_rev = before->new_rev, .seq = before->seq, .rank = page->by_priority ? page->rank : 0};
    size_t first = page->skip;
    if (before->new_rev > 0) {
        while (first < places->count) {
            int order = compare(&places->at[first], &cursor);
            if (page->list.ascending ? order > 0 : order < 0) {
                break;
            }
            first++;
        }
    }
    return first;
}

static int read_row(struct sqlite_db *db, struct store_list *list, uint64_t rowid)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_ITEM);
    query_u64(&query, 1, rowid);
    int more = query_step(&query);
    if (more > 0) {
        more = sqlite_items_append(&query, request_result(&list->base), &list->items, &list->count);
    }
    query_close(&query);
    return more;
}

int sqlite_page_run(struct sqlite_db *db, struct store_page *page)
{
    struct store_list *list = &page->list;
    struct places places = {0};
    uint64_t floor;
    int status = sqlite_read_position(db, &list->who, &list->position, &floor);
    if (status == 0) {
        status = walk(db, page, request_result(&list->base), &places);
    }
    if (status == 0 && page->by_priority && places.count > 0) {
        qsort(
            places.at, places.count, sizeof(*places.at), list->ascending ? compare : compare_back);
    }
    page->total = page->counted ? places.count : 0;
    page->more = page->counted && places.looked == LOOKED_MAX;
    for (size_t i = first_of(page, &places); status == 0 && i < places.count; i++) {
        if (list_is_full(list)) {
            list->next = cursor_of(&list->items[list->count - 1]);
            break;
        }
        status = read_row(db, list, places.at[i].rowid);
    }
    return status;
}
