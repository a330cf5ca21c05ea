/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing requests on a SQLite connection, inside a transaction that the worker has begun.
 */
#include "sql/sqlite_ops.h"

#include <stdio.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "sql/history.h"
#include "sql/sqlite_audience.h"
#include "sql/sqlite_change.h"
#include "sql/sqlite_device.h"
#include "sql/sqlite_forget.h"
#include "sql/sqlite_history.h"
#include "sql/sqlite_job.h"
#include "sql/sqlite_push.h"
#include "sql/sqlite_retention.h"
#include "sql/sqlite_schedule.h"
#include "sql/sqlite_summary.h"
#include "sql/sqlite_topics.h"

enum { WITNESS_MS = 86400000 };

/* A notification that a request is about to change. */
struct target {
    uint64_t rowid;
    struct notification_item item; /* id, seq, rev, state and times only */
};

struct targets {
    struct target *at; /* in the request's arena */
    size_t count;
};

/* --- mark: find the rows, change them, change the inbox once --- */

/* The row of TARGET_COLUMNS, which begin with column `first`. */
static void read_target(const struct query *query, int first, struct target *ret_target)
{
    *ret_target = (struct target){
        .rowid = query_column_u64(query, first),
        .item.seq = query_column_u64(query, first + 2),
        .item.rev = query_column_u64(query, first + 3),
        .item.state = (enum notification_state)query_column_u64(query, first + 4),
        .item.seen_at = query_column_u64(query, first + 5),
        .item.read_at = query_column_u64(query, first + 6),
        .item.archived_at = query_column_u64(query, first + 7),
        .item.snoozed_until = query_column_u64(query, first + 8),
        .item.resurfaced_at = query_column_u64(query, first + 9),
    };
    query_column_id(query, first + 1, ret_target->item.id);
}

/* Append the rows of a query that are meant, and close it; *ret_last is the seq of the last one it
 * found. Returns how many these were. */
static int collect_step(
    struct query *query, struct result *arena, struct targets *targets, uint64_t *ret_last)
{
    enum { SEQ = 2, MEANT = 10 };
    int looked = 0;
    int more = query_step(query);
    for (; more > 0; more = query_step(query)) {
        looked++;
        *ret_last = query_column_u64(query, SEQ);
        if (query_column_u64(query, MEANT) == 0) {
            continue;
        }
        struct target *grown = result_grow(arena, targets->at, targets->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        targets->at = grown;
        read_target(query, 0, &grown[targets->count++]);
    }
    query_close(query);
    return more < 0 ? more : looked;
}

/* Append the rows of a query, and close it. */
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
        read_target(query, 0, &grown[targets->count++]);
        more = query_step(query);
    }
    query_close(query);
    return more;
}

/* The rows that are named. */
static int collect_named(struct sqlite_db *db, struct store_mark *mark, struct targets *ret_targets)
{
    struct result *arena = request_result(&mark->base);
    int status = 0;
    for (size_t i = 0; status == 0 && i < mark->id_count; i++) {
        struct query query;
        query_open(&query, db, SQLITE_STMT_MARK_ID);
        sqlite_bind_user(&query, &mark->who);
        query_id(&query, 4, mark->ids[i]);
        query_u64(&query, 5, mark->states);
        query_text(&query, 6, mark->type);
        query_u64(&query, 7, mark->step.if_rev);
        query_u64(&query, 8, mark->late_states);
        status = collect(&query, arena, ret_targets);
    }
    return status;
}

/* The rows of a step, and where the next one begins. */
static int collect_mark(struct sqlite_db *db, struct store_mark *mark, struct targets *ret_targets)
{
    if (mark->id_count > 0) {
        return collect_named(db, mark, ret_targets);
    }
    bool open = (mark->states & ~NOTIFICATION_OPEN_STATES) == 0;
    uint64_t last = 0;
    struct query query;
    query_open(&query, db, open ? SQLITE_STMT_MARK_UP_TO_OPEN : SQLITE_STMT_MARK_UP_TO);
    sqlite_bind_user(&query, &mark->who);
    query_u64(&query, 4, mark->step.up_to);
    query_u64(&query, 5, mark->states);
    query_text(&query, 6, mark->type);
    query_u64(&query, 7, mark->step.above);
    int looked = collect_step(&query, request_result(&mark->base), ret_targets, &last);
    mark->through = looked == STORE_MARK_STEP ? last : 0;
    return looked < 0 ? looked : 0;
}

