/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drops posts to many with the members of their lists and what digests hold of them.
 */
#include "sql/sqlite_audience_drop.h"

#include "codec/base/status.h"
#include "sql/engine.h"

static int drop_list(struct sqlite_db *db, const struct store_retract *post, uint64_t limit)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_MEMBER_DROP_LIST);
    query_text(&query, 1, post->tenant);
    query_text(&query, 2, post->name);
    query_u64(&query, 3, limit);
    return query_run(&query);
}

static int drop_marks(struct sqlite_db *db, const struct store_retract *post, uint64_t limit)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_DIGEST_DROP);
    query_text(&query, 1, post->tenant);
    query_u64(&query, 2, post->n);
    query_u64(&query, 3, limit);
    return query_run(&query);
}

static int drop_post(struct sqlite_db *db, const struct store_retract *post)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_DROP);
    query_text(&query, 1, post->tenant);
    query_u64(&query, 2, post->n);
    return query_run(&query);
}

int sqlite_audience_drop(struct sqlite_db *db, const struct store_retract *post, uint64_t most)
{
    int removed = post->kind == AUDIENCE_LIST ? drop_list(db, post, most) : 0;
    if (removed < 0) {
        return removed;
    }
    int joined = drop_marks(db, post, most - (uint64_t)removed);
    if (joined < 0) {
        return joined;
    }
    removed += joined;
    int dropped = (uint64_t)removed < most ? drop_post(db, post) : 0;
    return dropped < 0 ? dropped : removed;
}

/* Those that are to go, at most twice the limit. */
static int read_old(
    struct sqlite_db *db, struct store_sweep *sweep, struct store_retract **posts, size_t *count)
{
    struct result *arena = request_result(&sweep->base);
    bool keep_all = sweep->tombstone_ms >= sweep->now;
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_OLD);
    query_u64(&query, 1, keep_all ? 0 : sweep->now - sweep->tombstone_ms);
    query_u64(&query, 2, sweep->now);
    query_u64(&query, 3, sweep->limit);
    int more = query_step(&query);
    while (more > 0) {
        struct store_retract *grown = result_grow(arena, *posts, *count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        *posts = grown;
        grown[(*count)++] =
            (struct store_retract){.tenant = result_copy(arena, query_column(&query, 0)),
                .n = query_column_u64(&query, 1),
                .kind = (enum notification_audience)query_column_u64(&query, 2),
                .name = result_copy(arena, query_column(&query, 3))};
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

int sqlite_audience_drop_old(struct sqlite_db *db, struct store_sweep *sweep)
{
    struct store_retract *posts = NULL;
    size_t count = 0;
    uint64_t dropped = 0;
    int status = read_old(db, sweep, &posts, &count);
    for (size_t i = 0; i < count && status >= 0 && dropped < sweep->limit; i++) {
        status = sqlite_audience_drop(db, &posts[i], sweep->limit - dropped);
        dropped += status < 0 ? 0 : 1 + (uint64_t)status;
    }
    sweep->more = sweep->more || dropped >= sweep->limit;
    return status < 0 ? status : 0;
}
