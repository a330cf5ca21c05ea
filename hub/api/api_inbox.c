/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of inboxes over HTTP: reading and marking. Order of this file: calls of the store,
 * conditional answers, lists, single notifications, unread counts, changes of state.
 *
 * Every change of an inbox uses a rev, so epoch and rev name what an answer shows: that is its
 * ETag. It is weak, because the same content is sent compressed and not.
 */
#include "actors/inbox/announce.h"
#include "actors/inbox/inbox_mark.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/notification_json.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"

enum {
    LIMIT_DEFAULT = 20,
    LIMIT_MAX = 100,
    TYPE_MAX = 256,
    FIELDS_MAX = 256,
    ETAG_MAX = 96,
    BODY_DEPTH = 3,
};

#define FIELDS_ALLOWED "Some, with commas between, of: " NOTIFICATION_JSON_FIELDS

/* A call under way. It outlives its request when the peer goes. */
struct inbox_call {
    struct api_call api; /* first */
    struct shard *shard;
    struct api_who who;
    void (*committed)(struct inbox_call *call); /* tells others; NULL: nothing to tell */
    void (*answer)(struct inbox_call *call); /* the request is there */
    union {
        struct store_request base;
        struct store_list list;
        struct store_get get;
        struct store_positions positions;
        struct store_mark mark;
    } op;
    struct store_user user; /* as the store sees `who` */
    struct notification_marking *marking; /* of a mark; else NULL */
    uint32_t fields; /* of items that are asked for; 0: all */
    char type[TYPE_MAX];
};

/* Calls of the store. */

static void free_call(struct inbox_call *call)
{
    api_call_end(&call->api);
    if (call->marking != NULL) {
        notification_marking_finish(call->marking);
        mem_free(call->marking);
    }
    mem_free(call);
}

static void refuse_field(struct http_request *request, const char *field, const char *message)
{
    api_refuse(request,
        &(struct api_error){.code = ERROR_INVALID_FIELD, .message = message, .field = field});
}

static void refuse_status(struct http_request *request, int status)
{
    if (status == STATUS_NOT_FOUND) {
        api_refuse(request, &(struct api_error){.code = ERROR_NOT_FOUND,
                                .message = "There is no such notification"});
    } else if (status == STATUS_INVALID) {
        refuse_field(request, NULL, "The database refused a value");
    } else if (status == STATUS_UNKNOWN) {
        api_refuse_unknown(request);
    } else {
        api_refuse_unavailable(request);
    }
}

static void on_overdue(struct api_call *api)
{
    const struct inbox_call *call = container_of(api, struct inbox_call, api);
    bool changes = call->op.base.op == STORE_MARK;
    refuse_status(api->request, changes ? STATUS_UNKNOWN : STATUS_UNAVAILABLE);
}

static void on_done(struct store_request *request)
{
    struct inbox_call *call = container_of(request, struct inbox_call, op.base);
    if (request->status == 0 && call->committed != NULL) {
        call->committed(call);
    }
    if (call->api.request != NULL) {
        if (request->status == 0) {
            call->answer(call);
        } else {
            refuse_status(call->api.request, request->status);
        }
    }
    store_request_finish(request);
    free_call(call);
}

static struct inbox_call *new_call(
    struct http_request *request, enum store_op op, void (*answer)(struct inbox_call *call))
{
    struct inbox_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    call->answer = answer;
    call->op.base.op = op;
    call->op.base.done = on_done;
    return call;
}

/* A call about the user of the path; NULL: the request was answered. */
static struct inbox_call *new_user_call(struct http_request *request, enum store_op op,
    unsigned scopes, void (*answer)(struct inbox_call *call))
{
    struct inbox_call *call = new_call(request, op, answer);
    bool own = (scopes & APIKEY_ADMIN) == 0;
    if (!api_auth_user(request, scopes, own, &call->who)) {
        free_call(call);
        return NULL;
    }
    call->user = (struct store_user){.tenant = call->who.tenant, .user = call->who.user};
    return call;
}

/* Answers later, unless the store is closed already. */
static void submit(struct http_request *request, struct inbox_call *call)
{
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(call->shard->store, &call->op.base);
}

/* Conditional answers. */

