/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_summary - what a store is asked about how much a tenant's users were sent, and read, by day
 * and type. How requests live is said in store.h.
 *
 * It is counted in the transaction that stores or marks: rows that came into inboxes, with each
 * post that collapsed into one, and rows that were read, each time. Days are those of UTC by the
 * clock of the database, numbered from 1970 on. Up to STORE_SUMMARY_TYPES types of a tenant in a
 * day are kept by name, and all others together.
 */
#ifndef SQL_STORE_SUMMARY_H
#define SQL_STORE_SUMMARY_H

#include "sql/store_request.h"

enum { STORE_SUMMARY_TYPES = 100, STORE_SUMMARY_DAYS_MAX = 366 };

struct store_summary_row {
    uint64_t day;
    struct bytes type; /* empty: all others */
    uint64_t posted;
    uint64_t read;
};

/* The days from `from` to `to`, both included; at most STORE_SUMMARY_DAYS_MAX. */
struct store_summary {
    struct store_request base; /* STORE_SUMMARY */
    struct bytes tenant;
    uint64_t from;
    uint64_t to;
    uint32_t types; /* of a day by name: those of which most was posted; to STORE_SUMMARY_TYPES */
    /* out: by day, the type of which most was posted first, all others last */
    struct store_summary_row *rows;
    size_t count;
};

/*
 * Drop days that ended `tombstone_ms` before `now`, and add up what transactions have counted since
 * the last time (Postgres), at most `limit` rows of each. It is a struct store_sweep of op
 * STORE_SUMMARY_SWEEP, which tells nobody; `more` says that it is not done.
 */

#endif
