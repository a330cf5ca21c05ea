/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers and refusals of the API, and calls that are held until the store or another node has
 * answered.
 */
#include "hub/api/api_answer.h"

#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "hub/net/loop.h"
#include "hub/net/origin.h"

enum { UNAVAILABLE_RETRY_S = 1, STORE_ANSWER_MS = 5000 };

void api_error_write(const struct api_error *error, struct builder *out)
{
    builder_printf(out, "\"error\":{\"code\":\"%s\",\"message\":", errors_text(error->code));
    json_scan_write_string(out, bytes_str(error->message));
    if (error->field != NULL) {
        builder_str(out, ",\"field\":");
        json_scan_write_string(out, bytes_str(error->field));
    }
    if (error->in_array) {
        builder_printf(out, ",\"index\":%u", error->index);
    }
}

void api_refuse(struct http_request *request, const struct api_error *error)
{
    struct builder body = {0};
    struct builder headers = {0};
    builder_byte(&body, '{');
    api_error_write(error, &body);
    builder_str(&body, "}}");
    if (error->code == ERROR_UNAUTHORIZED) {
        builder_str(&headers, "WWW-Authenticate: Bearer realm=\"peal\"\r\n");
    }
    if (error->retry_s > 0) {
        builder_printf(&headers, "Retry-After: %u\r\n", error->retry_s);
    }
    http_respond(request, errors_status(error->code), "application/json", builder_bytes(&headers),
        builder_bytes(&body));
    builder_reset(&headers);
    builder_reset(&body);
}

void api_refuse_field(struct http_request *request, const char *field, const char *message)
{
    api_refuse(request,
        &(struct api_error){.code = ERROR_INVALID_FIELD, .message = message, .field = field});
}

void api_refuse_unavailable(struct http_request *request)
{
    api_refuse(request, &(struct api_error){.code = ERROR_UNAVAILABLE,
                            .message = "The store is not available, try again",
                            .retry_s = UNAVAILABLE_RETRY_S});
}

void api_refuse_memory(struct http_request *request)
{
    api_refuse(request, &(struct api_error){.code = ERROR_UNAVAILABLE,
                            .message = "Out of memory, try again",
                            .retry_s = UNAVAILABLE_RETRY_S});
}

void api_refuse_unknown(struct http_request *request)
{
    api_refuse(request, &(struct api_error){.code = ERROR_UNKNOWN,
                            .message = "The store has not answered: it may be done, repeat it",
                            .retry_s = UNAVAILABLE_RETRY_S});
}

void api_refuse_status(struct http_request *request, int status)
{
    if (status == STATUS_NOT_FOUND) {
        api_refuse(request, &(struct api_error){.code = ERROR_NOT_FOUND,
                                .message = "There is no such notification"});
    } else if (status == STATUS_INVALID) {
        api_refuse(request, &(struct api_error){.code = ERROR_INVALID_FIELD,
                                .message = "The database refused a value"});
    } else if (status == STATUS_UNKNOWN) {
        api_refuse_unknown(request);
    } else {
        api_refuse_unavailable(request);
    }
}

/* Compression. */

enum gzip_coding api_coding(const struct http_request *request)
{
    struct bytes value;
    size_t cursor = 0;
    bool unwanted = http1_header_next(request->head, "x-no-compression", &cursor, &value);
    return unwanted ? GZIP_NONE : gzip_choose(request->head);
}

static enum gzip_coding choose_coding(const struct http_request *request, size_t len)
{
    bool large = len >= api_shard(request)->settings->config->http_gzip_bytes;
    return large ? api_coding(request) : GZIP_NONE;
}

void api_answer_bytes(
    struct http_request *request, unsigned status, struct bytes headers, struct bytes json)
{
    struct builder gzipped = {0};
    struct builder lines = {0};
    struct bytes body = json;
    builder_add(&lines, headers);
    if (body.len >= api_shard(request)->settings->config->http_gzip_bytes) {
        builder_str(&lines, "Vary: Accept-Encoding\r\n");
    }
    enum gzip_coding coding = choose_coding(request, body.len);
    if (gzip_compress(coding, body, &gzipped)) {
        body = builder_bytes(&gzipped);
        builder_str(&lines, gzip_header(coding));
    }
    http_respond(request, status, "application/json", builder_bytes(&lines), body);
    builder_reset(&lines);
    builder_reset(&gzipped);
}

void api_answer(
    struct http_request *request, unsigned status, struct bytes headers, struct builder *json)
{
    if (builder_failed(json)) {
        (http_is_safe(request) ? api_refuse_memory : api_refuse_unknown)(request);
    } else {
        api_answer_bytes(request, status, headers, builder_bytes(json));
    }
    builder_reset(json);
}

/* Answering later. */

static void on_gone(struct http_request *request)
{
    struct api_call *call = request->user;
    call->request = NULL;
}

void api_call_hold(struct api_call *call, struct http_request *request)
{
    call->request = request;
    request->user = call;
    request->gone = on_gone;
}

static void on_overdue(struct timer *timer)
{
    struct api_call *call = container_of(timer, struct api_call, timer);
    if (call->request != NULL) {
        call->overdue(call);
        call->request = NULL;
    }
}

void api_call_hold_store(
    struct api_call *call, struct http_request *request, void (*overdue)(struct api_call *call))
{
    api_call_hold(call, request);
    call->sched = api_shard(request)->shard->sched;
    call->overdue = overdue;
    timer_init(&call->timer, on_overdue);
    timer_set(sched_timers(call->sched), &call->timer, sched_now(call->sched) + STORE_ANSWER_MS);
}

void api_call_renew(struct api_call *call)
{
    if (call->sched != NULL && call->request != NULL) {
        timer_set(
            sched_timers(call->sched), &call->timer, sched_now(call->sched) + STORE_ANSWER_MS);
    }
}

void api_call_pause(struct api_call *call)
{
    if (call->sched != NULL) {
        timer_cancel(sched_timers(call->sched), &call->timer);
    }
}

void api_call_end(struct api_call *call)
{
    if (call->sched != NULL) {
        timer_cancel(sched_timers(call->sched), &call->timer);
        call->sched = NULL;
    }
}

static void on_settled(struct webhook_settling *settling)
{
    struct api_call *call = container_of(settling, struct api_call, settling);
    call->settled(call);
}

void api_call_settle(
    struct api_call *call, struct shard *shard, void (*settled)(struct api_call *call))
{
    call->settled = settled;
    call->settling.done = on_settled;
    if (shard->webhooks.settle == NULL || !shard->webhooks.settle(shard, &call->settling)) {
        settled(call);
    }
}

struct bytes api_cors_value(void *context, const struct http_request *request, struct bytes origin)
{
    bool credentials; /* cookies: nothing here asks for any */
    const struct api_shard *shard = context;
    (void)request;
    return origin_cors_value(shard->settings->origins, origin, &credentials);
}
