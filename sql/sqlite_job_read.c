/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs as they are: one, those of a queue in a state, and how many there are.
 */
#include "sql/sqlite_job.h"

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "codec/slot.h"

/* A column of JOB_COLUMNS. */
enum { LEASE = 21 };

void sqlite_job_row(
    const struct query *query, struct result *arena, uint64_t now, struct store_job *ret_job)
{
    *ret_job = (struct store_job){
        .tenant = result_copy(arena, query_column(query, 1)),
        .queue = result_copy(arena, query_column(query, 2)),
        .type = result_copy(arena, query_column(query, 3)),
        .payload = result_copy(arena, query_column(query, 4)),
        .user = result_copy(arena, query_column(query, 5)),
        .worker = result_copy(arena, query_column(query, 6)),
        .stage = result_copy(arena, query_column(query, 7)),
        .message = result_copy(arena, query_column(query, 8)),
        .error = result_copy(arena, query_column(query, 9)),
        .result = result_copy(arena, query_column(query, 10)),
        .priority = (enum notification_priority)query_column_u64(query, 11),
        .state = (enum job_state)query_column_u64(query, 12),
        .attempt = (uint32_t)query_column_u64(query, 13),
        .stalls = (uint32_t)query_column_u64(query, 14),
        .percentage = (uint32_t)query_column_u64(query, 15),
        .created_at = query_column_u64(query, 16),
        .run_at = query_column_u64(query, 17),
        .started_at = query_column_u64(query, 18),
        .until = query_column_u64(query, 19),
        .ended_at = query_column_u64(query, 20),
    };
    query_column_id(query, 0, ret_job->id);
    if (ret_job->state == JOB_WAITING && ret_job->run_at > now) {
        ret_job->state = JOB_DELAYED;
    }
}

int sqlite_job_find(struct sqlite_db *db, struct bytes tenant,
    const uint8_t id[NOTIFICATION_ID_LEN], struct result *arena, struct store_job *ret_job,
    uint8_t ret_lease[STORE_JOB_LEASE_LEN])
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_JOB_FIND);
    query_u64(&query, 1, slot_of_id(id));
    query_id(&query, 2, id);
    int more = query_step(&query);
    if (more > 0) {
        sqlite_job_row(&query, arena, clock_wall_ms(), ret_job);
        query_column_id(&query, LEASE, ret_lease);
    }
    query_close(&query);
    if (more <= 0) {
        return more < 0 ? more : STATUS_NOT_FOUND;
    }
    if (result_failed(arena)) {
        return STATUS_NOMEM;
    }
    return bytes_eq(ret_job->tenant, tenant) ? 0 : STATUS_NOT_FOUND;
}

static int run_get(struct sqlite_db *db, struct store_job_get *get)
{
    uint8_t lease[STORE_JOB_LEASE_LEN];
    struct result *arena = request_result(&get->base);
    return sqlite_job_find(db, get->tenant, get->id, arena, &get->job, lease);
}

/* --- lists --- */

