/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What calls of jobs and queues read, and how a job is written.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/job_post.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_jobs.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"

static const struct config_queue *find_queue(const struct config *config, struct bytes name)
{
    for (size_t i = 0; i < config->queue_count; i++) {
        if (bytes_eq_str(name, config->queues[i].name)) {
            return &config->queues[i];
        }
    }
    return NULL;
}

const struct config_queue *api_jobs_open_queue(const struct config *config, struct bytes name)
{
    const struct config_queue *queue = find_queue(config, name);
    return queue != NULL && !config_queue_is_own(queue) ? queue : NULL;
}

struct store_job_rule api_jobs_rule(const struct config_queue *queue)
{
    return (struct store_job_rule){
        .queue = bytes_str(queue->name),
        .concurrency = queue->concurrency,
        .attempts = queue->attempts,
        .keep_completed = queue->keep_completed,
        .keep_failed = queue->keep_failed,
        .backoff_ms = queue->backoff_ms,
        .timeout_ms = queue->timeout_ms,
    };
}

bool api_jobs_read_object(
    struct http_request *request, unsigned depth, const char *known, struct bytes *ret_object)
{
    if (json_scan_text(request->body, depth, ret_object, NULL) != 0 ||
        json_scan_kind(*ret_object) != JSON_SCAN_OBJECT) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object"});
        return false;
    }
    return api_fields_check(request, *ret_object, known);
}

bool api_jobs_read_text(struct http_request *request, struct bytes object,
    const struct api_jobs_text *wanted, char **ret_at, struct bytes *ret_text)
{
    char message[64];
    struct bytes value;
    *ret_at = NULL;
    *ret_text = bytes_of(NULL, 0);
    int status = json_scan_get(object, wanted->member, &value);
    if (status == STATUS_NOT_FOUND && !wanted->needed) {
        return true;
    }
    snprintf(message, sizeof(message), "A string of %s%zu bytes, once",
        wanted->needed ? "1 to " : "at most ", wanted->max);
    if (status != 0 || json_scan_kind(value) != JSON_SCAN_STRING) {
        api_refuse_field(request, wanted->member, message);
        return false;
    }
    *ret_at = mem_try_alloc(value.len);
    if (*ret_at == NULL) {
        api_refuse_memory(request);
        return false;
    }
    if (json_scan_string(value, *ret_at, value.len, ret_text) != 0 || ret_text->len > wanted->max ||
        (wanted->needed && ret_text->len == 0)) {
        mem_free(*ret_at);
        *ret_at = NULL;
        api_refuse_field(request, wanted->member, message);
        return false;
    }
    if (ret_text->len > 0) { /* it may stand in the body, which is borrowed */
        memmove(*ret_at, ret_text->at, ret_text->len);
    }
    *ret_text = bytes_of(*ret_at, ret_text->len);
    return true;
}

void api_jobs_refuse_absent(struct http_request *request)
{
    api_refuse(
        request, &(struct api_error){.code = ERROR_NOT_FOUND, .message = "There is no such job"});
}

bool api_jobs_read_id(struct http_request *request, uint8_t ret_id[NOTIFICATION_ID_LEN])
{
    char at[UUID_TEXT_LEN + 1];
    struct bytes id;
    if (http_param(request, 0, at, sizeof(at), &id) != 0 ||
        uuid_parse(id.at, id.len, ret_id) != 0) {
        api_jobs_refuse_absent(request);
        return false;
    }
    return true;
}

bool api_jobs_read_queue(
    struct http_request *request, char *at, size_t size, const struct config_queue **ret_queue)
{
    struct bytes name;
    *ret_queue = NULL;
    if (http_param(request, 0, at, size, &name) == 0) {
        *ret_queue = find_queue(api_shard(request)->settings->config, name);
    }
    if (*ret_queue == NULL) {
        api_refuse(request,
            &(struct api_error){
                .code = ERROR_NOT_FOUND, .message = "There is no such queue", .field = "queue"});
    }
    return *ret_queue != NULL;
}

const char *api_jobs_state_name(enum job_state state)
{
    static const char *const names[JOB_STATE_COUNT] = {
        "waiting", "active", "completed", "failed", "dead", "delayed"};
    return state < JOB_STATE_COUNT ? names[state] : "";
}

static void write_text(struct builder *out, const char *key, struct bytes text)
{
    if (text.len > 0) {
        json_write_text(out, key, text);
    }
}

static void write_time(struct builder *out, const char *key, uint64_t at)
{
    if (at > 0) {
        json_write_time(out, key, at);
    }
}

void api_jobs_write(const struct store_job *job, const uint8_t *lease, struct builder *out)
{
    json_write_uuid(out, "id", job->id);
    json_write_text(out, "queue", job->queue);
    json_write_text(out, "type", job->type);
    json_write_json(out, "payload", job->payload);
    json_write_u64(out, "attempt", job->attempt);
    write_text(out, "user", job->user);
    json_write_text(out, "priority", notification_priority_name(job->priority));
    if (lease != NULL) {
        json_write_uuid(out, "lease", lease);
        json_write_time(out, "until", job->until);
        return;
    }
    json_write_text(out, "state", bytes_str(api_jobs_state_name(job->state)));
    json_write_u64(out, "stalled", job->stalls);
    json_write_u64(out, "percentage", job->percentage);
    write_text(out, "stage", job->stage);
    write_text(out, "message", job->message);
    write_text(out, "worker", job->worker);
    write_text(out, "error", job->error);
    if (job->result.len > 0) {
        json_write_json(out, "result", job->result);
    }
    write_time(out, "createdAt", job->created_at);
    write_time(out, "runAt", job->run_at);
    write_time(out, "startedAt", job->started_at);
    write_time(out, "until", job->until);
    write_time(out, "endedAt", job->ended_at);
}