static struct bytes write_etag(const struct inbox_call *call, uint64_t rev, char at[ETAG_MAX])
{
    struct builder out = {.max = ETAG_MAX};
    builder_printf(&out, "\"%.64s.%llu\"", call->shard->config->epoch, (unsigned long long)rev);
    struct bytes text = builder_bytes(&out);
    memcpy(at, text.at, text.len);
    text.at = at;
    builder_reset(&out);
    return text;
}

/* Whether If-None-Match names `etag`, by the weak comparison (RFC 9110 8.8.3.2), or anything. */
static bool is_known(const struct http_request *request, struct bytes etag)
{
    size_t cursor = 0;
    struct bytes value;
    while (http1_header_next(request->head, "if-none-match", &cursor, &value)) {
        struct bytes element;
        while (http1_list_next(&value, &element)) {
            if (bytes_starts(element, BYTES("W/"))) {
                element = bytes_skip(element, 2);
            }
            if (bytes_eq(element, etag) || bytes_eq(element, BYTES("*"))) {
                return true;
            }
        }
    }
    return false;
}

/* Answer with what the inbox shows at `rev`, or 304; resets `json`. */
static void answer_at(struct inbox_call *call, uint64_t rev, struct builder *json)
{
    char at[ETAG_MAX];
    struct bytes etag = write_etag(call, rev, at);
    struct builder headers = {0};
    builder_str(&headers, "ETag: W/");
    builder_add(&headers, etag);
    builder_str(&headers, "\r\nCache-Control: private, no-cache\r\nX-Cache: MISS\r\n");
    if (is_known(call->api.request, etag)) {
        http_respond(call->api.request, 304, NULL, builder_bytes(&headers), bytes_of(NULL, 0));
        builder_reset(json);
    } else {
        api_answer(call->api.request, 200, builder_bytes(&headers), json);
    }
    builder_reset(&headers);
}

/* Lists. */

static void answer_list(struct inbox_call *call)
{
    const struct store_list *list = &call->op.list;
    struct builder out = {0};
    struct notification_page page = {.items = list->items,
        .count = list->count,
        .more = list->next.new_rev > 0,
        .fields = call->fields,
        .max_bytes = call->shard->config->outbound_bytes};
    notification_json_list(&page, &out);
    answer_at(call, list->position.rev, &out);
}

/* A number of the query; absent leaves `*ret_value`. */
static int read_number(struct bytes query, const char *name, uint64_t max, uint64_t *ret_value)
{
    char at[24];
    struct bytes text;
    int status = query_get(query, name, at, sizeof(at), &text);
    if (status != 0) {
        return status == STATUS_NOT_FOUND ? 0 : status;
    }
    return bytes_to_u64(text, max, ret_value);
}

/* `next` of the page before; absent leaves the cursor. */
static int read_after(struct bytes query, struct store_cursor *cursor)
{
    char at[48];
    struct bytes text;
    int status = query_get(query, "after", at, sizeof(at), &text);
    if (status != 0) {
        return status == STATUS_NOT_FOUND ? 0 : status;
    }
    return notification_cursor_parse(text, &cursor->new_rev, &cursor->seq);
}

static int read_states(struct bytes query, uint32_t *ret_states)
{
    char at[16];
    struct bytes text;
    enum notification_state state;
    int status = query_get(query, "state", at, sizeof(at), &text);
    if (status == STATUS_NOT_FOUND) {
        return 0;
    }
    if (status != 0 || notification_state_parse(text, &state) != 0 ||
        state > NOTIFICATION_SNOOZED) {
        return STATUS_INVALID;
    }
    *ret_states = 1u << state;
    /* What was only seen has not been read: who asks for unread means both. */
    *ret_states |= state == NOTIFICATION_UNREAD ? 1u << NOTIFICATION_SEEN : 0u;
    return 0;
}

static int read_fields(struct bytes query, uint32_t *ret_fields)
{
    char at[FIELDS_MAX];
    struct bytes list;
    struct bytes name;
    int status = query_get(query, "fields", at, sizeof(at), &list);
    if (status != 0) {
        return status == STATUS_NOT_FOUND ? 0 : status;
    }
    while (status == 0 && http1_list_next(&list, &name)) {
        status = notification_json_add_field(name, ret_fields);
    }
    return status;
}

