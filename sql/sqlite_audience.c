/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the rows of posts to many in the inboxes that lack them, takes back what was retracted, and
 * gives rows the content that their posts were given.
 */
#include "sql/sqlite_audience.h"

#include "codec/base/clock.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/preferences.h"
#include "codec/slot.h"
#include "sql/audience.h"
#include "sql/sqlite_audience_drop.h"
#include "sql/sqlite_change.h"
#include "sql/sqlite_digest.h"
#include "sql/sqlite_items.h"
#include "sql/sqlite_ops.h"
#include "sql/sqlite_summary.h"

enum { MOST_CHANGES = 500 };

/* Where an inbox stands among its tenant's posts. */
struct standing {
    uint64_t head;
    uint64_t through;
    uint64_t born;
    uint64_t preference_rev;
    bool exists;
};

int sqlite_audience_head(struct sqlite_db *db, struct bytes tenant, uint64_t *ret_n)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_HEAD);
    query_text(&query, 1, tenant);
    int more = query_step(&query);
    *ret_n = more > 0 ? query_column_u64(&query, 0) : 0;
    query_close(&query);
    return more < 0 ? more : 0;
}

static int read_standing(
    struct sqlite_db *db, const struct store_user *who, struct standing *ret_standing)
{
    *ret_standing = (struct standing){0};
    int status = sqlite_audience_head(db, who->tenant, &ret_standing->head);
    if (status < 0) {
        return status;
    }
    struct query query;
    query_open(&query, db, SQLITE_STMT_INBOX_STANDS);
    sqlite_bind_user(&query, who);
    int more = query_step(&query);
    if (more > 0) {
        ret_standing->exists = true;
        ret_standing->through = query_column_u64(&query, 0);
        ret_standing->born = query_column_u64(&query, 1);
        ret_standing->preference_rev = query_column_u64(&query, 3);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static void bind_pending(
    struct query *query, const struct store_user *who, const struct standing *standing)
{
    sqlite_bind_user(query, who);
    query_u64(query, 4, standing->through);
    query_u64(query, 5, standing->born);
    query_u64(query, 6, standing->head);
}

/* --- making rows --- */

/* The posts that are missing, the first of them, and one more when there are more. */
struct pending {
    uint64_t n[AUDIENCE_INLINE_MAX + 1];
    size_t count;
};

static int read_pending(struct sqlite_db *db, const struct store_user *who,
    const struct standing *standing, size_t limit, struct pending *ret_pending)
{
    struct query query;
    ret_pending->count = 0;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_PENDING);
    bind_pending(&query, who, standing);
    query_u64(&query, 7, limit + 1);
    int more = query_step(&query);
    while (more > 0 && ret_pending->count <= limit) {
        ret_pending->n[ret_pending->count++] = query_column_u64(&query, 0);
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

/* What a row is made of, beside the content. */
struct model {
    uint8_t id[NOTIFICATION_ID_LEN]; /* of its user's slot */
    char post_id[UUID_TEXT_LEN];
    bool wanted;
    uint64_t created_at;
    uint64_t expires_at;
    uint64_t span; /* for how long after the first one posts share a row; 0: it is one of its own */
};

static int read_model(struct sqlite_db *db, const struct store_user *who,
    const struct preferences *preferences, uint64_t n, struct model *ret_model)
{
    enum { ID, CREATED_AT, TYPE, UNWANTED, DIGEST, APART, EXPIRES_AT };
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_MODEL);
    query_text(&query, 1, who->tenant);
    query_u64(&query, 2, n);
    int more = query_step(&query);
    if (more > 0) {
        uint8_t id[NOTIFICATION_ID_LEN] = {0};
        struct bytes type = query_column(&query, TYPE);
        uint64_t span = preferences_digest(preferences, type, query_column_u64(&query, DIGEST));
        query_column_id(&query, ID, id);
        uuid_format(id, ret_model->post_id);
        ret_model->created_at = query_column_u64(&query, CREATED_AT);
        ret_model->expires_at = query_column_u64(&query, EXPIRES_AT);
        uuid7_make(ret_model->created_at, slot_of(who->tenant, who->user), ret_model->id);
        ret_model->wanted =
            preferences_want(preferences, type, query_column_u64(&query, UNWANTED) == 0);
        ret_model->span = query_column_u64(&query, APART) == 0 ? span : 0;
    }
    query_close(&query);
    return more < 0 ? more : more == 0 ? STATUS_UNAVAILABLE : 0;
}

/* A row of the post alone; `digest`: what it remembers, if others may share it. */
static int add_row(struct sqlite_db *db, const struct store_user *who, const struct model *model,
    uint64_t n, struct bytes digest)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_INBOX_NUMBER);
    sqlite_bind_user(&query, who);
    int more = query_step(&query);
    uint64_t seq = more > 0 ? query_column_u64(&query, 0) : 0;
    uint64_t rev = more > 0 ? query_column_u64(&query, 1) : 0;
    more = more > 0 ? query_step(&query) : more;
    query_close(&query);
    if (more < 0) {
        return more;
    }
    query_open(&query, db, SQLITE_STMT_AUDIENCE_MAKE);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, n);
    query_u64(&query, 5, seq);
    query_u64(&query, 6, rev);
    query_id(&query, 7, model->id);
    query_text(&query, 8, bytes_of(model->post_id, UUID_TEXT_LEN));
    query_text(&query, 9, digest);
    return sqlite_summary_run(db, &query, who->tenant);
}

