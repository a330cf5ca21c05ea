/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscribing and listing for clients. Order of this file: answers, subscribing, listing.
 */
#include "actors/inbox/topic_calls.h"

#include <stdio.h>

#include "actors/deliver/socket.h"
#include "actors/inbox/announce.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/inbox_request.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"

enum { LIMIT_DEFAULT = 100, FIELD_MAX = 65, MESSAGE_MAX = 96 };

static const char topic_allowed[] = "A topic: 1 to 200 bytes without / and control characters";

/* Answers. */

static struct inbox_request *new_request(const struct client_call *call, enum store_op op,
    void (*answered)(struct inbox *inbox, struct inbox_request *request))
{
    struct inbox_request *request =
        inbox_request_create(inbox_of(call->socket->user), op, answered);
    request->socket_id = call->socket->id;
    request->has_id = call->has_id;
    request->id = call->id;
    memcpy(request->event, call->event->name.at, call->event->name.len);
    return request;
}

static void refuse(
    struct inbox *inbox, const struct inbox_request *request, const struct call_refusal *refusal)
{
    struct socket *socket = owner_socket(&inbox->owner, request->socket_id);
    if (socket != NULL) {
        call_refuse_event(
            socket, request->has_id ? &request->id : NULL, bytes_str(request->event), refusal);
    }
}

/* Resets the builder. */
static void answer(struct inbox *inbox, const struct inbox_request *request, struct builder *text)
{
    struct socket *socket = owner_socket(&inbox->owner, request->socket_id);
    if (builder_failed(text)) {
        refuse(inbox, request,
            &(struct call_refusal){
                .code = ERROR_UNAVAILABLE, .message = "Out of memory, try again"});
    } else if (socket != NULL && request->has_id) {
        socket_ack(socket, request->id, builder_bytes(text));
    }
    builder_reset(text);
}

/* Whether the store has carried it out; else it was refused. */
static bool check_stored(struct inbox *inbox, const struct inbox_request *request)
{
    if (request->store.base.status != 0) {
        refuse(inbox, request,
            &(struct call_refusal){
                .code = ERROR_UNAVAILABLE, .message = "The store is not available, try again"});
    }
    return request->store.base.status == 0;
}

/* Subscribing. */

/* All nodes with the user read its topics, also when the one that asked has gone. */
static void announce_changed(struct inbox_request *request)
{
    if (request->store.subscribe.changed > 0) {
        announce_repeat(request->shard, inbox_request_who(request));
    }
}

static void on_subscribed(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_subscribe *subscribe = &request->store.subscribe;
    if (!check_stored(inbox, request)) {
        return;
    }
    if (subscribe->full > 0) {
        refuse(inbox, request,
            &(struct call_refusal){.code = ERROR_TOO_LARGE,
                .message = "A user is subscribed to 10,000 topics at most",
                .field = "topic"});
        return;
    }
    struct builder text = {0};
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", true);
    json_write_text(&text, "topic", subscribe->topic);
    json_write_bool(&text, "changed", subscribe->changed > 0);
    json_write_close(&text, '}');
    answer(inbox, request, &text);
}

/* Whether an object has no members but these; else the first other one was refused. */
static bool check_members(
    const struct client_call *call, struct bytes object, const char *first, const char *second)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    json_scan_iter_init(&iter, object);
    while (json_scan_member(&iter, &key, &value)) {
        if (!json_scan_string_eq(key, bytes_str(first)) &&
            !json_scan_string_eq(key, bytes_str(second))) {
            char field[FIELD_MAX];
            char message[MESSAGE_MAX];
            bool one = strcmp(first, second) == 0;
            names_write_field(key, field, sizeof(field));
            snprintf(message, sizeof(message), "Unknown field; known here: %s%s%s", first,
                one ? "" : ", ", one ? "" : second);
            call_refuse_field(call, field, message);
            return false;
        }
    }
    return true;
}

/* The topic, as text or in an object; false: it was refused. */
static bool read_topic(const struct client_call *call, char *at, struct bytes *ret_topic)
{
    struct bytes value = call_argument(call->event);
    bool object = value.len > 0 && json_scan_kind(value) == JSON_SCAN_OBJECT;
    if (object && !check_members(call, value, "topic", "topic")) {
        return false;
    }
    if (object && json_scan_get(value, "topic", &value) != 0) {
        value = bytes_of(NULL, 0);
    }
    if (value.len == 0 || json_scan_string(value, at, NAMES_ROOM_MAX, ret_topic) != 0 ||
        names_check_room(*ret_topic) != 0) {
        call_refuse_field(call, "topic", topic_allowed);
        return false;
    }
    return true;
}