/* Read the parameters of a list; returns the name of one that is not valid, or NULL. */
static const char *read_list(struct bytes query, struct inbox_call *call)
{
    struct store_list *list = &call->op.list;
    uint64_t limit = LIMIT_DEFAULT;
    if (read_after(query, &list->before) != 0) {
        return "after";
    }
    if (read_number(query, "limit", LIMIT_MAX, &limit) != 0 || limit == 0) {
        return "limit";
    }
    list->limit = (uint32_t)limit;
    if (read_states(query, &list->states) != 0) {
        return "state";
    }
    int status = query_get(query, "type", call->type, sizeof(call->type), &list->type);
    if (status != 0 && status != STATUS_NOT_FOUND) {
        return "type";
    }
    return read_fields(query, &call->fields) != 0 ? "fields" : NULL;
}

/* What a parameter of a list may be, for who gave something else. */
static const char *allowed_of(const char *parameter)
{
    static const struct {
        const char *parameter;
        const char *allowed;
    } rows[] = {
        {"after", "The next of the page before"},
        {"limit", "A number from 1 to 100"},
        {"state", "One of unread, seen, read, archived, snoozed"},
        {"type", "At most 256 bytes"},
        {"fields", FIELDS_ALLOWED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].parameter, parameter) == 0) {
            return rows[i].allowed;
        }
    }
    return "Not valid";
}

void api_inbox_list(struct http_request *request, void *context)
{
    (void)context;
    struct inbox_call *call = new_user_call(request, STORE_LIST, APIKEY_READ, answer_list);
    if (call == NULL) {
        return;
    }
    const char *fault = read_list(request->query, call);
    if (fault != NULL) {
        refuse_field(request, fault, allowed_of(fault));
        free_call(call);
        return;
    }
    call->op.list.who = call->user;
    call->op.list.max_bytes = call->shard->config->outbound_bytes;
    submit(request, call);
}

/* Single notifications. */

static void answer_get(struct inbox_call *call)
{
    const struct notification_item *item = &call->op.get.item;
    if (call->who.user.len > 0 && !bytes_eq(call->who.user, item->user)) {
        refuse_status(call->api.request, STATUS_NOT_FOUND); /* another user's */
        return;
    }
    struct builder out = {0};
    notification_json_fields(item, call->fields, &out);
    answer_at(call, item->rev, &out);
}

void api_inbox_get(struct http_request *request, void *context)
{
    (void)context;
    char at[UUID_TEXT_LEN + 1];
    struct bytes id;
    struct inbox_call *call = new_call(request, STORE_GET, answer_get);
    if (!api_auth_any(request, APIKEY_READ, &call->who)) {
        free_call(call);
        return;
    }
    if (http_param(request, 0, at, sizeof(at), &id) != 0 ||
        uuid_parse(id.at, id.len, call->op.get.id) != 0) {
        refuse_status(request, STATUS_NOT_FOUND);
        free_call(call);
        return;
    }
    if (read_fields(request->query, &call->fields) != 0) {
        refuse_field(request, "fields", allowed_of("fields"));
        free_call(call);
        return;
    }
    call->op.get.tenant = call->who.tenant;
    submit(request, call);
}

/* Unread counts. */

static void answer_unread(struct inbox_call *call)
{
    const struct store_position *position = &call->op.positions.positions[0];
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_u64(&out, "count", position->unread);
    json_write_u64(&out, "unseen", position->unseen);
    json_write_u64(&out, "rev", position->rev);
    json_write_close(&out, '}');
    answer_at(call, position->rev, &out);
}

void api_inbox_unread(struct http_request *request, void *context)
{
    (void)context;
    struct inbox_call *call = new_user_call(request, STORE_POSITIONS, APIKEY_READ, answer_unread);
    if (call != NULL) {
        call->op.positions.users = &call->user;
        call->op.positions.count = 1;
        submit(request, call);
    }
}

/* Changes of state. */

static void announce_marked(struct inbox_call *call)
{
    announce_mark(call->shard, &call->op.mark);
}