/* Write the row as the verb has changed it. 1; 0: it was named twice and has changed already. */
static int write_row(struct sqlite_db *db, enum notification_verb verb, uint64_t rowid,
    const struct notification_item *item, uint64_t rev)
{
    struct query query;
    bool renewed = verb == NOTIFICATION_MARK_WAKE;
    bool whole = renewed || verb == NOTIFICATION_MARK_UNARCHIVE;
    query_open(&query, db, SQLITE_STMT_MARK_APPLY);
    query_u64(&query, 1, rowid);
    query_u64(&query, 2, (uint64_t)item->state);
    query_u64(&query, 3, rev);
    query_u64(&query, 4, item->seen_at);
    query_u64(&query, 5, item->read_at);
    query_u64(&query, 6, item->archived_at);
    query_u64(&query, 7, item->snoozed_until);
    query_u64(&query, 8, item->resurfaced_at);
    query_u64(&query, 9, renewed ? 2 : whole);
    return query_run(&query);
}

/* A row that may not change, once though it may be named twice. */
static void keep_late(struct store_mark *mark, const struct notification_change *change)
{
    for (size_t i = 0; i < mark->late_count && mark->id_count > 0; i++) {
        if (mark->late[i].seq == change->seq) {
            return;
        }
    }
    change_append(request_result(&mark->base), &mark->late, &mark->late_count, change);
}

static int mark_row(struct sqlite_db *db, struct store_mark *mark, const struct target *target)
{
    struct result *arena = request_result(&mark->base);
    struct notification_item item = target->item;
    bool late = item.rev > mark->step.if_rev;
    if (!late) {
        notification_mark_apply(&item, mark->verb, mark->at, mark->until);
    }
    struct notification_change change = {.seq = item.seq,
        .rev = mark->position.rev + 1,
        .state = item.state,
        .at = mark->at,
        .snoozed_until = item.state == NOTIFICATION_SNOOZED ? item.snoozed_until : 0};
    memcpy(change.id, item.id, NOTIFICATION_ID_LEN);
    if (late) {
        keep_late(mark, &change);
        return 0;
    }
    bool erases = mark->verb == NOTIFICATION_MARK_DELETE;
    int changed = erases ? sqlite_make_tombstone(db, &mark->who, target->rowid, &change)
                         : write_row(db, mark->verb, target->rowid, &item, change.rev);
    if (changed > 0) {
        change_append(arena, &mark->changes, &mark->change_count, &change);
        sqlite_count_out(&mark->position, target->item.state);
        sqlite_count_in(&mark->position, item.state);
    }
    return changed < 0 ? changed : 0;
}

static int run_mark(struct sqlite_db *db, struct store_mark *mark)
{
    uint64_t floor;
    int status = sqlite_audience_enter(db, &mark->who);
    if (status == 0) {
        status = sqlite_read_position(db, &mark->who, &mark->position, &floor);
    }
    struct targets targets = {0};
    if (status == 0) {
        status = collect_mark(db, mark, &targets);
    }
    for (size_t i = 0; i < targets.count && status == 0; i++) {
        status = mark_row(db, mark, &targets.at[i]);
    }
    if (status < 0 || mark->change_count == 0) {
        return status;
    }
    mark->changed = true;
    mark->position.rev++;
    status = sqlite_change_inbox(db, &mark->who, &mark->position);
    return status == 0 && mark->step.floors ? sqlite_raise_floor(db, &mark->who, mark->position.rev)
                                            : status;
}

/* --- sweep --- */

/* What a statement found, by user. */
struct due {
    struct store_user who;
    struct target target;
};

struct dues {
    struct due *at;
    size_t count;
};

