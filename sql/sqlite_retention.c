/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over inboxes and takes what is older, or more, than their tenants keep. Order of this file:
 * what is taken of an inbox, a step over inboxes, a step over posts to many, where the walk is.
 */
#include "sql/sqlite_retention.h"

#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/engine.h"
#include "sql/sqlite_audience_drop.h"
#include "sql/sqlite_change.h"
#include "sql/sqlite_ops.h"

enum {
    POSTS_PART = STORE_RETENTION_PARTS - 1,
    PART_SLOTS = 512,
    LOOKED_FACTOR = 20, /* so many times the limit is looked at */
    PLACE_TEXT_MAX = STORE_NAME_MAX + 1,
};

/* Where a walk is: what is looked at next. */
struct place {
    uint64_t part;
    uint64_t slot;
    struct bytes tenant; /* these: in the request's arena */
    struct bytes past;
    uint64_t rev;
    uint64_t seq;
    uint64_t began_at;
};

/* An inbox, and what of it goes. */
struct box {
    uint64_t slot;
    struct store_user who;
    uint64_t seq;
};

struct old_row {
    uint64_t rowid;
    struct notification_change change;
    enum notification_state state;
};

struct old_rows {
    struct old_row *at;
    size_t count;
    bool more; /* it goes on behind (rev, seq) */
    uint64_t rev;
    uint64_t seq;
};

static int run(struct query *query)
{
    int changed = query_run(query);
    return changed < 0 ? changed : 0;
}

static const struct store_retention_rule *rule_of(
    const struct store_retention *retention, struct bytes tenant)
{
    for (size_t i = 0; i < retention->rule_count; i++) {
        if (bytes_eq(retention->rules[i].tenant, tenant)) {
            return &retention->rules[i];
        }
    }
    return &retention->usual;
}

/* Up to when what is older goes; 0: nothing does. */
static uint64_t age_limit(
    const struct store_retention *retention, const struct store_retention_rule *rule)
{
    uint64_t now = retention->sweep.now;
    return rule->age_ms > 0 && rule->age_ms < now ? now - rule->age_ms : 0;
}

/* What follows `text` in the order of names. */
static struct bytes next_of(struct result *arena, struct bytes text)
{
    char next[PLACE_TEXT_MAX];
    CHECK(text.len < sizeof(next));
    if (text.len > 0) {
        memcpy(next, text.at, text.len);
    }
    next[text.len] = 1;
    return result_copy(arena, bytes_of(next, text.len + 1));
}

/* --- an inbox --- */

/* 1: there may be more rows than `keep`, by their numbers; 0: there are not. */
static int may_be_more(struct sqlite_db *db, const struct box *box, uint64_t keep)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_FIRST);
    sqlite_bind_user(&query, &box->who);
    int more = query_step(&query);
    more = more > 0 ? box->seq - query_column_u64(&query, 0) >= keep : more;
    query_close(&query);
    return more;
}

/* The newest row beyond the newest `keep`; 1: there is one. `within`: in the middle of the inbox.
 */
static int find_edge(struct sqlite_db *db, const struct box *box, uint64_t keep, bool within,
    uint64_t *looked, uint64_t ret_edge[2])
{
    int more = keep == 0 || box->seq <= keep ? 0 : within ? 1 : may_be_more(db, box, keep);
    if (more <= 0) {
        return more;
    }
    struct query query;
    *looked += keep;
    query_open(&query, db, SQLITE_STMT_RETAIN_EDGE);
    sqlite_bind_user(&query, &box->who);
    query_u64(&query, 4, keep);
    more = query_step(&query);
    if (more > 0) {
        ret_edge[0] = query_column_u64(&query, 0);
        ret_edge[1] = query_column_u64(&query, 1);
    }
    query_close(&query);
    return more;
}

/* Append the row of RETAIN_ROWS. */
static int take_row(struct result *arena, const struct query *query, struct old_rows *rows)
{
    struct old_row *grown = result_grow(arena, rows->at, rows->count, sizeof(*grown));
    if (!grown) {
        return STATUS_NOMEM;
    }
    rows->at = grown;
    struct old_row *row = &grown[rows->count++];
    *row = (struct old_row){.rowid = query_column_u64(query, 0),
        .change = {.seq = query_column_u64(query, 2), .state = NOTIFICATION_EXPIRED},
        .state = (enum notification_state)query_column_u64(query, 3)};
    query_column_id(query, 1, row->change.id);
    return 0;
}

/* What of an inbox is looked at, and how. */
struct look {
    const struct box *box;
    const struct place *place; /* from there on */
    uint64_t most; /* rows */
    uint64_t young; /* what is not above it is old */
    uint64_t edge[2]; /* new_rev and seq: what is not above it is beyond the newest */
};

