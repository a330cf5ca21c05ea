/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is subscribed to a topic. Order of this file: refusals, changing who is, lists.
 *
 * A call with many users leaves in requests of STORE_PAGE_MAX, one after the other. What was done
 * before one fails stays done: the call may be repeated. Who is online is told, so that the nodes
 * read which topics their users are in: some in a turn (teller.h), before the next part is asked
 * for, so that what waits to be told is bounded by the calls under way.
 */
#include "actors/inbox/announce.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/teller.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"

enum { BODY_DEPTH = 3, LIMIT_DEFAULT = 100 };

/* Refusals. */

/* The topic of the path; false: the request was answered. */
static bool read_topic(struct http_request *request, char *at, struct bytes *ret_topic)
{
    if (http_param(request, 0, at, NAMES_ROOM_MAX, ret_topic) != 0 ||
        names_check_room(*ret_topic) != 0) {
        api_refuse_field(
            request, "topic", "A topic: 1 to 200 bytes without / and control characters");
        return false;
    }
    return true;
}

/* Changing. */

/* A call under way. It outlives its request when the peer goes. */
struct change_call {
    struct api_call api; /* first */
    struct shard *shard;
    struct api_who who;
    struct telling telling; /* of the users from `told` to `done` */
    struct store_subscribe op; /* of the users from `done` on */
    char topic_at[NAMES_ROOM_MAX];
    struct bytes *users;
    char *texts; /* what `users` point into */
    size_t user_count;
    size_t told;
    size_t done;
    uint64_t changed;
    uint64_t full;
};

static void free_change(struct change_call *call)
{
    api_call_end(&call->api);
    mem_free(call->users);
    mem_free(call->texts);
    mem_free(call);
}

static void answer_change(struct change_call *call)
{
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_u64(&out, call->op.remove ? "removed" : "added", call->changed);
    if (call->full > 0) {
        json_write_u64(&out, "full", call->full);
    }
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, bytes_of(NULL, 0), &out);
}

static void submit_part(struct change_call *call)
{
    size_t left = call->user_count - call->done;
    call->op.users = call->users + call->done;
    call->op.user_count = left < STORE_PAGE_MAX ? left : STORE_PAGE_MAX;
    store_submit(call->shard->store, &call->op.base);
}

static void end_change(struct change_call *call, int status)
{
    if (call->api.request != NULL && status == 0) {
        answer_change(call);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, status);
    }
    free_change(call);
}

/* A part is done, and its users were told. */
static void go_on(struct change_call *call)
{
    if (call->done == call->user_count) {
        end_change(call, 0);
    } else if (call->shard->store == NULL) {
        end_change(call, STATUS_UNAVAILABLE); /* the node ends */
    } else {
        submit_part(call);
    }
}

static bool tell_some(struct telling *telling, unsigned most)
{
    struct change_call *call = container_of(telling, struct change_call, telling);
    for (; most > 0 && call->told < call->done; most--) {
        announce_repeat(call->shard,
            (struct store_user){.tenant = call->op.tenant, .user = call->users[call->told++]});
    }
    if (call->told < call->done) {
        return true;
    }
    go_on(call);
    return false;
}

static void drop_telling(struct telling *telling)
{
    end_change(container_of(telling, struct change_call, telling), STATUS_UNAVAILABLE);
}

static void on_changed(struct store_request *request)
{
    struct change_call *call = container_of(request, struct change_call, op.base);
    int status = request->status;
    if (status != 0) {
        store_request_finish(request);
        end_change(call, status);
        return;
    }
    uint64_t changed = call->op.changed;
    call->changed += changed;
    call->full += call->op.full;
    call->told = call->done;
    call->done += call->op.user_count;
    api_call_renew(&call->api);
    store_request_finish(request);
    if (changed > 0) {
        teller_tell(call->shard, &call->telling);
    } else {
        go_on(call);
    }
}

static void on_change_overdue(struct api_call *api)
{
    api_refuse_unknown(api->request);
}

