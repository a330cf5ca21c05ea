/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One job: what its worker says of it, what operators do with it, how it is.
 */
#include <string.h>

#include "actors/jobs/jobs.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_jobs.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "sql/store.h"

/* The pause before another attempt is up to a tenth longer. */
enum { JITTER = 101, STAGE_MAX = 128 };

/* --- what is done --- */

/* A call under way. It outlives its request when the peer goes. */
struct step_call {
    struct api_call api; /* first */
    struct api_who who;
    struct shard *shard;
    char *texts[2];
    char *result;
    struct store_job_step op;
};

static void free_step(struct step_call *call)
{
    api_call_end(&call->api);
    mem_free(call->texts[0]);
    mem_free(call->texts[1]);
    mem_free(call->result);
    mem_free(call);
}

static void answer_step(struct http_request *request, const struct store_job_step *step)
{
    struct builder out = {0};
    if (step->outcome == JOB_NOT_FOUND) {
        api_jobs_refuse_absent(request);
        return;
    }
    if (step->outcome == JOB_NOT_LEASED) {
        api_refuse(
            request, &(struct api_error){.code = ERROR_LEASE_LOST,
                         .message = "The lease is over: the job was given back, or has ended",
                         .field = "lease"});
        return;
    }
    if (step->outcome == JOB_WRONG_STATE) {
        api_refuse(request,
            &(struct api_error){.code = ERROR_WRONG_STATE,
                .message = "Only jobs that are failed, dead or delayed can be tried again"});
        return;
    }
    if (step->verb == JOB_DROP) {
        http_respond(request, 204, NULL, BYTES(API_JOBS_NO_STORE), bytes_of(NULL, 0));
        return;
    }
    json_write_open(&out, '{');
    json_write_uuid(&out, "id", step->job.id);
    json_write_text(&out, "state", bytes_str(api_jobs_state_name(step->job.state)));
    if (step->job.until > 0) {
        json_write_time(&out, "until", step->job.until);
    }
    if (step->job.state == JOB_DELAYED || step->job.state == JOB_WAITING) {
        json_write_time(&out, "runAt", step->job.run_at);
    }
    json_write_close(&out, '}');
    api_answer(request, 200, BYTES(API_JOBS_NO_STORE), &out);
}

static void on_stepped(struct store_request *request)
{
    struct step_call *call = container_of(request, struct step_call, op.base);
    if (request->status == 0) {
        jobs_stepped(call->shard, &call->op);
    }
    if (call->api.request != NULL && request->status == 0) {
        answer_step(call->api.request, &call->op);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    free_step(call);
}

static void on_step_overdue(struct api_call *api)
{
    api_refuse_unknown(api->request);
}

static struct step_call *make_step(struct http_request *request, enum job_verb verb)
{
    struct step_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    call->op.base = (struct store_request){.op = STORE_JOB_STEP, .done = on_stepped};
    call->op.verb = verb;
    if (!api_auth_backend(request, APIKEY_JOBS, &call->who) ||
        !api_jobs_read_id(request, call->op.id)) {
        free_step(call);
        return NULL;
    }
    call->op.tenant = call->who.tenant;
    return call;
}

static void submit_step(struct http_request *request, struct step_call *call)
{
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_step(call);
        return;
    }
    api_call_hold_store(&call->api, request, on_step_overdue);
    store_submit(call->shard->store, &call->op.base);
}

/* --- what a worker says --- */

static bool read_lease(struct http_request *request, struct bytes object, struct step_call *call)
{
    char at[UUID_TEXT_LEN + 1];
    struct bytes value;
    struct bytes text;
    if (json_scan_get(object, "lease", &value) != 0 || json_scan_kind(value) != JSON_SCAN_STRING ||
        json_scan_string(value, at, sizeof(at), &text) != 0 ||
        uuid_parse(text.at, text.len, call->op.lease) != 0) {
        api_refuse_field(request, "lease", "The lease that came with the job");
        return false;
    }
    return true;
}

static bool read_progress(struct http_request *request, struct bytes object, struct step_call *call)
{
    struct bytes value;
    uint64_t percentage = 0;
    if (json_scan_get(object, "percentage", &value) != 0 ||
        json_scan_u64(value, &percentage) != 0 || percentage > 100) {
        api_refuse_field(request, "percentage", "A whole number from 0 to 100");
        return false;
    }
    const struct api_jobs_text stage = {.member = "stage", .max = STAGE_MAX};
    const struct api_jobs_text message = {
        .member = "message", .max = api_shard(request)->settings->config->limits_text_bytes};
    call->op.percentage = (uint32_t)percentage;
    return api_jobs_read_text(request, object, &stage, &call->texts[0], &call->op.stage) &&
           api_jobs_read_text(request, object, &message, &call->texts[1], &call->op.message);
}

