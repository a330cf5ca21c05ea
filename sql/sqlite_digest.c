/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What peal.make_rows, peal.take_out and peal.renew_digest do in Postgres. Order of this file:
 * contents, joining, finding, taking out, other content.
 */
#include "sql/sqlite_digest.h"

#include <string.h>

#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/notification_digest.h"
#include "sql/sqlite_change.h"
#include "sql/sqlite_ops.h"

/* --- contents --- */

/* What a digest would remember of a post to many, all of it; valid while the query is open. */
static struct notification_digest_entry content_of(const struct query *query)
{
    enum { AT, PRIORITY, TITLE, MESSAGE, DATA, ID };
    struct notification_digest_entry entry = {.at = query_column_u64(query, AT),
        .priority = (enum notification_priority)query_column_u64(query, PRIORITY),
        .title = query_column(query, TITLE),
        .message = query_column(query, MESSAGE),
        .data = query_column(query, DATA)};
    query_column_id(query, ID, entry.id);
    return entry;
}

/* 1: the post is there, and `query` is to be closed in any case. */
static int open_content(struct sqlite_db *db, struct bytes tenant, uint64_t n, struct query *query)
{
    query_open(query, db, SQLITE_STMT_AUDIENCE_CONTENT);
    query_text(query, 1, tenant);
    query_u64(query, 2, n);
    return query_step(query);
}

/* A list with one post more. */
static int add_post(struct sqlite_db *db, struct bytes tenant, uint64_t n, struct bytes before,
    struct builder *list)
{
    struct query query;
    int more = open_content(db, tenant, n, &query);
    if (more > 0) {
        struct notification_digest_entry entry = content_of(&query);
        notification_digest_add(before, &entry, list);
    }
    query_close(&query);
    return more < 0 ? more : more == 0 ? STATUS_UNAVAILABLE : builder_status(list);
}

/* --- joining --- */

/* The digest that a post joins. */
struct open_digest {
    uint64_t rowid;
    uint64_t seq;
    bool seen;
    uint64_t till;
};

/* It is there as long as any of its posts. */
static uint64_t last_end(uint64_t one, uint64_t other)
{
    bool never = one == 0 || other == 0;
    return never ? 0 : one > other ? one : other;
}

static int note(struct sqlite_db *db, const struct sqlite_sharing *post, uint64_t seq)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_DIGEST_NOTE);
    sqlite_bind_user(&query, &post->who);
    query_u64(&query, 4, post->n);
    query_u64(&query, 5, seq);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int join(struct sqlite_db *db, const struct sqlite_sharing *post,
    const struct open_digest *open, struct bytes list)
{
    struct store_position position;
    uint64_t floor;
    int status = sqlite_read_position(db, &post->who, &position, &floor);
    if (status < 0) {
        return status;
    }
    position.unseen += open->seen;
    status = sqlite_change_inbox(db, &post->who, &position);
    if (status < 0) {
        return status;
    }
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_JOIN);
    query_u64(&query, 1, open->rowid);
    query_u64(&query, 2, position.rev + 1);
    query_text(&query, 3, post->who.tenant);
    query_u64(&query, 4, post->n);
    query_u64(&query, 5, last_end(open->till, post->expires_at));
    query_text(&query, 6, post->post_id);
    query_text(&query, 7, list);
    int changed = query_run(&query);
    return changed < 0 ? changed : note(db, post, open->seq);
}

int sqlite_digest_join(
    struct sqlite_db *db, const struct sqlite_sharing *post, struct builder *list)
{
    enum { ROWID, SEQ, STATE, CREATED_AT, EXPIRES_AT, DIGEST };
    struct open_digest open = {0};
    struct bytes before = {0};
    struct query query;
    query_open(&query, db, SQLITE_STMT_DIGEST_OPEN);
    sqlite_bind_user(&query, &post->who);
    query_u64(&query, 4, post->n);
    int more = query_step(&query);
    bool joins = more > 0 && query_column_u64(&query, CREATED_AT) + post->span > post->created_at;
    if (joins) {
        open.rowid = query_column_u64(&query, ROWID);
        open.seq = query_column_u64(&query, SEQ);
        open.seen = query_column_u64(&query, STATE) == NOTIFICATION_SEEN;
        open.till = query_column_u64(&query, EXPIRES_AT);
        before = query_column(&query, DIGEST);
    }
    int status = more < 0 ? more : add_post(db, post->who.tenant, post->n, before, list);
    query_close(&query);
    if (status == 0 && joins) {
        status = join(db, post, &open, builder_bytes(list));
    }
    return status < 0 ? status : joins;
}

/* --- finding --- */

