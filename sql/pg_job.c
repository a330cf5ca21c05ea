/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs as statements: what writes, its answers, what reads, its answers.
 */
#include "sql/pg_job.h"

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/engine.h"

/* --- sending what writes --- */

static struct bytes new_bytes(const struct store_job_new *job, unsigned which)
{
    switch (which) {
    case 0:
        return job->tenant;
    case 1:
        return job->user;
    case 2:
        return bytes_of(job->id, NOTIFICATION_ID_LEN);
    case 3:
        return job->queue;
    case 4:
        return job->type;
    case 5:
        return job->payload;
    default:
        return bytes_of(job->key_hash, STORE_HASH_LEN);
    }
}

static enum pg_statement add_add(struct pg_params *params, const struct store_job_add *add)
{
    static const enum pg_type types[] = {
        PG_TEXT, PG_TEXT, PG_UUID, PG_TEXT, PG_TEXT, PG_BYTEA, PG_UUID};
    pg_add_array(params, PG_INT2, add->count);
    for (size_t i = 0; i < add->count; i++) {
        pg_add_element_i16(params, (int16_t)slot_of_id(add->jobs[i].id));
    }
    for (unsigned which = 0; which < sizeof(types) / sizeof(types[0]); which++) {
        pg_add_array(params, types[which], add->count);
        for (size_t i = 0; i < add->count; i++) {
            pg_add_element(params, new_bytes(&add->jobs[i], which));
        }
    }
    pg_add_array(params, PG_INT2, add->count);
    for (size_t i = 0; i < add->count; i++) {
        pg_add_element_i16(params, (int16_t)add->jobs[i].priority);
    }
    pg_add_array(params, PG_INT8, add->count);
    for (size_t i = 0; i < add->count; i++) {
        pg_add_element_i64(params, add->jobs[i].run_at);
    }
    return PG_STMT_JOB_ADD;
}

static uint64_t rule_number(const struct store_job_rule *rule, unsigned which)
{
    switch (which) {
    case 0:
        return rule->concurrency;
    case 1:
        return rule->attempts;
    case 2:
        return rule->backoff_ms;
    case 3:
        return rule->timeout_ms;
    case 4:
        return rule->keep_completed;
    default:
        return rule->keep_failed;
    }
}

static enum pg_statement add_lease(struct pg_params *params, const struct store_job_lease *lease)
{
    enum { NUMBERS = 6 };
    pg_add_text(params, lease->tenant);
    pg_add_array(params, PG_TEXT, lease->rule_count);
    for (size_t i = 0; i < lease->rule_count; i++) {
        pg_add_element(params, lease->rules[i].queue);
    }
    for (unsigned which = 0; which < NUMBERS; which++) {
        pg_add_array(params, PG_INT8, lease->rule_count);
        for (size_t i = 0; i < lease->rule_count; i++) {
            pg_add_element_i64(params, rule_number(&lease->rules[i], which));
        }
    }
    pg_add_i32(params, (int32_t)lease->max);
    pg_add_text(params, lease->worker);
    pg_add_uuid(params, lease->lease);
    return PG_STMT_JOB_LEASE;
}

static enum pg_statement add_step(struct pg_params *params, const struct store_job_step *step)
{
    pg_add_i16(params, (int16_t)slot_of_id(step->id));
    pg_add_uuid(params, step->id);
    pg_add_text(params, step->tenant);
    pg_add_i32(params, (int32_t)step->verb);
    pg_add_uuid(params, step->lease);
    pg_add_i32(params, (int32_t)step->percentage);
    pg_add_text(params, step->stage);
    pg_add_text(params, step->message);
    pg_add_text(params, step->result);
    pg_add_text(params, step->error);
    pg_add_i32(params, step->final);
    pg_add_i32(params, (int32_t)step->jitter);
    pg_add_u64(params, step->wait_ms);
    return PG_STMT_JOB_STEP;
}

