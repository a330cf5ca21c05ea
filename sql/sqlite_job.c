/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs on a SQLite connection: adding, leasing, what becomes of one, sweeping. Order of this file:
 * as just said. There is one writer, so a transaction is all the lock that a queue needs.
 */
#include "sql/sqlite_job.h"

#include <stdlib.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/job.h"
#include "sql/sqlite_change.h"

enum { SWEEP_MS = 10000 };

/* job_queue's columns, or their defaults. */
struct kept_rule {
    bool paused;
    uint64_t attempts;
    uint64_t backoff_ms;
    uint64_t timeout_ms;
};

static int run(struct query *query)
{
    int changed = query_run(query);
    return changed < 0 ? changed : 0;
}

static void open_queue(struct query *query, struct sqlite_db *db, enum sqlite_statement which,
    struct bytes queue, struct bytes tenant)
{
    query_open(query, db, which);
    query_text(query, 1, queue);
    query_text(query, 2, tenant);
}

static void open_job(struct query *query, struct sqlite_db *db, enum sqlite_statement which,
    const uint8_t id[NOTIFICATION_ID_LEN])
{
    query_open(query, db, which);
    query_u64(query, 1, slot_of_id(id));
    query_id(query, 2, id);
}

static int read_rule(
    struct sqlite_db *db, struct bytes queue, struct bytes tenant, struct kept_rule *ret_rule)
{
    *ret_rule = (struct kept_rule){.attempts = 1};
    struct query query;
    open_queue(&query, db, SQLITE_STMT_QUEUE_FIND, queue, tenant);
    int more = query_step(&query);
    if (more > 0) {
        *ret_rule = (struct kept_rule){
            .paused = query_column_u64(&query, 0) != 0,
            .attempts = query_column_u64(&query, 1),
            .backoff_ms = query_column_u64(&query, 2),
            .timeout_ms = query_column_u64(&query, 3),
        };
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

/* --- adding --- */

/* Take the key, or tell whose it is. */
static int take_key(struct sqlite_db *db, const struct store_job_new *job, uint64_t now,
    struct store_job_added *added)
{
    struct query query;
    open_queue(&query, db, SQLITE_STMT_JOB_KEY, job->queue, job->tenant);
    query_blob(&query, 3, bytes_of(job->key_hash, STORE_HASH_LEN));
    query_id(&query, 4, job->id);
    query_u64(&query, 5, now);
    int more = query_step(&query);
    if (more > 0) {
        query_column_id(&query, 0, added->id);
        more = query_step(&query);
    }
    query_close(&query);
    added->repeat = !job_is_fresh(job, added->id);
    return more;
}

int sqlite_job_insert(struct sqlite_db *db, const struct store_job_new *job, uint64_t now)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_JOB_INSERT);
    query_u64(&query, 1, slot_of_id(job->id));
    query_text(&query, 2, job->tenant);
    query_text(&query, 3, job->user);
    query_id(&query, 4, job->id);
    query_text(&query, 5, job->queue);
    query_text(&query, 6, job->type);
    query_blob(&query, 7, job->payload);
    query_u64(&query, 8, (uint64_t)job->priority);
    query_u64(&query, 9, now);
    query_u64(&query, 10, job->run_at > 0 ? job->run_at : now);
    return run(&query);
}

static int run_add(struct sqlite_db *db, struct store_job_add *add)
{
    int status = add->fenced ? sqlite_check_fence(db, add->partition, add->token, add->last_id) : 0;
    if (status < 0 || add->count == 0) {
        return status;
    }
    add->added = result_alloc(request_result(&add->base), add->count * sizeof(*add->added));
    if (!add->added) {
        return STATUS_NOMEM;
    }
    uint64_t now = clock_wall_ms();
    for (size_t i = 0; status == 0 && i < add->count; i++) {
        status = take_key(db, &add->jobs[i], now, &add->added[i]);
        if (status == 0 && !add->added[i].repeat) {
            status = sqlite_job_insert(db, &add->jobs[i], now);
        }
    }
    return status;
}

/* --- leasing --- */