void topic_calls_subscribe(const struct client_call *call, bool remove)
{
    const struct actor_config *config = call->socket->shard->config;
    char at[NAMES_ROOM_MAX];
    struct bytes topic;
    if (!read_topic(call, at, &topic)) {
        return;
    }
    if (config->topic_self == NULL || !config->topic_self(config->context, topic)) {
        call_refuse(call, ERROR_FORBIDDEN, "Access denied to topic");
        return;
    }
    struct inbox_request *request = new_request(call, STORE_SUBSCRIBE, on_subscribed);
    request->text = buf_new_name(topic);
    request->carried_out = announce_changed;
    request->name = inbox_request_who(request).user;
    request->store.subscribe.tenant = inbox_request_who(request).tenant;
    request->store.subscribe.topic = buf_bytes(request->text);
    request->store.subscribe.users = &request->name;
    request->store.subscribe.user_count = 1;
    request->store.subscribe.remove = remove;
    inbox_request_submit(request);
}

/* Listing. */

static void on_listed(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_topics *topics = &request->store.topics;
    if (!check_stored(inbox, request)) {
        return;
    }
    struct builder text = {0};
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", true);
    json_write_key(&text, "items");
    json_write_open(&text, '[');
    for (size_t i = 0; i < topics->count; i++) {
        json_write_next(&text);
        json_scan_write_string(&text, topics->names[i]);
    }
    json_write_close(&text, ']');
    if (topics->more && topics->count > 0) {
        json_write_text(&text, "next", topics->names[topics->count - 1]);
    } else {
        json_write_json(&text, "next", bytes_of(NULL, 0));
    }
    json_write_close(&text, '}');
    answer(inbox, request, &text);
}

/* A member that may be missing, or null. */
static bool get_member(struct bytes object, const char *name, struct bytes *ret_value)
{
    return json_scan_get(object, name, ret_value) == 0 &&
           json_scan_kind(*ret_value) != JSON_SCAN_NULL;
}

/* `after` and `limit` of the argument; false: it was refused. */
static bool read_page(
    const struct client_call *call, char *at, struct bytes *ret_after, uint64_t *ret_limit)
{
    struct bytes argument = call_argument(call->event);
    struct bytes value;
    *ret_after = bytes_of(NULL, 0);
    *ret_limit = LIMIT_DEFAULT;
    if (argument.len == 0 || json_scan_kind(argument) == JSON_SCAN_NULL) {
        return true;
    }
    if (json_scan_kind(argument) != JSON_SCAN_OBJECT) {
        call_refuse(call, ERROR_INVALID_FIELD, "Expected {after, limit}, or nothing");
        return false;
    }
    if (!check_members(call, argument, "after", "limit")) {
        return false;
    }
    if (get_member(argument, "after", &value) &&
        json_scan_string(value, at, NAMES_ROOM_MAX, ret_after) != 0) {
        call_refuse_field(call, "after", "The `next` of a page");
        return false;
    }
    if (get_member(argument, "limit", &value) &&
        (json_scan_u64(value, ret_limit) != 0 || *ret_limit == 0 || *ret_limit > STORE_PAGE_MAX)) {
        call_refuse_field(call, "limit", "A number from 1 to 1000");
        return false;
    }
    return true;
}

void topic_calls_list(const struct client_call *call)
{
    char at[NAMES_ROOM_MAX];
    struct bytes after;
    uint64_t limit;
    if (!read_page(call, at, &after, &limit)) {
        return;
    }
    struct inbox_request *request = new_request(call, STORE_TOPICS, on_listed);
    request->text = buf_new_name(after);
    request->store.topics.tenant = inbox_request_who(request).tenant;
    request->store.topics.of_user = true;
    request->store.topics.user = inbox_request_who(request).user;
    request->store.topics.after = buf_bytes(request->text);
    request->store.topics.limit = (uint32_t)limit;
    inbox_request_submit(request);
}
