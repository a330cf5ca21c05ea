/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that backends post over HTTP, one or many. Order of this file: checking, keeping,
 * publishing, turns.
 *
 * All events of a request are checked, and made, before the first is published; then they are
 * published in their order and the request is answered. Both go in slices of SLICE_EVENTS or
 * SLICE_BYTES a turn, so that a large post does not hold its shard. A peer that goes while they are
 * checked has posted nothing; later it changes nothing. Then, no turn is certain to come, for the
 * loop may be ending: the rest is a message of the shard to itself, which is cancelled with it.
 * Where any of them goes to a room with a history, all are kept there before the first is
 * published; if that fails, none is.
 */
#include "actors/deliver/broadcast.h"
#include "actors/history/room_history.h"
#include "actors/inbox/post.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_post.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "hub/net/loop.h"

enum { SLICE_EVENTS = 64, SLICE_BYTES = 128 << 10 };

struct events_call {
    struct api_call api; /* first */
    struct loop_task task;
    struct api_shard *shard;
    struct api_settings *settings; /* a reference: the key is in it */
    const struct apikey *key;
    char *body; /* a copy while an array is checked */
    struct json_scan_iter iter; /* what is to be checked */
    bool array;
    bool checked;
    struct notification_fault fault; /* of what may not be kept: an error points into it */
    struct broadcast **made;
    uint32_t made_count;
    uint32_t kept; /* was asked to be, where it is to be */
    uint32_t published;
    bool keeps; /* there is one to be kept */
    bool waits; /* until all are */
    bool cancelled; /* the loop ends: nothing is published any more */
    struct history_call history;
};

static void free_call(struct events_call *call)
{
    loop_task_cancel(&call->task);
    api_call_end(&call->api);
    for (uint32_t i = call->published; i < call->made_count; i++) {
        broadcast_unref(call->made[i]);
    }
    mem_free(call->made);
    mem_free(call->body);
    api_settings_unref(call->settings);
    mem_free(call);
}

/* Checking. */

/* Takes the reference. */
static struct api_error take_made(struct events_call *call, struct broadcast *broadcast)
{
    bool keeps = room_history_wants(call->shard->shard, broadcast);
    if (keeps && !room_history_takes(broadcast)) {
        broadcast_unref(broadcast);
        return (struct api_error){.code = ERROR_TOO_LARGE,
            .message = "Too large to be kept in the history of a room",
            .field = "args"};
    }
    call->made[call->made_count++] = broadcast;
    call->keeps = call->keeps || keeps;
    return (struct api_error){0};
}

static struct api_error make_of(struct events_call *call, struct notification_post *post)
{
    static const struct notification_fault no_fault = {.field = "args"};
    struct api_error error = {0};
    struct broadcast *broadcast;
    if (!api_post_set_tenant(call->api.request, call->key, post, &error)) {
        return error;
    }
    if (call->settings->config->auth_tenants && call->key->tenant.len > 0 &&
        post->target == NOTIFICATION_ALL) {
        return (struct api_error){.code = ERROR_FORBIDDEN,
            .message = "The key is of one tenant, and all means every tenant",
            .field = "all"};
    }
    if (post_event_check(call->shard->shard, post, &call->fault) != 0) {
        return api_post_error(STATUS_INVALID, &call->fault);
    }
    int status = post_event_make(call->shard->shard, post, &broadcast);
    if (status == 0) {
        return take_made(call, broadcast);
    }
    if (status == STATUS_TOO_LARGE) {
        return (struct api_error){
            .code = ERROR_TOO_LARGE, .message = "Too many names in to and except", .field = "to"};
    }
    return api_post_error(status, &no_fault);
}

/* Check one event and make it; false: the request was answered. */
static bool check(struct events_call *call, struct bytes object)
{
    struct notification_limits limits = api_post_limits(call->api.request, call->settings);
    struct notification_post post;
    struct notification_fault fault = {0};
    struct api_error error = {.code = ERROR_INVALID_FIELD, .message = "An event is an object"};
    if (json_scan_kind(object) == JSON_SCAN_OBJECT) {
        int status = notification_from_event_json(object, &limits, &post, &fault);
        error = status != 0 ? api_post_error(status, &fault) : make_of(call, &post);
        if (status == 0) {
            notification_post_finish(&post);
        }
    }
    if (error.code == ERROR_NONE) {
        return true;
    }
    error.in_array = call->array;
    error.index = call->made_count;
    api_refuse(call->api.request, &error);
    return false;
}

