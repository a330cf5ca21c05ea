/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers that ask for jobs, and wait for some.
 */
#include <string.h>

#include "actors/jobs/jobs.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/job_post.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_jobs.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "hub/net/http_server.h"
#include "sql/store.h"

enum { WAIT_MAX_S = 30, SECOND_MS = 1000, BODY_DEPTH = 4, WORKER_MAX = 128 };

/* A worker that waits. */
struct lease_call {
    struct api_call api; /* first */
    struct api_who who;
    struct shard *shard;
    struct api_settings *settings; /* a reference: the names of queues are in it */
    char *worker;
    struct store_job_rule rules[STORE_JOB_QUEUES_MAX];
    struct job_poll poll;
};

static void free_call(struct lease_call *call)
{
    mem_free(call->worker);
    api_settings_unref(call->settings);
    mem_free(call);
}

static void answer(struct http_request *request, const struct store_job_lease *lease)
{
    struct builder out = {.max = UINT32_MAX};
    json_write_open(&out, '{');
    json_write_key(&out, "jobs");
    json_write_open(&out, '[');
    for (size_t i = 0; i < lease->count; i++) {
        json_write_next(&out);
        json_write_open(&out, '{');
        api_jobs_write(&lease->jobs[i], lease->lease, &out);
        json_write_close(&out, '}');
    }
    json_write_close(&out, ']');
    json_write_close(&out, '}');
    api_answer(request, 200, BYTES(API_JOBS_NO_STORE), &out);
}

static void on_done(struct job_poll *poll, int status)
{
    struct lease_call *call = container_of(poll, struct lease_call, poll);
    if (call->api.request != NULL && status == 0) {
        answer(call->api.request, &poll->lease);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, status);
    }
    store_request_finish(&poll->lease.base);
    free_call(call);
}

static void on_gone(struct http_request *request)
{
    struct lease_call *call = request->user;
    call->api.request = NULL;
    if (call->shard->jobs == NULL || job_poll_cancel(call->shard->jobs, &call->poll)) {
        free_call(call);
    }
}

/* --- reading --- */

/* One of the queues; false: the request was answered. */
static bool read_queue(struct http_request *request, struct lease_call *call, struct bytes value)
{
    char at[JOB_QUEUE_MAX];
    struct bytes name;
    const struct config_queue *queue = NULL;
    if (json_scan_kind(value) == JSON_SCAN_STRING &&
        json_scan_string(value, at, sizeof(at), &name) == 0) {
        queue = api_jobs_open_queue(call->settings->config, name);
    }
    if (queue == NULL) {
        api_refuse_field(request, "queues", "There is no such queue");
        return false;
    }
    for (size_t i = 0; i < call->poll.lease.rule_count; i++) {
        if (bytes_eq_str(call->rules[i].queue, queue->name)) {
            api_refuse_field(request, "queues", "A queue is named twice");
            return false;
        }
    }
    call->rules[call->poll.lease.rule_count++] = api_jobs_rule(queue);
    return true;
}

static bool read_queues(struct http_request *request, struct lease_call *call, struct bytes object)
{
    struct bytes list;
    struct bytes element;
    struct json_scan_iter iter;
    call->poll.lease.rules = call->rules;
    if (json_scan_get(object, "queues", &list) == 0 && json_scan_kind(list) == JSON_SCAN_ARRAY) {
        json_scan_iter_init(&iter, list);
        while (json_scan_element(&iter, &element)) {
            if (!read_queue(request, call, element)) {
                return false;
            }
        }
    }
    if (call->poll.lease.rule_count == 0) {
        api_refuse_field(request, "queues", "An array of names of queues");
        return false;
    }
    return true;
}

/* A member that is a whole number. */
struct number {
    const char *member;
    uint64_t least;
    uint64_t most;
    const char *message;
};

/* The number, which stays as it is where there is none; false: the request was answered. */
static bool read_number(struct http_request *request, struct bytes object,
    const struct number *wanted, uint64_t *ret_number)
{
    struct bytes value;
    int status = json_scan_get(object, wanted->member, &value);
    if (status == STATUS_NOT_FOUND) {
        return true;
    }
    if (status != 0 || json_scan_u64(value, ret_number) != 0 || *ret_number < wanted->least ||
        *ret_number > wanted->most) {
        api_refuse_field(request, wanted->member, wanted->message);
        return false;
    }
    return true;
}

static bool read_body(struct http_request *request, struct lease_call *call)
{
    struct bytes object;
    uint64_t max = 1;
    uint64_t wait = 0;
    static const struct number of_max = {"max", 1, STORE_JOB_LEASE_MAX, "A number from 1 to 100"};
    static const struct number of_wait = {"wait", 0, WAIT_MAX_S, "Whole seconds, 0 to 30"};
    static const struct api_jobs_text worker = {.member = "worker", .max = WORKER_MAX};
    if (!api_jobs_read_object(request, BODY_DEPTH, "queues, max, wait, worker", &object) ||
        !read_queues(request, call, object) || !read_number(request, object, &of_max, &max) ||
        !read_number(request, object, &of_wait, &wait) ||
        !api_jobs_read_text(request, object, &worker, &call->worker, &call->poll.lease.worker)) {
        return false;
    }
    call->poll.lease.tenant = call->who.tenant;
    call->poll.lease.max = (uint32_t)max;
    call->poll.until_ms = wait > 0 ? sched_now(call->shard->sched) + wait * SECOND_MS : 0;
    call->poll.most = call->settings->config->limits_job_waits;
    call->poll.done = on_done;
    return true;
}

void api_jobs_lease(struct http_request *request, void *context)
{
    (void)context;
    struct lease_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    call->settings = api_settings_ref(api_shard(request)->settings);
    if (!api_auth_backend(request, APIKEY_JOBS, &call->who) || !read_body(request, call)) {
        free_call(call);
        return;
    }
    if (call->shard->store == NULL || call->shard->jobs == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    api_call_hold(&call->api, request);
    request->gone = on_gone;
    job_poll_begin(call->shard->jobs, &call->poll);
}