/* The post joins a digest, or begins one. */
static int share_row(
    struct sqlite_db *db, const struct store_user *who, const struct model *model, uint64_t n)
{
    const struct sqlite_sharing post = {.who = *who,
        .n = n,
        .created_at = model->created_at,
        .expires_at = model->expires_at,
        .span = model->span,
        .post_id = bytes_of(model->post_id, UUID_TEXT_LEN)};
    struct builder list = {0};
    int status = sqlite_digest_join(db, &post, &list);
    if (status == 0) {
        status = add_row(db, who, model, n, builder_bytes(&list));
    }
    builder_reset(&list);
    return status < 0 ? status : 0;
}

/* Of a post whose type the user does not want there is no row and no number. */
static int make_row(struct sqlite_db *db, const struct store_user *who,
    const struct preferences *preferences, uint64_t n)
{
    struct model model;
    int status = read_model(db, who, preferences, n, &model);
    if (status < 0 || !model.wanted) {
        return status;
    }
    return model.span > 0 ? share_row(db, who, &model, n)
                          : add_row(db, who, &model, n, (struct bytes){0});
}

/* Make the rows of posts; who has no preferences is not looked for. */
static int make_rows(struct sqlite_db *db, const struct store_user *who,
    const struct standing *standing, const uint64_t *posts, size_t count)
{
    struct preferences *preferences = NULL;
    bool asked = count > 0 && standing->preference_rev > 0;
    int status = asked ? sqlite_preference_load(db, who, &preferences) : 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        status = make_row(db, who, preferences, posts[i]);
        db->made++;
    }
    preferences_destroy(preferences);
    return status;
}

/* All posts up to `through` have been made: intervals that ended by then hold nothing any more. */
static int reach(struct sqlite_db *db, const struct store_user *who, uint64_t through)
{
    static const enum sqlite_statement both[] = {
        SQLITE_STMT_INBOX_REACH, SQLITE_STMT_MEMBER_FORGET};
    int changed = 0;
    for (size_t i = 0; i < ARRAY_LEN(both) && changed >= 0; i++) {
        struct query query;
        query_open(&query, db, both[i]);
        sqlite_bind_user(&query, who);
        query_u64(&query, 4, through);
        changed = query_run(&query);
    }
    return changed < 0 ? changed : 0;
}

