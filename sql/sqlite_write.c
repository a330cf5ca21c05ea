/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/sqlite_ops.h"

#include "codec/base/clock.h"
#include "codec/base/status.h"

enum { WITNESS_MS = 86400000 };

/* A notification that a request is about to change. */
struct target {
    uint64_t rowid;
    uint8_t id[NOTIFICATION_ID_LEN];
    uint64_t seq;
    enum notification_state state;
};

struct targets {
    struct target *at; /* in the request's arena */
    size_t count;
};

static struct bytes id_bytes(const uint8_t id[NOTIFICATION_ID_LEN])
{
    return bytes_of(id, NOTIFICATION_ID_LEN);
}

static void copy_id(const struct query *query, int index, uint8_t ret_id[NOTIFICATION_ID_LEN])
{
    struct bytes id = query_column(query, index);
    if (id.len == NOTIFICATION_ID_LEN) {
        memcpy(ret_id, id.at, NOTIFICATION_ID_LEN);
    }
}

/* --- put --- */

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
        copy_id(&query, 1, ret_result->id);
    }
    query_close(&query);
    if (more > 0) {
        int status = read_rev(db, &row->who, ret_result);
        return status < 0 ? status : 1;
    }
    return more;
}

static int number_row(
    struct sqlite_db *db, const struct store_row *row, struct put_result *ret_result)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_INBOX_ADD);
    sqlite_bind_user(&query, &row->who);
    int more = query_step(&query);
    if (more > 0) {
        ret_result->seq = query_column_u64(&query, 0);
        ret_result->rev = query_column_u64(&query, 1);
        ret_result->unread = query_column_u64(&query, 2);
        more = query_step(&query);
    }
    query_close(&query);
    return more;
}

static int insert_row(
    struct sqlite_db *db, const struct store_row *row, const struct put_result *result)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_NOTIFICATION_INSERT);
    sqlite_bind_user(&query, &row->who);
    query_u64(&query, 4, result->seq);
    query_u64(&query, 5, result->rev);
    query_blob(&query, 6, id_bytes(row->id));
    query_text(&query, 7, row->type);
    query_text(&query, 8, row->title);
    query_text(&query, 9, row->message);
    query_blob(&query, 10, row->data);
    query_u64(&query, 11, (uint64_t)row->priority);
    query_u64(&query, 12, row->created_at);
    query_u64(&query, 13, row->expires_at);
    int changed = query_run(&query);
    if (changed < 0) {
        return changed;
    }
    query_open(&query, db, SQLITE_STMT_DEDUP_INSERT);
    sqlite_bind_user(&query, &row->who);
    query_blob(&query, 4, bytes_of(row->key_hash, STORE_HASH_LEN));
    query_blob(&query, 5, bytes_of(row->content_hash, STORE_HASH_LEN));
    query_u64(&query, 6, result->seq);
    query_blob(&query, 7, id_bytes(row->id));
    changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int put_row(struct sqlite_db *db, const struct store_row *row, struct put_result *ret_result)
{
    int found = find_repeat(db, row, ret_result);
    if (found != 0) {
        return found < 0 ? found : 0;
    }
    ret_result->outcome = OUTCOME_STORED;
    memcpy(ret_result->id, row->id, NOTIFICATION_ID_LEN);
    int status = number_row(db, row, ret_result);
    return status < 0 ? status : insert_row(db, row, ret_result);
}

static int check_fence(struct sqlite_db *db, const struct store_put *put)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_FENCE);
    query_u64(&query, 1, put->partition);
    query_u64(&query, 2, put->token);
    query_text(&query, 3, put->last_id);
    int changed = query_run(&query);
    return changed < 0 ? changed : changed == 0 ? STATUS_FENCED : 0;
}

