/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is online, over HTTP (actors/presence/presence_call.h). A key with the scope read sees all,
 * and where; a user whom presence.visibility lets it see. Order of this file: calls, the users of a
 * request, requests.
 */
#include "actors/presence/presence_call.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"

enum { BODY_DEPTH = 3 };

#define NO_STORE BYTES("Cache-Control: private, no-store\r\n")

/* Calls. */

/* A call under way. It outlives its request when the peer goes. */
struct presence_request {
    struct api_call api; /* first */
    struct presence_call call;
    struct api_who who;
    bool single; /* the answer is about one user, without its name */
    struct bytes viewer; /* its key; empty: a backend */
    char viewer_at[WIRE_KEY_MAX];
};

static void free_call(struct presence_request *call)
{
    presence_call_finish(&call->call);
    mem_free(call);
}

static void write_sums(const struct presence_call *sums, struct builder *out)
{
    json_write_open(out, '{');
    json_write_u64(out, "users", sums->users);
    json_write_u64(out, "connections", sums->connections);
    json_write_u64(out, "nodes", sums->nodes);
    json_write_bool(out, "complete", sums->complete);
}

static void write_single(const struct presence_call *call, struct builder *out)
{
    const struct presence_ask *ask = container_of(call->asks.next, struct presence_ask, link);
    json_write_open(out, '{');
    presence_ask_write(ask, call->detailed, out);
    json_write_bool(out, "complete", call->complete);
}

static void answer(const struct presence_request *call)
{
    struct builder out = {0};
    if (call->call.starved) {
        api_refuse_memory(call->api.request);
        return;
    }
    if (list_empty(&call->call.asks)) {
        write_sums(&call->call, &out);
    } else if (call->single) {
        write_single(&call->call, &out);
    } else {
        json_write_open(&out, '{');
        presence_call_write(&call->call, &out);
    }
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, NO_STORE, &out);
}

static void on_done(struct presence_call *presence)
{
    struct presence_request *call = container_of(presence, struct presence_request, call);
    if (call->api.request != NULL) {
        answer(call);
    }
    free_call(call);
}

static struct presence_request *make_call(void)
{
    struct presence_request *call = mem_alloc(sizeof(*call));
    presence_call_init(&call->call, on_done);
    return call;
}

/* Who asks was authenticated: a key, or the user `who`. */
static void take_caller(struct presence_request *call)
{
    call->call.detailed = call->who.user.len == 0;
    if (!call->call.detailed) {
        call->viewer = wire_key_user(call->who.tenant, call->who.user, call->viewer_at);
    }
}

static void begin(struct http_request *request, struct presence_request *call)
{
    if (!presence_call_begin(&call->call, api_shard(request)->shard)) {
        api_refuse_memory(request);
        free_call(call);
        return;
    }
    api_call_hold(&call->api, request);
}

/* The users of a request. */

static void refuse_user(struct http_request *request, int status, size_t index)
{
    struct api_error error = {.code = ERROR_INVALID_FIELD,
        .message = "A user id: 1 to 128 bytes without / and control characters",
        .field = "users",
        .in_array = true,
        .index = (uint32_t)index};
    if (status == STATUS_TOO_LARGE) {
        error = (struct api_error){
            .code = ERROR_TOO_LARGE, .message = "At most 1000 users", .field = "users"};
    }
    if (status == STATUS_NOMEM) {
        api_refuse_memory(request);
    } else {
        api_refuse(request, &error);
    }
}

/* Add one; false: the request was answered. */
static bool add_user(
    struct http_request *request, struct presence_request *call, struct bytes user, size_t index)
{
    int status = presence_call_add(&call->call, api_shard(request)->shard, call->who.tenant, user,
        call->viewer.len > 0 ? &call->viewer : NULL);
    if (status != 0) {
        refuse_user(request, status, index);
    }
    return status == 0;
}

static bool check_some(struct http_request *request, const struct presence_request *call)
{
    if (list_empty(&call->call.asks)) {
        api_refuse_field(request, "users", "1 to 1000 user ids");
        return false;
    }
    return true;
}