static void answer_mark(struct inbox_call *call)
{
    struct builder out = {0};
    inbox_mark_answer(&call->op.mark, &out);
    api_answer(call->api.request, 200, bytes_of(NULL, 0), &out);
}

/* A call that marks; NULL: the request was answered. */
static struct inbox_call *new_mark(struct http_request *request, unsigned scopes)
{
    struct inbox_call *call = new_user_call(request, STORE_MARK, scopes, answer_mark);
    if (call != NULL) {
        call->committed = announce_marked;
        call->marking = mem_alloc(sizeof(*call->marking));
    }
    return call;
}

static void submit_mark(struct http_request *request, struct inbox_call *call)
{
    inbox_mark_fill(&call->op.mark, call->user, call->marking, sched_wall(call->shard->sched));
    submit(request, call);
}

static void refuse_marking(
    struct http_request *request, int status, const struct notification_marking_fault *fault)
{
    api_refuse(
        request, &(struct api_error){
                     .code = status == STATUS_TOO_LARGE ? ERROR_TOO_LARGE : ERROR_INVALID_FIELD,
                     .message = fault->message,
                     .field = fault->field[0] != '\0' ? fault->field : NULL,
                 });
}

/* What stands behind `notifications/` in the path of a mark. */
static const struct {
    const char *name;
    enum notification_verb verb;
    bool all;
} marks[] = {
    {"archive", NOTIFICATION_MARK_ARCHIVE, false},
    {"delete", NOTIFICATION_MARK_DELETE, false},
    {"read", NOTIFICATION_MARK_READ, false},
    {"read-all", NOTIFICATION_MARK_READ, true},
    {"seen", NOTIFICATION_MARK_SEEN, false},
    {"seen-all", NOTIFICATION_MARK_SEEN, true},
    {"snooze", NOTIFICATION_MARK_SNOOZE, false},
    {"unarchive", NOTIFICATION_MARK_UNARCHIVE, false},
    {"unread", NOTIFICATION_MARK_UNREAD, false},
};

/* The place in `marks` of what the path names; ARRAY_LEN(marks): it is none of them. */
static size_t find_mark(struct http_request *request)
{
    char at[16];
    struct bytes name;
    size_t i = 0;
    if (http_param(request, 1, at, sizeof(at), &name) != 0) {
        return ARRAY_LEN(marks);
    }
    while (i < ARRAY_LEN(marks) && !bytes_eq_str(name, marks[i].name)) {
        i++;
    }
    return i;
}

void api_inbox_mark(struct http_request *request, void *context)
{
    (void)context;
    struct bytes value = {0};
    struct notification_marking_fault fault;
    struct inbox_call *call = new_mark(request, APIKEY_WRITE);
    if (call == NULL) {
        return;
    }
    size_t which = find_mark(request);
    if (which == ARRAY_LEN(marks)) {
        api_refuse(request,
            &(struct api_error){.code = ERROR_NOT_FOUND, .message = "There is no such path"});
        free_call(call);
        return;
    }
    bool empty = marks[which].all && request->body.len == 0;
    if (!empty && json_scan_text(request->body, BODY_DEPTH, &value, NULL) != 0) {
        api_refuse(request,
            &(struct api_error){.code = ERROR_BAD_REQUEST, .message = "The body is no JSON"});
        free_call(call);
        return;
    }
    int status = notification_marking_parse(marks[which].verb, marks[which].all, value,
        sched_wall(call->shard->sched), call->marking, &fault);
    if (status != 0) {
        refuse_marking(request, status, &fault);
        free_call(call);
        return;
    }
    submit_mark(request, call);
}

/* All there is, also what is archived or snoozed. */
void api_inbox_erase(struct http_request *request, void *context)
{
    (void)context;
    struct inbox_call *call = new_mark(request, APIKEY_ADMIN);
    if (call != NULL) {
        *call->marking = (struct notification_marking){
            .verb = NOTIFICATION_MARK_DELETE, .up_to = UINT64_MAX, .if_rev = INT64_MAX};
        inbox_mark_fill(&call->op.mark, call->user, call->marking, sched_wall(call->shard->sched));
        call->op.mark.states = NOTIFICATION_ALL_STATES;
        submit(request, call);
    }
}