/* Append rows up to the limit; tells whether there are more. */
static int collect(struct query *query, struct store_job_list *list, uint64_t now)
{
    struct result *arena = request_result(&list->base);
    int more = query_step(query);
    while (more > 0 && list->count < list->limit) {
        struct store_job *grown = result_grow(arena, list->jobs, list->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        list->jobs = grown;
        sqlite_job_row(query, arena, now, &grown[list->count++]);
        more = query_step(query);
    }
    query_close(query);
    list->more = list->more || more > 0;
    return more < 0 ? more : 0;
}

static void open_list(struct query *query, struct sqlite_db *db, const struct store_job_list *list,
    enum sqlite_statement which, const struct store_job_cursor *after)
{
    query_open(query, db, which);
    query_text(query, 1, list->queue);
    query_text(query, 2, list->tenant);
    query_u64(query, 3, after->at);
    query_id(query, 4, after->id);
    query_u64(query, 5, (uint64_t)list->limit + 1);
}

/* The highest priority first; of that at which it goes on, what is behind. */
static int list_ready(struct sqlite_db *db, struct store_job_list *list, uint64_t now)
{
    bool delayed = list->state == JOB_DELAYED;
    bool begins = list->after.at == 0;
    int status = 0;
    for (int priority = NOTIFICATION_URGENT; status == 0 && priority >= NOTIFICATION_LOW;
         priority--) {
        if (!begins && (uint32_t)priority > list->after.priority) {
            continue;
        }
        bool here = !begins && (uint32_t)priority == list->after.priority;
        struct store_job_cursor none = {0};
        struct query query;
        open_list(&query, db, list, SQLITE_STMT_JOB_LIST_READY, here ? &list->after : &none);
        query_u64(&query, 6, (uint64_t)priority);
        query_u64(&query, 7, delayed ? now : 0);
        query_u64(&query, 8, delayed ? INT64_MAX : now);
        status = collect(&query, list, now);
    }
    return status;
}

static int run_list(struct sqlite_db *db, struct store_job_list *list)
{
    uint64_t now = clock_wall_ms();
    if (list->state == JOB_WAITING || list->state == JOB_DELAYED) {
        return list_ready(db, list, now);
    }
    bool active = list->state == JOB_ACTIVE;
    struct store_job_cursor after = list->after;
    if (!active && after.at == 0) { /* from the newest on */
        after.at = INT64_MAX;
    }
    struct query query;
    open_list(&query, db, list, active ? SQLITE_STMT_JOB_LIST_ACTIVE : SQLITE_STMT_JOB_LIST_ENDED,
        &after);
    if (!active) {
        query_u64(&query, 6, (uint64_t)list->state);
    }
    return collect(&query, list, now);
}

/* --- counts --- */

/* Run to the one row of a statement that counts. */
static int read_row(struct query *query, uint64_t *ret_values, int count)
{
    int more = query_step(query);
    for (int i = 0; more > 0 && i < count; i++) {
        ret_values[i] = query_column_u64(query, i);
    }
    query_close(query);
    return more < 0 ? more : 0;
}

static void open_count(
    struct query *query, struct sqlite_db *db, enum sqlite_statement which, struct bytes queue)
{
    query_open(query, db, which);
    query_text(query, 1, queue);
}

static uint64_t since(uint64_t at, uint64_t now)
{
    return at > 0 && at < now ? now - at : 0;
}

/* Count waiting or delayed ones of each priority. */
static int count_ready(struct sqlite_db *db, const struct store_queues *queues, struct bytes name,
    bool delayed, uint64_t now, uint64_t ret_values[2])
{
    int status = 0;
    ret_values[0] = ret_values[1] = 0;
    for (unsigned priority = 0; status == 0 && priority < NOTIFICATION_PRIORITY_COUNT; priority++) {
        uint64_t found[2] = {0};
        struct query query;
        open_count(&query, db, SQLITE_STMT_QUEUE_READY, name);
        query_text(&query, 2, queues->tenant);
        query_u64(&query, 3, priority);
        query_u64(&query, 4, delayed ? now : 0);
        query_u64(&query, 5, delayed ? INT64_MAX : now);
        query_u64(&query, 6, STORE_JOB_COUNT_MAX);
        status = read_row(&query, found, 2);
        ret_values[0] += found[0];
        if (found[0] > 0 && (ret_values[1] == 0 || found[1] < ret_values[1])) {
            ret_values[1] = found[1];
        }
    }
    ret_values[0] = ret_values[0] > STORE_JOB_COUNT_MAX ? STORE_JOB_COUNT_MAX : ret_values[0];
    return status;
}

static int count_ended(struct sqlite_db *db, const struct store_queues *queues, struct bytes name,
    uint64_t now, uint64_t kept, struct store_queue *queue)
{
    struct query query;
    int status = 0;
    for (unsigned state = JOB_COMPLETED; status == 0 && state <= JOB_DEAD; state++) {
        open_count(&query, db, SQLITE_STMT_QUEUE_ENDED, name);
        query_text(&query, 2, queues->tenant);
        query_u64(&query, 3, state);
        query_u64(&query, 4, STORE_JOB_COUNT_MAX);
        status = read_row(&query, &queue->counts[state], 1);
    }
    if (status < 0) {
        return status;
    }
    uint64_t rate[2] = {0};
    open_count(&query, db, SQLITE_STMT_QUEUE_RATE, name);
    query_text(&query, 2, queues->tenant);
    query_u64(&query, 3, now - STORE_JOB_RATE_MS);
    query_u64(&query, 4, STORE_JOB_COUNT_MAX);
    status = read_row(&query, rate, 2);
    queue->ended = rate[0];
    bool cut = rate[0] > 0 && rate[0] >= kept; /* what was before the first of these is gone */
    queue->ended_ms = cut ? since(rate[1], now) : (uint64_t)STORE_JOB_RATE_MS;
    return status;
}

static int count_one(struct sqlite_db *db, const struct store_queues *queues, struct bytes name,
    uint64_t now, struct store_queue *queue)
{
    uint64_t values[2] = {0};
    uint64_t later[2] = {0};
    uint64_t active[2] = {0};
    uint64_t row[5] = {0, 0, 0, 0, STORE_JOB_COUNT_MAX}; /* paused is first, keep_completed last */
    int status = count_ready(db, queues, name, false, now, values);
    status = status < 0 ? status : count_ready(db, queues, name, true, now, later);
    struct query query;
    if (status == 0) {
        open_count(&query, db, SQLITE_STMT_QUEUE_ACTIVE, name);
        query_text(&query, 2, queues->tenant);
        query_u64(&query, 3, STORE_JOB_COUNT_MAX);
        status = read_row(&query, active, 2);
    }
    if (status == 0) {
        open_count(&query, db, SQLITE_STMT_QUEUE_FIND, name);
        query_text(&query, 2, queues->tenant);
        status = read_row(&query, row, 5);
    }
    queue->paused = row[0] != 0;
    queue->counts[JOB_WAITING] = values[0];
    queue->counts[JOB_DELAYED] = later[0];
    queue->counts[JOB_ACTIVE] = active[0];
    queue->waiting_ms = since(values[1], now);
    queue->active_ms = since(active[1], now);
    queue->next_ms = later[1] > now ? later[1] - now : 0;
    return status < 0 ? status : count_ended(db, queues, name, now, row[4], queue);
}

/* Of all tenants together, of the first that are found. */
static int count_all(
    struct sqlite_db *db, struct bytes name, uint64_t now, struct store_queue *queue)
{
    uint64_t ready[3] = {0};
    uint64_t active[2] = {0};
    struct query query;
    open_count(&query, db, SQLITE_STMT_QUEUE_ALL_READY, name);
    query_u64(&query, 2, STORE_JOB_COUNT_MAX);
    query_u64(&query, 3, now);
    int status = read_row(&query, ready, 3);
    if (status == 0) {
        open_count(&query, db, SQLITE_STMT_QUEUE_ALL_ACTIVE, name);
        query_u64(&query, 2, STORE_JOB_COUNT_MAX);
        status = read_row(&query, active, 2);
    }
    if (status == 0) {
        open_count(&query, db, SQLITE_STMT_QUEUE_ALL_ENDED, name);
        query_u64(&query, 2, STORE_JOB_COUNT_MAX);
        status = read_row(&query, &queue->counts[JOB_COMPLETED], 3);
    }
    queue->counts[JOB_WAITING] = ready[0];
    queue->counts[JOB_DELAYED] = ready[2];
    queue->counts[JOB_ACTIVE] = active[0];
    queue->waiting_ms = since(ready[1], now);
    queue->active_ms = since(active[1], now);
    return status;
}

static int run_queues(struct sqlite_db *db, struct store_queues *queues)
{
    uint64_t now = clock_wall_ms();
    queues->queues =
        result_alloc(request_result(&queues->base), queues->name_count * sizeof(*queues->queues));
    if (!queues->queues) {
        return STATUS_NOMEM;
    }
    int status = 0;
    for (size_t i = 0; status == 0 && i < queues->name_count; i++) {
        status = queues->all_tenants
                     ? count_all(db, queues->names[i], now, &queues->queues[i])
                     : count_one(db, queues, queues->names[i], now, &queues->queues[i]);
    }
    return status;
}

int sqlite_job_read(struct sqlite_db *db, struct store_request *request)
{
    if (request->op == STORE_JOB_GET) {
        return run_get(db, (struct store_job_get *)request);
    }
    if (request->op == STORE_JOB_LIST) {
        return run_list(db, (struct store_job_list *)request);
    }
    return run_queues(db, (struct store_queues *)request);
}
