/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storing rows on a SQLite connection. Order of this file: repeats, rows of their own, rows that
 * take the place of others, what is kept of those, what is counted by day, a whole put.
 */
#include "sql/sqlite_ops.h"

#include <stdlib.h>

#include "codec/base/buf.h"
#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "codec/notification_digest.h"
#include "codec/slot.h"
#include "sql/sqlite_audience.h"
#include "sql/sqlite_change.h"
#include "sql/sqlite_schedule.h"
#include "sql/sqlite_summary.h"

static int read_rev(struct sqlite_db *db, const struct store_user *who, struct put_result *result)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_NOTIFICATION_REV);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, result->seq);
    int more = query_step(&query);
    result->rev = more > 0 ? query_column_u64(&query, 0) : 0;
    query_close(&query);
    return more < 0 ? more : 0;
}

/* 1: the key was stored before, and *ret_result tells; 0: it is new; negative: a status. */
static int find_repeat(
    struct sqlite_db *db, const struct store_row *row, struct put_result *ret_result)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_DEDUP_FIND);
    sqlite_bind_user(&query, &row->who);
    query_blob(&query, 4, bytes_of(row->key_hash, STORE_HASH_LEN));
    int more = query_step(&query);
    if (more > 0) {
        struct bytes content = bytes_of(row->content_hash, STORE_HASH_LEN);
        bool same = bytes_eq(query_column(&query, 2), content);
        ret_result->outcome = same ? OUTCOME_DUPLICATE : OUTCOME_CONFLICT;
        ret_result->seq = query_column_u64(&query, 0);
        query_column_id(&query, 1, ret_result->id);
    }
    query_close(&query);
    if (more > 0) {
        int status = read_rev(db, &row->who, ret_result);
        return status < 0 ? status : 1;
    }
    return more;
}

/* Where an inbox stands before a row is added. */
struct inbox_entry {
    struct store_position position;
    uint64_t changed_at;
};

/* 0: there is no inbox, or rows that come before are missing. */
static int read_entry(
    struct sqlite_db *db, const struct store_user *who, struct inbox_entry *ret_entry)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_INBOX_ENTER);
    sqlite_bind_user(&query, who);
    int more = query_step(&query);
    if (more > 0) {
        *ret_entry = (struct inbox_entry){
            .position = {.seq = query_column_u64(&query, 0),
                .rev = query_column_u64(&query, 1),
                .unread = query_column_u64(&query, 2),
                .unseen = query_column_u64(&query, 3),
                .preference_rev = query_column_u64(&query, 4)},
            .changed_at = query_column_u64(&query, 5),
        };
    }
    query_close(&query);
    return more;
}

/* The same when it is there and has all rows that come before. */
static int enter_inbox(
    struct sqlite_db *db, const struct store_user *who, struct inbox_entry *ret_entry)
{
    int status = read_entry(db, who, ret_entry);
    if (status == 0) {
        status = sqlite_audience_enter(db, who);
        status = status < 0 ? status : read_entry(db, who, ret_entry);
        status = status == 0 ? STATUS_UNAVAILABLE : status;
    }
    return status < 0 ? status : 0;
}

/*
 * Give the row the next numbers. `changed_at` is written only where it is another: SQLite makes the
 * entry of an index anew whenever its column is named.
 */