static int run_put(struct sqlite_db *db, struct store_put *put, struct put_result **ret_results)
{
    int status = put->fenced ? check_fence(db, put) : 0;
    if (status < 0) {
        return status;
    }
    struct result *arena = request_result(&put->base);
    struct put_result *results = result_alloc(arena, put->count * sizeof(*results));
    if (!results) {
        return STATUS_NOMEM;
    }
    for (size_t i = 0; i < put->count; i++) {
        status = put_row(db, &put->rows[i], &results[i]);
        if (status < 0) {
            return status;
        }
    }
    *ret_results = results;
    return 0;
}

/* --- mark and erase: find the rows, change the inbox once, change the rows --- */

/* Append the rows of a query whose columns from `first` are rowid, id, seq, state. */
static int collect(struct query *query, struct result *arena, struct targets *targets)
{
    int more = query_step(query);
    while (more > 0) {
        struct target *grown = result_grow(arena, targets->at, targets->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        targets->at = grown;
        struct target *target = &grown[targets->count++];
        target->rowid = query_column_u64(query, 0);
        copy_id(query, 1, target->id);
        target->seq = query_column_u64(query, 2);
        target->state = (enum notification_state)query_column_u64(query, 3);
        more = query_step(query);
    }
    query_close(query);
    return more;
}

static bool is_open(enum notification_state state)
{
    return state == NOTIFICATION_UNREAD || state == NOTIFICATION_SEEN;
}

/* Give the inbox its next rev, and take `opened` rows off its unread count. */
static int change_inbox(struct sqlite_db *db, const struct store_user *who, uint64_t closed)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_INBOX_CHANGE);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, closed);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int collect_mark(
    struct sqlite_db *db, const struct store_mark *mark, struct targets *ret_targets)
{
    struct result *arena = request_result((struct store_request *)&mark->base);
    struct query query;
    if (mark->id_count == 0) {
        bool open_only = mark->state <= NOTIFICATION_READ;
        query_open(&query, db, open_only ? SQLITE_STMT_MARK_UP_TO_OPEN : SQLITE_STMT_MARK_UP_TO);
        sqlite_bind_user(&query, &mark->who);
        query_u64(&query, 4, mark->up_to);
        query_u64(&query, 5, (uint64_t)mark->state);
        return collect(&query, arena, ret_targets);
    }
    int status = 0;
    for (size_t i = 0; i < mark->id_count && status == 0; i++) {
        query_open(&query, db, SQLITE_STMT_MARK_ID);
        sqlite_bind_user(&query, &mark->who);
        query_blob(&query, 4, id_bytes(mark->ids[i]));
        query_u64(&query, 5, (uint64_t)mark->state);
        status = collect(&query, arena, ret_targets);
    }
    return status;
}

/* 1: the row changed; 0: it was named twice and has changed already. */
static int mark_row(
    struct sqlite_db *db, const struct store_mark *mark, const struct target *target, uint64_t rev)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_MARK_APPLY);
    query_u64(&query, 1, target->rowid);
    query_u64(&query, 2, (uint64_t)mark->state);
    query_u64(&query, 3, rev);
    query_u64(&query, 4, mark->at);
    return query_run(&query);
}

static int mark_rows(
    struct sqlite_db *db, struct store_mark *mark, const struct targets *targets, uint64_t *closed)
{
    struct result *arena = request_result(&mark->base);
    uint64_t rev = mark->position.rev + 1;
    for (size_t i = 0; i < targets->count; i++) {
        const struct target *target = &targets->at[i];
        int changed = mark_row(db, mark, target, rev);
        if (changed < 0) {
            return changed;
        }
        if (changed == 0) {
            continue;
        }
        struct notification_change change = {
            .seq = target->seq, .rev = rev, .state = mark->state, .at = mark->at};
        memcpy(change.id, target->id, NOTIFICATION_ID_LEN);
        change_append(arena, &mark->changes, &mark->change_count, &change);
        *closed += is_open(target->state) && !is_open(mark->state);
    }
    return 0;
}