static int begin_inbox(
    struct sqlite_db *db, const struct store_user *who, struct standing *standing)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_INBOX_BEGIN);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, standing->head);
    int changed = query_run(&query);
    standing->born = standing->head;
    standing->exists = true;
    return changed < 0 ? changed : 0;
}

/* How many more rows the open transaction may make. */
static size_t room(const struct sqlite_db *db)
{
    return db->made < AUDIENCE_INLINE_MAX ? AUDIENCE_INLINE_MAX - db->made : 0;
}

/* Make at most `limit` rows, in part or not at all where there are more: 1. */
static int make(struct sqlite_db *db, const struct store_user *who, size_t limit, bool in_part)
{
    struct standing standing;
    int status = read_standing(db, who, &standing);
    if (status == 0 && !standing.exists) {
        status = begin_inbox(db, who, &standing);
    }
    if (status < 0 || standing.through >= standing.head) {
        return status;
    }
    struct pending pending;
    status = read_pending(db, who, &standing, limit, &pending);
    bool more = pending.count > limit;
    size_t count = more ? limit : pending.count;
    if (status == 0 && more && (!in_part || limit == 0)) {
        return 1;
    }
    if (status == 0) {
        status = make_rows(db, who, &standing, pending.n, count);
    }
    if (status == 0) {
        status = reach(db, who, more ? pending.n[count - 1] : standing.head);
    }
    return status < 0 ? status : more;
}

int sqlite_audience_enter(struct sqlite_db *db, const struct store_user *who)
{
    int more = make(db, who, room(db), false);
    return more > 0 ? STATUS_AGAIN : more;
}

/* --- taking back, and other content --- */

/* A tenant's posts that are being taken back, or whose content was changed. */
struct changes {
    struct change {
        struct bytes tenant;
        uint64_t n;
        uint64_t edit; /* 0: it is taken back */
        struct bytes user; /* whom the sweep has come to, or whose it is */
    } * at;
    size_t count;
};

/* Those that a query finds, which is closed; tenants are copied into the arena. */
static int read_changes(struct query *query, struct result *arena, struct changes *ret_changes)
{
    int more = query_step(query);
    while (more > 0) {
        struct change *grown =
            result_grow(arena, ret_changes->at, ret_changes->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        ret_changes->at = grown;
        grown[ret_changes->count++] = (struct change){
            .tenant = result_copy(arena, query_column(query, 0)),
            .n = query_column_u64(query, 1),
            .edit = query_column_u64(query, 2),
            .user = result_copy(arena, query_column(query, 3)),
        };
        more = query_step(query);
    }
    query_close(query);
    return more < 0 ? more : 0;
}

/* Begin to look for changes that have not reached what a user has. */
static void open_touched(
    struct query *query, struct sqlite_db *db, const struct store_user *who, uint64_t limit)
{
    query_open(query, db, SQLITE_STMT_AUDIENCE_TOUCHED);
    query_text(query, 1, who->tenant);
    query_text(query, 2, who->user);
    query_u64(query, 3, limit);
}

/* What a change is about: 1, and what the user has; 0: nothing, or it has the new content. */
static int find_row(struct sqlite_db *db, const struct store_user *who, const struct change *change,
    struct result *arena, struct sqlite_held *ret_held)
{
    int found = sqlite_digest_find(db, who, change->n, arena, ret_held);
    return found > 0 ? change->edit == 0 || ret_held->edit < change->edit : found;
}

/* A row is new, or has other content. */
static void tell(const struct sqlite_held *held, struct result *arena, struct store_swept *swept)
{
    struct notification_change change = {.seq = held->seq, .rev = swept->position.rev + 1};
    memcpy(change.id, held->id, NOTIFICATION_ID_LEN);
    change_append(arena, &swept->changes, &swept->change_count, &change);
    swept->news = swept->renewed = true;
}

/* Replace the row by a tombstone with the next rev. */
static int bury(struct sqlite_db *db, const struct sqlite_held *held, uint64_t at,
    struct result *arena, struct store_swept *swept)
{
    struct notification_change change = {
        .seq = held->seq, .rev = swept->position.rev + 1, .state = NOTIFICATION_ERASED, .at = at};
    memcpy(change.id, held->id, NOTIFICATION_ID_LEN);
    int status = sqlite_make_tombstone(db, &swept->who, held->rowid, &change);
    sqlite_count_out(&swept->position, held->state);
    change_append(arena, &swept->changes, &swept->change_count, &change);
    return status < 0 ? status : 0;
}

/* The row goes; a digest that holds others goes on without the post. */
static int take_back(struct sqlite_db *db, const struct change *change,
    const struct sqlite_held *held, uint64_t at, struct result *arena, struct store_swept *swept)
{
    int status = held->joined ? sqlite_digest_leave(db, &swept->who, change->n) : 0;
    if (status < 0 || held->rowid == 0) {
        return status;
    }
    if (held->digest.len > 0) {
        status = sqlite_digest_take_out(db, &swept->who, change->n, held, swept->position.rev + 1);
    }
    if (status == 0) {
        return bury(db, held, at, arena, swept);
    }
    if (status > 0) {
        tell(held, arena, swept);
    }
    return status < 0 ? status : 0;
}

static int renew_alone(struct sqlite_db *db, const struct change *change,
    const struct sqlite_held *held, struct store_swept *swept)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_RENEW);
    query_u64(&query, 1, held->rowid);
    query_text(&query, 2, change->tenant);
    query_u64(&query, 3, change->n);
    query_u64(&query, 4, swept->position.rev + 1);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

