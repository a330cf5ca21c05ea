/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_list - requests that read an inbox as it is: lists, pages, what is searched, counts.
 */
#ifndef SQL_STORE_LIST_H
#define SQL_STORE_LIST_H

#include "sql/store_request.h"

/* A place in the order of a list: by the rev that made a row new, and its seq. */
struct store_cursor {
    uint64_t new_rev;
    uint64_t seq;
};

/*
 * A page of an inbox, in the order of the revs that last made a row new. At most STORE_LOOKED_MAX
 * rows are looked at, whatever is meant: where these have less than a page, it ends with what they
 * have, nothing even, and `next` says where the next one begins.
 */
struct store_list {
    struct store_request base;
    struct store_user who;
    bool ascending; /* oldest first; else newest first */
    struct store_cursor before; /* only what lies behind this; 0: from the start */
    uint32_t limit; /* 1 to 100 */
    uint32_t max_bytes; /* of texts and data, at which a page ends before `limit`; 0: any number */
    uint32_t states; /* set of 1u << enum notification_state; 0: all that are in the list */
    uint32_t priorities; /* set of 1u << enum notification_priority; 0: any */
    const struct bytes *types; /* only these; none: any */
    size_t type_count; /* at most STORE_TYPES_MAX */
    uint64_t from; /* created at this time or later */
    uint64_t to; /* and before this one; 0: any */
    /* out */
    struct notification_item *items;
    size_t count;
    struct store_cursor next; /* pass as `before` for the next page; 0: there is none */
    struct store_position position;
};

/*
 * A page that has a number, or one by priority: the urgent ones first (ascending: the low ones, and
 * of one priority the oldest). Looked at are the STORE_PAGED_MAX + 1 newest rows of the inbox,
 * without by_priority and ascending the oldest.
 */
struct store_page {
    struct store_list
        list; /* STORE_PAGE; without `before` where rows are skipped; `next` as there */
    bool by_priority; /* else in the order of a list */
    uint32_t rank; /* by priority: that of the row that list.before is */
    uint32_t skip; /* rows in front of the page, at most STORE_PAGED_MAX */
    bool counted;
    /* out */
    uint64_t total; /* with `counted`: rows that are meant, of those that were looked at */
    bool more; /* with `counted`: others were not looked at */
};

/*
 * STORE_TEXTS is a store_list, newest first, of up to STORE_TEXTS_MAX rows, whose items have seq,
 * new_rev, title and the first STORE_TEXTS_CHARS characters of the message, and nothing else.
 */

/*
 * STORE_ROWS is a store_list too: all rows that are there, whatever their state, by seq from the
 * lowest on. Of what is asked only `who`, before.seq, `limit` and `max_bytes` count.
 */

/* Rows by seq, those that are still there, in the order asked for. */
struct store_pick {
    struct store_request base;
    struct store_user who;
    const uint64_t *seqs;
    size_t seq_count; /* at most STORE_TEXTS_MAX */
    /* out */
    struct notification_item *items;
    size_t count;
    struct store_position position;
};

/* What is open of an inbox by type, or by priority: at most STORE_GROUPS_MAX, the largest first. */
struct store_counts {
    struct store_request base;
    struct store_user who;
    bool by_priority;
    /* out */
    struct store_group {
        struct bytes type; /* or */
        enum notification_priority priority;
        uint64_t unread;
        uint64_t unseen;
    } * groups;
    size_t group_count;
    struct store_position position;
};

#endif
