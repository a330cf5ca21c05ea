/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs that backends add, one or many: all of a request, or none. Order of this file: calls,
 * answers, reading, the request.
 */
#include "hub/api/api_jobs.h"

#include <string.h>

#include "actors/jobs/jobs.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/job_post.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/slot.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_post.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "sql/store.h"

enum { MADE_KEY_LEN = 32 };

/* A call under way. It outlives its request when the peer goes. */
struct add_call {
    struct api_call api; /* first */
    struct api_who who;
    struct shard *shard;
    char *body; /* a copy */
    struct job_post *posts;
    struct store_job_new *jobs;
    char (*keys)[MADE_KEY_LEN + 1]; /* those that were made; "" where the caller has its own */
    uint32_t count; /* of posts that were read */
    bool array;
    struct store_job_add op;
};

/* --- calls --- */

static void free_call(struct add_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        job_post_finish(&call->posts[i]);
    }
    api_call_end(&call->api);
    mem_free(call->posts);
    mem_free(call->jobs);
    mem_free(call->keys);
    mem_free(call->body);
    mem_free(call);
}

/* --- answers --- */

static void write_added(const struct store_job_added *added, struct builder *out)
{
    json_write_uuid(out, "id", added->id);
    json_write_text(out, "status", added->repeat ? BYTES("duplicate") : BYTES("added"));
}

static void answer(const struct add_call *call)
{
    struct builder out = {0};
    bool fresh = call->array;
    json_write_open(&out, '{');
    if (call->array) {
        json_write_key(&out, "items");
        json_write_open(&out, '[');
        for (uint32_t i = 0; i < call->count; i++) {
            json_write_next(&out);
            json_write_open(&out, '{');
            write_added(&call->op.added[i], &out);
            json_write_close(&out, '}');
        }
        json_write_close(&out, ']');
    } else {
        fresh = !call->op.added[0].repeat;
        write_added(&call->op.added[0], &out);
    }
    json_write_close(&out, '}');
    api_answer(call->api.request, fresh ? 201 : 200, BYTES(API_JOBS_NO_STORE), &out);
}

/* 504: the same keys make it harmless to add them again. */
static void answer_unknown(const struct add_call *call)
{
    struct builder out = {0};
    const struct api_error error = {.code = ERROR_UNKNOWN,
        .message = "The store has not answered: add the same with the same keys again"};
    json_write_open(&out, '{');
    api_error_write(&error, &out);
    if (!call->array && call->keys[0][0] != '\0') {
        json_write_text(&out, "key", bytes_str(call->keys[0]));
    }
    builder_byte(&out, '}');
    if (call->array) {
        json_write_key(&out, "items");
        json_write_open(&out, '[');
        for (uint32_t i = 0; i < call->count; i++) {
            json_write_next(&out);
            json_write_open(&out, '{');
            bool made = call->keys[i][0] != '\0';
            json_write_text(&out, "key", made ? bytes_str(call->keys[i]) : call->posts[i].key);
            json_write_close(&out, '}');
        }
        json_write_close(&out, ']');
    }
    json_write_close(&out, '}');
    api_answer(call->api.request, 504, BYTES(API_JOBS_NO_STORE), &out);
}

static void on_overdue(struct api_call *api)
{
    answer_unknown(container_of(api, struct add_call, api));
}

/* Who waits for one of the queues is told, of each queue once. */
static void tell(const struct add_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        bool told = call->op.added[i].repeat;
        for (uint32_t j = i; j > 0 && !told; j--) {
            told = !call->op.added[j - 1].repeat &&
                   bytes_eq(call->jobs[j - 1].queue, call->jobs[i].queue);
        }
        if (!told) {
            jobs_ready(call->shard, call->who.tenant, call->jobs[i].queue);
        }
    }
}