static enum pg_statement add_pause(struct pg_params *params, const struct store_job_pause *pause)
{
    pg_add_text(params, pause->queue);
    pg_add_text(params, pause->tenant);
    pg_add_i16(params, pause->pause);
    return PG_STMT_JOB_PAUSE;
}

static void send(struct pg_conn *conn, struct pg_flight *flight, enum pg_statement which)
{
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .count = 1});
}

void pg_job_send(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_request *request = flight->requests[0];
    struct pg_params *params = pg_conn_params(conn);
    if (request->op == STORE_JOB_ADD) {
        send(conn, flight, add_add(params, (const struct store_job_add *)request));
    } else if (request->op == STORE_JOB_LEASE) {
        send(conn, flight, add_lease(params, (const struct store_job_lease *)request));
    } else if (request->op == STORE_JOB_STEP) {
        send(conn, flight, add_step(params, (const struct store_job_step *)request));
    } else if (request->op == STORE_JOB_PAUSE) {
        send(conn, flight, add_pause(params, (const struct store_job_pause *)request));
    } else {
        int32_t limit = (int32_t)((const struct store_job_sweep *)request)->limit;
        pg_add_i32(params, limit);
        send(conn, flight, PG_STMT_JOB_EXPIRE);
        pg_add_i32(pg_conn_params(conn), limit);
        send(conn, flight, PG_STMT_JOB_SWEEP);
    }
}

/* --- taking in its answers --- */

/* PG_JOB of pg_job.def, from column `at`. */
static void read_job(const PGresult *rows, int row, int at, uint64_t now, struct result *arena,
    struct store_job *ret_job)
{
    *ret_job = (struct store_job){
        .tenant = result_copy(arena, pg_bytes(rows, row, at + 1)),
        .queue = result_copy(arena, pg_bytes(rows, row, at + 2)),
        .type = result_copy(arena, pg_bytes(rows, row, at + 3)),
        .payload = result_copy(arena, pg_bytes(rows, row, at + 4)),
        .user = result_copy(arena, pg_bytes(rows, row, at + 5)),
        .worker = result_copy(arena, pg_bytes(rows, row, at + 6)),
        .stage = result_copy(arena, pg_bytes(rows, row, at + 7)),
        .message = result_copy(arena, pg_bytes(rows, row, at + 8)),
        .error = result_copy(arena, pg_bytes(rows, row, at + 9)),
        .result = result_copy(arena, pg_bytes(rows, row, at + 10)),
        .priority = (enum notification_priority)pg_i16(rows, row, at + 11),
        .state = (enum job_state)pg_i16(rows, row, at + 12),
        .attempt = pg_u32(rows, row, at + 13),
        .stalls = pg_u32(rows, row, at + 14),
        .percentage = pg_u32(rows, row, at + 15),
        .created_at = pg_u64(rows, row, at + 16),
        .run_at = pg_u64(rows, row, at + 17),
        .started_at = pg_u64(rows, row, at + 18),
        .until = pg_u64(rows, row, at + 19),
        .ended_at = pg_u64(rows, row, at + 20),
    };
    pg_uuid(rows, row, at, ret_job->id);
    if (ret_job->state == JOB_WAITING && now > 0 && ret_job->run_at > now) {
        ret_job->state = JOB_DELAYED;
    }
}

static int read_added(struct store_job_add *add, const PGresult *rows)
{
    size_t count = (size_t)PQntuples(rows);
    if (count != add->count) {
        return STATUS_UNAVAILABLE;
    }
    add->added = result_alloc(request_result(&add->base), count * sizeof(*add->added));
    for (size_t i = 0; add->added && i < count; i++) {
        pg_uuid(rows, (int)i, 0, add->added[i].id);
        add->added[i].repeat = pg_bool(rows, (int)i, 1);
    }
    return 0;
}