static int run_mark(struct sqlite_db *db, struct store_mark *mark)
{
    uint64_t floor;
    int status = sqlite_read_position(db, &mark->who, &mark->position, &floor);
    struct targets targets = {0};
    if (status == 0) {
        status = collect_mark(db, mark, &targets);
    }
    if (status < 0 || targets.count == 0) {
        return status;
    }
    uint64_t closed = 0;
    status = mark_rows(db, mark, &targets, &closed);
    if (status == 0) {
        status = change_inbox(db, &mark->who, closed);
    }
    mark->changed = true;
    mark->position.rev++;
    mark->position.unread -= closed;
    return status;
}

/* Replace a row by its tombstone. 1: done; 0: it is gone already. */
static int bury(struct sqlite_db *db, const struct store_user *who, uint64_t rowid,
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
    query_blob(&query, 6, id_bytes(change->id));
    query_u64(&query, 7, (uint64_t)change->state);
    query_u64(&query, 8, change->at);
    return query_run(&query);
}

static int collect_erase(
    struct sqlite_db *db, struct store_erase *erase, struct targets *ret_targets)
{
    struct result *arena = request_result(&erase->base);
    struct query query;
    if (erase->id_count == 0) {
        query_open(&query, db, SQLITE_STMT_ERASE_ALL);
        sqlite_bind_user(&query, &erase->who);
        return collect(&query, arena, ret_targets);
    }
    int status = 0;
    for (size_t i = 0; i < erase->id_count && status == 0; i++) {
        query_open(&query, db, SQLITE_STMT_ERASE_ID);
        sqlite_bind_user(&query, &erase->who);
        query_blob(&query, 4, id_bytes(erase->ids[i]));
        status = collect(&query, arena, ret_targets);
    }
    return status;
}

static int erase_rows(struct sqlite_db *db, struct store_erase *erase,
    const struct targets *targets, uint64_t *closed)
{
    struct result *arena = request_result(&erase->base);
    for (size_t i = 0; i < targets->count; i++) {
        const struct target *target = &targets->at[i];
        struct notification_change change = {.seq = target->seq,
            .rev = erase->position.rev + 1,
            .state = NOTIFICATION_ERASED,
            .at = erase->at};
        memcpy(change.id, target->id, NOTIFICATION_ID_LEN);
        int changed = bury(db, &erase->who, target->rowid, &change);
        if (changed < 0) {
            return changed;
        }
        if (changed > 0) {
            change_append(arena, &erase->changes, &erase->change_count, &change);
            *closed += is_open(target->state);
        }
    }
    return 0;
}

static int run_erase(struct sqlite_db *db, struct store_erase *erase)
{
    uint64_t floor;
    int status = sqlite_read_position(db, &erase->who, &erase->position, &floor);
    struct targets targets = {0};
    if (status == 0) {
        status = collect_erase(db, erase, &targets);
    }
    if (status < 0 || targets.count == 0) {
        return status;
    }
    uint64_t closed = 0;
    status = erase_rows(db, erase, &targets, &closed);
    if (status == 0) {
        status = change_inbox(db, &erase->who, closed);
    }
    erase->changed = true;
    erase->position.rev++;
    erase->position.unread -= closed;
    return status;
}

/* --- sweep --- */

/* What SWEEP_DUE found, by user. */
struct due {
    struct store_user who;
    struct target target;
};

struct dues {
    struct due *at;
    size_t count;
};

