/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the parameters of a list.
 *
 * Order of this file: what each parameter may be, the table of them, URLs, objects.
 */
#include "codec/notification_query.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/names.h"
#include "codec/notification_json.h"
#include "codec/notification_mark.h"
#include "codec/query.h"

enum { LIMIT_DEFAULT = 20 };

/* What each may be: the value as text. Lists are added to. */

static int set_after(struct notification_query *query, struct bytes text)
{
    struct notification_cursor cursor;
    int status = notification_cursor_parse(text, &cursor);
    if (status == 0) {
        query->after_rev = cursor.new_rev;
        query->after_seq = cursor.seq;
        query->after_rank = cursor.rank;
        query->ranked = cursor.ranked;
    }
    return status;
}

static int set_limit(struct notification_query *query, struct bytes text)
{
    uint64_t limit;
    int status = bytes_to_u64(text, NOTIFICATION_QUERY_LIMIT_MAX, &limit);
    if (status == 0 && limit == 0) {
        return STATUS_INVALID;
    }
    query->limit = status == 0 ? (uint32_t)limit : query->limit;
    return status;
}

static int set_page(struct notification_query *query, struct bytes text)
{
    uint64_t page;
    int status = bytes_to_u64(text, NOTIFICATION_QUERY_PAGED_MAX, &page);
    if (status == 0 && page == 0) {
        return STATUS_INVALID;
    }
    query->page = status == 0 ? (uint32_t)page : query->page;
    return status;
}

static int add_state(struct notification_query *query, struct bytes name)
{
    enum notification_state state;
    if (notification_state_parse(name, &state) != 0 || state > NOTIFICATION_SNOOZED) {
        return STATUS_INVALID;
    }
    /* What was only seen has not been read: who asks for unread means both. */
    query->states |= state == NOTIFICATION_UNREAD ? NOTIFICATION_OPEN_STATES : 1u << state;
    return 0;
}

static int add_type(struct notification_query *query, struct bytes name)
{
    if (query->type_count == NOTIFICATION_QUERY_TYPES_MAX || name.len == 0 ||
        name.len > sizeof(query->text) - query->text_len) {
        return STATUS_INVALID;
    }
    memcpy(query->text + query->text_len, name.at, name.len);
    query->types[query->type_count++] = bytes_of(query->text + query->text_len, name.len);
    query->text_len += name.len;
    return 0;
}

static int add_priority(struct notification_query *query, struct bytes name)
{
    for (unsigned i = 0; i < NOTIFICATION_PRIORITY_COUNT; i++) {
        if (bytes_eq(name, notification_priority_name((enum notification_priority)i))) {
            query->priorities |= 1u << i;
            return 0;
        }
    }
    return STATUS_INVALID;
}

static int add_field(struct notification_query *query, struct bytes name)
{
    return notification_json_add_field(name, &query->fields);
}

static int read_time(struct bytes text, uint64_t *ret_ms)
{
    return bytes_to_u64(text, (uint64_t)ISO_TIME_MAX, ret_ms) == 0 ? 0
                                                                   : iso_time_parse(text, ret_ms);
}

static int set_from(struct notification_query *query, struct bytes text)
{
    return read_time(text, &query->from);
}

static int set_to(struct notification_query *query, struct bytes text)
{
    return read_time(text, &query->to);
}

static int set_order(struct notification_query *query, struct bytes text)
{
    query->ascending = bytes_eq_str(text, "asc");
    return query->ascending || bytes_eq_str(text, "desc") ? 0 : STATUS_INVALID;
}

static int set_search(struct notification_query *query, struct bytes text)
{
    return search_parse(text, &query->search);
}

static int set_sort(struct notification_query *query, struct bytes text)
{
    bool by_priority = bytes_eq_str(text, "priority");
    query->sort = by_priority ? NOTIFICATION_SORT_PRIORITY : NOTIFICATION_SORT_CREATED;
    return by_priority || bytes_eq_str(text, "createdAt") ? 0 : STATUS_INVALID;
}

static int set_nulls(struct notification_query *query, struct bytes text)
{
    query->omit_nulls = bytes_eq_str(text, "omit");
    return query->omit_nulls ? 0 : STATUS_INVALID;
}

/* The table. */

#define AFTER_ALLOWED "The next of the page before"
#define PAGE_ALLOWED "A number from 1; pages go to the 10,000th row: after goes further"
#define SEARCH_ALLOWED "1 to 20 words, together at most 200 characters"
#define TIME_ALLOWED "A time: ISO 8601, or milliseconds since 1970"

static const struct row {
    const char *name;
    bool is_list; /* with commas between */
    int (*set)(struct notification_query *query, struct bytes text);
    const char *allowed;
} rows[] = {
    {"after", false, set_after, AFTER_ALLOWED},
    {"fields", true, add_field, "Some, with commas between, of: " NOTIFICATION_JSON_FIELDS},
    {"from", false, set_from, TIME_ALLOWED},
    {"limit", false, set_limit, "A number from 1 to 100"},
    {"nulls", false, set_nulls, "omit"},
    {"order", false, set_order, "desc or asc"},
    {"page", false, set_page, PAGE_ALLOWED},
    {"priority", true, add_priority, "Some, with commas between, of: low, medium, high, urgent"},
    {"search", false, set_search, SEARCH_ALLOWED},
    {"sort", false, set_sort, "createdAt or priority"},
    {"state", true, add_state,
        "Some, with commas between, of: unread, seen, read, archived, snoozed"},
    {"to", false, set_to, TIME_ALLOWED},
    {"type", true, add_type, "1 to 20 types with commas between, together at most 1024 bytes"},
};

