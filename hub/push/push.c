/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends through the client of the shard. Order of this file: outcomes, requests, sending, life.
 *
 * Requests go to hosts that devices name, so they are held together by one endpoint: how many are
 * under way at a time is bounded for all of them.
 */
#include "hub/push/push.h"

#include <stdio.h>
#include <string.h>

#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "hub/net/crypto.h"
#include "hub/net/crypto_p256.h"
#include "hub/net/loop.h"
#include "hub/push/web_push.h"

enum {
    UNDER_WAY_MAX = 64,
    WAITING_MAX = 4096,
    ANSWER_MAX = 16384,
    TOKEN_S = 12 * 3600,
    WAIT_MAX_S = 12 * 3600,
    LINE_BYTES = 64,
    LINES = 6,
};

struct push {
    struct shard *shard;
    struct outgoing *outgoing;
    const struct push_settings *settings;
    struct crypto_p256 *keys[PUSH_KEYS_MAX];
    struct outgoing_endpoint endpoint;
    struct log_limit credential_log;
    struct log_limit failed_log;
    atomic_bool *refused; /* of the node */
    bool closed;
    struct push_stats stats;
};

/* A request that is under way, and what it borrows. */
struct push_request {
    struct outgoing_request http;
    struct push *push;
    struct push_call *call;
    struct builder body;
    struct builder authorization; /* the header, with its NUL */
    char *url;
    char ttl[LINE_BYTES];
    char urgency[LINE_BYTES];
    char topic[LINE_BYTES];
    const char *lines[LINES];
};

/* Outcomes. */

const char *push_outcome_name(enum push_outcome outcome)
{
    static const char *const names[PUSH_OUTCOME_COUNT] = {"sent", "gone", "credential",
        "unconfigured", "too_large", "limited", "away", "forbidden", "refused"};
    return outcome < PUSH_OUTCOME_COUNT ? names[outcome] : "";
}

/* What an answer means (RFC 8030, 5 and 7.3; RFC 8292, 4.2). */
static enum push_outcome judge(const struct outgoing_request *request)
{
    if (request->end == OUTGOING_FORBIDDEN) {
        return PUSH_FORBIDDEN;
    }
    if (request->end != OUTGOING_ANSWERED) {
        return PUSH_AWAY;
    }
    switch (request->status) {
    case 401:
    case 403:
        return PUSH_CREDENTIAL;
    case 404:
    case 410:
        return PUSH_GONE;
    case 408:
        return PUSH_AWAY;
    case 413:
        return PUSH_TOO_LARGE;
    case 429:
        return PUSH_LIMITED;
    default:
        break;
    }
    bool sent = request->status >= 200 && request->status <= 299;
    return sent ? PUSH_SENT : request->status >= 500 ? PUSH_AWAY : PUSH_REFUSED;
}

static void tell_alarm(struct push *push, const struct push_request *request, bool refused)
{
    unsigned held_back;
    bool before = atomic_exchange_explicit(push->refused, refused, memory_order_relaxed);
    if (refused && log_allow(&push->credential_log, &held_back)) {
        log_error("PUSH-CREDENTIAL",
            "a push service does not take our key: nothing reaches its devices, and none is "
            "removed",
            "status=%u answer=%s suppressed=%u", request->http.status,
            log_quote(builder_bytes(&request->http.answer)), held_back);
    } else if (!refused && before) {
        log_info("PUSH-CREDENTIAL-TAKEN", "a push service takes our key again", "status=%u",
            request->http.status);
    }
}

static void tell_failed(struct push *push, const struct push_request *request, const char *outcome)
{
    unsigned held_back;
    if (log_allow(&push->failed_log, &held_back)) {
        log_warn("PUSH-FAILED", "a push service did not take a message",
            "outcome=%s reason=%s status=%u suppressed=%u", outcome,
            log_quote(bytes_str(outgoing_end_text(request->http.end))), request->http.status,
            held_back);
    }
}

/* Requests. */

static void destroy_request(struct push_request *request)
{
    builder_reset(&request->http.answer);
    builder_reset(&request->body);
    builder_reset(&request->authorization);
    mem_free(request->url);
    mem_free(request);
}

static void on_done(struct outgoing_request *http)
{
    struct push_request *request = container_of(http, struct push_request, http);
    struct push *push = request->push;
    struct push_call *call = request->call;
    enum push_outcome outcome = judge(http);
    push->stats.outcomes[outcome]++;
    push->stats.under_way--;
    if (outcome == PUSH_CREDENTIAL || outcome == PUSH_SENT) {
        tell_alarm(push, request, outcome == PUSH_CREDENTIAL);
    } else if (outcome != PUSH_GONE && http->end != OUTGOING_CLOSED) {
        tell_failed(push, request, push_outcome_name(outcome));
    }
    call->outcome = outcome;
    call->status = http->end == OUTGOING_ANSWERED ? http->status : 0;
    call->wait_ms =
        http->retry_after_s < WAIT_MAX_S ? http->retry_after_s * 1000 : WAIT_MAX_S * 1000;
    destroy_request(request);
    call->done(call);
}

static void write_lines(struct push_request *request, const struct push_call *call)
{
    size_t count = 0;
    snprintf(request->ttl, sizeof(request->ttl), "TTL: %u", call->ttl_s);
    snprintf(request->urgency, sizeof(request->urgency), "Urgency: %s", call->urgency);
    request->lines[count++] = "Content-Type: application/json";
    request->lines[count++] = "Content-Encoding: aes128gcm";
    request->lines[count++] = request->ttl;
    request->lines[count++] = request->urgency;
    request->lines[count++] = builder_bytes(&request->authorization).at;
    if (call->topic != NULL) {
        snprintf(
            request->topic, sizeof(request->topic), "Topic: %.*s", PUSH_TOPIC_MAX, call->topic);
        request->lines[count++] = request->topic;
    }
    request->http.headers = request->lines;
    request->http.header_count = count;
}

