/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every change of an inbox does: its counters, its next rev, tombstones, the fence.
 */
#include "sql/sqlite_change.h"

#include "codec/base/status.h"
#include "sql/sqlite_ops.h"

void sqlite_count_in(struct store_position *position, enum notification_state state)
{
    position->unread += state <= NOTIFICATION_SEEN;
    position->unseen += state == NOTIFICATION_UNREAD;
}

void sqlite_count_out(struct store_position *position, enum notification_state state)
{
    position->unread -= state <= NOTIFICATION_SEEN;
    position->unseen -= state == NOTIFICATION_UNREAD;
}

int sqlite_change_inbox(
    struct sqlite_db *db, const struct store_user *who, const struct store_position *position)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_INBOX_CHANGE);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, position->unread);
    query_u64(&query, 5, position->unseen);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

int sqlite_raise_floor(struct sqlite_db *db, const struct store_user *who, uint64_t rev)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_INBOX_FLOOR);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, rev);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

int sqlite_make_tombstone(struct sqlite_db *db, const struct store_user *who, uint64_t rowid,
    const struct notification_change *change)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_NOTIFICATION_DELETE);
    query_u64(&query, 1, rowid);
    int changed = query_run(&query);
    if (changed <= 0) {
        return changed;
    }
    query_open(&query, db, SQLITE_STMT_TOMBSTONE_INSERT);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, change->seq);
    query_u64(&query, 5, change->rev);
    query_id(&query, 6, change->id);
    query_u64(&query, 7, (uint64_t)change->state);
    query_u64(&query, 8, change->at);
    return query_run(&query);
}

int sqlite_check_fence(
    struct sqlite_db *db, uint32_t partition, uint64_t token, struct bytes last_id)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_FENCE);
    query_u64(&query, 1, partition);
    query_u64(&query, 2, token);
    query_text(&query, 3, last_id);
    int changed = query_run(&query);
    return changed < 0 ? changed : changed == 0 ? STATUS_FENCED : 0;
}