static int number_row(struct sqlite_db *db, const struct store_row *row,
    const struct inbox_entry *entry, struct put_result *ret_result)
{
    enum { CHANGED_MS = 10000 };
    uint64_t now = clock_wall_ms() / CHANGED_MS;
    ret_result->seq = ret_result->head = entry->position.seq + 1;
    ret_result->rev = entry->position.rev + 1;
    ret_result->unread = entry->position.unread + 1;
    ret_result->unseen = entry->position.unseen + 1;
    bool same = now == entry->changed_at;
    struct query query;
    query_open(&query, db, same ? SQLITE_STMT_INBOX_ADD : SQLITE_STMT_INBOX_ADD_CHANGED);
    sqlite_bind_user(&query, &row->who);
    query_u64(&query, 4, ret_result->seq);
    query_u64(&query, 5, ret_result->rev);
    query_u64(&query, 6, ret_result->unread);
    query_u64(&query, 7, ret_result->unseen);
    if (!same) {
        query_u64(&query, 8, now);
    }
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int insert_row(
    struct sqlite_db *db, const struct store_row *row, const struct put_result *result)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_NOTIFICATION_INSERT);
    sqlite_bind_user(&query, &row->who);
    query_u64(&query, 4, result->seq);
    query_u64(&query, 5, result->rev);
    query_id(&query, 6, row->id);
    query_text(&query, 7, row->type);
    query_text(&query, 8, row->title);
    query_text(&query, 9, row->message);
    query_blob(&query, 10, row->data);
    query_u64(&query, 11, (uint64_t)row->priority);
    query_u64(&query, 12, row->created_at);
    query_u64(&query, 13, row->expires_at);
    query_text(&query, 14, row->collapse);
    query_text(&query, 15, result->digest);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

/* Keep what is stored under the key of the row; how many keys were. */
static int run_key(struct sqlite_db *db, enum sqlite_statement which, const struct store_row *row,
    const struct put_result *result)
{
    struct query query;
    query_open(&query, db, which);
    sqlite_bind_user(&query, &row->who);
    query_blob(&query, 4, bytes_of(row->key_hash, STORE_HASH_LEN));
    query_blob(&query, 5, bytes_of(row->content_hash, STORE_HASH_LEN));
    query_u64(&query, 6, result->seq);
    query_id(&query, 7, result->id);
    return query_run(&query);
}

static int keep_key(
    struct sqlite_db *db, const struct store_row *row, const struct put_result *result)
{
    int changed = run_key(db, SQLITE_STMT_DEDUP_INSERT, row, result);
    return changed < 0 ? changed : 0;
}

/* The newest open row of a name, or of a type's digest. */
struct open_row {
    uint64_t rowid;
    bool seen;
};

/*
 * 1: there is one, and *ret_result has its id, seq, count, first time, expiry and digest; 0: none.
 * `span`: how long after the first post others share its row, by type; 0: by name.
 */
static int find_open(struct sqlite_db *db, const struct store_row *row, uint64_t span,
    struct result *arena, struct open_row *ret_open, struct put_result *ret_result)
{
    struct query query;
    query_open(&query, db, span > 0 ? SQLITE_STMT_DIGEST_FIND : SQLITE_STMT_COLLAPSE_FIND);
    sqlite_bind_user(&query, &row->who);
    query_text(&query, 4, span > 0 ? row->type : row->collapse);
    int more = query_step(&query);
    if (more > 0 && span > 0 && query_column_u64(&query, 5) + span <= row->created_at) {
        more = 0; /* it is over */
    } else if (more > 0) {
        ret_open->rowid = query_column_u64(&query, 0);
        ret_open->seen = query_column_u64(&query, 3) == NOTIFICATION_SEEN;
        ret_result->seq = query_column_u64(&query, 1);
        query_column_id(&query, 2, ret_result->id);
        ret_result->count = query_column_u64(&query, 4) + 1;
        ret_result->first_at = query_column_u64(&query, 5);
        ret_result->till = query_column_u64(&query, 6);
        ret_result->digest = result_copy(arena, query_column(&query, 7));
    }
    query_close(&query);
    return more;
}

/* Give the inbox its next rev: an open row is new again, which was `seen` before. */
static int renew_inbox(
    struct sqlite_db *db, const struct store_user *who, bool seen, struct put_result *ret_result)
{
    struct store_position position;
    uint64_t floor;
    int status = sqlite_read_position(db, who, &position, &floor);
    if (status < 0) {
        return status;
    }
    ret_result->head = position.seq;
    ret_result->rev = position.rev + 1;
    ret_result->unread = position.unread;
    ret_result->unseen = position.unseen + seen;
    position.unseen += seen;
    return sqlite_change_inbox(db, who, &position);
}