static int collect_due(struct sqlite_db *db, struct store_sweep *sweep, enum sqlite_statement which,
    struct dues *ret_dues)
{
    struct result *arena = request_result(&sweep->base);
    struct query query;
    query_open(&query, db, which);
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
        read_target(&query, 2, &due->target);
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : result_failed(arena) ? STATUS_NOMEM : 0;
}

static bool same_user(const struct store_user *a, const struct store_user *b)
{
    return bytes_eq(a->tenant, b->tenant) && bytes_eq(a->user, b->user);
}

static int sweep_row(struct sqlite_db *db, struct store_sweep *sweep, struct store_swept *swept,
    const struct target *target)
{
    struct notification_item item = target->item;
    enum notification_verb verb = swept->news ? NOTIFICATION_MARK_WAKE : NOTIFICATION_MARK_DELETE;
    notification_mark_apply(&item, verb, sweep->now, 0);
    struct notification_change change = {.seq = item.seq,
        .rev = swept->position.rev + 1,
        .state = swept->news ? item.state : NOTIFICATION_EXPIRED,
        .at = sweep->now};
    memcpy(change.id, item.id, NOTIFICATION_ID_LEN);
    int status = swept->news ? write_row(db, verb, target->rowid, &item, change.rev)
                             : sqlite_make_tombstone(db, &swept->who, target->rowid, &change);
    change_append(request_result(&sweep->base), &swept->changes, &swept->change_count, &change);
    sqlite_count_out(&swept->position, target->item.state);
    sqlite_count_in(&swept->position, change.state);
    return status;
}

/* Change the rows of one user, from `first` on; *ret_next is the next user's. */
static int sweep_user(struct sqlite_db *db, struct store_sweep *sweep, const struct dues *dues,
    bool woken, size_t *first)
{
    struct result *arena = request_result(&sweep->base);
    struct store_swept *grown = result_grow(arena, sweep->users, sweep->user_count, sizeof(*grown));
    if (!grown) {
        return STATUS_NOMEM;
    }
    sweep->users = grown;
    struct store_swept *swept = &grown[sweep->user_count++];
    *swept = (struct store_swept){.who = dues->at[*first].who, .news = woken};
    uint64_t floor;
    int status = sqlite_read_position(db, &swept->who, &swept->position, &floor);
    size_t i = *first;
    for (; status >= 0 && i < dues->count && same_user(&dues->at[i].who, &swept->who); i++) {
        status = sweep_row(db, sweep, swept, &dues->at[i].target);
    }
    *first = i;
    swept->position.rev++;
    return status < 0 ? status : sqlite_change_inbox(db, &swept->who, &swept->position);
}

