/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues: how they stand, which jobs they have, stopping them and going on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/jobs/jobs.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/job_post.h"
#include "codec/json_write.h"
#include "codec/query.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_jobs.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "sql/store.h"

enum { LIMIT_DEFAULT = 20, CURSOR_MAX = 80, MINUTE_MS = 60000 };

/* A call under way. It outlives its request when the peer goes. */
struct queue_call {
    struct api_call api; /* first */
    struct api_who who;
    struct shard *shard;
    struct api_settings *settings; /* a reference: the names of queues are in it */
    char queue_at[JOB_QUEUE_MAX];
    struct bytes names[STORE_JOB_QUEUES_MAX];
    union {
        struct store_request base;
        struct store_queues queues;
        struct store_job_list list;
        struct store_job_pause pause;
    } op;
};

static void free_call(struct queue_call *call)
{
    api_call_end(&call->api);
    api_settings_unref(call->settings);
    mem_free(call);
}

/* NULL: the request was answered. */
static struct queue_call *make_call(struct http_request *request)
{
    struct queue_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    call->settings = api_settings_ref(api_shard(request)->settings);
    if (!api_auth_backend(request, APIKEY_JOBS, &call->who)) {
        free_call(call);
        return NULL;
    }
    return call;
}

static void on_overdue(struct api_call *api)
{
    const struct queue_call *call = container_of(api, struct queue_call, api);
    if (call->op.base.op == STORE_JOB_PAUSE) {
        api_refuse_unknown(api->request);
    } else {
        api_refuse_unavailable(api->request);
    }
}

static void submit(struct http_request *request, struct queue_call *call)
{
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(call->shard->store, &call->op.base);
}

/* --- how they stand --- */

static void write_queue(
    const struct config_queue *rule, const struct store_queue *queue, struct builder *out)
{
    json_write_next(out);
    json_write_open(out, '{');
    json_write_text(out, "name", bytes_str(rule->name));
    json_write_bool(out, "paused", queue->paused);
    json_write_u64(out, "concurrency", rule->concurrency);
    json_write_key(out, "counts");
    json_write_open(out, '{');
    for (enum job_state state = JOB_WAITING; state < JOB_STATE_COUNT; state++) {
        json_write_u64(out, api_jobs_state_name(state), queue->counts[state]);
    }
    json_write_close(out, '}');
    json_write_u64(out, "waitingMs", queue->waiting_ms);
    json_write_u64(out, "activeMs", queue->active_ms);
    json_write_u64(out, "nextMs", queue->next_ms);
    uint64_t span = queue->ended_ms > 0 ? queue->ended_ms : 1;
    json_write_u64(out, "completedPerMinute", queue->ended * MINUTE_MS / span);
    json_write_close(out, '}');
}