/* Give the row what the change says of the post's content, with the next rev. */
static int renew(struct sqlite_db *db, const struct change *change, const struct sqlite_held *held,
    struct result *arena, struct store_swept *swept)
{
    int status = held->joined ? sqlite_digest_renewed(db, &swept->who, change->n, change->edit) : 0;
    if (status < 0 || held->rowid == 0) {
        return status;
    }
    tell(held, arena, swept);
    return held->digest.len > 0
               ? sqlite_digest_renew(db, &swept->who, change->n, held, swept->position.rev + 1)
               : renew_alone(db, change, held, swept);
}

/* Do what those of the changes say that take back, or those that renew. */
static int apply_some(struct sqlite_db *db, const struct changes *changes, bool renews, uint64_t at,
    struct result *arena, struct store_swept *swept)
{
    int status = 0;
    for (size_t i = 0; i < changes->count && status >= 0; i++) {
        const struct change *change = &changes->at[i];
        struct sqlite_held held = {0};
        bool is_one = (change->edit > 0) == renews;
        status = is_one ? find_row(db, &swept->who, change, arena, &held) : 0;
        if (status > 0) {
            status = renews ? renew(db, change, &held, arena, swept)
                            : take_back(db, change, &held, at, arena, swept);
        }
    }
    return status;
}

/* Do what `changes` of a user's tenant say with what the user has, with one rev; tell it. */
static int apply_changes(struct sqlite_db *db, const struct changes *changes, uint64_t at,
    struct result *arena, struct store_swept *swept)
{
    uint64_t floor;
    int status = sqlite_read_position(db, &swept->who, &swept->position, &floor);
    for (unsigned renews = 0; renews < 2 && status >= 0; renews++) {
        status = apply_some(db, changes, renews > 0, at, arena, swept);
    }
    if (status < 0 || !(swept->news || swept->change_count > 0)) {
        return status;
    }
    swept->position.rev++;
    return sqlite_change_inbox(db, &swept->who, &swept->position);
}