static bool read_complete(struct http_request *request, struct bytes object, struct step_call *call)
{
    struct bytes value;
    unsigned flags = 0;
    const struct config *config = api_shard(request)->settings->config;
    int status = json_scan_get(object, "result", &value);
    if (status == STATUS_NOT_FOUND) {
        return true;
    }
    if (status != 0 || value.len > config->limits_data_bytes ||
        json_scan_text(value, config->limits_json_depth, NULL, &flags) != 0 ||
        (flags & JSON_SCAN_NUL) != 0) {
        api_refuse_field(request, "result",
            "JSON of at most limits.data_bytes, no deeper than limits.json_depth, without \\u0000");
        return false;
    }
    call->result = mem_try_alloc(value.len);
    if (call->result == NULL) {
        api_refuse_memory(request);
        return false;
    }
    memcpy(call->result, value.at, value.len);
    call->op.result = bytes_of(call->result, value.len);
    return true;
}

static bool read_fail(struct http_request *request, struct bytes object, struct step_call *call)
{
    struct bytes value;
    bool again = true;
    const struct api_jobs_text error = {.member = "error",
        .max = api_shard(request)->settings->config->limits_text_bytes,
        .needed = true};
    int status = json_scan_get(object, "retry", &value);
    if (status != STATUS_NOT_FOUND && (status != 0 || json_scan_bool(value, &again) != 0)) {
        api_refuse_field(request, "retry", "true or false");
        return false;
    }
    call->op.final = !again;
    call->op.jitter = (uint32_t)rand_below(&call->shard->rand, JITTER);
    return api_jobs_read_text(request, object, &error, &call->texts[0], &call->op.error);
}

static void say(struct http_request *request, enum job_verb verb, const char *known,
    bool (*read)(struct http_request *, struct bytes, struct step_call *))
{
    struct bytes object;
    struct step_call *call = make_step(request, verb);
    if (call == NULL) {
        return;
    }
    if (!api_jobs_read_object(request, JSON_SCAN_DEPTH_MAX, known, &object) ||
        !read_lease(request, object, call) || !read(request, object, call)) {
        free_step(call);
        return;
    }
    submit_step(request, call);
}

void api_job_progress(struct http_request *request, void *context)
{
    (void)context;
    say(request, JOB_PROGRESS, "lease, percentage, stage, message", read_progress);
}

void api_job_complete(struct http_request *request, void *context)
{
    (void)context;
    say(request, JOB_COMPLETE, "lease, result", read_complete);
}

void api_job_fail(struct http_request *request, void *context)
{
    (void)context;
    say(request, JOB_FAIL, "lease, error, retry", read_fail);
}

/* --- what operators do --- */

void api_job_retry(struct http_request *request, void *context)
{
    (void)context;
    struct step_call *call = make_step(request, JOB_RETRY);
    if (call == NULL) {
        return;
    }
    if (!api_fields_check_none(request)) {
        free_step(call);
        return;
    }
    submit_step(request, call);
}

void api_job_drop(struct http_request *request, void *context)
{
    (void)context;
    struct step_call *call = make_step(request, JOB_DROP);
    if (call != NULL) {
        submit_step(request, call);
    }
}

/* --- how it is --- */

struct get_call {
    struct api_call api; /* first */
    struct api_who who;
    struct store_job_get op;
};

static void free_get(struct get_call *call)
{
    api_call_end(&call->api);
    mem_free(call);
}

static void on_got(struct store_request *request)
{
    struct get_call *call = container_of(request, struct get_call, op.base);
    struct builder out = {0};
    if (call->api.request != NULL && request->status == 0) {
        json_write_open(&out, '{');
        api_jobs_write(&call->op.job, NULL, &out);
        json_write_close(&out, '}');
        api_answer(call->api.request, 200, BYTES(API_JOBS_NO_STORE), &out);
    } else if (call->api.request != NULL && request->status == STATUS_NOT_FOUND) {
        api_jobs_refuse_absent(call->api.request);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    free_get(call);
}

static void on_get_overdue(struct api_call *api)
{
    api_refuse_unavailable(api->request);
}

void api_job_get(struct http_request *request, void *context)
{
    (void)context;
    const struct shard *shard = api_shard(request)->shard;
    struct get_call *call = mem_alloc(sizeof(*call));
    call->op.base = (struct store_request){.op = STORE_JOB_GET, .done = on_got};
    if (!api_auth_backend(request, APIKEY_JOBS, &call->who) ||
        !api_jobs_read_id(request, call->op.id)) {
        free_get(call);
        return;
    }
    if (shard->store == NULL) {
        api_refuse_unavailable(request);
        free_get(call);
        return;
    }
    call->op.tenant = call->who.tenant;
    api_call_hold_store(&call->api, request, on_get_overdue);
    store_submit(shard->store, &call->op.base);
}