static void on_added(struct store_request *request)
{
    struct add_call *call = container_of(request, struct add_call, op.base);
    if (request->status == 0) {
        for (uint32_t i = 0; i < call->count && call->shard->jobs != NULL; i++) {
            jobs_get_stats(call->shard->jobs)->added += !call->op.added[i].repeat;
        }
        tell(call);
    }
    if (call->api.request != NULL && request->status == 0) {
        answer(call);
    } else if (call->api.request != NULL && request->status == STATUS_UNKNOWN) {
        answer_unknown(call);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    free_call(call);
}

/* --- reading --- */

static void make_key(char ret_key[MADE_KEY_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[MADE_KEY_LEN / 2];
    rand_secret(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        ret_key[2 * i] = digits[random[i] >> 4];
        ret_key[2 * i + 1] = digits[random[i] & 15];
    }
    ret_key[MADE_KEY_LEN] = '\0';
}

static void refuse(
    const struct add_call *call, struct http_request *request, const struct api_error *error)
{
    struct api_error told = *error;
    told.in_array = call->array;
    told.index = call->count;
    api_refuse(request, &told);
}

/* What the store is asked to add; false: no memory. */
static bool fill(struct add_call *call, const struct job_post *post)
{
    struct store_job_new *job = &call->jobs[call->count];
    char *made = call->keys[call->count];
    struct bytes key = post->key;
    if (key.len == 0) {
        make_key(made);
        key = bytes_str(made);
    }
    *job = (struct store_job_new){
        .tenant = call->who.tenant,
        .queue = post->queue,
        .type = post->type,
        .payload = post->payload,
        .user = post->user,
        .priority = post->priority,
        .run_at = post->run_at,
    };
    uint32_t slot = job->user.len > 0 ? slot_of(job->tenant, job->user) : (uint32_t)SLOT_NONE;
    uuid7_make(sched_wall(call->shard->sched), slot, job->id);
    return notification_key_hash(
               call->shard->config->hash128, job->tenant, job->queue, key, job->key_hash) == 0;
}

/* One of the jobs; false: the request was answered. */
static bool read_one(struct http_request *request, struct add_call *call, struct bytes object)
{
    const struct config *config = api_shard(request)->settings->config;
    const struct job_limits limits = {
        .payload_bytes = (uint32_t)config->limits_data_bytes,
        .depth = config->limits_json_depth,
        .now_ms = sched_wall(call->shard->sched),
    };
    struct notification_fault fault;
    struct job_post *post = &call->posts[call->count];
    if (json_scan_kind(object) != JSON_SCAN_OBJECT) {
        refuse(call, request,
            &(struct api_error){.code = ERROR_INVALID_FIELD, .message = "A job is an object"});
        return false;
    }
    int status = job_post_from_json(object, &limits, post, &fault);
    if (status == STATUS_NOMEM) {
        api_refuse_memory(request);
        return false;
    }
    if (status != 0) {
        refuse(call, request,
            &(struct api_error){
                .code = status == STATUS_TOO_LARGE ? ERROR_TOO_LARGE : ERROR_INVALID_FIELD,
                .message = fault.message,
                .field = fault.field});
        return false;
    }
    if (api_jobs_open_queue(config, post->queue) == NULL) {
        refuse(call, request,
            &(struct api_error){.code = ERROR_INVALID_FIELD,
                .message = "There is no such queue",
                .field = "queue"});
        job_post_finish(post);
        return false;
    }
    if (!fill(call, post)) {
        api_refuse_memory(request);
        job_post_finish(post);
        return false;
    }
    call->count++;
    return true;
}

/* Memory for as many; false: the request was answered. */
static bool reserve(struct http_request *request, struct add_call *call, uint32_t count)
{
    if (count == 0 || count > STORE_JOBS_MAX) {
        api_refuse(
            request, &(struct api_error){.code = count == 0 ? ERROR_INVALID_FIELD : ERROR_TOO_LARGE,
                         .message = "An array of 1 to 1000 jobs"});
        return false;
    }
    call->posts = mem_try_calloc(count, sizeof(*call->posts));
    call->jobs = mem_try_calloc(count, sizeof(*call->jobs));
    call->keys = mem_try_calloc(count, sizeof(*call->keys));
    if (call->posts == NULL || call->jobs == NULL || call->keys == NULL) {
        api_refuse_memory(request);
        return false;
    }
    return true;
}

/* Take the jobs out of the body; false: the request was answered. */
static bool read_body(struct http_request *request, struct add_call *call)
{
    struct bytes value;
    struct bytes element;
    struct json_scan_iter iter;
    uint32_t count = 1;
    int status =
        json_scan_text(bytes_of(call->body, request->body.len), JSON_SCAN_DEPTH_MAX, &value, NULL);
    call->array = status == 0 && json_scan_kind(value) == JSON_SCAN_ARRAY;
    if (status != 0 || (!call->array && json_scan_kind(value) != JSON_SCAN_OBJECT)) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object or array of objects"});
        return false;
    }
    if (call->array) {
        (void)api_post_count(value, STORE_JOBS_MAX, &count);
    }
    if (!reserve(request, call, count)) {
        return false;
    }
    if (!call->array) {
        return read_one(request, call, value);
    }
    json_scan_iter_init(&iter, value);
    while (json_scan_element(&iter, &element)) {
        if (!read_one(request, call, element)) {
            return false;
        }
    }
    return true;
}

/* --- the request --- */

bool api_jobs_head(struct http_request *request, void *context)
{
    (void)context;
    return api_auth_key(request, APIKEY_JOBS) != NULL &&
           (!request->head->has_content_length ||
               api_post_check_size(request, request->head->content_length));
}

void api_jobs_add(struct http_request *request, void *context)
{
    (void)context;
    struct add_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    if (!api_auth_backend(request, APIKEY_JOBS, &call->who) ||
        !api_post_check_size(request, request->body.len)) {
        free_call(call);
        return;
    }
    call->body = mem_try_alloc(request->body.len + 1);
    if (call->body == NULL) {
        api_refuse_memory(request);
        free_call(call);
        return;
    }
    memcpy(call->body, request->body.len > 0 ? request->body.at : "", request->body.len);
    if (!read_body(request, call)) {
        free_call(call);
        return;
    }
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    call->op = (struct store_job_add){
        .base = {.op = STORE_JOB_ADD, .done = on_added}, .jobs = call->jobs, .count = call->count};
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(call->shard->store, &call->op.base);
}