/* Put the content of `row` in the place of an open one's. */
static int replace_row(struct sqlite_db *db, const struct store_row *row,
    const struct open_row *open, struct put_result *ret_result)
{
    int status = renew_inbox(db, &row->who, open->seen, ret_result);
    if (status < 0) {
        return status;
    }
    struct query query;
    query_open(&query, db, SQLITE_STMT_COLLAPSE_APPLY);
    query_u64(&query, 1, open->rowid);
    query_u64(&query, 2, ret_result->rev);
    query_text(&query, 3, row->type);
    query_text(&query, 4, row->title);
    query_text(&query, 5, row->message);
    query_blob(&query, 6, row->data);
    query_u64(&query, 7, (uint64_t)row->priority);
    query_u64(&query, 8, ret_result->till);
    query_u64(&query, 9, row->created_at);
    query_text(&query, 10, ret_result->digest);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

/* What the user wants of the row's type; who has no preferences is not looked for. */
static int read_wish(struct sqlite_db *db, const struct store_row *row, uint64_t preference_rev,
    struct sqlite_wish *ret_wish)
{
    *ret_wish = (struct sqlite_wish){.wanted = !row->unwanted, .span = row->digest_ms};
    int status = preference_rev > 0 ? sqlite_preference_wish(db, row, ret_wish) : 0;
    if (row->collapse.len > 0 || row->priority == NOTIFICATION_URGENT) {
        ret_wish->span = 0;
    }
    return status;
}

/* The user does not want it: only its key is kept. */
static void suppress(const struct store_row *row, struct put_result *ret_result)
{
    *ret_result = (struct put_result){.outcome = OUTCOME_SUPPRESSED};
    memcpy(ret_result->id, row->id, NOTIFICATION_ID_LEN);
}

/* What a row of its own says of itself. */
static void begin_row(const struct store_row *row, struct put_result *ret_result)
{
    memcpy(ret_result->id, row->id, NOTIFICATION_ID_LEN);
    ret_result->count = 1;
    ret_result->first_at = row->created_at;
    ret_result->till = row->expires_at;
}

/* What the result's row remembers with this one, and how long it stays: as long as any of them. */
static int add_to_digest(
    const struct store_row *row, struct result *arena, struct put_result *ret_result)
{
    struct notification_digest_entry entry = {.at = row->created_at,
        .priority = row->priority,
        .title = row->title,
        .message = row->message,
        .data = row->data};
    struct builder out = {0};
    memcpy(entry.id, row->id, NOTIFICATION_ID_LEN);
    notification_digest_add(ret_result->digest, &entry, &out);
    int status = builder_status(&out);
    ret_result->digest = result_copy(arena, builder_bytes(&out));
    builder_reset(&out);
    bool longer = row->expires_at == 0 || row->expires_at > ret_result->till;
    ret_result->till = ret_result->till > 0 && longer ? row->expires_at : ret_result->till;
    return status;
}

/* A row that may take the place of another: it has a name, or its type a digest. */
static int add_sharing_row(struct sqlite_db *db, const struct store_row *row, uint64_t span,
    struct result *arena, struct put_result *ret_result)
{
    struct open_row open = {0};
    struct inbox_entry entry;
    int found = sqlite_audience_enter(db, &row->who);
    if (found == 0 && (span > 0 || row->collapse.len > 0)) {
        found = find_open(db, row, span, arena, &open, ret_result);
    }
    if (found < 0) {
        return found;
    }
    if (found == 0) {
        begin_row(row, ret_result);
    } else {
        ret_result->outcome = OUTCOME_COLLAPSED;
        ret_result->till = span > 0 ? ret_result->till : row->expires_at;
    }
    int status = span > 0 ? add_to_digest(row, arena, ret_result) : 0;
    if (status < 0) {
        return status;
    }
    if (found > 0) {
        return replace_row(db, row, &open, ret_result);
    }
    status = enter_inbox(db, &row->who, &entry);
    status = status < 0 ? status : number_row(db, row, &entry, ret_result);
    return status < 0 ? status : insert_row(db, row, ret_result);
}

/* The same where it is known before that it may: what the user wants is asked first. */
static int add_by_wish(struct sqlite_db *db, const struct store_row *row, struct result *arena,
    struct put_result *ret_result)
{
    struct store_position position;
    struct sqlite_wish wish;
    uint64_t floor;
    int status = sqlite_read_position(db, &row->who, &position, &floor);
    if (status == 0) {
        status = read_wish(db, row, position.preference_rev, &wish);
    }
    if (status < 0) {
        return status;
    }
    if (!wish.wanted) {
        suppress(row, ret_result);
        return sqlite_audience_enter(db, &row->who);
    }
    return add_sharing_row(db, row, wish.span, arena, ret_result);
}

/*
 * A row of a user without preferences, as nearly all are: its key is not looked for, but kept
 * first, with the number that the row gets. 1: it is stored; 0: nothing was done, the key may be
 * known.
 */
static int add_plain_row(
    struct sqlite_db *db, const struct store_row *row, struct put_result *ret_result)
{
    struct inbox_entry entry;
    int status = enter_inbox(db, &row->who, &entry);
    if (status < 0 || entry.position.preference_rev > 0) {
        return status;
    }
    begin_row(row, ret_result);
    ret_result->seq = entry.position.seq + 1;
    int kept = run_key(db, SQLITE_STMT_DEDUP_ADD, row, ret_result);
    if (kept <= 0) {
        *ret_result = (struct put_result){0};
        return kept;
    }
    ret_result->outcome = OUTCOME_STORED;
    status = number_row(db, row, &entry, ret_result);
    status = status < 0 ? status : insert_row(db, row, ret_result);
    return status < 0 ? status : 1;
}

/* A row of its own, unless the user wants something else. */
static int add_row(struct sqlite_db *db, const struct store_row *row, struct result *arena,
    struct put_result *ret_result)
{
    struct inbox_entry entry;
    struct sqlite_wish wish;
    int status = enter_inbox(db, &row->who, &entry);
    if (status == 0) {
        status = read_wish(db, row, entry.position.preference_rev, &wish);
    }
    if (status < 0) {
        return status;
    }
    if (!wish.wanted) {
        suppress(row, ret_result);
        return 0;
    }
    if (wish.span > 0) {
        return add_sharing_row(db, row, wish.span, arena, ret_result);
    }
    begin_row(row, ret_result);
    status = number_row(db, row, &entry, ret_result);
    return status < 0 ? status : insert_row(db, row, ret_result);
}

/* Keep a row until it is due; its inbox begins as with any. */
static int keep_row(
    struct sqlite_db *db, const struct store_row *row, struct put_result *ret_result)
{
    *ret_result = (struct put_result){.outcome = OUTCOME_SCHEDULED, .seq = STORE_SEQ_SCHEDULED};
    memcpy(ret_result->id, row->id, NOTIFICATION_ID_LEN);
    int status = sqlite_audience_enter(db, &row->who);
    status = status < 0 ? status : sqlite_schedule_keep(db, row);
    return status < 0 ? status : keep_key(db, row, ret_result);
}

static bool may_share(const struct store_row *row)
{
    return row->collapse.len > 0 || row->digest_ms > 0;
}

static bool is_plain(const struct store_row *row)
{
    return !may_share(row) && !row->unwanted && !row->due && row->deliver_at == 0;
}

static int put_row(struct sqlite_db *db, const struct store_row *row, struct result *arena,
    struct put_result *ret_result)
{
    int stored = is_plain(row) ? add_plain_row(db, row, ret_result) : 0;
    if (stored != 0) {
        return stored < 0 ? stored : 0;
    }
    int taken = row->due ? sqlite_schedule_take(db, row->id, row->version) : 0;
    if (taken < 0) {
        return taken;
    }
    int found = find_repeat(db, row, ret_result);
    if (found != 0) {
        return found < 0 ? found : sqlite_audience_enter(db, &row->who);
    }
    if (row->deliver_at > 0 && !row->due) {
        return keep_row(db, row, ret_result);
    }
    ret_result->outcome = OUTCOME_STORED;
    int status = (may_share(row) ? add_by_wish : add_row)(db, row, arena, ret_result);
    return status < 0 ? status : keep_key(db, row, ret_result);
}

/* What a put has stored of some types, counted in the row of each at once. */
struct tally {
    struct {
        const struct store_row *like; /* tenant and type */
        uint64_t posted;
    } types[16];
    size_t count;
};

static int write_tally(struct sqlite_db *db, struct tally *tally)
{
    int status = 0;
    for (size_t i = 0; i < tally->count && status == 0; i++) {
        const struct store_row *like = tally->types[i].like;
        status = sqlite_summary_count(db, like->who.tenant, like->type, tally->types[i].posted);
    }
    tally->count = 0;
    return status;
}

static int count_row(struct sqlite_db *db, struct tally *tally, const struct store_row *row)
{
    for (size_t i = 0; i < tally->count; i++) {
        const struct store_row *like = tally->types[i].like;
        if (bytes_eq(like->type, row->type) && bytes_eq(like->who.tenant, row->who.tenant)) {
            tally->types[i].posted++;
            return 0;
        }
    }
    int status = tally->count == ARRAY_LEN(tally->types) ? write_tally(db, tally) : 0;
    tally->types[tally->count].like = row;
    tally->types[tally->count++].posted = 1;
    return status;
}

static int compare_places(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one;
    uint64_t b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

/*
 * The rows' places in the order of their slots, so that each is written beside the one before it,
 * in every index; those of a user stay in their order. NULL: no memory.
 */
static uint64_t *order_by_slot(const struct store_put *put, struct result *arena)
{
    enum { SLOT_SHIFT = 32 };
    uint64_t *places = result_alloc(arena, put->count * sizeof(*places));
    for (size_t i = 0; places && i < put->count; i++) {
        places[i] = (uint64_t)slot_of_id(put->rows[i].id) << SLOT_SHIFT | i;
    }
    if (places && put->count > 1) {
        qsort(places, put->count, sizeof(*places), compare_places);
    }
    return places;
}

static int put_rows(struct sqlite_db *db, struct store_put *put, struct put_result *results)
{
    struct result *arena = request_result(&put->base);
    uint64_t *places = order_by_slot(put, arena);
    struct tally tally = {.count = 0};
    int status = places ? 0 : STATUS_NOMEM;
    for (size_t i = 0; i < put->count && status == 0; i++) {
        uint32_t place = (uint32_t)places[i];
        status = put_row(db, &put->rows[place], arena, &results[place]);
        if (status == 0 && results[place].outcome == OUTCOME_STORED) {
            status = count_row(db, &tally, &put->rows[place]);
        }
    }
    return status < 0 ? status : write_tally(db, &tally);
}

int sqlite_put(struct sqlite_db *db, struct store_put *put, struct put_result **ret_results)
{
    int status = put->fenced ? sqlite_check_fence(db, put->partition, put->token, put->last_id) : 0;
    if (status < 0) {
        return status;
    }
    struct result *arena = request_result(&put->base);
    struct put_result *results = result_alloc(arena, put->count * sizeof(*results));
    if (!results) {
        return STATUS_NOMEM;
    }
    status = put_rows(db, put, results);
    if (status == 0) {
        *ret_results = results;
    }
    return status;
}