/* Do some of what changes say that have not reached what a user has. */
static int mend_changes(struct sqlite_db *db, const struct store_user *who, struct result *arena)
{
    struct store_swept swept = {.who = *who};
    struct changes changes = {0};
    struct query query;
    open_touched(&query, db, who, MOST_CHANGES);
    int status = read_changes(&query, arena, &changes);
    return status < 0 || changes.count == 0
               ? status
               : apply_changes(db, &changes, clock_wall_ms(), arena, &swept);
}

int sqlite_audience_renew(struct sqlite_db *db, const struct store_user *who,
    const uint8_t id[NOTIFICATION_ID_LEN], struct result *arena)
{
    struct store_swept swept = {.who = *who};
    struct changes changes = {0};
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_TOUCHED_ROW);
    query_u64(&query, 1, slot_of_id(id));
    query_id(&query, 2, id);
    int status = read_changes(&query, arena, &changes);
    if (status < 0 || changes.count == 0) {
        return status;
    }
    status = apply_changes(db, &changes, clock_wall_ms(), arena, &swept);
    return status < 0 ? status : 1;
}

int sqlite_audience_mend(struct sqlite_db *db, const struct store_request *request)
{
    struct result arena = {0};
    size_t most = room(db) < AUDIENCE_STEP_MAX ? room(db) : AUDIENCE_STEP_MAX;
    size_t end = db->made + most;
    int status = 0;
    for (size_t i = 0; i < request->lacking_count && status >= 0 && db->made < end; i++) {
        const struct store_user *who = audience_user(request, request->lacking[i]);
        status = make(db, who, end - db->made, true);
        status = status < 0 ? status : mend_changes(db, who, &arena);
    }
    status = result_failed(&arena) ? STATUS_NOMEM : status;
    result_reset(&arena);
    return status < 0 ? status : 0;
}

/* --- who lacks rows --- */

/* Whether a statement about a user finds anything: 1, 0. */
static int finds(struct query *query)
{
    int more = query_step(query);
    query_close(query);
    return more;
}

/* Whether a user has something of a post that is being taken back, or its old content. */
static int has_changed(struct sqlite_db *db, const struct store_user *who)
{
    struct query query;
    open_touched(&query, db, who, 1);
    return finds(&query);
}

/* As peal.pending and its caller in pg_audience.def. */
static int lacks(struct sqlite_db *db, const struct store_user *who, bool begin)
{
    struct standing standing;
    struct query query;
    int status = read_standing(db, who, &standing);
    if (status < 0) {
        return status;
    }
    if (!standing.exists) {
        query_open(&query, db, SQLITE_STMT_MEMBER_ANY);
        sqlite_bind_user(&query, who);
        status = finds(&query);
        return status < 0 ? status : status > 0 || begin;
    }
    if (standing.head > standing.through) {
        query_open(&query, db, SQLITE_STMT_AUDIENCE_WANTED);
        bind_pending(&query, who, &standing);
        status = finds(&query);
    }
    return status != 0 ? status : has_changed(db, who);
}

int sqlite_audience_ask(struct sqlite_db *db, struct store_request *request)
{
    bool begin = request->op == STORE_POSITIONS && ((const struct store_positions *)request)->begin;
    int status = 0;
    for (uint32_t i = 0; i < audience_user_count(request) && status >= 0; i++) {
        status = lacks(db, audience_user(request, i), begin);
        if (status > 0) {
            audience_lack(request, i);
        }
    }
    return status < 0 ? status : 0;
}

/* --- the sweep --- */

