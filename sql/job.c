/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests about jobs must satisfy, and where they go.
 */
#include "sql/job.h"

#include <string.h>

#include "codec/slot.h"
#include "sql/engine.h"

enum { TEXT_MAX_LEN = 16 << 20 };

static bool is_text(struct bytes text, size_t max)
{
    return text.len <= max && (text.len == 0 || !memchr(text.at, '\0', text.len));
}

static bool is_queue(struct bytes tenant, struct bytes queue)
{
    return is_text(tenant, STORE_NAME_MAX) && queue.len > 0 && is_text(queue, STORE_NAME_MAX);
}

static bool is_new(const struct store_job_new *job)
{
    uint32_t slot = job->user.len > 0 ? slot_of(job->tenant, job->user) : (uint32_t)SLOT_NONE;
    return is_queue(job->tenant, job->queue) && is_text(job->type, STORE_NAME_MAX) &&
           is_text(job->user, STORE_NAME_MAX) && job->payload.len <= TEXT_MAX_LEN &&
           job->priority >= NOTIFICATION_LOW && job->priority <= NOTIFICATION_URGENT &&
           job->run_at <= INT64_MAX && slot_of_id(job->id) == slot;
}

static bool is_add(const struct store_job_add *add)
{
    bool good = add->count <= STORE_JOBS_MAX && (add->count > 0 || add->fenced) &&
                add->token <= INT64_MAX && is_text(add->last_id, STORE_NAME_MAX);
    for (size_t i = 0; good && i < add->count; i++) {
        good = is_new(&add->jobs[i]);
    }
    return good;
}

static bool is_rule(const struct store_job_rule *rule)
{
    return rule->concurrency >= 1 && rule->concurrency <= STORE_JOB_CONCURRENCY_MAX &&
           rule->attempts >= 1 && rule->attempts <= STORE_JOB_ATTEMPTS_MAX &&
           rule->keep_completed <= STORE_JOB_KEEP_MAX && rule->keep_failed <= STORE_JOB_KEEP_MAX &&
           rule->backoff_ms <= STORE_JOB_TIME_MAX_MS && rule->timeout_ms >= 1 &&
           rule->timeout_ms <= STORE_JOB_TIME_MAX_MS;
}

static bool is_lease(const struct store_job_lease *lease)
{
    bool good = lease->rule_count >= 1 && lease->rule_count <= STORE_JOB_QUEUES_MAX &&
                lease->max >= 1 && lease->max <= STORE_JOB_LEASE_MAX &&
                is_text(lease->worker, STORE_NAME_MAX);
    for (size_t i = 0; good && i < lease->rule_count; i++) {
        good = is_queue(lease->tenant, lease->rules[i].queue) && is_rule(&lease->rules[i]);
        for (size_t j = 0; good && j < i; j++) {
            good = !bytes_eq(lease->rules[i].queue, lease->rules[j].queue);
        }
    }
    return good;
}

static bool is_step(const struct store_job_step *step)
{
    return is_text(step->tenant, STORE_NAME_MAX) && step->verb >= JOB_PROGRESS &&
           step->verb < JOB_VERB_COUNT && step->percentage <= 100 && step->jitter <= 1000 &&
           step->wait_ms <= STORE_JOB_WAIT_MAX_MS && is_text(step->stage, TEXT_MAX_LEN) &&
           is_text(step->message, TEXT_MAX_LEN) && is_text(step->error, TEXT_MAX_LEN) &&
           step->result.len <= TEXT_MAX_LEN;
}

static bool is_list(const struct store_job_list *list)
{
    return is_queue(list->tenant, list->queue) && list->state >= JOB_WAITING &&
           list->state < JOB_STATE_COUNT && list->limit >= 1 && list->limit <= STORE_JOB_LIST_MAX &&
           list->after.priority < NOTIFICATION_PRIORITY_COUNT && list->after.at <= INT64_MAX;
}

static bool are_queues(const struct store_queues *queues)
{
    bool good = is_text(queues->tenant, STORE_NAME_MAX) && queues->name_count >= 1 &&
                queues->name_count <= STORE_JOB_QUEUES_MAX;
    for (size_t i = 0; good && i < queues->name_count; i++) {
        good = is_text(queues->names[i], STORE_NAME_MAX);
    }
    return good;
}

bool op_is_of_jobs(enum store_op op)
{
    return op >= STORE_JOB_ADD && op <= STORE_QUEUES;
}

bool job_is_valid(const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_JOB_ADD:
        return is_add((const struct store_job_add *)request);
    case STORE_JOB_LEASE:
        return is_lease((const struct store_job_lease *)request);
    case STORE_JOB_STEP:
        return is_step((const struct store_job_step *)request);
    case STORE_JOB_PAUSE: {
        const struct store_job_pause *pause = (const struct store_job_pause *)request;
        return is_queue(pause->tenant, pause->queue);
    }
    case STORE_JOB_SWEEP: {
        const struct store_job_sweep *sweep = (const struct store_job_sweep *)request;
        return sweep->limit >= 1 && sweep->limit <= STORE_JOB_SWEEP_MAX;
    }
    case STORE_JOB_GET:
        return is_text(((const struct store_job_get *)request)->tenant, STORE_NAME_MAX);
    case STORE_JOB_LIST:
        return is_list((const struct store_job_list *)request);
    case STORE_QUEUES:
        return are_queues((const struct store_queues *)request);
    default:
        return false;
    }
}

uint32_t job_slot(const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_JOB_ADD: {
        const struct store_job_add *add = (const struct store_job_add *)request;
        return add->count > 0 ? slot_of(add->jobs[0].tenant, add->jobs[0].queue) : add->partition;
    }
    case STORE_JOB_LEASE: {
        const struct store_job_lease *lease = (const struct store_job_lease *)request;
        return slot_of(lease->tenant, lease->rules[0].queue);
    }
    case STORE_JOB_STEP:
        return slot_of_id(((const struct store_job_step *)request)->id);
    case STORE_JOB_GET:
        return slot_of_id(((const struct store_job_get *)request)->id);
    default:
        return SLOT_NONE;
    }
}

size_t job_size(const struct store_job_add *add)
{
    size_t size = 0;
    for (size_t i = 0; i < add->count; i++) {
        const struct store_job_new *job = &add->jobs[i];
        size += job->tenant.len + job->queue.len + job->type.len + job->payload.len +
                job->user.len + 150;
    }
    return size;
}

bool job_is_fresh(const struct store_job_new *job, const uint8_t id[NOTIFICATION_ID_LEN])
{
    return memcmp(job->id, id, NOTIFICATION_ID_LEN) == 0;
}

struct store_job_cursor store_job_cursor_of(const struct store_job *job, enum job_state state)
{
    bool ready = state == JOB_WAITING || state == JOB_DELAYED;
    struct store_job_cursor cursor = {
        .priority = ready ? (uint32_t)job->priority : 0,
        .at = ready                 ? job->run_at
              : state == JOB_ACTIVE ? job->until
                                    : job->ended_at,
    };
    memcpy(cursor.id, job->id, NOTIFICATION_ID_LEN);
    return cursor;
}
