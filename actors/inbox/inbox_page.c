/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies what is wanted into the request member by member, and what was read into the answer.
 */
#include "actors/inbox/inbox_page.h"

#include "codec/notification_json.h"

const char inbox_page_too_large[] = "The page is larger than an answer may be: ask for fewer";

void inbox_page_fill(struct store_page *page, struct store_user who,
    const struct notification_query *query, uint32_t max_bytes)
{
    bool plain = query->page == 0 && query->sort == NOTIFICATION_SORT_CREATED;
    page->list.base.op = plain ? STORE_LIST : STORE_PAGE;
    page->list.who = who;
    page->list.ascending = query->ascending;
    page->list.before = (struct store_cursor){.new_rev = query->after_rev, .seq = query->after_seq};
    page->list.max_bytes = max_bytes;
    page->list.states = query->states;
    page->list.priorities = query->priorities;
    page->list.types = query->types;
    page->list.type_count = query->type_count;
    page->list.from = query->from;
    page->list.to = query->to;
    page->by_priority = query->sort == NOTIFICATION_SORT_PRIORITY;
    page->rank = query->after_rank;
    page->skip = query->page > 0 ? (query->page - 1) * query->limit : 0;
    uint32_t left = STORE_PAGED_MAX - page->skip; /* rows that have a number */
    page->list.limit = query->page > 0 && left < query->limit ? left : query->limit;
    page->counted = query->page > 0;
}

bool inbox_page_answer(const struct store_page *page, const struct notification_query *query,
    uint32_t max_bytes, bool ack, struct builder *out)
{
    const struct store_list *list = &page->list;
    bool plain = list->base.op == STORE_LIST;
    const struct notification_page body = {.items = list->items,
        .count = list->count,
        .more = list->next.new_rev > 0,
        .next_rev = plain ? list->next.new_rev : 0,
        .next_seq = plain ? list->next.seq : 0,
        .fields = query->fields,
        .omit_nulls = query->omit_nulls,
        .max_bytes = max_bytes,
        .ack = ack,
        .by_priority = query->sort == NOTIFICATION_SORT_PRIORITY,
        .page = query->page,
        .limit = query->limit,
        .total = query->page > 0 ? page->total : 0,
        .partial = query->page > 0 && page->more,
        .total_max = STORE_PAGED_MAX};
    size_t given = notification_json_list(&body, out);
    bool cut = given < list->count || (list->next.new_rev > 0 && list->count < list->limit);
    return query->page == 0 || !cut;
}