/* A user id, of which a number is one too; STATUS_INVALID and those of names_check_user. */
static int read_user(struct bytes value, char *at, size_t cap, struct bytes *ret_user)
{
    uint64_t number;
    if (json_scan_kind(value) == JSON_SCAN_NUMBER && json_scan_u64(value, &number) == 0) {
        *ret_user = value;
        return 0;
    }
    int status = json_scan_string(value, at, cap, ret_user);
    return status != 0 ? STATUS_INVALID : names_check_user(*ret_user);
}

/* Copy the list out of the body, which is borrowed; false: the request was answered. */
static bool read_users(struct http_request *request, struct bytes list, struct change_call *call)
{
    struct json_scan_iter iter;
    struct bytes element;
    size_t count = 0;
    size_t used = 0;
    json_scan_iter_init(&iter, list);
    while (json_scan_element(&iter, &element)) {
        count++;
    }
    if (count == 0 || count > STORE_AUDIENCE_USERS_MAX) {
        api_refuse_field(request, "users", "A list of 1 to 10,000 user ids");
        return false;
    }
    call->users = mem_try_calloc(count, sizeof(*call->users));
    call->texts = mem_try_alloc(list.len);
    if (call->users == NULL || call->texts == NULL) {
        api_refuse_memory(request);
        return false;
    }
    json_scan_iter_init(&iter, list);
    while (json_scan_element(&iter, &element)) {
        struct bytes user;
        char *at = call->texts + used;
        if (read_user(element, at, list.len - used, &user) != 0) {
            api_refuse_field(request, "users",
                "Each a user id: 1 to 128 bytes without / and control characters");
            return false;
        }
        memmove(at, user.at, user.len);
        call->users[call->user_count++] = bytes_of(at, user.len);
        used += user.len;
    }
    return true;
}

/* The body's list of users; false: the request was answered. */
static bool read_body(struct http_request *request, struct change_call *call)
{
    struct bytes body;
    struct bytes list;
    if (json_scan_text(request->body, BODY_DEPTH, &body, NULL) != 0 ||
        json_scan_kind(body) != JSON_SCAN_OBJECT) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object"});
        return false;
    }
    if (!api_fields_check(request, body, "users")) {
        return false;
    }
    if (json_scan_get(body, "users", &list) != 0 || json_scan_kind(list) != JSON_SCAN_ARRAY) {
        api_refuse_field(request, "users", "A list of 1 to 10,000 user ids");
        return false;
    }
    return read_users(request, list, call);
}

static void change(struct http_request *request, bool remove)
{
    struct change_call *call = mem_alloc(sizeof(*call));
    struct bytes topic;
    call->shard = api_shard(request)->shard;
    if (!api_auth_backend(request, APIKEY_PUBLISH, &call->who) ||
        !read_topic(request, call->topic_at, &topic) || !read_body(request, call)) {
        free_change(call);
        return;
    }
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_change(call);
        return;
    }
    call->op = (struct store_subscribe){
        .base = {.op = STORE_SUBSCRIBE, .done = on_changed},
        .tenant = call->who.tenant,
        .topic = topic,
        .remove = remove,
    };
    call->telling.tell = tell_some;
    call->telling.drop = drop_telling;
    api_call_hold_store(&call->api, request, on_change_overdue);
    submit_part(call);
}

bool api_topics_head(struct http_request *request, void *context)
{
    (void)context;
    return api_auth_key(request, APIKEY_PUBLISH) != NULL;
}

void api_topics_subscribe(struct http_request *request, void *context)
{
    (void)context;
    change(request, false);
}

void api_topics_unsubscribe(struct http_request *request, void *context)
{
    (void)context;
    change(request, true);
}

/* Lists. */

/* A list that is read. It outlives its request when the peer goes. */
struct list_call {
    struct api_call api; /* first */
    struct api_who who;
    union {
        struct store_request base;
        struct store_topics topics;
        struct store_subscribers subscribers;
    } op;
    struct bytes after;
    uint32_t limit;
    char topic_at[NAMES_ROOM_MAX];
    char after_at[NAMES_ROOM_MAX];
};

static void free_list(struct list_call *call)
{
    api_call_end(&call->api);
    mem_free(call);
}

