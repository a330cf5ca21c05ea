/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_retention - a step of the walk that takes what is older, or more, than a tenant keeps.
 *
 * The store remembers how far the walk has come, in parts (512 slots of inboxes each, and posts to
 * many): each step is for the part that has waited longest and that no other node is at. So nodes
 * share the work without knowing of each other, and one that ends loses the others nothing.
 *
 * Of an inbox what goes is, in the order of lists from the oldest on: what became new and got its
 * last post longer ago than `age_ms`, and what is beyond the newest `rows`. What is snoozed stays
 * until it has come back. The first one that is neither ends it, so a row that was made late of a
 * post to many may stay until those that came before it are old. Rows go as those that expire.
 *
 * Posts to many of that age end: nobody gets them any more; they are kept as long as anybody has a
 * row of them, or a digest that holds them, to be taken back or changed.
 */
#ifndef SQL_STORE_RETENTION_H
#define SQL_STORE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "sql/store_request.h"

enum {
    STORE_RETENTION_PARTS = 9,
    STORE_RETENTION_ROWS_MAX = 100000,
    STORE_RETENTION_RULES_MAX = 10000,
};

/* What is kept of a tenant's inboxes. */
struct store_retention_rule {
    struct bytes tenant;
    uint64_t age_ms; /* 0: of any age */
    uint32_t rows; /* of a user, at most STORE_RETENTION_ROWS_MAX; 0: any number */
};

struct store_retention {
    /*
     * Of op STORE_RETAIN, with `now` (0: by the store's own clock, and is told) and `limit`: of
     * inboxes looked at and of rows that go. What is gone is told as there. `more`: a part is not
     * done, or waits. `late_ms`: for how long the part that was looked through longest ago should
     * have been looked through again; 0: all are in time.
     */
    struct store_sweep sweep;
    uint64_t every_ms; /* how often all is looked through */
    struct store_retention_rule usual; /* for tenants without a rule */
    const struct store_retention_rule *rules;
    size_t rule_count; /* at most STORE_RETENTION_RULES_MAX */
    /* out */
    uint64_t looked; /* inboxes looked at by this step */
    uint64_t took_ms; /* by the last walk over each part, added up */
    uint32_t part; /* that was looked at */
    bool done; /* to its end */
};

#endif