static void init(struct notification_query *ret_query, struct notification_query_fault *ret_fault)
{
    *ret_query = (struct notification_query){.limit = LIMIT_DEFAULT, .to = INT64_MAX};
    *ret_fault = (struct notification_query_fault){.message = ""};
}

static int blame_name(struct notification_query_fault *fault, const char *name, const char *message)
{
    memcpy(fault->field, name, strlen(name) + 1);
    fault->message = message;
    return STATUS_INVALID;
}

/* What the parameters are together. */
static int check(struct notification_query *query, struct notification_query_fault *fault)
{
    if (query->search.word_count > 0) {
        if (query->sort != NOTIFICATION_SORT_CREATED || query->ascending) {
            (void)blame_name(fault, query->ascending ? "order" : "sort",
                "Not with search: what matches best comes first");
            return STATUS_CONFLICT;
        }
        query->sort = NOTIFICATION_SORT_MATCH;
    }
    if (query->page > 0 && query->after_rev > 0) {
        (void)blame_name(fault, "after", "after or page: not both");
        return STATUS_CONFLICT;
    }
    if (query->page > 0 && (query->page - 1) * query->limit >= NOTIFICATION_QUERY_PAGED_MAX) {
        return blame_name(fault, "page", PAGE_ALLOWED);
    }
    bool ranked = query->sort != NOTIFICATION_SORT_CREATED;
    uint32_t ranks =
        query->sort == NOTIFICATION_SORT_PRIORITY ? NOTIFICATION_PRIORITY_COUNT : UINT32_MAX;
    if (query->after_rev > 0 && (query->ranked != ranked || query->after_rank >= ranks)) {
        return blame_name(fault, "after", AFTER_ALLOWED);
    }
    return 0;
}

/* One value, or several with commas between; at least one. */
static int set_text(struct notification_query *query, const struct row *row, struct bytes text)
{
    struct bytes element;
    size_t count = 0;
    int status = 0;
    if (!row->is_list) {
        return row->set(query, text);
    }
    for (; status == 0 && http1_list_next(&text, &element); count++) {
        status = row->set(query, element);
    }
    return status == 0 && count == 0 ? STATUS_INVALID : status;
}

/* URLs. */

int notification_query_from_url(struct bytes url_query, struct notification_query *ret_query,
    struct notification_query_fault *ret_fault)
{
    init(ret_query, ret_fault);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char at[NOTIFICATION_QUERY_TEXT_MAX + NOTIFICATION_QUERY_TYPES_MAX];
        struct bytes text;
        int status = query_get(url_query, rows[i].name, at, sizeof(at), &text);
        if (status == STATUS_NOT_FOUND) {
            continue;
        }
        if (status != 0 || set_text(ret_query, &rows[i], text) != 0) {
            return blame_name(ret_fault, rows[i].name, rows[i].allowed);
        }
    }
    return check(ret_query, ret_fault);
}

/* Objects. */

static int set_array(struct notification_query *query, const struct row *row, struct bytes value)
{
    char at[NOTIFICATION_QUERY_TEXT_MAX];
    struct json_scan_iter iter;
    struct bytes element;
    struct bytes text;
    size_t count = 0;
    if (!row->is_list || !json_scan_iter_init(&iter, value)) {
        return STATUS_INVALID;
    }
    for (; json_scan_element(&iter, &element); count++) {
        if (json_scan_string(element, at, sizeof(at), &text) != 0 ||
            memchr(text.at, '\0', text.len) != NULL || row->set(query, text) != 0) {
            return STATUS_INVALID;
        }
    }
    return count > 0 ? 0 : STATUS_INVALID;
}

static int set_value(struct notification_query *query, const struct row *row, struct bytes value)
{
    char at[NOTIFICATION_QUERY_TEXT_MAX + NOTIFICATION_QUERY_TYPES_MAX];
    struct bytes text = value;
    enum json_scan_kind kind = json_scan_kind(value);
    if (kind == JSON_SCAN_NULL) {
        return 0;
    }
    if (kind == JSON_SCAN_ARRAY) {
        return set_array(query, row, value);
    }
    if (kind != JSON_SCAN_NUMBER && (json_scan_string(value, at, sizeof(at), &text) != 0 ||
                                        memchr(text.at, '\0', text.len) != NULL)) {
        return STATUS_INVALID;
    }
    return set_text(query, row, text);
}

static int blame_key(struct notification_query_fault *fault, struct bytes key)
{
    names_write_field(key, fault->field, sizeof(fault->field));
    fault->message = "Unknown field; known here: after, fields, from, limit, nulls, order, "
                     "page, priority, search, sort, state, to, type";
    return STATUS_NOT_FOUND;
}

int notification_query_from_json(struct bytes object, struct notification_query *ret_query,
    struct notification_query_fault *ret_fault)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    init(ret_query, ret_fault);
    (void)json_scan_iter_init(&iter, object);
    while (json_scan_member(&iter, &key, &value)) {
        size_t i = 0;
        while (i < ARRAY_LEN(rows) && !json_scan_string_eq(key, bytes_str(rows[i].name))) {
            i++;
        }
        if (i == ARRAY_LEN(rows)) {
            return blame_key(ret_fault, key);
        }
        if (set_value(ret_query, &rows[i], value) != 0) {
            return blame_name(ret_fault, rows[i].name, rows[i].allowed);
        }
    }
    return check(ret_query, ret_fault);
}