static int find(struct sqlite_db *db, enum sqlite_statement which, const struct store_user *who,
    uint64_t n, struct result *arena, struct sqlite_held *ret_held)
{
    enum { ROWID, ID, SEQ, STATE, EDIT, COUNT, DIGEST };
    struct query query;
    query_open(&query, db, which);
    query_text(&query, 1, who->tenant);
    query_u64(&query, 2, n);
    query_text(&query, 3, who->user);
    int more = query_step(&query);
    if (more > 0) {
        struct bytes digest = query_column(&query, DIGEST);
        *ret_held = (struct sqlite_held){.rowid = query_column_u64(&query, ROWID),
            .seq = query_column_u64(&query, SEQ),
            .state = (enum notification_state)query_column_u64(&query, STATE),
            .edit = query_column_u64(&query, EDIT),
            .count = query_column_u64(&query, COUNT),
            .digest = digest.len > 0 ? result_copy(arena, digest) : digest,
            .joined = which == SQLITE_STMT_DIGEST_HELD};
        query_column_id(&query, ID, ret_held->id);
        more = digest.len > 0 && ret_held->digest.len == 0 ? STATUS_NOMEM : more;
    }
    query_close(&query);
    return more;
}

int sqlite_digest_find(struct sqlite_db *db, const struct store_user *who, uint64_t n,
    struct result *arena, struct sqlite_held *ret_held)
{
    int found = find(db, SQLITE_STMT_AUDIENCE_FIND, who, n, arena, ret_held);
    return found != 0 ? found : find(db, SQLITE_STMT_DIGEST_HELD, who, n, arena, ret_held);
}

/* --- taking out --- */

/* Whether `part` is all that a digest remembers of `whole`. */
static struct bytes whole_of(struct bytes part, struct bytes brief, struct bytes whole)
{
    return bytes_eq(part, brief) ? whole : part;
}

/*
 * Replace what a digest remembers of a post to many by what that says, where it still says it. The
 * query is at the post; what is returned is valid while both it and `brief` are.
 */
static void make_whole(
    const struct query *query, struct builder *brief, struct notification_digest_entry *entry)
{
    struct notification_digest_entry whole = content_of(query);
    struct notification_digest_entry cut;
    notification_digest_add((struct bytes){0}, &whole, brief);
    struct bytes list = builder_bytes(brief);
    if (!notification_digest_take(&list, &cut)) {
        return;
    }
    bool left_out = entry->data.len == 0 && whole.data.len > NOTIFICATION_DIGEST_DATA;
    entry->title = whole_of(entry->title, cut.title, whole.title);
    entry->message = whole_of(entry->message, cut.message, whole.message);
    entry->data = left_out ? whole.data : entry->data;
}

/* As the column `audience` has it (audience.h). */
static void write_audience(const struct query *query, struct builder *out)
{
    enum { ID = 5, KIND, NAME };
    char text[UUID_TEXT_LEN + 1] = {0};
    uint8_t id[NOTIFICATION_ID_LEN] = {0};
    query_column_id(query, ID, id);
    uuid_format(id, text);
    builder_u64(out, query_column_u64(query, KIND));
    builder_add(out, bytes_of(text, UUID_TEXT_LEN));
    builder_add(out, query_column(query, NAME));
}

static int write_shown(struct sqlite_db *db, uint64_t rowid,
    const struct notification_digest_entry *entry, struct bytes audience)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_DIGEST_SHOW);
    query_u64(&query, 1, rowid);
    query_text(&query, 2, entry->title);
    query_text(&query, 3, entry->message);
    query_blob(&query, 4, entry->data);
    query_u64(&query, 5, (uint64_t)entry->priority);
    query_text(&query, 6, audience);
    query_u64(&query, 7, entry->at);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

/* Show a post that the digest remembers; whole, where it is one to many. */
static int show(struct sqlite_db *db, struct bytes tenant, uint64_t rowid,
    struct notification_digest_entry *entry)
{
    struct builder brief = {0};
    struct builder audience = {0};
    struct query query;
    query_open(&query, db, SQLITE_STMT_DIGEST_WHOLE);
    query_text(&query, 1, tenant);
    query_id(&query, 2, entry->id);
    int more = query_step(&query);
    if (more > 0) {
        make_whole(&query, &brief, entry);
        write_audience(&query, &audience);
    }
    int status = more < 0 ? more : builder_status(&brief);
    status = status < 0 ? status : builder_status(&audience);
    status = status < 0 ? status : write_shown(db, rowid, entry, builder_bytes(&audience));
    query_close(&query);
    builder_reset(&brief);
    builder_reset(&audience);
    return status;
}