/* Rows from `first` on as an array; NULL: no memory, which the arena remembers. */
static struct store_job *read_jobs(
    struct store_request *request, const PGresult *rows, int at, size_t count)
{
    struct result *arena = request_result(request);
    struct store_job *jobs = result_alloc(arena, count * sizeof(*jobs));
    for (size_t i = 0; jobs && i < count; i++) {
        read_job(rows, (int)i, at, pg_u64(rows, (int)i, 0), arena, &jobs[i]);
    }
    return jobs;
}

static int read_lease(struct store_job_lease *lease, const PGresult *rows)
{
    enum { NOW, NEXT, JOB };
    size_t count = (size_t)PQntuples(rows);
    if (count == 0) {
        return STATUS_UNAVAILABLE;
    }
    lease->now = pg_u64(rows, 0, NOW);
    lease->next_at = pg_u64(rows, 0, NEXT);
    if (PQgetisnull(rows, 0, JOB)) {
        return 0;
    }
    lease->jobs = read_jobs(&lease->base, rows, JOB, count);
    lease->count = lease->jobs ? count : 0;
    return 0;
}

static int read_step(struct store_job_step *step, const PGresult *rows)
{
    enum { OUTCOME, NOW, JOB };
    if (PQntuples(rows) != 1) {
        return STATUS_UNAVAILABLE;
    }
    step->outcome = (enum job_outcome)pg_u32(rows, 0, OUTCOME);
    if (step->outcome != JOB_NOT_FOUND) {
        read_job(rows, 0, JOB, pg_u64(rows, 0, NOW), request_result(&step->base), &step->job);
    }
    return 0;
}

static int read_sweep(struct store_job_sweep *sweep, enum pg_statement which, const PGresult *rows)
{
    size_t count = (size_t)PQntuples(rows);
    if (which == PG_STMT_JOB_EXPIRE) {
        sweep->jobs = read_jobs(&sweep->base, rows, 1, count);
        sweep->count = sweep->jobs ? count : 0;
        sweep->more = count == sweep->limit;
        return 0;
    }
    if (count != 1) {
        return STATUS_UNAVAILABLE;
    }
    sweep->dropped = pg_u64(rows, 0, 0);
    sweep->more = sweep->more || pg_bool(rows, 0, 1);
    return 0;
}

int pg_job_rows(struct store_request *request, enum pg_statement which, const PGresult *rows)
{
    switch ((unsigned)request->op) {
    case STORE_JOB_ADD:
        return read_added((struct store_job_add *)request, rows);
    case STORE_JOB_LEASE:
        return read_lease((struct store_job_lease *)request, rows);
    case STORE_JOB_STEP:
        return read_step((struct store_job_step *)request, rows);
    case STORE_JOB_PAUSE:
        ((struct store_job_pause *)request)->changed = PQntuples(rows) > 0;
        return 0;
    default:
        return read_sweep((struct store_job_sweep *)request, which, rows);
    }
}

/* --- what reads --- */

static enum pg_statement add_list(struct pg_params *params, const struct store_job_list *list)
{
    bool ready = list->state == JOB_WAITING || list->state == JOB_DELAYED;
    bool ended = !ready && list->state != JOB_ACTIVE;
    pg_add_text(params, list->queue);
    pg_add_text(params, list->tenant);
    pg_add_u64(params, ended && list->after.at == 0 ? INT64_MAX : list->after.at);
    pg_add_uuid(params, list->after.id);
    pg_add_u64(params, (uint64_t)list->limit + 1);
    if (ready) {
        pg_add_i16(params, (int16_t)list->after.priority);
        pg_add_i16(params, list->state == JOB_DELAYED);
        return PG_STMT_JOB_LIST_READY;
    }
    if (ended) {
        pg_add_i16(params, (int16_t)list->state);
        return PG_STMT_JOB_LIST_ENDED;
    }
    return PG_STMT_JOB_LIST_ACTIVE;
}