/* The key that a device has subscribed with; -1: it is none of ours. */
static int key_of(const struct push *push, const struct device *device)
{
    const struct push_settings *settings = push->settings;
    for (unsigned i = 0; i < settings->key_count; i++) {
        if (device->server_key.len == 0 ||
            bytes_eq_str(device->server_key, settings->public_keys[i])) {
            return (int)i;
        }
    }
    return -1;
}

/* Encrypt and authorize. STATUS_INVALID: no such message can be. */
static int fill(struct push_request *request, const struct push_call *call, int key)
{
    struct push *push = request->push;
    const struct device *device = call->device;
    uint8_t salt[WEB_PUSH_SALT_LEN];
    struct crypto_p256 *own = crypto_p256_generate();
    rand_secret(salt, sizeof(salt));
    request->body.max = WEB_PUSH_BODY_MAX;
    int status = web_push_seal(own, salt, device, call->plain, &request->body);
    crypto_p256_destroy(own);
    if (status != 0) {
        return status;
    }
    builder_str(&request->authorization, "Authorization: ");
    web_push_authorize(push->keys[key], device->address, bytes_str(push->settings->subject),
        sched_wall(push->shard->sched) / 1000 + TOKEN_S, &request->authorization);
    builder_byte(&request->authorization, '\0');
    request->url = mem_try_alloc(device->address.len + 1);
    if (request->url == NULL || builder_failed(&request->body) ||
        builder_failed(&request->authorization)) {
        return STATUS_NOMEM;
    }
    memcpy(request->url, device->address.at, device->address.len);
    request->url[device->address.len] = '\0';
    write_lines(request, call);
    return 0;
}

/* Sending. */

/* It is not sent, and why is known at once. */
static int refuse(struct push *push, struct push_call *call, enum push_outcome outcome)
{
    push->stats.outcomes[outcome]++;
    call->outcome = outcome;
    return STATUS_INVALID;
}

static int send_filled(struct push *push, struct push_request *request, struct push_call *call)
{
    request->http.endpoint = &push->endpoint;
    request->http.url = request->url;
    request->http.body = builder_bytes(&request->body);
    request->http.timeout_ms = push->settings->timeout_ms;
    request->http.answer_max = ANSWER_MAX;
    request->http.done = on_done;
    int status = outgoing_begin(push->outgoing, &request->http);
    if (status == 0) {
        push->stats.under_way++;
    }
    return status == STATUS_DENIED ? refuse(push, call, PUSH_FORBIDDEN) : status;
}

int push_begin(struct push *push, struct push_call *call)
{
    int key = call->device->platform == DEVICE_WEB ? key_of(push, call->device) : -1;
    call->status = 0;
    call->wait_ms = 0;
    if (push->closed) {
        return STATUS_CLOSED;
    }
    if (key < 0) {
        return refuse(push, call, PUSH_UNCONFIGURED);
    }
    if (call->plain.len > WEB_PUSH_PLAIN_MAX) {
        return refuse(push, call, PUSH_TOO_LARGE);
    }
    struct push_request *request = mem_try_calloc(1, sizeof(*request));
    if (request == NULL) {
        return STATUS_NOMEM;
    }
    request->push = push;
    request->call = call;
    int status = fill(request, call, key);
    status = status == STATUS_INVALID ? refuse(push, call, PUSH_REFUSED) : status;
    status = status != 0 ? status : send_filled(push, request, call);
    if (status != 0) {
        destroy_request(request);
    }
    return status;
}

/* Life. */

static void drop_keys(struct push *push)
{
    for (unsigned i = 0; i < PUSH_KEYS_MAX; i++) {
        crypto_p256_destroy(push->keys[i]);
        push->keys[i] = NULL;
    }
}

void push_set(struct push *push, const struct push_settings *settings)
{
    drop_keys(push);
    for (unsigned i = 0; i < settings->key_count; i++) {
        push->keys[i] = crypto_p256_read(settings->keys[i]);
        CHECK(push->keys[i] != NULL); /* it was looked at when the settings were made */
    }
    push->settings = settings;
    atomic_store_explicit(push->refused, false, memory_order_relaxed); /* perhaps that is mended */
    outgoing_set(push->outgoing, settings->guard, settings->ca);
}

struct push *push_open(
    struct loop *loop, const struct push_settings *settings, atomic_bool *refused)
{
    struct push *push = mem_alloc(sizeof(*push));
    push->shard = loop_shard(loop);
    push->outgoing = outgoing_open(loop);
    push->refused = refused;
    push->endpoint.under_way_max = UNDER_WAY_MAX;
    push->endpoint.waiting_max = WAITING_MAX;
    push_set(push, settings);
    return push;
}

void push_close(struct push *push)
{
    if (!push->closed) {
        push->closed = true;
        outgoing_close(push->outgoing);
    }
}

uint64_t push_count_open(const struct push *push)
{
    return outgoing_count_open(push->outgoing);
}

void push_destroy(struct push *push)
{
    if (push != NULL) {
        drop_keys(push);
        outgoing_destroy(push->outgoing);
        mem_free(push);
    }
}

const char *push_public_key(const struct push *push)
{
    return push->settings->key_count > 0 ? push->settings->public_keys[0] : NULL;
}

const struct push_stats *push_get_stats(const struct push *push)
{
    return &push->stats;
}