/* Find what goes, up to the first row that is to stay. */
static int find_old(
    struct sqlite_db *db, struct result *arena, const struct look *look, struct old_rows *rows)
{
    enum { SEQ = 2, SNOOZED = 4, NEW_REV, AT };
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_ROWS);
    sqlite_bind_user(&query, &look->box->who);
    query_u64(&query, 4, look->place->rev);
    query_u64(&query, 5, look->place->seq);
    query_u64(&query, 6, look->most);
    int more = query_step(&query);
    uint64_t looked = 0;
    bool stays = false;
    for (; more > 0 && !stays; looked += !stays) {
        rows->rev = query_column_u64(&query, NEW_REV);
        rows->seq = query_column_u64(&query, SEQ);
        bool beyond =
            rows->rev < look->edge[0] || (rows->rev == look->edge[0] && rows->seq <= look->edge[1]);
        bool snoozed = query_column_u64(&query, SNOOZED) > 0;
        stays = !snoozed && !beyond && query_column_u64(&query, AT) > look->young;
        int status = stays || snoozed ? 0 : take_row(arena, &query, rows);
        more = status < 0 ? status : stays ? 0 : query_step(&query);
    }
    query_close(&query);
    rows->more = looked == look->most;
    return more < 0 ? more : 0;
}

/* Put tombstones in the place of rows, under one rev. */
static int bury(struct sqlite_db *db, struct store_sweep *sweep, const struct store_user *who,
    const struct old_rows *rows)
{
    struct result *arena = request_result(&sweep->base);
    struct store_swept *grown = result_grow(arena, sweep->users, sweep->user_count, sizeof(*grown));
    if (!grown) {
        return STATUS_NOMEM;
    }
    sweep->users = grown;
    struct store_swept *swept = &grown[sweep->user_count++];
    *swept = (struct store_swept){.who = *who};
    uint64_t floor;
    int status = sqlite_read_position(db, who, &swept->position, &floor);
    swept->position.rev++;
    for (size_t i = 0; status >= 0 && i < rows->count; i++) {
        struct notification_change change = rows->at[i].change;
        change.rev = swept->position.rev;
        change.at = sweep->now;
        status = sqlite_make_tombstone(db, who, rows->at[i].rowid, &change);
        change_append(arena, &swept->changes, &swept->change_count, &change);
        sqlite_count_out(&swept->position, rows->at[i].state);
    }
    return status < 0 ? status : sqlite_change_inbox(db, who, &swept->position);
}

/* --- a step over inboxes --- */

/* Look at an inbox and take what goes, `most` rows at most; how many it took. */
static int take_of(struct sqlite_db *db, struct store_retention *retention, const struct box *box,
    struct place *place, uint64_t most, uint64_t *looked)
{
    struct result *arena = request_result(&retention->sweep.base);
    const struct store_retention_rule *rule = rule_of(retention, box->who.tenant);
    struct look look = {
        .box = box, .place = place, .most = most, .young = age_limit(retention, rule)};
    struct old_rows rows = {0};
    *looked += 1;
    int status = find_edge(db, box, rule->rows, place->rev > 0, looked, look.edge);
    if (status >= 0 && (look.young > 0 || look.edge[0] > 0)) {
        status = find_old(db, arena, &look, &rows);
    }
    if (status >= 0 && rows.count > 0) {
        *looked += rows.count;
        status = bury(db, &retention->sweep, &box->who, &rows);
    }
    place->rev = rows.more ? rows.rev : 0;
    place->seq = rows.more ? rows.seq : 0;
    place->past = rows.more ? box->who.user : next_of(arena, box->who.user);
    return status < 0 ? status : (int)rows.count;
}