static enum pg_statement add_queues(struct pg_params *params, const struct store_queues *queues)
{
    pg_add_array(params, PG_TEXT, queues->name_count);
    for (size_t i = 0; i < queues->name_count; i++) {
        pg_add_element(params, queues->names[i]);
    }
    if (queues->all_tenants) {
        return PG_STMT_QUEUES_ALL;
    }
    pg_add_text(params, queues->tenant);
    return PG_STMT_QUEUES;
}

enum pg_statement pg_job_add_read(struct pg_params *params, const struct store_request *request)
{
    if (request->op == STORE_JOB_LIST) {
        return add_list(params, (const struct store_job_list *)request);
    }
    if (request->op == STORE_QUEUES) {
        return add_queues(params, (const struct store_queues *)request);
    }
    const struct store_job_get *get = (const struct store_job_get *)request;
    pg_add_i16(params, (int16_t)slot_of_id(get->id));
    pg_add_uuid(params, get->id);
    pg_add_text(params, get->tenant);
    return PG_STMT_JOB_GET;
}

static int read_list(struct store_job_list *list, const PGresult *rows)
{
    size_t count = (size_t)PQntuples(rows);
    list->more = count > list->limit;
    count = list->more ? list->limit : count;
    list->jobs = read_jobs(&list->base, rows, 1, count);
    list->count = list->jobs ? count : 0;
    return 0;
}

static uint64_t since(uint64_t at, uint64_t now)
{
    return at > 0 && at < now ? now - at : 0;
}

static void read_queue(const PGresult *rows, int row, struct store_queue *ret_queue)
{
    enum { NOW, PAUSED, KEPT, WAITING, DUE, DELAYED, NEXT, ACTIVE, BEGAN, ENDED, ENDED_RATE = 12 };
    uint64_t now = pg_u64(rows, row, NOW);
    uint64_t next = pg_u64(rows, row, NEXT);
    *ret_queue = (struct store_queue){
        .paused = pg_i16(rows, row, PAUSED) != 0,
        .counts = {[JOB_WAITING] = pg_u64(rows, row, WAITING),
            [JOB_ACTIVE] = pg_u64(rows, row, ACTIVE),
            [JOB_COMPLETED] = pg_u64(rows, row, ENDED),
            [JOB_FAILED] = pg_u64(rows, row, ENDED + 1),
            [JOB_DEAD] = pg_u64(rows, row, ENDED + 2),
            [JOB_DELAYED] = pg_u64(rows, row, DELAYED)},
        .waiting_ms = since(pg_u64(rows, row, DUE), now),
        .active_ms = since(pg_u64(rows, row, BEGAN), now),
        .next_ms = next > now ? next - now : 0,
        .ended = pg_u64(rows, row, ENDED_RATE),
        .ended_ms = STORE_JOB_RATE_MS,
    };
    if (ret_queue->ended > 0 && ret_queue->ended >= pg_u64(rows, row, KEPT)) {
        ret_queue->ended_ms = since(pg_u64(rows, row, ENDED_RATE + 1), now);
    }
}

static int read_queues(struct store_queues *queues, const PGresult *rows)
{
    if ((size_t)PQntuples(rows) != queues->name_count) {
        return STATUS_UNAVAILABLE;
    }
    queues->queues =
        result_alloc(request_result(&queues->base), queues->name_count * sizeof(*queues->queues));
    for (size_t i = 0; queues->queues && i < queues->name_count; i++) {
        read_queue(rows, (int)i, &queues->queues[i]);
    }
    return 0;
}

int pg_job_read(struct store_request *request, const PGresult *rows)
{
    if (request->op == STORE_JOB_LIST) {
        return read_list((struct store_job_list *)request, rows);
    }
    if (request->op == STORE_QUEUES) {
        return read_queues((struct store_queues *)request, rows);
    }
    if (PQntuples(rows) == 0) {
        return STATUS_NOT_FOUND;
    }
    struct store_job_get *get = (struct store_job_get *)request;
    read_job(rows, 0, 1, pg_u64(rows, 0, 0), request_result(request), &get->job);
    return 0;
}