/* What may be given: of each queue as much as it has room for. */
struct candidate {
    size_t rule;
    unsigned priority;
    uint64_t run_at;
    uint8_t id[NOTIFICATION_ID_LEN];
};

struct candidates {
    struct candidate *at;
    size_t count;
};

static int compare(const void *a, const void *b)
{
    const struct candidate *first = a;
    const struct candidate *second = b;
    if (first->priority != second->priority) {
        return first->priority > second->priority ? -1 : 1;
    }
    if (first->run_at != second->run_at) {
        return first->run_at < second->run_at ? -1 : 1;
    }
    return memcmp(first->id, second->id, NOTIFICATION_ID_LEN);
}

static int count_active(
    struct sqlite_db *db, struct bytes queue, struct bytes tenant, uint64_t most, uint64_t *ret)
{
    struct query query;
    open_queue(&query, db, SQLITE_STMT_JOB_ACTIVE, queue, tenant);
    query_u64(&query, 3, most);
    int more = query_step(&query);
    *ret = more > 0 ? query_column_u64(&query, 0) : 0;
    query_close(&query);
    return more < 0 ? more : 0;
}

/* Append at most `most` jobs of one queue and priority that are due. */
static int collect(struct sqlite_db *db, struct store_job_lease *lease, size_t rule,
    unsigned priority, uint64_t most, struct candidates *found)
{
    struct result *arena = request_result(&lease->base);
    struct query query;
    open_queue(&query, db, SQLITE_STMT_JOB_DUE, lease->rules[rule].queue, lease->tenant);
    query_u64(&query, 3, priority);
    query_u64(&query, 4, lease->now);
    query_u64(&query, 5, most);
    int more = query_step(&query);
    while (more > 0) {
        struct candidate *grown = result_grow(arena, found->at, found->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        found->at = grown;
        struct candidate *one = &grown[found->count++];
        *one = (struct candidate){
            .rule = rule, .priority = priority, .run_at = query_column_u64(&query, 2)};
        query_column_id(&query, 1, one->id);
        more = query_step(&query);
    }
    query_close(&query);
    return more;
}

/* Append what one queue may give. */
static int collect_queue(
    struct sqlite_db *db, struct store_job_lease *lease, size_t index, struct candidates *found)
{
    const struct store_job_rule *rule = &lease->rules[index];
    struct kept_rule kept;
    uint64_t active = 0;
    int status = read_rule(db, rule->queue, lease->tenant, &kept);
    if (status < 0 || kept.paused) {
        return status;
    }
    status = count_active(db, rule->queue, lease->tenant, rule->concurrency, &active);
    uint64_t room = rule->concurrency - active;
    room = room < lease->max ? room : lease->max;
    for (int priority = NOTIFICATION_URGENT; status == 0 && room > 0 && priority >= 0; priority--) {
        size_t before = found->count;
        status = collect(db, lease, index, (unsigned)priority, room, found);
        room -= found->count - before;
    }
    return status;
}

static int find_next(struct sqlite_db *db, struct store_job_lease *lease, size_t index)
{
    int status = 0;
    for (unsigned priority = 0; status == 0 && priority < NOTIFICATION_PRIORITY_COUNT; priority++) {
        struct query query;
        open_queue(&query, db, SQLITE_STMT_JOB_NEXT, lease->rules[index].queue, lease->tenant);
        query_u64(&query, 3, priority);
        query_u64(&query, 4, lease->now);
        int more = query_step(&query);
        uint64_t next = more > 0 ? query_column_u64(&query, 0) : 0;
        lease->next_at =
            next > 0 && (lease->next_at == 0 || next < lease->next_at) ? next : lease->next_at;
        query_close(&query);
        status = more < 0 ? more : 0;
    }
    return status;
}

/* Keep what the queue's lease came with. */
static int keep_rule(
    struct sqlite_db *db, const struct store_job_lease *lease, const struct store_job_rule *rule)
{
    struct query query;
    open_queue(&query, db, SQLITE_STMT_QUEUE_RULE, rule->queue, lease->tenant);
    query_u64(&query, 3, rule->attempts);
    query_u64(&query, 4, rule->backoff_ms);
    query_u64(&query, 5, rule->timeout_ms);
    query_u64(&query, 6, rule->keep_completed);
    query_u64(&query, 7, rule->keep_failed);
    query_u64(&query, 8, lease->now + SWEEP_MS);
    return run(&query);
}

static int give(struct sqlite_db *db, struct store_job_lease *lease, const struct candidate *chosen)
{
    struct query query;
    open_job(&query, db, SQLITE_STMT_JOB_LEASE, chosen->id);
    query_u64(&query, 3, lease->now);
    query_u64(&query, 4, lease->now + lease->rules[chosen->rule].timeout_ms);
    query_blob(&query, 5, bytes_of(lease->lease, STORE_JOB_LEASE_LEN));
    query_text(&query, 6, lease->worker);
    int status = run(&query);
    uint8_t unused[STORE_JOB_LEASE_LEN];
    return status < 0 ? status
                      : sqlite_job_find(db, lease->tenant, chosen->id, request_result(&lease->base),
                            &lease->jobs[lease->count++], unused);
}

static int run_lease(struct sqlite_db *db, struct store_job_lease *lease)
{
    struct candidates found = {0};
    int status = 0;
    lease->now = clock_wall_ms();
    for (size_t i = 0; status == 0 && i < lease->rule_count; i++) {
        status = collect_queue(db, lease, i, &found);
    }
    if (status == 0 && found.count == 0) {
        for (size_t i = 0; status == 0 && i < lease->rule_count; i++) {
            status = find_next(db, lease, i);
        }
        return status;
    }
    lease->jobs = result_alloc(request_result(&lease->base), lease->max * sizeof(*lease->jobs));
    if (status < 0 || !lease->jobs) {
        return status < 0 ? status : STATUS_NOMEM;
    }
    qsort(found.at, found.count, sizeof(*found.at), compare);
    bool kept[STORE_JOB_QUEUES_MAX] = {0};
    for (size_t i = 0; status == 0 && i < found.count && lease->count < lease->max; i++) {
        size_t rule = found.at[i].rule;
        status = kept[rule] ? 0 : keep_rule(db, lease, &lease->rules[rule]);
        kept[rule] = true;
        status = status < 0 ? status : give(db, lease, &found.at[i]);
    }
    return status;
}

/* --- what becomes of one --- */

/* Write how an attempt has ended; the lease with it. */
static int end(struct sqlite_db *db, const struct store_job *job)
{
    struct query query;
    open_job(&query, db, SQLITE_STMT_JOB_END, job->id);
    query_u64(&query, 3, (uint64_t)(job->state == JOB_DELAYED ? JOB_WAITING : job->state));
    query_u64(&query, 4, job->run_at);
    query_u64(&query, 5, job->ended_at);
    query_text(&query, 6, job->error);
    query_blob(&query, 7, job->result);
    query_u64(&query, 8, job->percentage);
    query_text(&query, 9, job->stage);
    query_u64(&query, 10, job->stalls);
    return run(&query);
}

static int progress(struct sqlite_db *db, struct store_job_step *step, struct store_job *job)
{
    struct result *arena = request_result(&step->base);
    struct kept_rule rule;
    int status = read_rule(db, job->queue, job->tenant, &rule);
    if (status < 0) {
        return status;
    }
    job->percentage = step->percentage;
    job->stage = result_copy(arena, step->stage);
    job->message = result_copy(arena, step->message);
    job->until = clock_wall_ms() + rule.timeout_ms;
    struct query query;
    open_job(&query, db, SQLITE_STMT_JOB_PROGRESS, job->id);
    query_u64(&query, 3, job->percentage);
    query_text(&query, 4, job->stage);
    query_text(&query, 5, job->message);
    query_u64(&query, 6, job->until);
    return run(&query);
}

/* The pause before the attempt behind `attempt`. */
static uint64_t pause_of(const struct kept_rule *rule, uint32_t attempt, uint32_t jitter)
{
    uint64_t pause = rule->backoff_ms;
    for (uint32_t i = 1; i < attempt && pause < STORE_JOB_WAIT_MAX_MS; i++) {
        pause *= 2;
    }
    pause = pause < STORE_JOB_WAIT_MAX_MS ? pause : STORE_JOB_WAIT_MAX_MS;
    return pause + pause * jitter / 1000;
}

static int fail(struct sqlite_db *db, struct store_job_step *step, struct store_job *job)
{
    struct kept_rule rule;
    uint64_t now = clock_wall_ms();
    int status = read_rule(db, job->queue, job->tenant, &rule);
    job->error = result_copy(request_result(&step->base), step->error);
    if (status == 0 && !step->final && job->attempt < rule.attempts) {
        uint64_t pause = pause_of(&rule, job->attempt, step->jitter);
        job->run_at = now + (pause > step->wait_ms ? pause : step->wait_ms);
        job->state = job->run_at > now ? JOB_DELAYED : JOB_WAITING;
    } else {
        job->state = step->final ? JOB_FAILED : JOB_DEAD;
        job->ended_at = now;
    }
    job->until = 0;
    return status < 0 ? status : end(db, job);
}

static int complete(struct sqlite_db *db, struct store_job_step *step, struct store_job *job)
{
    job->state = JOB_COMPLETED;
    job->result = result_copy(request_result(&step->base), step->result);
    job->error = (struct bytes){0};
    job->percentage = 100;
    job->stage = BYTES("completed");
    job->ended_at = clock_wall_ms();
    job->until = 0;
    return end(db, job);
}

static int release(struct sqlite_db *db, struct store_job_step *step, struct store_job *job)
{
    struct query query;
    job->state = step->wait_ms > 0 ? JOB_DELAYED : JOB_WAITING;
    job->attempt--;
    job->until = 0;
    if (step->wait_ms > 0) {
        job->run_at = clock_wall_ms() + step->wait_ms;
    }
    if (step->error.len > 0) {
        job->error = result_copy(request_result(&step->base), step->error);
    }
    open_job(&query, db, SQLITE_STMT_JOB_RELEASE, job->id);
    query_u64(&query, 3, job->run_at);
    query_text(&query, 4, job->error);
    return run(&query);
}

static int retry(struct sqlite_db *db, struct store_job_step *step)
{
    struct store_job *job = &step->job;
    if (job->state != JOB_FAILED && job->state != JOB_DEAD && job->state != JOB_DELAYED) {
        step->outcome = JOB_WRONG_STATE;
        return 0;
    }
    job->state = JOB_WAITING;
    job->attempt = job->stalls = job->percentage = 0;
    job->ended_at = 0;
    job->run_at = clock_wall_ms();
    job->stage = job->message = (struct bytes){0};
    struct query query;
    open_job(&query, db, SQLITE_STMT_JOB_RETRY, job->id);
    query_u64(&query, 3, job->run_at);
    return run(&query);
}

static int drop(struct sqlite_db *db, const uint8_t id[NOTIFICATION_ID_LEN])
{
    struct query query;
    open_job(&query, db, SQLITE_STMT_JOB_DROP, id);
    return run(&query);
}

static int run_step(struct sqlite_db *db, struct store_job_step *step)
{
    uint8_t lease[STORE_JOB_LEASE_LEN] = {0};
    struct result *arena = request_result(&step->base);
    struct store_job *job = &step->job;
    int status = sqlite_job_find(db, step->tenant, step->id, arena, job, lease);
    if (status < 0) {
        step->outcome = JOB_NOT_FOUND;
        return status == STATUS_NOT_FOUND ? 0 : status;
    }
    bool leased = job->state == JOB_ACTIVE && memcmp(lease, step->lease, sizeof(lease)) == 0;
    if (step->verb < JOB_RETRY && !leased) {
        step->outcome = JOB_NOT_LEASED;
        return 0;
    }
    switch (step->verb) {
    case JOB_PROGRESS:
        return progress(db, step, job);
    case JOB_COMPLETE:
        return complete(db, step, job);
    case JOB_FAIL:
        return fail(db, step, job);
    case JOB_RELEASE:
        return release(db, step, job);
    case JOB_RETRY:
        return retry(db, step);
    case JOB_DROP:
    case JOB_VERB_COUNT:
        break;
    }
    return drop(db, job->id);
}

static int run_pause(struct sqlite_db *db, struct store_job_pause *pause)
{
    struct query query;
    open_queue(&query, db, SQLITE_STMT_QUEUE_PAUSE, pause->queue, pause->tenant);
    query_u64(&query, 3, pause->pause);
    int changed = query_run(&query);
    pause->changed = changed > 0;
    return changed < 0 ? changed : 0;
}

/* --- sweeping --- */

/* A lease is over: the job waits again, or has had all its attempts. */
static int expire(struct sqlite_db *db, struct store_job *job, uint64_t now)
{
    struct kept_rule rule;
    int status = read_rule(db, job->queue, job->tenant, &rule);
    job->stalls++;
    job->error = BYTES("stalled");
    bool again = job->attempt < rule.attempts;
    job->state = again ? JOB_WAITING : JOB_DEAD;
    job->ended_at = again ? 0 : now;
    job->until = 0;
    return status < 0 ? status : end(db, job);
}

static int collect_expired(struct sqlite_db *db, struct store_job_sweep *sweep, uint64_t now)
{
    struct result *arena = request_result(&sweep->base);
    struct query query;
    query_open(&query, db, SQLITE_STMT_JOB_EXPIRED);
    query_u64(&query, 1, now);
    query_u64(&query, 2, sweep->limit);
    int more = query_step(&query);
    while (more > 0) {
        struct store_job *grown = result_grow(arena, sweep->jobs, sweep->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        sweep->jobs = grown;
        sqlite_job_row(&query, arena, now, &grown[sweep->count++]);
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : result_failed(arena) ? STATUS_NOMEM : 0;
}

/* Drop what is behind the newest `keep` in a state; how many. */
static int drop_ended(struct sqlite_db *db, struct bytes queue, struct bytes tenant, unsigned state,
    uint64_t keep, uint32_t limit)
{
    uint8_t id[NOTIFICATION_ID_LEN] = {0};
    uint64_t at = 0;
    struct query query;
    open_queue(&query, db, SQLITE_STMT_JOB_EDGE, queue, tenant);
    query_u64(&query, 3, state);
    query_u64(&query, 4, keep);
    int more = query_step(&query);
    if (more > 0) {
        at = query_column_u64(&query, 0);
        query_column_id(&query, 1, id);
    }
    query_close(&query);
    if (more <= 0) {
        return more;
    }
    open_queue(&query, db, SQLITE_STMT_JOB_SWEEP, queue, tenant);
    query_u64(&query, 3, state);
    query_u64(&query, 4, at);
    query_id(&query, 5, id);
    query_u64(&query, 6, limit);
    return query_run(&query);
}

/* The queue's next look: at once where it is not done, later while jobs are under way. */
static int put_off(struct sqlite_db *db, struct bytes queue, struct bytes tenant, uint64_t now)
{
    uint64_t active = 0;
    int status = count_active(db, queue, tenant, 1, &active);
    struct query query;
    if (status == 0) {
        open_queue(&query, db, SQLITE_STMT_QUEUE_SWEPT, queue, tenant);
        query_u64(&query, 3, active > 0 ? now + SWEEP_MS : 0);
        status = run(&query);
    }
    return status;
}

/* Drop what is kept too long of the queue that is due first. */
static int sweep_queue(struct sqlite_db *db, struct store_job_sweep *sweep, uint64_t now)
{
    struct result *arena = request_result(&sweep->base);
    struct bytes queue = {0};
    struct bytes tenant = {0};
    uint64_t keep[2] = {0};
    struct query query;
    query_open(&query, db, SQLITE_STMT_QUEUE_SWEEP);
    query_u64(&query, 1, now);
    int more = query_step(&query);
    if (more > 0) {
        queue = result_copy(arena, query_column(&query, 0));
        tenant = result_copy(arena, query_column(&query, 1));
        keep[0] = query_column_u64(&query, 2);
        keep[1] = query_column_u64(&query, 3);
    }
    query_close(&query);
    if (more <= 0 || result_failed(arena)) {
        return more < 0 ? more : result_failed(arena) ? STATUS_NOMEM : 0;
    }
    bool full = false;
    for (unsigned state = JOB_COMPLETED; state <= JOB_DEAD; state++) {
        int gone = drop_ended(db, queue, tenant, state, keep[state != JOB_COMPLETED], sweep->limit);
        if (gone < 0) {
            return gone;
        }
        sweep->dropped += (uint64_t)gone;
        full = full || (uint32_t)gone == sweep->limit;
    }
    sweep->more = true; /* there may be other queues */
    return full ? 0 : put_off(db, queue, tenant, now);
}

/* A key that is old: it goes, or is looked at again where its job is still there. */
struct old_key {
    struct bytes queue;
    struct bytes tenant;
    struct bytes hash;
    uint8_t id[NOTIFICATION_ID_LEN];
};

static int sweep_key(
    struct sqlite_db *db, struct result *arena, const struct old_key *key, uint64_t now)
{
    struct store_job job;
    uint8_t lease[STORE_JOB_LEASE_LEN];
    int status = sqlite_job_find(db, key->tenant, key->id, arena, &job, lease);
    if (status < 0 && status != STATUS_NOT_FOUND) {
        return status;
    }
    struct query query;
    bool stays = status == 0;
    open_queue(&query, db, stays ? SQLITE_STMT_JOB_KEY_KEEP : SQLITE_STMT_JOB_KEY_DROP, key->queue,
        key->tenant);
    query_blob(&query, 3, key->hash);
    if (stays) {
        query_u64(&query, 4, now);
    }
    return run(&query);
}

static int sweep_keys(struct sqlite_db *db, struct store_job_sweep *sweep, uint64_t now)
{
    struct result *arena = request_result(&sweep->base);
    struct old_key *keys = result_alloc(arena, sweep->limit * sizeof(*keys));
    size_t count = 0;
    if (!keys) {
        return STATUS_NOMEM;
    }
    struct query query;
    query_open(&query, db, SQLITE_STMT_JOB_KEY_OLD);
    query_u64(&query, 1, now - STORE_JOB_KEY_MS);
    query_u64(&query, 2, sweep->limit);
    int more = query_step(&query);
    for (; more > 0 && count < sweep->limit; more = query_step(&query)) {
        struct old_key *key = &keys[count++];
        key->queue = result_copy(arena, query_column(&query, 0));
        key->tenant = result_copy(arena, query_column(&query, 1));
        key->hash = result_copy(arena, query_column(&query, 2));
        query_column_id(&query, 3, key->id);
    }
    query_close(&query);
    int status = more < 0 ? more : result_failed(arena) ? STATUS_NOMEM : 0;
    for (size_t i = 0; status == 0 && i < count; i++) {
        status = sweep_key(db, arena, &keys[i], now);
    }
    sweep->more = sweep->more || count == sweep->limit;
    return status;
}

static int run_sweep(struct sqlite_db *db, struct store_job_sweep *sweep)
{
    uint64_t now = clock_wall_ms();
    int status = collect_expired(db, sweep, now);
    for (size_t i = 0; status == 0 && i < sweep->count; i++) {
        status = expire(db, &sweep->jobs[i], now);
    }
    sweep->more = sweep->count == sweep->limit;
    status = status < 0 ? status : sweep_queue(db, sweep, now);
    return status < 0 ? status : sweep_keys(db, sweep, now);
}

int sqlite_job_write(struct sqlite_db *db, struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_JOB_ADD:
        return run_add(db, (struct store_job_add *)request);
    case STORE_JOB_LEASE:
        return run_lease(db, (struct store_job_lease *)request);
    case STORE_JOB_STEP:
        return run_step(db, (struct store_job_step *)request);
    case STORE_JOB_PAUSE:
        return run_pause(db, (struct store_job_pause *)request);
    default:
        return run_sweep(db, (struct store_job_sweep *)request);
    }
}