static int collect_due(struct sqlite_db *db, struct store_sweep *sweep, struct dues *ret_dues)
{
    struct result *arena = request_result(&sweep->base);
    struct query query;
    query_open(&query, db, SQLITE_STMT_SWEEP_DUE);
    query_u64(&query, 1, sweep->now);
    query_u64(&query, 2, sweep->limit);
    int more = query_step(&query);
    while (more > 0) {
        struct due *grown = result_grow(arena, ret_dues->at, ret_dues->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        ret_dues->at = grown;
        struct due *due = &grown[ret_dues->count++];
        due->who.tenant = result_copy(arena, query_column(&query, 0));
        due->who.user = result_copy(arena, query_column(&query, 1));
        due->target.rowid = query_column_u64(&query, 2);
        copy_id(&query, 3, due->target.id);
        due->target.seq = query_column_u64(&query, 4);
        due->target.state = (enum notification_state)query_column_u64(&query, 5);
        more = query_step(&query);
    }
    query_close(&query);
    return more;
}

static bool same_user(const struct store_user *a, const struct store_user *b)
{
    return bytes_eq(a->tenant, b->tenant) && bytes_eq(a->user, b->user);
}

/* Expire the first user's rows of `count` dues; *ret_used of them were theirs. */
static int expire_user(struct sqlite_db *db, struct store_sweep *sweep, const struct dues *dues,
    size_t first, size_t *ret_next)
{
    struct result *arena = request_result(&sweep->base);
    struct store_swept *grown = result_grow(arena, sweep->users, sweep->user_count, sizeof(*grown));
    if (!grown) {
        return STATUS_NOMEM;
    }
    sweep->users = grown;
    struct store_swept *swept = &grown[sweep->user_count++];
    *swept = (struct store_swept){.who = dues->at[first].who};
    uint64_t floor;
    int status = sqlite_read_position(db, &swept->who, &swept->position, &floor);
    uint64_t closed = 0;
    size_t i = first;
    for (; status >= 0 && i < dues->count && same_user(&dues->at[i].who, &swept->who); i++) {
        const struct target *target = &dues->at[i].target;
        struct notification_change change = {.seq = target->seq,
            .rev = swept->position.rev + 1,
            .state = NOTIFICATION_EXPIRED,
            .at = sweep->now};
        memcpy(change.id, target->id, NOTIFICATION_ID_LEN);
        status = bury(db, &swept->who, target->rowid, &change);
        change_append(arena, &swept->changes, &swept->change_count, &change);
        closed += is_open(target->state);
    }
    *ret_next = i;
    swept->position.rev++;
    swept->position.unread -= closed;
    return status < 0 ? status : change_inbox(db, &swept->who, closed);
}

static int drop_tombstone(
    struct sqlite_db *db, const struct store_user *who, uint64_t seq, uint64_t rev)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_TOMBSTONE_DELETE);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, seq);
    int changed = query_run(&query);
    if (changed < 0) {
        return changed;
    }
    query_open(&query, db, SQLITE_STMT_INBOX_FLOOR);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, rev);
    changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

/* Drop tombstones past retention; who synced before them is told to resync. */
static int drop_old(struct sqlite_db *db, struct store_sweep *sweep, size_t *ret_count)
{
    *ret_count = 0;
    if (sweep->tombstone_ms >= sweep->now) {
        return 0;
    }
    struct result *arena = request_result(&sweep->base);
    struct dues old = {0};
    struct query query;
    query_open(&query, db, SQLITE_STMT_SWEEP_OLD);
    query_u64(&query, 1, sweep->now - sweep->tombstone_ms);
    query_u64(&query, 2, sweep->limit);
    int more = query_step(&query);
    while (more > 0) {
        struct due *grown = result_grow(arena, old.at, old.count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        old.at = grown;
        grown[old.count++] = (struct due){
            .who.tenant = result_copy(arena, query_column(&query, 0)),
            .who.user = result_copy(arena, query_column(&query, 1)),
            .target.seq = query_column_u64(&query, 2),
            .target.rowid = query_column_u64(&query, 3), /* here: the rev */
        };
        more = query_step(&query);
    }
    query_close(&query);
    for (size_t i = 0; i < old.count && more == 0; i++) {
        more = drop_tombstone(db, &old.at[i].who, old.at[i].target.seq, old.at[i].target.rowid);
    }
    *ret_count = old.count;
    return more;
}

/* Rows of nodes that raised theirs last a day before another did: nobody remembers their number. */
static int drop_witnesses(struct sqlite_db *db)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_WITNESS_DROP);
    query_u64(&query, 1, WITNESS_MS);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int run_sweep(struct sqlite_db *db, struct store_sweep *sweep)
{
    struct dues dues = {0};
    int status = collect_due(db, sweep, &dues);
    if (result_failed(request_result(&sweep->base))) {
        return STATUS_NOMEM;
    }
    for (size_t i = 0; status == 0 && i < dues.count;) {
        status = expire_user(db, sweep, &dues, i, &i);
    }
    size_t dropped = 0;
    if (status == 0) {
        status = drop_old(db, sweep, &dropped);
    }
    if (status == 0) {
        status = drop_witnesses(db);
    }
    sweep->more = dues.count == sweep->limit || dropped == sweep->limit;
    return status;
}