/* Change what is due, at most the limit; a row that is gone by then is not found any more. */
static int sweep_due(struct sqlite_db *db, struct store_sweep *sweep, bool woken)
{
    struct dues dues = {0};
    int status =
        collect_due(db, sweep, woken ? SQLITE_STMT_SWEEP_AWAKE : SQLITE_STMT_SWEEP_DUE, &dues);
    for (size_t i = 0; status == 0 && i < dues.count;) {
        status = sweep_user(db, sweep, &dues, woken, &i);
    }
    sweep->more = sweep->more || dues.count == sweep->limit;
    return status;
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
    return sqlite_raise_floor(db, who, rev);
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
            .target.item.seq = query_column_u64(&query, 2),
            .target.item.rev = query_column_u64(&query, 3),
        };
        more = query_step(&query);
    }
    query_close(&query);
    for (size_t i = 0; i < old.count && more == 0; i++) {
        const struct notification_item *item = &old.at[i].target.item;
        more = drop_tombstone(db, &old.at[i].who, item->seq, item->rev);
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

/* For how long the first of what is due has been. */
static int read_late(struct sqlite_db *db, struct store_sweep *sweep)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_SWEEP_FIRST);
    query_u64(&query, 1, sweep->now);
    int more = query_step(&query);
    if (more > 0) {
        sweep->late_ms = sweep->now - query_column_u64(&query, 0);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int run_sweep(struct sqlite_db *db, struct store_sweep *sweep)
{
    size_t dropped = 0;
    int status = read_late(db, sweep);
    status = status == 0 ? sqlite_audience_renew_due(db, sweep) : status;
    if (status > 0) { /* some are due no more, so what expires is to be found anew */
        sweep->more = true;
        return 0;
    }
    status = status == 0 ? sweep_due(db, sweep, false) : status;
    status = status == 0 ? sweep_due(db, sweep, true) : status;
    status = status == 0 ? drop_old(db, sweep, &dropped) : status;
    status = status == 0 ? drop_witnesses(db) : status;
    sweep->more = sweep->more || dropped == sweep->limit;
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

static int run_note(struct sqlite_db *db, struct store_note *note)
{
    struct query query;
    char name[STORE_NOTE_NAME_MAX + 1];
    (void)snprintf(name, sizeof(name), "%.*s", (int)note->name.len, note->name.at);
    int status = 0;
    if (note->to.len > 0) {
        query_open(&query, db, SQLITE_STMT_NOTE_REPLACE);
        query_text(&query, 1, note->name);
        query_text(&query, 2, note->from);
        query_text(&query, 3, note->to);
        status = query_run(&query);
    }
    status = status < 0 ? status : sqlite_read_meta(db, name, sizeof(note->text), note->text);
    return status == STATUS_NOT_FOUND ? 0 : status;
}

static int run_write(
    struct sqlite_db *db, struct store_request *request, struct put_result **ret_results)
{
    if (!op_writes(request->op)) { /* it has been found that rows are missing for it */
        return sqlite_audience_mend(db, request);
    }
    if (history_writes(request->op)) {
        return sqlite_history_write(db, request);
    }
    switch ((unsigned)request->op) {
    case STORE_AUDIENCE_SWEEP:
        return sqlite_audience_sweep(db, (struct store_sweep *)request);
    case STORE_AUDIENCE_POST:
    case STORE_RETRACT:
    case STORE_REVISE:
    case STORE_SUBSCRIBE:
        return sqlite_topics_write(db, request, ret_results);
    case STORE_PUT:
        return sqlite_put(db, (struct store_put *)request, ret_results);
    case STORE_MARK:
        return run_mark(db, (struct store_mark *)request);
    case STORE_EDIT:
        return sqlite_edit(db, (struct store_edit *)request);
    case STORE_DUE:
        return sqlite_schedule_due(db, (struct store_due *)request);
    case STORE_RESCHEDULE:
        return sqlite_schedule_change(db, (struct store_reschedule *)request);
    case STORE_CLAIM:
        return run_claim(db, (struct store_claim *)request);
    case STORE_FORGET:
        return sqlite_forget_run(db, (struct store_forget *)request);
    case STORE_SWEEP:
        return run_sweep(db, (struct store_sweep *)request);
    case STORE_SUMMARY_SWEEP:
        return sqlite_summary_sweep(db, (struct store_sweep *)request);
    case STORE_RETAIN:
        return sqlite_retention_step(db, (struct store_retention *)request);
    case STORE_WITNESS_RAISE:
        return run_witness(db, (struct store_witness *)request);
    case STORE_EPOCH:
        return run_epoch(db, (struct store_renewal *)request);
    case STORE_NOTE:
        return run_note(db, (struct store_note *)request);
    case STORE_PREFERENCE_WRITE:
        return sqlite_preference_write(db, (struct store_preference *)request);
    case STORE_DEVICE_PUT:
    case STORE_DEVICE_STATE:
    case STORE_DEVICE_REMOVE:
        return sqlite_device_write(db, (struct store_devices *)request);
    case STORE_PUSH_ARRANGE:
    case STORE_PUSH_NOTE:
    case STORE_PUSH_RECEIVED:
        return sqlite_push_write(db, request);
    case STORE_JOB_ADD:
    case STORE_JOB_LEASE:
    case STORE_JOB_STEP:
    case STORE_JOB_PAUSE:
    case STORE_JOB_SWEEP:
        return sqlite_job_write(db, request);
    default:
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
    return status;
}