static int read_boxes(struct sqlite_db *db, const struct place *place, struct result *arena,
    uint64_t most, struct box **ret_boxes, size_t *ret_count)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_BOXES);
    query_u64(&query, 1, place->slot);
    query_text(&query, 2, place->tenant);
    query_text(&query, 3, place->past);
    query_u64(&query, 4, (place->part + 1) * PART_SLOTS);
    query_u64(&query, 5, most);
    int more = query_step(&query);
    while (more > 0) {
        struct box *grown = result_grow(arena, *ret_boxes, *ret_count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        *ret_boxes = grown;
        grown[(*ret_count)++] = (struct box){.slot = query_column_u64(&query, 0),
            .who.tenant = result_copy(arena, query_column(&query, 1)),
            .who.user = result_copy(arena, query_column(&query, 2)),
            .seq = query_column_u64(&query, 3)};
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : result_failed(arena) ? STATUS_NOMEM : 0;
}

/* 1: the part is done. */
static int step_inboxes(
    struct sqlite_db *db, struct store_retention *retention, struct place *place)
{
    const uint64_t limit = retention->sweep.limit;
    struct result *arena = request_result(&retention->sweep.base);
    struct box *boxes = NULL;
    size_t count = 0;
    int status = read_boxes(db, place, arena, limit, &boxes, &count);
    uint64_t taken = 0;
    uint64_t looked = 0;
    size_t i = 0;
    bool stays = false; /* in an inbox */
    while (status >= 0 && i < count && !stays && taken < limit && looked < limit * LOOKED_FACTOR) {
        const struct box *box = &boxes[i++];
        if (!bytes_eq(box->who.user, place->past) || !bytes_eq(box->who.tenant, place->tenant) ||
            box->slot != place->slot) {
            place->rev = 0;
            place->seq = 0;
        }
        place->slot = box->slot;
        place->tenant = box->who.tenant;
        status = take_of(db, retention, box, place, limit - taken, &looked);
        taken += status > 0 ? (uint64_t)status : 0;
        stays = place->rev > 0;
    }
    retention->looked = i;
    return status < 0 ? status : !stays && i == count && count < limit;
}

/* --- a step over posts to many --- */

/* A post as RETAIN_POSTS tells it. */
struct old_post {
    struct store_retract post;
    bool ended;
};

struct old_posts {
    struct old_post *at;
    size_t count;
    uint64_t young; /* none above it */
};

/* From now on nobody gets it. */
static int close_post(struct sqlite_db *db, struct bytes tenant, uint64_t n)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_CLOSE);
    query_text(&query, 1, tenant);
    query_u64(&query, 2, n);
    return run(&query);
}

/* Whether anybody has a row that was made of a post, or it is being changed. */
static int is_used(struct sqlite_db *db, struct bytes tenant, uint64_t n)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_USED);
    query_text(&query, 1, tenant);
    query_u64(&query, 2, n);
    int more = query_step(&query);
    query_close(&query);
    return more;
}

/*
 * Whether a digest holds the post that is there: 1; 0: none of the first `most` that did. *looked
 * grows by what was looked at.
 */
static int is_joined(
    struct sqlite_db *db, const struct store_retract *post, uint64_t most, uint64_t *looked)
{
    struct query query;
    bool found = false;
    query_open(&query, db, SQLITE_STMT_RETAIN_JOINED);
    query_text(&query, 1, post->tenant);
    query_u64(&query, 2, post->n);
    query_u64(&query, 3, most);
    int more = query_step(&query);
    for (; more > 0 && !found; more = found ? more : query_step(&query)) {
        found = query_column_u64(&query, 0) > 0;
        ++*looked;
    }
    query_close(&query);
    return more < 0 ? more : found;
}

/* Drop a post that nobody has; how many members of its list and marks of digests went. */
static int drop_unused(
    struct sqlite_db *db, const struct store_retract *post, uint64_t most, uint64_t *looked)
{
    int used = is_used(db, post->tenant, post->n);
    used = used == 0 ? is_joined(db, post, most, looked) : used;
    int removed = used == 0 ? sqlite_audience_drop(db, post, most) : 0;
    *looked += removed > 0 ? (uint64_t)removed : 0;
    return used < 0 ? used : removed;
}

/* The posts of a tenant above a number that are as old as it keeps any, `most` at most. */
static int read_posts(struct sqlite_db *db, struct result *arena, const struct place *place,
    uint64_t most, struct old_posts *posts)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_POSTS);
    query_text(&query, 1, place->tenant);
    query_u64(&query, 2, place->rev);
    query_u64(&query, 3, most);
    int more = query_step(&query);
    while (more > 0 && query_column_u64(&query, 3) <= posts->young) {
        struct old_post *grown = result_grow(arena, posts->at, posts->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        posts->at = grown;
        grown[posts->count++] =
            (struct old_post){.post = {.tenant = place->tenant,
                                  .n = query_column_u64(&query, 0),
                                  .kind = (enum notification_audience)query_column_u64(&query, 1),
                                  .name = result_copy(arena, query_column(&query, 2))},
                .ended = query_column_u64(&query, 4) > 0};
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : result_failed(arena) ? STATUS_NOMEM : 0;
}

/* End posts of the tenant at `place`, `most` at most; how many were looked at. */
static int end_posts(
    struct sqlite_db *db, struct store_retention *retention, struct place *place, uint64_t most)
{
    struct result *arena = request_result(&retention->sweep.base);
    struct old_posts posts = {.young = age_limit(retention, rule_of(retention, place->tenant))};
    int status = posts.young > 0 ? read_posts(db, arena, place, most, &posts) : 0;
    uint64_t looked = 0;
    for (size_t i = 0; i < posts.count && status >= 0 && looked < most; i++) {
        const struct store_retract *post = &posts.at[i].post;
        looked++;
        status = posts.at[i].ended ? drop_unused(db, post, most, &looked)
                                   : close_post(db, post->tenant, post->n);
        bool all = status >= 0 && (uint64_t)status < most;
        place->rev = all ? post->n : place->rev;
    }
    return status < 0 ? status : (int)looked;
}

/* The first tenant with posts from the place on; 0: there is none. */
static int find_tenant(struct sqlite_db *db, struct result *arena, struct place *place)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_TENANT);
    query_text(&query, 1, place->tenant);
    int more = query_step(&query);
    if (more > 0 && !bytes_eq(query_column(&query, 0), place->tenant)) {
        place->tenant = result_copy(arena, query_column(&query, 0));
        place->rev = 0;
    }
    query_close(&query);
    return more;
}