static bool add_array(
    struct http_request *request, struct presence_request *call, struct bytes array)
{
    struct json_scan_iter iter;
    struct bytes element;
    size_t index = 0;
    json_scan_iter_init(&iter, array);
    while (json_scan_element(&iter, &element)) {
        char at[NAMES_USER_MAX];
        struct bytes user;
        if (json_scan_string(element, at, sizeof(at), &user) != 0) {
            refuse_user(request, STATUS_INVALID, index);
            return false;
        }
        if (!add_user(request, call, user, index++)) {
            return false;
        }
    }
    return check_some(request, call);
}

/* The users of the body; false: the request was answered. */
static bool read_body(struct http_request *request, struct presence_request *call)
{
    struct bytes object;
    struct bytes array;
    if (json_scan_text(request->body, BODY_DEPTH, &object, NULL) != 0 ||
        json_scan_kind(object) != JSON_SCAN_OBJECT) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object"});
        return false;
    }
    if (!api_fields_check(request, object, "users")) {
        return false;
    }
    if (json_scan_get(object, "users", &array) != 0 || json_scan_kind(array) != JSON_SCAN_ARRAY) {
        api_refuse_field(request, "users", "1 to 1000 user ids");
        return false;
    }
    return add_array(request, call, array);
}

/* The raw value of `users` in the query; empty: there is none. */
static struct bytes find_users(struct bytes query)
{
    struct bytes found = {0};
    struct bytes name;
    struct bytes value;
    while (query_next(&query, &name, &value)) {
        found = bytes_eq(name, BYTES("users")) ? value : found;
    }
    return found;
}

/* The users of the query, between commas; a comma of a name is escaped. */
static bool read_query(struct http_request *request, struct presence_request *call)
{
    struct bytes rest = find_users(request->query);
    for (size_t index = 0; rest.len > 0; index++) {
        char at[NAMES_USER_MAX];
        const char *comma = memchr(rest.at, ',', rest.len);
        size_t len = comma != NULL ? (size_t)(comma - rest.at) : rest.len;
        struct bytes user;
        if (query_decode(bytes_of(rest.at, len), at, sizeof(at), &user) != 0) {
            refuse_user(request, STATUS_INVALID, index);
            return false;
        }
        if (!add_user(request, call, user, index)) {
            return false;
        }
        rest = bytes_skip(rest, comma != NULL ? len + 1 : len);
    }
    return check_some(request, call);
}

/* The user in the path. */
static bool read_path(struct http_request *request, struct presence_request *call)
{
    char at[NAMES_USER_MAX];
    struct bytes user;
    call->single = true;
    if (http_param(request, 0, at, sizeof(at), &user) != 0 || names_check_user(user) != 0) {
        api_refuse_field(
            request, "user", "A user id: 1 to 128 bytes without / and control characters");
        return false;
    }
    return add_user(request, call, user, 0);
}

/* Requests. */

/* Answer who the users that `read` finds are. */
static void answer_users(struct http_request *request,
    bool (*read)(struct http_request *request, struct presence_request *call))
{
    struct presence_request *call = make_call();
    if (!api_auth_any(request, APIKEY_READ, &call->who)) {
        free_call(call);
        return;
    }
    take_caller(call);
    if (!read(request, call)) {
        free_call(call);
        return;
    }
    begin(request, call);
}

void api_presence_query(struct http_request *request, void *context)
{
    (void)context;
    answer_users(request, read_body);
}

void api_presence_list(struct http_request *request, void *context)
{
    (void)context;
    answer_users(request, read_query);
}

void api_presence_of_user(struct http_request *request, void *context)
{
    (void)context;
    answer_users(request, read_path);
}

/* The sums are of all tenants. */
void api_presence_count(struct http_request *request, void *context)
{
    (void)context;
    const struct apikey *key = api_auth_key(request, APIKEY_READ);
    if (key == NULL) {
        return;
    }
    if (key->tenant.len > 0) {
        api_refuse(request, &(struct api_error){.code = ERROR_FORBIDDEN,
                                .message = "The key is of one tenant, and this is about all"});
        return;
    }
    begin(request, make_call());
}
