/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of inboxes over HTTP: reading and marking. Order of this file: calls of the store,
 * reads that may have been answered before, lists, single notifications, unread counts, changes of
 * state.
 */
#include "actors/inbox/announce.h"
#include "actors/inbox/inbox_mark.h"
#include "actors/inbox/inbox_page.h"
#include "actors/inbox/inbox_search.h"
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
#include "hub/api/api_kept.h"
#include "hub/api/api_schedule.h"
#include "hub/api/api_shard.h"

enum { BODY_DEPTH = 3, NEWEST = 5, TRIES = 5 };

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
        struct store_page page;
        union inbox_search_request search;
        struct store_counts counts;
        struct store_get get;
        struct store_positions positions;
        struct store_mark mark;
    } op;
    struct store_user user; /* as the store sees `who` */
    struct notification_marking *marking; /* of a mark; else NULL */
    struct notification_query *query; /* of what is read; else NULL */
    struct inbox_search *search; /* of one that searches; else NULL */
    struct api_kept kept; /* of a read that may have been answered before */
    bool (*read)(struct inbox_call *call); /* of the same: fills in what the store is asked */
    struct builder types; /* of an overview: its counts, which are of `rev` */
    uint64_t rev;
    unsigned tries;
    bool by_priority; /* of counts */
    char *owner; /* of a row that is read again */
};

/* Calls of the store. */

static void free_call(struct inbox_call *call)
{
    api_call_end(&call->api);
    inbox_search_destroy(call->search);
    api_kept_finish(&call->kept);
    mem_free(call->query);
    mem_free(call->owner);
    builder_reset(&call->types);
    if (call->marking != NULL) {
        notification_marking_finish(call->marking);
        mem_free(call->marking);
    }
    mem_free(call);
}

static void on_overdue(struct api_call *api)
{
    const struct inbox_call *call = container_of(api, struct inbox_call, api);
    bool changes = call->op.base.op == STORE_MARK;
    api_refuse_status(api->request, changes ? STATUS_UNKNOWN : STATUS_UNAVAILABLE);
}

/* A poster asks for what is no notification: it may become one. */
static bool is_for_later(const struct inbox_call *call)
{
    const struct store_request *request = &call->op.base;
    return request->op == STORE_GET && request->status == STATUS_NOT_FOUND &&
           call->who.user.len == 0 && call->api.request != NULL;
}

static void get_scheduled(struct inbox_call *call)
{
    struct http_request *request = call->api.request;
    api_call_end(&call->api);
    api_schedule_get(request, call->op.get.who.tenant, call->op.get.id);
    store_request_finish(&call->op.base);
    free_call(call);
}