static void on_counted(struct store_request *request)
{
    struct queue_call *call = container_of(request, struct queue_call, op.base);
    struct builder out = {0};
    if (call->api.request != NULL && request->status == 0) {
        json_write_open(&out, '{');
        json_write_key(&out, "queues");
        json_write_open(&out, '[');
        for (size_t i = 0; i < call->op.queues.name_count; i++) {
            write_queue(&call->settings->config->queues[i], &call->op.queues.queues[i], &out);
        }
        json_write_close(&out, ']');
        json_write_close(&out, '}');
        api_answer(call->api.request, 200, BYTES(API_JOBS_NO_STORE), &out);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    free_call(call);
}

void api_queues_list(struct http_request *request, void *context)
{
    (void)context;
    struct queue_call *call = make_call(request);
    if (call == NULL) {
        return;
    }
    const struct config *config = call->settings->config;
    for (size_t i = 0; i < config->queue_count; i++) {
        call->names[i] = bytes_str(config->queues[i].name);
    }
    call->op.queues = (struct store_queues){
        .base = {.op = STORE_QUEUES, .done = on_counted},
        .tenant = call->who.tenant,
        .names = call->names,
        .name_count = config->queue_count,
    };
    submit(request, call);
}

/* --- which jobs they have --- */

static void write_next(struct builder *out, const struct store_job_list *list)
{
    if (!list->more || list->count == 0) {
        json_write_json(out, "next", bytes_of(NULL, 0));
        return;
    }
    struct store_job_cursor cursor = store_job_cursor_of(&list->jobs[list->count - 1], list->state);
    char id[UUID_TEXT_LEN];
    char text[CURSOR_MAX];
    uuid_format(cursor.id, id);
    int len = snprintf(text, sizeof(text), "%" PRIu32 ".%" PRIu64 ".%.*s", cursor.priority,
        cursor.at, UUID_TEXT_LEN, id);
    json_write_text(out, "next", bytes_of(text, (size_t)len));
}

static void on_listed(struct store_request *request)
{
    struct queue_call *call = container_of(request, struct queue_call, op.base);
    const struct store_job_list *list = &call->op.list;
    struct builder out = {.max = UINT32_MAX};
    if (call->api.request != NULL && request->status == 0) {
        json_write_open(&out, '{');
        json_write_key(&out, "items");
        json_write_open(&out, '[');
        for (size_t i = 0; i < list->count; i++) {
            json_write_next(&out);
            json_write_open(&out, '{');
            api_jobs_write(&list->jobs[i], NULL, &out);
            json_write_close(&out, '}');
        }
        json_write_close(&out, ']');
        write_next(&out, list);
        json_write_close(&out, '}');
        api_answer(call->api.request, 200, BYTES(API_JOBS_NO_STORE), &out);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    free_call(call);
}

static bool read_state(struct http_request *request, enum job_state *ret_state)
{
    char at[16];
    struct bytes text;
    int status = query_get(request->query, "state", at, sizeof(at), &text);
    for (enum job_state state = JOB_WAITING; status == 0 && state < JOB_STATE_COUNT; state++) {
        if (bytes_eq_str(text, api_jobs_state_name(state))) {
            *ret_state = state;
            return true;
        }
    }
    if (status == STATUS_NOT_FOUND) {
        *ret_state = JOB_WAITING;
        return true;
    }
    api_refuse_field(request, "state", "waiting, delayed, active, completed, failed or dead");
    return false;
}

static bool read_limit(struct http_request *request, uint32_t *ret_limit)
{
    char at[8];
    struct bytes text;
    uint64_t limit = LIMIT_DEFAULT;
    int status = query_get(request->query, "limit", at, sizeof(at), &text);
    if (status != STATUS_NOT_FOUND &&
        (status != 0 || bytes_to_u64(text, STORE_JOB_LIST_MAX, &limit) != 0 || limit == 0)) {
        api_refuse_field(request, "limit", "A number from 1 to 100");
        return false;
    }
    *ret_limit = (uint32_t)limit;
    return true;
}

/* The number in front of a dot, cut off. */
static bool take_number(struct bytes *text, uint64_t most, uint64_t *ret_number)
{
    const char *dot = text->len > 0 ? memchr(text->at, '.', text->len) : NULL;
    size_t len = dot != NULL ? (size_t)(dot - text->at) : 0;
    if (dot == NULL || bytes_to_u64(bytes_of(text->at, len), most, ret_number) != 0) {
        return false;
    }
    *text = bytes_skip(*text, len + 1);
    return true;
}

static bool read_after(struct http_request *request, struct store_job_cursor *ret_after)
{
    char at[CURSOR_MAX];
    struct bytes text;
    uint64_t priority = 0;
    uint64_t when = 0;
    int status = query_get(request->query, "after", at, sizeof(at), &text);
    *ret_after = (struct store_job_cursor){0};
    if (status == STATUS_NOT_FOUND) {
        return true;
    }
    if (status != 0 || !take_number(&text, NOTIFICATION_PRIORITY_COUNT - 1, &priority) ||
        !take_number(&text, INT64_MAX, &when) || when == 0 ||
        uuid_parse(text.at, text.len, ret_after->id) != 0) {
        api_refuse_field(request, "after", "What `next` of the page before was");
        return false;
    }
    ret_after->priority = (uint32_t)priority;
    ret_after->at = when;
    return true;
}

void api_queues_jobs(struct http_request *request, void *context)
{
    (void)context;
    const struct config_queue *queue;
    struct queue_call *call = make_call(request);
    if (call == NULL) {
        return;
    }
    struct store_job_list *list = &call->op.list;
    if (!api_jobs_read_queue(request, call->queue_at, sizeof(call->queue_at), &queue) ||
        !read_state(request, &list->state) || !read_limit(request, &list->limit) ||
        !read_after(request, &list->after)) {
        free_call(call);
        return;
    }
    list->base = (struct store_request){.op = STORE_JOB_LIST, .done = on_listed};
    list->tenant = call->who.tenant;
    list->queue = bytes_str(queue->name);
    submit(request, call);
}

/* --- stopping them --- */

static void on_paused(struct store_request *request)
{
    struct queue_call *call = container_of(request, struct queue_call, op.base);
    const struct store_job_pause *pause = &call->op.pause;
    struct builder out = {0};
    if (request->status == 0 && !pause->pause) {
        jobs_ready(call->shard, pause->tenant, pause->queue);
    }
    if (call->api.request != NULL && request->status == 0) {
        json_write_open(&out, '{');
        json_write_bool(&out, "paused", pause->pause);
        json_write_bool(&out, "changed", pause->changed);
        json_write_close(&out, '}');
        api_answer(call->api.request, 200, BYTES(API_JOBS_NO_STORE), &out);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    free_call(call);
}

static void change(struct http_request *request, bool pause)
{
    const struct config_queue *queue;
    struct queue_call *call = make_call(request);
    if (call == NULL) {
        return;
    }
    if (!api_jobs_read_queue(request, call->queue_at, sizeof(call->queue_at), &queue) ||
        !api_fields_check_none(request)) {
        free_call(call);
        return;
    }
    call->op.pause = (struct store_job_pause){
        .base = {.op = STORE_JOB_PAUSE, .done = on_paused},
        .tenant = call->who.tenant,
        .queue = bytes_str(queue->name),
        .pause = pause,
    };
    submit(request, call);
}

void api_queues_pause(struct http_request *request, void *context)
{
    (void)context;
    change(request, true);
}

void api_queues_resume(struct http_request *request, void *context)
{
    (void)context;
    change(request, false);
}
