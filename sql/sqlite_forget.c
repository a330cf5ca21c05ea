/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A statement a table; what the notifications count for is read before they go.
 */
#include "sql/sqlite_forget.h"

#include "sql/engine.h"
#include "sql/sqlite_ops.h"

static const enum sqlite_statement statements[STORE_FORGOTTEN_COUNT] = {
#define X(name, label, table) [STORE_FORGOTTEN_##name] = SQLITE_STMT_FORGET_##name,
#include "sql/forget.def"
#undef X
};

/* The inbox without the rows that the first step is about to erase. */
static int change_inbox(struct sqlite_db *db, const struct store_forget *forget)
{
    enum { UNREAD, UNSEEN };
    uint64_t unread = 0;
    uint64_t unseen = 0;
    struct query query;
    query_open(&query, db, SQLITE_STMT_FORGET_COUNT);
    sqlite_bind_user(&query, &forget->who);
    query_u64(&query, 4, STORE_FORGET_STEP);
    int more = query_step(&query);
    if (more > 0) {
        unread = query_column_u64(&query, UNREAD);
        unseen = query_column_u64(&query, UNSEEN);
    }
    query_close(&query);
    if (more < 0) {
        return more;
    }
    query_open(&query, db, SQLITE_STMT_FORGET_INBOX);
    sqlite_bind_user(&query, &forget->who);
    query_u64(&query, 4, unread);
    query_u64(&query, 5, unseen);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

int sqlite_forget_run(struct sqlite_db *db, struct store_forget *forget)
{
    uint64_t floor;
    int status = change_inbox(db, forget);
    for (unsigned i = 0; status == 0 && i < STORE_FORGOTTEN_COUNT; i++) {
        struct query query;
        query_open(&query, db, statements[i]);
        sqlite_bind_user(&query, &forget->who);
        query_u64(&query, 4, STORE_FORGET_STEP);
        int changed = query_run(&query);
        if (changed < 0) {
            return changed;
        }
        forget->erased[i] = (uint64_t)changed;
        forget->more |= changed >= STORE_FORGET_STEP;
    }
    return status < 0 ? status : sqlite_read_position(db, &forget->who, &forget->position, &floor);
}