/* Keeping. */

/* What the peer is told, who may have gone; nothing was published. Frees the call. */
static void refuse_kept(struct events_call *call, int status)
{
    if (call->api.request != NULL && status == STATUS_UNKNOWN) {
        api_refuse_unknown(call->api.request);
    } else if (call->api.request != NULL) {
        api_refuse_unavailable(call->api.request);
    }
    free_call(call);
}

static void go_on_later(struct events_call *call);

/* All are kept, or not. */
static void on_kept(struct history_call *history, int status)
{
    struct events_call *call = container_of(history, struct events_call, history);
    call->waits = false;
    api_call_pause(&call->api);
    if (call->cancelled) {
        free_call(call);
    } else if (status != 0) {
        refuse_kept(call, status);
    } else {
        go_on_later(call);
    }
}

/* Ask for a slice to be kept, or wait behind the last; true: nothing is waited for any more. */
static bool keep_some(struct events_call *call)
{
    struct shard *shard = call->shard->shard;
    if (call->kept == 0) {
        history_call_begin(&call->history, on_kept);
    }
    for (unsigned i = 0; i < SLICE_EVENTS && call->kept < call->made_count; i++) {
        const struct broadcast *broadcast = call->made[call->kept++];
        if (room_history_wants(shard, broadcast)) {
            history_call_add(&call->history, shard, broadcast, bytes_of(NULL, 0), NULL);
        }
    }
    return call->kept == call->made_count;
}

/* Publishing. */

static void answer(struct events_call *call)
{
    struct builder out = {0};
    builder_str(&out, "{\"accepted\":true}");
    api_answer(call->api.request, 202, bytes_of(NULL, 0), &out);
}

static uint32_t size_of(const struct broadcast *broadcast)
{
    return (uint32_t)broadcast->event->args.len + (uint32_t)sizeof(*broadcast);
}

/* Publish a slice; true when none is left. */
static bool publish_some(struct events_call *call)
{
    uint32_t bytes = 0;
    for (unsigned i = 0; i < SLICE_EVENTS && bytes < SLICE_BYTES; i++) {
        if (call->published == call->made_count) {
            break;
        }
        bytes += size_of(call->made[call->published]);
        post_event_send(call->shard->shard, call->made[call->published++]);
    }
    return call->published == call->made_count;
}

/* Turns. */

/* Check a slice; false: the request was answered. */
static bool check_some(struct events_call *call)
{
    struct bytes element;
    size_t bytes = 0;
    for (unsigned i = 0; i < SLICE_EVENTS && bytes < SLICE_BYTES; i++) {
        if (!json_scan_element(&call->iter, &element)) {
            call->checked = true;
            return true;
        }
        bytes += element.len;
        if (!check(call, element)) {
            return false;
        }
    }
    return true;
}

/* What is checked is kept, then published; true: the call goes on in a later turn. */
static bool go_on(struct events_call *call)
{
    if (call->keeps && call->kept < call->made_count) {
        if (!keep_some(call)) {
            return true;
        }
        api_call_renew(&call->api);
        int status = history_call_end(&call->history);
        call->waits = status == STATUS_AGAIN;
        if (status != 0 && !call->waits) {
            refuse_kept(call, status);
        }
        return status == 0;
    }
    if (!publish_some(call)) {
        return true;
    }
    if (call->api.request != NULL) {
        answer(call);
    }
    free_call(call);
    return false;
}

static void on_turn(struct loop_task *task)
{
    struct events_call *call = container_of(task, struct events_call, task);
    if (!call->checked) {
        if (!check_some(call)) {
            free_call(call);
            return;
        }
        go_on_later(call);
    } else if (go_on(call)) {
        go_on_later(call);
    }
}

static void on_rest(void *arg, bool cancelled)
{
    struct events_call *call = arg;
    bool asks = call->kept > 0 && call->kept < call->made_count; /* for some to be kept */
    if (cancelled) {
        call->cancelled = true;
        call->waits = asks && history_call_end(&call->history) == STATUS_AGAIN;
        if (!call->waits) {
            free_call(call);
        }
    } else if (go_on(call)) {
        go_on_later(call);
    }
}

