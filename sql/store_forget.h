/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_forget - erasing all that a store has of a user.
 */
#ifndef SQL_STORE_FORGET_H
#define SQL_STORE_FORGET_H

#include <stdbool.h>
#include <stdint.h>

#include "sql/store_request.h"

enum store_forgotten {
#define X(name, label, table) STORE_FORGOTTEN_##name,
#include "sql/forget.def"
#undef X
    STORE_FORGOTTEN_COUNT,
};

/*
 * Erase a user's rows, STORE_FORGET_STEP of each table at most: again while there is `more`. Seq
 * and rev stay, and whoever has a position below the new rev is told to list again. A user without
 * an inbox gets none by this.
 */
struct store_forget {
    struct store_request base;
    struct store_user who;
    /* out */
    struct store_position position; /* all 0: there is no inbox */
    uint64_t erased[STORE_FORGOTTEN_COUNT]; /* rows */
    bool more;
};

enum { STORE_FORGET_STEP = 1000 };

/* The names in `erased` of an answer, by enum store_forgotten. */
extern const char *const store_forgotten_names[STORE_FORGOTTEN_COUNT];

#endif
