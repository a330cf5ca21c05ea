/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notification_query - what a caller wants to read of an inbox: the parameters of a list, from a
 * URL or from the argument of an event.
 */
#ifndef CODEC_NOTIFICATION_QUERY_H
#define CODEC_NOTIFICATION_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/search.h"

enum {
    NOTIFICATION_QUERY_LIMIT_MAX = 100,
    NOTIFICATION_QUERY_TYPES_MAX = 20,
    NOTIFICATION_QUERY_TEXT_MAX = 1024,
    NOTIFICATION_QUERY_PAGED_MAX = 10000, /* rows that have a page with a number */
};

/* By what a list is sorted first; then by the rev that last made a row new. */
enum notification_sort {
    NOTIFICATION_SORT_CREATED, /* by that alone */
    NOTIFICATION_SORT_PRIORITY,
    NOTIFICATION_SORT_MATCH, /* what is searched: the best first */
};

/* It is not moved or copied while it is used: `types` points into it. */
struct notification_query {
    uint64_t after_rev; /* the cursor: new_rev and seq of the row before; 0: from the start */
    uint64_t after_seq;
    uint32_t after_rank; /* sorted by another thing: what that row had of it */
    bool ranked; /* the cursor says a rank */
    uint32_t limit; /* 1 to NOTIFICATION_QUERY_LIMIT_MAX; default 20 */
    uint32_t page; /* from 1, then there is no cursor; 0: by cursor */
    enum notification_sort sort;
    uint32_t states; /* set of 1u << enum notification_state; 0: what is in the list */
    uint32_t priorities; /* set of 1u << enum notification_priority; 0: any */
    uint64_t from; /* created at this time or later, epoch ms */
    uint64_t to; /* and before this one */
    bool ascending; /* oldest first */
    bool omit_nulls;
    uint32_t fields; /* set by notification_json_add_field; 0: all */
    struct bytes types[NOTIFICATION_QUERY_TYPES_MAX]; /* only these; none: any */
    size_t type_count;
    size_t text_len;
    char text[NOTIFICATION_QUERY_TEXT_MAX];
    struct search search; /* with NOTIFICATION_SORT_MATCH */
};

/* What is wrong with one. */
struct notification_query_fault {
    char field[64 + 1];
    const char *message; /* what is allowed; static */
};

/*
 * Read the query of a URL, undecoded. Parameters that are none of a list's are not looked at: who
 * has a table of routes refuses them by it. STATUS_INVALID; STATUS_CONFLICT: two that exclude each
 * other.
 */
MUST_CHECK int notification_query_from_url(struct bytes url_query,
    struct notification_query *ret_query, struct notification_query_fault *ret_fault);

/*
 * Read the members of a JSON object; lists may be arrays of texts too, null is as good as nothing.
 * STATUS_INVALID; STATUS_CONFLICT as above; STATUS_NOT_FOUND: no parameter has that name.
 */
MUST_CHECK int notification_query_from_json(struct bytes object,
    struct notification_query *ret_query, struct notification_query_fault *ret_fault);

#endif