static void go_on_later(struct events_call *call)
{
    if (call->api.request != NULL) {
        loop_defer(call->shard->loop, &call->task);
    } else {
        sched_post(
            call->shard->node->system, sched_shard(call->shard->shard->sched), on_rest, call);
    }
}

/* It is not known in time whether they are kept; they are published when they are. */
static void on_overdue(struct api_call *api)
{
    api_refuse_unknown(api->request);
}

static void on_gone(struct http_request *request)
{
    struct events_call *call = request->user;
    call->api.request = NULL;
    if (!call->checked) {
        free_call(call);
        return;
    }
    loop_task_cancel(&call->task);
    if (!call->waits) {
        go_on_later(call);
    }
}

/* Answer later. */
static void hold(struct events_call *call)
{
    api_call_hold_store(&call->api, call->api.request, on_overdue);
    api_call_pause(&call->api);
    call->api.request->gone = on_gone;
}

/* Go on in turns with one that is to be kept. */
static void keep_one(const struct events_call *begun)
{
    struct events_call *call = mem_try_alloc(sizeof(*call));
    struct broadcast **made = mem_try_alloc(sizeof(struct broadcast *));
    if (call == NULL || made == NULL) {
        broadcast_unref(begun->made[0]);
        mem_free(call);
        mem_free(made);
        api_refuse_memory(begun->api.request);
        return;
    }
    *call = *begun;
    call->made = made;
    call->made[0] = begun->made[0];
    call->checked = true;
    call->settings = api_settings_ref(call->settings);
    loop_task_init(&call->task, on_turn);
    hold(call);
    on_turn(&call->task);
}

/* The one event that the body is: in this turn, and without memory for a call. */
static void post_one(struct events_call *call, struct bytes object)
{
    struct broadcast *one;
    call->made = &one;
    if (!check(call, object)) {
        return;
    }
    if (call->keeps) {
        keep_one(call);
    } else {
        (void)publish_some(call);
        answer(call);
    }
}

/* What the call holds; false: there is no memory for it. */
static bool reserve(struct events_call *call, struct bytes array, uint32_t count)
{
    call->made = mem_try_calloc(count + 1, sizeof(struct broadcast *));
    call->body = mem_try_alloc(array.len + 1);
    return call->made != NULL && call->body != NULL;
}

/* Go on in turns with an array, of which the body is kept. */
static void post_array(const struct events_call *begun, struct bytes array)
{
    uint32_t count;
    if (!api_post_count(array, begun->settings->config->limits_posts, &count)) {
        api_refuse(begun->api.request, &(struct api_error){.code = ERROR_TOO_LARGE,
                                           .message = "Too many events in one request"});
        return;
    }
    struct events_call *call = mem_alloc(sizeof(*call));
    *call = *begun;
    call->array = true;
    call->settings = api_settings_ref(call->settings);
    loop_task_init(&call->task, on_turn);
    if (!reserve(call, array, count)) {
        api_refuse_memory(call->api.request);
        free_call(call);
        return;
    }
    memcpy(call->body, array.at, array.len);
    json_scan_iter_init(&call->iter, bytes_of(call->body, array.len));
    hold(call);
    on_turn(&call->task);
}

void api_post_events(struct http_request *request, void *context)
{
    (void)context;
    struct bytes value;
    const struct apikey *key = api_auth_key(request, APIKEY_PUBLISH);
    if (key == NULL || !api_post_check_size(request, request->body.len)) {
        return;
    }
    struct api_shard *shard = api_shard(request);
    struct events_call call = {
        .api.request = request, .shard = shard, .settings = shard->settings, .key = key};
    bool read = json_scan_text(request->body, JSON_SCAN_DEPTH_MAX, &value, NULL) == 0;
    if (read && json_scan_kind(value) == JSON_SCAN_OBJECT) {
        post_one(&call, value);
    } else if (read && json_scan_kind(value) == JSON_SCAN_ARRAY) {
        post_array(&call, value);
    } else {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object or array of objects"});
    }
}