/* --- claim --- */

static int run_claim(struct sqlite_db *db, struct store_claim *claim)
{
    struct result *arena = request_result(&claim->base);
    struct query query;
    query_open(&query, db, SQLITE_STMT_CLAIM);
    query_u64(&query, 1, claim->partition);
    query_text(&query, 2, claim->owner);
    int more = query_step(&query);
    if (more > 0) {
        claim->token = query_column_u64(&query, 0);
        claim->last_id = result_copy(arena, query_column(&query, 1));
        more = query_step(&query);
    }
    query_close(&query);
    return more;
}

static int run_witness(struct sqlite_db *db, struct store_witness *witness)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_WITNESS_RAISE);
    query_text(&query, 1, witness->node);
    query_u64(&query, 2, clock_wall_ms());
    int more = query_step(&query);
    if (more > 0) {
        witness->number = query_column_u64(&query, 0);
        more = query_step(&query);
    }
    query_close(&query);
    return more;
}

int sqlite_replace_meta(struct sqlite_db *db, const char *name, struct bytes from, const char *to)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_META_REPLACE);
    query_text(&query, 1, bytes_str(name));
    query_text(&query, 2, from);
    query_text(&query, 3, bytes_str(to));
    return query_run(&query);
}

static int run_epoch(struct sqlite_db *db, struct store_renewal *renewal)
{
    int status = 0;
    if (renewal->from.len > 0) {
        status = sqlite_replace_meta(db, "epoch", renewal->from, renewal->fresh);
    }
    return status < 0 ? status
                      : sqlite_read_meta(db, "epoch", sizeof(renewal->epoch), renewal->epoch);
}

static int run_write(
    struct sqlite_db *db, struct store_request *request, struct put_result **ret_results)
{
    switch (request->op) {
    case STORE_PUT:
        return run_put(db, (struct store_put *)request, ret_results);
    case STORE_MARK:
        return run_mark(db, (struct store_mark *)request);
    case STORE_CLAIM:
        return run_claim(db, (struct store_claim *)request);
    case STORE_SWEEP:
        return run_sweep(db, (struct store_sweep *)request);
    case STORE_ERASE:
        return run_erase(db, (struct store_erase *)request);
    case STORE_WITNESS_RAISE:
        return run_witness(db, (struct store_witness *)request);
    case STORE_EPOCH:
        return run_epoch(db, (struct store_renewal *)request);
    case STORE_LIST:
    case STORE_SYNC:
    case STORE_GET:
    case STORE_POSITIONS:
    case STORE_CHANGED:
    case STORE_WITNESS_READ:
    case STORE_PING:
    case STORE_OP_COUNT:
        break;
    }
    return STATUS_INVALID;
}

int sqlite_write(
    struct sqlite_db *db, struct store_request *request, struct put_result **ret_results)
{
    *ret_results = NULL;
    int status = run_write(db, request, ret_results);
    bool short_of_memory = request->result && result_failed(request->result);
    if (status == 0 && short_of_memory) {
        status = STATUS_NOMEM;
    }
    return status == STATUS_NOMEM ? STATUS_UNAVAILABLE : status;
}