/* The id of the post. */
static int read_id(
    struct sqlite_db *db, struct bytes tenant, uint64_t n, uint8_t ret_id[NOTIFICATION_ID_LEN])
{
    struct query query;
    int more = open_content(db, tenant, n, &query);
    if (more > 0) {
        memcpy(ret_id, content_of(&query).id, NOTIFICATION_ID_LEN);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int write_rest(struct sqlite_db *db, const struct sqlite_held *held, uint64_t n,
    struct bytes left, uint64_t rev)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_DIGEST_TAKE_OUT);
    query_u64(&query, 1, held->rowid);
    query_text(&query, 2, left);
    query_u64(&query, 3, rev);
    query_u64(&query, 4, n);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

int sqlite_digest_take_out(struct sqlite_db *db, const struct store_user *who, uint64_t n,
    const struct sqlite_held *held, uint64_t rev)
{
    uint8_t id[NOTIFICATION_ID_LEN] = {0};
    struct notification_digest_entry newest;
    struct notification_digest_entry shown;
    struct builder left = {0};
    int status = read_id(db, who->tenant, n, id);
    notification_digest_without(held->digest, id, &left);
    status = status < 0 ? status : builder_status(&left);
    struct bytes list = builder_bytes(&left);
    struct bytes before = held->digest;
    bool goes_on = status == 0 && held->count > 1 && notification_digest_take(&list, &newest);
    if (goes_on) {
        status = write_rest(db, held, n, builder_bytes(&left), rev);
    }
    bool changes = goes_on && status == 0 && notification_digest_take(&before, &shown) &&
                   memcmp(shown.id, newest.id, NOTIFICATION_ID_LEN) != 0;
    if (changes) {
        status = show(db, who->tenant, held->rowid, &newest);
    }
    builder_reset(&left);
    return status < 0 ? status : goes_on;
}

/* --- other content --- */

/* What a digest is given of a post. */
struct renewal {
    uint64_t fields;
    uint64_t shown; /* those of them that the row shows */
    uint64_t rev;
};

static int write_renewed(struct sqlite_db *db, const struct store_user *who, uint64_t n,
    const struct renewal *renewal, uint64_t rowid, struct bytes list)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_DIGEST_RENEW);
    query_u64(&query, 1, rowid);
    query_text(&query, 2, who->tenant);
    query_u64(&query, 3, n);
    query_text(&query, 4, list);
    query_u64(&query, 5, renewal->shown);
    query_u64(&query, 6, renewal->fields);
    query_u64(&query, 7, renewal->rev);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

/* Which fields of the post were changed behind change `edit`. */
static int read_fields(
    struct sqlite_db *db, struct bytes tenant, uint64_t n, uint64_t edit, uint64_t *ret_fields)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_DIGEST_FIELDS);
    query_text(&query, 1, tenant);
    query_u64(&query, 2, n);
    query_u64(&query, 3, edit);
    int more = query_step(&query);
    *ret_fields = more > 0 ? query_column_u64(&query, 0) : 0;
    query_close(&query);
    return more < 0 ? more : 0;
}

int sqlite_digest_renew(struct sqlite_db *db, const struct store_user *who, uint64_t n,
    const struct sqlite_held *held, uint64_t rev)
{
    uint64_t fields;
    int read = read_fields(db, who->tenant, n, held->edit, &fields);
    if (read < 0) {
        return read;
    }
    struct builder list = {0};
    struct bytes before = held->digest;
    struct notification_digest_entry newest = {0};
    struct query query;
    bool shown = false;
    int more = open_content(db, who->tenant, n, &query);
    if (more > 0) {
        struct notification_digest_entry content = content_of(&query);
        shown = notification_digest_take(&before, &newest) &&
                memcmp(newest.id, content.id, NOTIFICATION_ID_LEN) == 0;
        notification_digest_change(held->digest, content.id, (uint32_t)fields, &content, &list);
    }
    query_close(&query);
    int status = more < 0 ? more : builder_status(&list);
    if (status == 0 && more > 0) {
        const struct renewal renewal = {.fields = fields, .shown = shown ? fields : 0, .rev = rev};
        status = write_renewed(db, who, n, &renewal, held->rowid, builder_bytes(&list));
    }
    builder_reset(&list);
    return status;
}

static int run_on_mark(struct sqlite_db *db, enum sqlite_statement which,
    const struct store_user *who, uint64_t n, uint64_t edit)
{
    struct query query;
    query_open(&query, db, which);
    query_text(&query, 1, who->tenant);
    query_u64(&query, 2, n);
    query_text(&query, 3, who->user);
    if (which == SQLITE_STMT_DIGEST_RENEWED) {
        query_u64(&query, 4, edit);
    }
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

int sqlite_digest_leave(struct sqlite_db *db, const struct store_user *who, uint64_t n)
{
    return run_on_mark(db, SQLITE_STMT_DIGEST_LEAVE, who, n, 0);
}

int sqlite_digest_renewed(
    struct sqlite_db *db, const struct store_user *who, uint64_t n, uint64_t edit)
{
    return run_on_mark(db, SQLITE_STMT_DIGEST_RENEWED, who, n, edit);
}