/* Some of those who have something of a post, by name, behind those whom the sweep has come to. */
static int read_holders(struct sqlite_db *db, const struct change *change, struct result *arena,
    uint64_t limit, struct store_swept **ret_users, size_t *ret_count)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_HAVE);
    query_text(&query, 1, change->tenant);
    query_u64(&query, 2, change->n);
    query_u64(&query, 3, limit);
    query_text(&query, 4, change->user);
    int more = query_step(&query);
    while (more > 0) {
        struct store_swept *grown = result_grow(arena, *ret_users, *ret_count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        *ret_users = grown;
        grown[(*ret_count)++] = (struct store_swept){
            .who.tenant = change->tenant, .who.user = result_copy(arena, query_column(&query, 0))};
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

/* All have what the change says. */
static int end_change(struct sqlite_db *db, const struct change *change)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_DONE);
    query_text(&query, 1, change->tenant);
    query_u64(&query, 2, change->n);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

/* The sweep has come to a user. */
static int pass(struct sqlite_db *db, const struct change *change, struct bytes user)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_PASS);
    query_text(&query, 1, change->tenant);
    query_u64(&query, 2, change->n);
    query_text(&query, 3, user);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

/* Do what one change says for at most `limit` users; behind the last who has the post it is done.
 */
static int sweep_change(struct sqlite_db *db, struct store_sweep *sweep, struct change *change)
{
    struct result *arena = request_result(&sweep->base);
    const struct changes one = {.at = change, .count = 1};
    size_t first = sweep->user_count;
    size_t room = sweep->limit - first;
    int status = read_holders(db, change, arena, room, &sweep->users, &sweep->user_count);
    size_t end = sweep->user_count;
    if (status == 0 && end == first && room > 0) {
        return end_change(db, change);
    }
    struct bytes last = end > first ? sweep->users[end - 1].who.user : (struct bytes){0};
    sweep->user_count = first;
    for (size_t i = first; i < end && status == 0; i++) {
        struct store_swept *swept = &sweep->users[i];
        status = apply_changes(db, &one, sweep->now, arena, swept);
        if (swept->news || swept->change_count > 0) { /* a row that joined may be gone */
            sweep->users[sweep->user_count++] = *swept;
        }
    }
    sweep->more = sweep->more || end - first == room;
    return status == 0 && change->edit > 0 && end > first ? pass(db, change, last) : status;
}

int sqlite_audience_renew_due(struct sqlite_db *db, struct store_sweep *sweep)
{
    struct result *arena = request_result(&sweep->base);
    struct changes due = {0};
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_CHANGED);
    query_u64(&query, 1, 1);
    int status = finds(&query);
    if (status > 0) {
        query_open(&query, db, SQLITE_STMT_AUDIENCE_TOUCHED_DUE);
        query_u64(&query, 1, sweep->now);
        query_u64(&query, 2, sweep->limit);
        status = read_changes(&query, arena, &due);
    }
    for (size_t i = 0, end = 0; i < due.count && status >= 0; i = end) {
        struct changes mine = {.at = due.at + i};
        const struct store_user who = {.tenant = mine.at->tenant, .user = mine.at->user};
        for (; end < due.count && bytes_eq(due.at[end].tenant, who.tenant) &&
               bytes_eq(due.at[end].user, who.user);
             end++) {
        }
        mine.count = end - i;
        struct store_swept *users =
            result_grow(arena, sweep->users, sweep->user_count, sizeof(*users));
        if (!users) {
            return STATUS_NOMEM;
        }
        sweep->users = users;
        users[sweep->user_count] = (struct store_swept){.who = who};
        status = apply_changes(db, &mine, sweep->now, arena, &users[sweep->user_count]);
        sweep->user_count += users[sweep->user_count].news;
    }
    return status < 0 ? status : due.count > 0;
}

int sqlite_audience_sweep(struct sqlite_db *db, struct store_sweep *sweep)
{
    struct changes changes = {0};
    struct result *arena = request_result(&sweep->base);
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_CHANGED);
    query_u64(&query, 1, sweep->limit);
    int status = read_changes(&query, arena, &changes);
    for (size_t i = 0; i < changes.count && status == 0 && !sweep->more; i++) {
        status = sweep_change(db, sweep, &changes.at[i]);
    }
    sweep->more = sweep->more || changes.count >= sweep->limit;
    return status < 0 ? status : sqlite_audience_drop_old(db, sweep);
}