static void on_done(struct store_request *request)
{
    struct inbox_call *call = container_of(request, struct inbox_call, op.base);
    if (is_for_later(call)) {
        get_scheduled(call);
        return;
    }
    if (request->status == 0 && call->committed != NULL) {
        call->committed(call);
    }
    if (call->api.request != NULL) {
        if (request->status == 0) {
            call->answer(call);
        } else {
            api_refuse_status(call->api.request, request->status);
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

/* Whether the call goes on, with the next request filled in; else it is answered. */
static bool goes_on(struct inbox_call *call)
{
    return call->api.request != NULL && call->shard->store != NULL && call->op.base.status == 0;
}

/* Reads that may have been answered before. */

/* The next that the store is asked; it is to be filled in. */
static void set_op(struct inbox_call *call, enum store_op op, store_done_fn done)
{
    memset(&call->op, 0, sizeof(call->op));
    call->op.base.op = op;
    call->op.base.done = done;
}

static void ask_position(struct inbox_call *call, store_done_fn done)
{
    set_op(call, STORE_POSITIONS, done);
    call->op.positions.users = &call->user;
    call->op.positions.count = 1;
}

static void on_positioned(struct store_request *request)
{
    struct inbox_call *call = container_of(request, struct inbox_call, op.base);
    if (!goes_on(call)) {
        request->status = request->status == 0 ? STATUS_UNAVAILABLE : request->status;
        on_done(request);
        return;
    }
    uint64_t rev = call->op.positions.positions[0].rev;
    store_request_finish(request);
    if (api_kept_answer(&call->kept, call->api.request, rev) || !call->read(call)) {
        free_call(call);
        return;
    }
    store_submit(call->shard->store, &call->op.base);
}

/*
 * Answer from what was kept, or by `read`, which fills in what the store is asked; false: it has
 * answered the request.
 */
static void start_read(struct http_request *request, struct inbox_call *call, const char *kind,
    bool (*read)(struct inbox_call *call))
{
    call->read = read;
    call->api.request = request;
    if (api_kept_begin(&call->kept, request, call->user, kind)) {
        ask_position(call, on_positioned);
    } else if (!read(call)) {
        free_call(call);
        return;
    }
    submit(request, call);
}

/* Answer with what the inbox shows at `rev`, or 304; resets `json`. */
static void answer_at(struct inbox_call *call, uint64_t rev, struct builder *json)
{
    api_kept_fill(&call->kept, call->api.request, rev, json);
}

/* Lists. */

static void refuse_page(struct http_request *request)
{
    api_refuse(
        request, &(struct api_error){
                     .code = ERROR_TOO_LARGE, .message = inbox_page_too_large, .field = "limit"});
}

static void answer_list(struct inbox_call *call)
{
    struct builder out = {0};
    uint32_t max_bytes = call->shard->config->outbound_bytes;
    if (inbox_page_answer(&call->op.page, call->query, max_bytes, false, &out)) {
        answer_at(call, call->op.list.position.rev, &out);
        return;
    }
    builder_reset(&out);
    refuse_page(call->api.request);
}

/* The parameters of a read. False: the request was refused, and the call is gone. */
static bool read_query(struct http_request *request, struct inbox_call *call)
{
    struct notification_query_fault fault;
    call->query = mem_alloc(sizeof(*call->query));
    int status = notification_query_from_url(request->query, call->query, &fault);
    if (status == 0) {
        return true;
    }
    api_refuse(request, &(struct api_error){.code = status == STATUS_CONFLICT ? ERROR_BAD_REQUEST
                                                                              : ERROR_INVALID_FIELD,
                            .message = fault.message,
                            .field = fault.field});
    free_call(call);
    return false;
}

static void answer_search(struct inbox_call *call)
{
    struct builder out = {0};
    uint64_t rev;
    if (!inbox_search_answer(call->search, &call->op.search, call->shard->config->outbound_bytes,
            false, &out, &rev)) {
        builder_reset(&out);
        refuse_page(call->api.request);
    } else if (rev > 0) {
        answer_at(call, rev, &out);
    } else { /* no tag: it shows no rev */
        api_kept_pass(call->api.request, &out);
    }
}

/* A piece was read, or what was found. */
static void on_searched(struct store_request *request)
{
    struct inbox_call *call = container_of(request, struct inbox_call, op.base);
    if (!goes_on(call)) {
        request->status = request->status == 0 ? STATUS_UNAVAILABLE : request->status;
        on_done(request);
    } else if (inbox_search_step(call->search, &call->op.search)) {
        api_call_renew(&call->api);
        store_submit(call->shard->store, &call->op.base);
    } else {
        on_done(request);
    }
}

static bool read_search(struct inbox_call *call)
{
    call->answer = answer_search;
    set_op(call, STORE_TEXTS, on_searched);
    call->search = inbox_search_create(call->shard, call->query, call->user, &call->op.search);
    if (call->search == NULL) {
        api_refuse(call->api.request,
            &(struct api_error){
                .code = ERROR_UNAVAILABLE, .message = inbox_search_busy, .retry_s = 1});
    }
    return call->search != NULL;
}

static bool read_list(struct inbox_call *call)
{
    set_op(call, STORE_LIST, on_done);
    inbox_page_fill(&call->op.page, call->user, call->query, call->shard->config->outbound_bytes);
    return true;
}

void api_inbox_list(struct http_request *request, void *context)
{
    (void)context;
    struct inbox_call *call = new_user_call(request, STORE_LIST, APIKEY_READ, answer_list);
    if (call != NULL && read_query(request, call)) {
        bool searches = call->query->sort == NOTIFICATION_SORT_MATCH;
        start_read(request, call, "list", searches ? read_search : read_list);
    }
}

/* Single notifications. */

static void answer_get(struct inbox_call *call)
{
    const struct notification_item *item = &call->op.get.item;
    if (call->who.user.len > 0 && !bytes_eq(call->who.user, item->user)) {
        api_refuse_status(call->api.request, STATUS_NOT_FOUND); /* another user's */
        return;
    }
    struct builder out = {0};
    notification_json_fields(item, call->query->fields, call->query->omit_nulls, &out);
    api_kept_one(call->api.request, item->rev, &out);
}

/* A row of a post to many is read again as its user's, so that it has what the post was given
 * since. */
static void on_got(struct store_request *request)
{
    struct inbox_call *call = container_of(request, struct inbox_call, op.base);
    struct store_get *get = &call->op.get;
    bool again = goes_on(call) && get->who.user.len == 0 && get->item.audience != AUDIENCE_NONE;
    if (!again) {
        on_done(request);
        return;
    }
    size_t len = get->item.user.len;
    call->owner = mem_try_alloc(len);
    if (call->owner == NULL) {
        request->status = STATUS_UNAVAILABLE; /* what it has may be old */
        on_done(request);
        return;
    }
    memcpy(call->owner, get->item.user.at, len);
    store_request_finish(request);
    get->who.user = bytes_of(call->owner, len);
    store_submit(call->shard->store, request);
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
        api_refuse_status(request, STATUS_NOT_FOUND);
        free_call(call);
        return;
    }
    if (read_query(request, call)) {
        call->op.base.done = on_got;
        call->op.get.who = (struct store_user){.tenant = call->who.tenant, .user = call->who.user};
        submit(request, call);
    }
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

static bool read_unread(struct inbox_call *call)
{
    ask_position(call, on_done);
    return true;
}

void api_inbox_unread(struct http_request *request, void *context)
{
    (void)context;
    struct inbox_call *call = new_user_call(request, STORE_POSITIONS, APIKEY_READ, answer_unread);
    if (call != NULL) {
        start_read(request, call, "unread", read_unread);
    }
}

/* Counts by type or priority. */

static void write_counts(const struct store_position *position, struct builder *out)
{
    json_write_u64(out, "unread", position->unread);
    json_write_u64(out, "unseen", position->unseen);
    json_write_u64(out, "rev", position->rev);
}

/* {name: {unread, unseen}, …}: names are any text. */
static void write_groups(const struct store_counts *counts, struct builder *out)
{
    json_write_open(out, '{');
    for (size_t i = 0; i < counts->group_count; i++) {
        const struct store_group *group = &counts->groups[i];
        builder_str(out, i > 0 ? "," : "");
        json_scan_write_string(
            out, counts->by_priority ? notification_priority_name(group->priority) : group->type);
        builder_byte(out, ':');
        json_write_open(out, '{');
        json_write_u64(out, "unread", group->unread);
        json_write_u64(out, "unseen", group->unseen);
        json_write_close(out, '}');
    }
    json_write_close(out, '}');
}

static void answer_counts(struct inbox_call *call)
{
    const struct store_counts *counts = &call->op.counts;
    struct builder out = {0};
    json_write_open(&out, '{');
    write_counts(&counts->position, &out);
    json_write_key(&out, "by");
    write_groups(counts, &out);
    json_write_close(&out, '}');
    answer_at(call, counts->position.rev, &out);
}

static bool read_counts(struct inbox_call *call)
{
    set_op(call, STORE_COUNTS, on_done);
    call->op.counts.who = call->user;
    call->op.counts.by_priority = call->by_priority;
    return true;
}

void api_inbox_counts(struct http_request *request, void *context)
{
    (void)context;
    char at[16];
    struct bytes by = BYTES("type");
    struct inbox_call *call = new_user_call(request, STORE_COUNTS, APIKEY_READ, answer_counts);
    if (call == NULL) {
        return;
    }
    int status = query_get(request->query, "by", at, sizeof(at), &by);
    call->by_priority = bytes_eq_str(by, "priority");
    if ((status != 0 && status != STATUS_NOT_FOUND) ||
        (!call->by_priority && !bytes_eq_str(by, "type"))) {
        api_refuse_field(request, "by", "type or priority");
        free_call(call);
        return;
    }
    start_read(request, call, "counts", read_counts);
}

/* The overview: counts, then the newest, until both are of one rev. */

static void on_overview_counted(struct store_request *request);

static void answer_overview(struct inbox_call *call)
{
    const struct store_list *list = &call->op.list;
    struct builder out = {0};
    if (builder_failed(&call->types)) {
        api_refuse_memory(call->api.request);
        return;
    }
    json_write_open(&out, '{');
    write_counts(&list->position, &out);
    json_write_json(&out, "types", builder_bytes(&call->types));
    json_write_key(&out, "items");
    json_write_open(&out, '[');
    for (size_t i = 0; i < list->count; i++) {
        json_write_next(&out);
        notification_json_item(&list->items[i], &out);
    }
    json_write_close(&out, ']');
    json_write_close(&out, '}');
    answer_at(call, list->position.rev, &out);
}

static bool read_overview(struct inbox_call *call)
{
    set_op(call, STORE_COUNTS, on_overview_counted);
    call->op.counts.who = call->user;
    call->tries++;
    return true;
}

static void on_overview_listed(struct store_request *request)
{
    struct inbox_call *call = container_of(request, struct inbox_call, op.base);
    if (!goes_on(call) || call->op.list.position.rev == call->rev) {
        on_done(request);
        return;
    }
    if (call->tries == TRIES) { /* it changes faster than it is read */
        api_refuse_unavailable(call->api.request);
        store_request_finish(request);
        free_call(call);
        return;
    }
    store_request_finish(request);
    (void)read_overview(call);
    store_submit(call->shard->store, &call->op.base);
}

static void on_overview_counted(struct store_request *request)
{
    struct inbox_call *call = container_of(request, struct inbox_call, op.base);
    if (!goes_on(call)) {
        request->status = request->status == 0 ? STATUS_UNAVAILABLE : request->status;
        on_done(request);
        return;
    }
    builder_clear(&call->types);
    write_groups(&call->op.counts, &call->types);
    call->rev = call->op.counts.position.rev;
    store_request_finish(request);
    set_op(call, STORE_LIST, on_overview_listed);
    call->op.list.who = call->user;
    call->op.list.limit = NEWEST;
    store_submit(call->shard->store, &call->op.base);
}

void api_inbox_overview(struct http_request *request, void *context)
{
    (void)context;
    struct inbox_call *call = new_user_call(request, STORE_COUNTS, APIKEY_READ, answer_overview);
    if (call != NULL) {
        start_read(request, call, "overview", read_overview);
    }
}

/* Changes of state. */

static void announce_marked(struct inbox_call *call)
{
    announce_mark(call->shard, &call->op.mark);
}

/* Some thousand rows more are marked (store_mark.stepped). */
static void on_step(struct store_mark *mark)
{
    struct inbox_call *call = container_of(mark, struct inbox_call, op.mark);
    announce_marked(call);
    if (call->api.request != NULL) {
        api_call_renew(&call->api);
    }
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
        call->op.mark.stepped = on_step;
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
    if (status == STATUS_NOMEM) {
        api_refuse_memory(request);
        return;
    }
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