static void answer_list(struct list_call *call, const struct bytes *names, size_t count, bool more)
{
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_key(&out, "items");
    json_write_open(&out, '[');
    for (size_t i = 0; i < count; i++) {
        json_write_next(&out);
        json_scan_write_string(&out, names[i]);
    }
    json_write_close(&out, ']');
    if (more && count > 0) {
        json_write_text(&out, "next", names[count - 1]);
    } else {
        json_write_json(&out, "next", bytes_of(NULL, 0));
    }
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

static void on_listed(struct store_request *request)
{
    struct list_call *call = container_of(request, struct list_call, op.base);
    if (call->api.request != NULL && request->status != 0) {
        api_refuse_status(call->api.request, request->status);
    } else if (call->api.request != NULL && request->op == STORE_TOPICS) {
        const struct store_topics *topics = &call->op.topics;
        answer_list(call, topics->names, topics->count, topics->more);
    } else if (call->api.request != NULL) {
        const struct store_subscribers *subscribers = &call->op.subscribers;
        answer_list(call, subscribers->names, subscribers->count, subscribers->more);
    }
    store_request_finish(request);
    free_list(call);
}

static void on_list_overdue(struct api_call *api)
{
    api_refuse_unavailable(api->request);
}

/* The page that is asked for; false: the request was answered. */
static bool read_page(struct http_request *request, struct list_call *call)
{
    char at[8];
    struct bytes text;
    uint64_t limit = LIMIT_DEFAULT;
    int status = query_get(request->query, "limit", at, sizeof(at), &text);
    if (status != STATUS_NOT_FOUND &&
        (status != 0 || json_scan_u64(text, &limit) != 0 || limit == 0 || limit > STORE_PAGE_MAX)) {
        api_refuse_field(request, "limit", "limit must be 1 to 1000");
        return false;
    }
    call->limit = (uint32_t)limit;
    status =
        query_get(request->query, "after", call->after_at, sizeof(call->after_at), &call->after);
    if (status != 0 && status != STATUS_NOT_FOUND) {
        api_refuse_field(request, "after", "after must be the `next` of a page");
        return false;
    }
    if (status == STATUS_NOT_FOUND) {
        call->after = bytes_of(NULL, 0);
    }
    return true;
}

static void submit_list(struct http_request *request, struct list_call *call)
{
    struct store_port *store = api_shard(request)->shard->store;
    if (store == NULL) {
        api_refuse_unavailable(request);
        free_list(call);
        return;
    }
    call->op.base.done = on_listed;
    api_call_hold_store(&call->api, request, on_list_overdue);
    store_submit(store, &call->op.base);
}

void api_topics_subscribers(struct http_request *request, void *context)
{
    (void)context;
    struct list_call *call = mem_alloc(sizeof(*call));
    struct bytes topic;
    if (!api_auth_backend(request, APIKEY_READ, &call->who) ||
        !read_topic(request, call->topic_at, &topic) || !read_page(request, call)) {
        free_list(call);
        return;
    }
    call->op.subscribers = (struct store_subscribers){
        .base = {.op = STORE_SUBSCRIBERS},
        .tenant = call->who.tenant,
        .topic = topic,
        .after = call->after,
        .limit = call->limit,
    };
    submit_list(request, call);
}

static void list_topics(struct http_request *request, struct list_call *call, bool of_user)
{
    if (!read_page(request, call)) {
        free_list(call);
        return;
    }
    call->op.topics = (struct store_topics){
        .base = {.op = STORE_TOPICS},
        .tenant = call->who.tenant,
        .of_user = of_user,
        .user = of_user ? call->who.user : bytes_of(NULL, 0),
        .after = call->after,
        .limit = call->limit,
    };
    submit_list(request, call);
}

void api_topics_list(struct http_request *request, void *context)
{
    (void)context;
    struct list_call *call = mem_alloc(sizeof(*call));
    if (!api_auth_backend(request, APIKEY_READ, &call->who)) {
        free_list(call);
        return;
    }
    list_topics(request, call, false);
}

void api_topics_of_user(struct http_request *request, void *context)
{
    (void)context;
    struct list_call *call = mem_alloc(sizeof(*call));
    if (!api_auth_user(request, APIKEY_READ, true, &call->who)) {
        free_list(call);
        return;
    }
    list_topics(request, call, true);
}