/* 1: the part is done. */
static int step_posts(struct sqlite_db *db, struct store_retention *retention, struct place *place)
{
    struct result *arena = request_result(&retention->sweep.base);
    uint64_t limit = retention->sweep.limit;
    uint64_t looked = 0;
    while (looked < limit) {
        int found = find_tenant(db, arena, place);
        if (found <= 0) {
            return found < 0 ? found : 1;
        }
        uint64_t room = limit - looked;
        int seen = end_posts(db, retention, place, room);
        if (seen < 0) {
            return seen;
        }
        looked += 1 + (uint64_t)seen;
        if ((uint64_t)seen < room) {
            place->tenant = next_of(arena, place->tenant);
            place->rev = 0;
        }
    }
    return 0;
}

/* --- where the walk is --- */

/* The part that has waited longest; 0: none is to be looked through. */
static int find_place(
    struct sqlite_db *db, struct result *arena, uint64_t clock, uint64_t every, struct place *place)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_NEXT);
    query_u64(&query, 1, clock > every ? clock - every : 0);
    int more = query_step(&query);
    if (more > 0) {
        *place = (struct place){
            .part = query_column_u64(&query, 0),
            .slot = query_column_u64(&query, 1),
            .tenant = result_copy(arena, query_column(&query, 2)),
            .past = result_copy(arena, query_column(&query, 3)),
            .rev = query_column_u64(&query, 4),
            .seq = query_column_u64(&query, 5),
            .began_at = query_column_u64(&query, 6),
        };
        if (place->began_at == 0) {
            place->began_at = clock;
            place->slot = place->part == POSTS_PART ? 0 : place->part * PART_SLOTS;
        }
    }
    query_close(&query);
    return more;
}

/* Keep where the walk is; of one that is over, when it ended. */
static int keep_place(struct sqlite_db *db, const struct place *place, bool over)
{
    uint64_t now = clock_wall_ms();
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_PASS);
    query_u64(&query, 1, place->part);
    query_u64(&query, 2, place->slot);
    query_text(&query, 3, over ? BYTES("") : place->tenant);
    query_text(&query, 4, over ? BYTES("") : place->past);
    query_u64(&query, 5, over ? 0 : place->rev);
    query_u64(&query, 6, over ? 0 : place->seq);
    query_u64(&query, 7, over ? 0 : place->began_at);
    query_u64(&query, 8, over ? now : 0);
    query_u64(&query, 9, over && now > place->began_at ? now - place->began_at : 0);
    return run(&query);
}

/* Tell how the walks stand. */
static int read_stands(
    struct sqlite_db *db, struct store_retention *retention, uint64_t clock, bool goes_on)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_RETAIN_STANDS);
    int more = query_step(&query);
    if (more > 0) {
        uint64_t due_at = query_column_u64(&query, 0) + retention->every_ms;
        retention->sweep.late_ms = clock > due_at ? clock - due_at : 0;
        retention->sweep.more = goes_on && clock >= due_at;
        retention->took_ms = query_column_u64(&query, 1);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

int sqlite_retention_step(struct sqlite_db *db, struct store_retention *retention)
{
    struct result *arena = request_result(&retention->sweep.base);
    uint64_t clock = clock_wall_ms();
    struct place place = {0};
    retention->sweep.now = retention->sweep.now > 0 ? retention->sweep.now : clock;
    int found = find_place(db, arena, clock, retention->every_ms, &place);
    int status = found;
    if (found > 0) {
        status = place.part == POSTS_PART ? step_posts(db, retention, &place)
                                          : step_inboxes(db, retention, &place);
        retention->part = (uint32_t)place.part;
        retention->done = status > 0;
        status = status < 0 ? status : keep_place(db, &place, status > 0);
    }
    return status < 0 ? status : read_stands(db, retention, clock, found > 0);
}
