/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics that applications post. Order of this file: calls, reading, there and back.
 *
 * They are read on the shard of the request, and counted on the first one (hub/series).
 */
#include "hub/api/api_metrics.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_post.h"
#include "hub/api/api_shard.h"

enum { VALUES_MAX = 1000, FULL_RETRY_S = 5 };

/* A call under way. It outlives its request when the peer goes. */
struct metrics_call {
    struct api_call api; /* first */
    struct series_post post;
    struct api_who who;
    const struct api_node *node;
    unsigned from; /* shard of the request */
    char *keys; /* of the samples */
    bool array;
};

/* --- calls --- */

static void free_call(struct metrics_call *call)
{
    mem_free(call->post.samples);
    mem_free(call->keys);
    mem_free(call);
}

static void refuse(struct metrics_call *call, const struct api_error *error, size_t index)
{
    struct api_error told = *error;
    told.in_array = call->array;
    told.index = (uint32_t)index;
    api_refuse(call->api.request, &told);
}

/* --- reading --- */

/* One value; false: the request was answered. */
static bool read_one(struct metrics_call *call, struct bytes object, size_t *used)
{
    struct http_request *request = call->api.request;
    size_t index = call->post.count;
    if (json_scan_kind(object) != JSON_SCAN_OBJECT) {
        refuse(call,
            &(struct api_error){.code = ERROR_INVALID_FIELD,
                .message = "A value is an object: " API_METRICS_FIELDS},
            index);
        return false;
    }
    if (!api_fields_check(request, object, API_METRICS_FIELDS)) {
        return false;
    }
    struct api_error error = api_metrics_read(object, sched_wall(api_shard(request)->shard->sched),
        call->keys + *used, &call->post.samples[index]);
    if (error.code != ERROR_NONE) {
        refuse(call, &error, index);
        return false;
    }
    *used += call->post.samples[index].key.len;
    call->post.count++;
    return true;
}

static bool read_all(struct metrics_call *call, struct bytes value)
{
    struct json_scan_iter iter;
    struct bytes element;
    size_t used = 0;
    if (!call->array) {
        return read_one(call, value, &used);
    }
    json_scan_iter_init(&iter, value);
    while (json_scan_element(&iter, &element)) {
        if (!read_one(call, element, &used)) {
            return false;
        }
    }
    return true;
}

/* How many there are; 0: the request was answered. */
static uint32_t count_values(struct http_request *request, struct bytes value)
{
    uint32_t count = 1;
    if (json_scan_kind(value) == JSON_SCAN_OBJECT) {
        return count;
    }
    if (json_scan_kind(value) != JSON_SCAN_ARRAY) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object or array of objects"});
        return 0;
    }
    bool fits = api_post_count(value, VALUES_MAX, &count);
    if (!fits || count == 0) {
        api_refuse(
            request, &(struct api_error){.code = fits ? ERROR_INVALID_FIELD : ERROR_TOO_LARGE,
                         .message = "An array of 1 to 1,000 values"});
        return 0;
    }
    return count;
}

/* The call with all that is posted; false: the request was answered. */
static bool read_body(struct metrics_call *call)
{
    struct http_request *request = call->api.request;
    struct bytes value;
    if (json_scan_text(request->body, JSON_SCAN_DEPTH_MAX, &value, NULL) != 0) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object or array of objects"});
        return false;
    }
    uint32_t count = count_values(request, value);
    if (count == 0) {
        return false;
    }
    call->array = json_scan_kind(value) == JSON_SCAN_ARRAY;
    call->post.samples = mem_try_calloc(count, sizeof(*call->post.samples));
    call->keys = mem_try_alloc(value.len);
    if (call->post.samples == NULL || call->keys == NULL) {
        api_refuse_memory(request);
        return false;
    }
    return read_all(call, value);
}

/* --- there and back --- */

static void answer(struct metrics_call *call)
{
    if (call->post.status == 0) {
        struct builder out = {0};
        json_write_open(&out, '{');
        json_write_u64(&out, "accepted", call->post.count);
        json_write_close(&out, '}');
        api_answer(call->api.request, 202, bytes_of(NULL, 0), &out);
    } else if (call->post.status == STATUS_FULL) {
        refuse(call,
            &(struct api_error){.code = ERROR_INVALID_FIELD,
                .message =
                    "One series too many: a tenant may have metrics.series of them, by type, "
                    "name, unit and tags",
                .field = "name"},
            call->post.fault);
    } else {
        api_refuse(call->api.request,
            &(struct api_error){.code = ERROR_UNAVAILABLE,
                .message = "No room for it, or Redis is to be asked and is away: try again",
                .retry_s = FULL_RETRY_S});
    }
}

static void on_back(void *arg, bool cancelled)
{
    struct metrics_call *call = arg;
    if (!cancelled && call->api.request != NULL) {
        answer(call);
    }
    free_call(call);
}

static void on_counted(struct series_post *post)
{
    struct metrics_call *call = container_of(post, struct metrics_call, post);
    sched_post(call->node->system, call->from, on_back, call);
}

static void on_home(void *arg, bool cancelled)
{
    struct metrics_call *call = arg;
    if (cancelled) {
        free_call(call);
        return;
    }
    if (call->node->series == NULL) {
        call->post.status = STATUS_UNAVAILABLE;
        on_counted(&call->post);
        return;
    }
    series_post(call->node->series, &call->post);
}

bool api_metrics_head(struct http_request *request, void *context)
{
    (void)context;
    return api_auth_key(request, APIKEY_METRICS) != NULL;
}

void api_metrics_post(struct http_request *request, void *context)
{
    struct api_shard *shard = api_shard(request);
    struct metrics_call *call = mem_alloc(sizeof(*call));
    (void)context;
    call->api.request = request;
    if (!api_auth_backend(request, APIKEY_METRICS, &call->who) || !read_body(call)) {
        free_call(call);
        return;
    }
    call->node = shard->node;
    call->from = sched_shard(shard->shard->sched);
    call->post.tenant = call->who.tenant;
    call->post.done = on_counted;
    api_call_hold(&call->api, request);
    sched_post(call->node->system, 0, on_home, call);
}
