/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client asks of its inbox. Order of this file: arguments, changes of state, reading,
 * dispatch.
 */
#include "actors/inbox/inbox_calls.h"

#include "actors/deliver/socket.h"
#include "actors/inbox/announce.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/inbox_mark.h"
#include "actors/inbox/inbox_page.h"
#include "actors/inbox/inbox_receipts.h"
#include "actors/inbox/inbox_request.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/notification_json.h"
#include "codec/server_events.h"

enum { SYNC_LIMIT = 500, TEXT_MAX = 256 };

/* Answers. */

static void remember_call(struct inbox_request *request, const struct client_call *call)
{
    request->socket_id = call->socket->id;
    request->has_id = call->has_id;
    request->id = call->id;
    memcpy(request->event, call->event->name.at, call->event->name.len);
}

/* The socket that asked, if it is still there. */
static struct socket *asker(struct inbox *inbox, const struct inbox_request *request)
{
    return owner_socket(&inbox->owner, request->socket_id);
}

/* Answer a request that the store could not carry out; true when it could. */
static bool check_stored(struct inbox *inbox, struct inbox_request *request)
{
    if (request->store.base.status == 0) {
        return true;
    }
    static const struct call_refusal away = {
        .code = ERROR_UNAVAILABLE, .message = "The store is not available, try again"};
    static const struct call_refusal refused = {
        .code = ERROR_INVALID_FIELD, .message = "The database refused a value"};
    struct socket *socket = asker(inbox, request);
    if (socket != NULL) {
        call_refuse_event(socket, request->has_id ? &request->id : NULL, bytes_str(request->event),
            request->store.base.status == STATUS_INVALID ? &refused : &away);
    }
    return false;
}

/* Resets the builder. */
static void answer_request(
    struct inbox *inbox, struct inbox_request *request, struct builder *result)
{
    struct socket *socket = asker(inbox, request);
    if (socket != NULL && builder_failed(result)) {
        call_refuse_event(socket, request->has_id ? &request->id : NULL, bytes_str(request->event),
            &(struct call_refusal){
                .code = ERROR_UNAVAILABLE, .message = "Out of memory, try again"});
    } else if (socket != NULL && request->has_id) {
        socket_ack(socket, request->id, builder_bytes(result));
    }
    builder_reset(result);
}

/* Changes of state. */

static void on_step(struct store_mark *mark)
{
    announce_mark(container_of(mark, struct inbox_request, store.mark)->shard, mark);
}

/* The other devices learn of it even if the one that asked, and its user actor, have gone. */
static void announce_marked(struct inbox_request *request)
{
    announce_mark(request->shard, &request->store.mark);
}

static void on_marked(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_mark *mark = &request->store.mark;
    if (!check_stored(inbox, request)) {
        return;
    }
    struct builder text = {0};
    inbox_mark_answer(mark, &text);
    answer_request(inbox, request, &text);
}

static void refuse_marking(
    const struct client_call *call, int status, const struct notification_marking_fault *fault)
{
    const struct call_refusal refusal = {
        .code = status == STATUS_NOMEM       ? ERROR_UNAVAILABLE
                : status == STATUS_TOO_LARGE ? ERROR_TOO_LARGE
                                             : ERROR_INVALID_FIELD,
        .message = fault->message,
        .field = fault->field[0] != '\0' ? fault->field : NULL,
    };
    call_refuse_event(call->socket, call->has_id ? &call->id : NULL, call->event->name, &refusal);
}

static void change_state(const struct client_call *call, enum notification_verb verb, bool all)
{
    struct notification_marking_fault fault;
    uint64_t now = sched_wall(call->socket->shard->sched);
    struct inbox_request *request =
        inbox_request_create(inbox_of(call->socket->user), STORE_MARK, on_marked);
    remember_call(request, call);
    request->carried_out = announce_marked;
    request->marking = mem_alloc(sizeof(*request->marking));
    int status = notification_marking_parse(
        verb, all, call_argument(call->event), now, request->marking, &fault);
    if (status != 0) {
        refuse_marking(call, status, &fault);
        inbox_request_destroy(&request->store.base);
        return;
    }
    inbox_mark_fill(&request->store.mark, inbox_request_who(request), request->marking, now);
    request->store.mark.stepped = on_step;
    inbox_request_submit(request);
}

/* A member of an argument, and what is said to who gave something else there. */
struct parameter {
    const char *name;
    const char *allowed;
};

static void refuse_parameter(const struct client_call *call, const struct parameter *parameter)
{
    call_refuse_field(call, parameter->name, parameter->allowed);
}

/* Reading. */

/* So many of `limit` entries, which made an answer of `bytes`, as an outbox has room for. */
static uint32_t fewer(uint32_t limit, size_t bytes, uint32_t room)
{
    uint64_t fit = (uint64_t)limit * room / bytes;
    return fit < 1 ? 1 : (uint32_t)(fit < limit ? fit : limit - 1);
}

/*
 * Whether an answer to notification:sync of `bytes` is too large for an outbox: then it is asked
 * for again with fewer entries, and the client goes on from there as from any part. A single entry
 * is always given.
 */
static bool ask_for_fewer(struct inbox *inbox, struct inbox_request *request, size_t bytes)
{
    uint32_t room = request->shard->config->outbound_bytes;
    uint32_t limit = request->store.sync.limit;
    if (bytes <= room || limit <= 1) {
        return false;
    }
    struct inbox_request *again = inbox_request_again(inbox, request);
    again->store.sync.who = inbox_request_who(again);
    again->store.sync.rev = request->store.sync.rev;
    again->store.sync.limit = fewer(limit, bytes, room);
    again->store.sync.max_bytes = room;
    inbox_request_submit(again);
    return true;
}

/* A numbered page that does not fit. */
static void refuse_page(struct inbox *inbox, const struct inbox_request *request)
{
    struct socket *socket = asker(inbox, request);
    if (socket != NULL) {
        call_refuse_event(socket, request->has_id ? &request->id : NULL, bytes_str(request->event),
            &(struct call_refusal){
                .code = ERROR_TOO_LARGE, .message = inbox_page_too_large, .field = "limit"});
    }
}

static void on_listed(struct inbox *inbox, struct inbox_request *request)
{
    if (!check_stored(inbox, request)) {
        return;
    }
    struct builder text = {0};
    uint32_t max_bytes = request->shard->config->outbound_bytes;
    if (inbox_page_answer(&request->store.page, request->query, max_bytes, true, &text)) {
        answer_request(inbox, request, &text);
        return;
    }
    builder_reset(&text);
    refuse_page(inbox, request);
}

/* A piece was read, or what was found. */
static void on_searched(struct inbox *inbox, struct inbox_request *request)
{
    struct builder text = {0};
    uint64_t rev;
    if (!check_stored(inbox, request) || asker(inbox, request) == NULL) {
        return;
    }
    if (inbox_search_step(request->search, &request->store.search)) {
        union inbox_search_request next = request->store.search;
        struct inbox_request *again = inbox_request_again(inbox, request);
        next.base.done = again->store.base.done;
        again->store.search = next;
        inbox_request_submit(again);
    } else if (inbox_search_answer(request->search, &request->store.search,
                   request->shard->config->outbound_bytes, true, &text, &rev)) {
        answer_request(inbox, request, &text);
    } else {
        builder_reset(&text);
        refuse_page(inbox, request);
    }
}

/* Read a decimal number, or the same as text (`next` of the page before); null leaves it. */
static int read_number(struct bytes value, uint64_t *ret_number)
{
    char at[TEXT_MAX];
    struct bytes text;
    if (json_scan_kind(value) != JSON_SCAN_STRING) {
        return json_scan_kind(value) == JSON_SCAN_NULL ? 0 : json_scan_u64(value, ret_number);
    }
    int status = json_scan_string(value, at, sizeof(at), &text);
    return status != 0 ? status : bytes_to_u64(text, UINT64_MAX, ret_number);
}

/* The same of a member that may be missing. */
static int read_cursor(struct bytes object, const char *key, uint64_t *ret_value)
{
    struct bytes value;
    int status = json_scan_get(object, key, &value);
    if (status == STATUS_NOT_FOUND) {
        return 0;
    }
    return status != 0 ? status : read_number(value, ret_value);
}

/* The argument as an object; empty where there is none. False: it was refused. */
static bool read_object(
    const struct client_call *call, const char *allowed, struct bytes *ret_argument)
{
    struct bytes argument = call_argument(call->event);
    if (argument.len == 0 || json_scan_kind(argument) == JSON_SCAN_NULL) {
        argument = BYTES("{}");
    }
    if (json_scan_kind(argument) != JSON_SCAN_OBJECT) {
        call_refuse(call, ERROR_INVALID_FIELD, allowed);
        return false;
    }
    *ret_argument = argument;
    return true;
}

static void list_inbox(const struct client_call *call)
{
    struct bytes argument;
    struct notification_query_fault fault;
    if (!read_object(call, "Expected an object of parameters, or nothing", &argument)) {
        return;
    }
    struct inbox_request *request =
        inbox_request_create(inbox_of(call->socket->user), STORE_LIST, on_listed);
    remember_call(request, call);
    request->query = mem_alloc(sizeof(*request->query));
    if (notification_query_from_json(argument, request->query, &fault) != 0) {
        call_refuse_field(call, fault.field, fault.message);
        inbox_request_destroy(&request->store.base);
        return;
    }
    if (request->query->sort == NOTIFICATION_SORT_MATCH) {
        request->answered = on_searched;
        request->search = inbox_search_create(
            request->shard, request->query, inbox_request_who(request), &request->store.search);
        if (request->search == NULL) {
            call_refuse(call, ERROR_UNAVAILABLE, inbox_search_busy);
            inbox_request_destroy(&request->store.base);
            return;
        }
    } else {
        inbox_page_fill(&request->store.page, inbox_request_who(request), request->query,
            request->shard->config->outbound_bytes);
    }
    inbox_request_submit(request);
}

static void answer_resync(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_position *position = &request->store.sync.position;
    struct socket *socket = asker(inbox, request);
    if (socket == NULL) {
        return;
    }
    struct bytes epoch = bytes_str(shard_of(&inbox->owner.actor)->config->epoch);
    struct builder text = {0};
    call_emit(socket, server_events_resync(epoch, position->rev));
    builder_printf(&text,
        "{\"ok\":true,\"resync\":true,\"items\":[],\"states\":[],\"rev\":%llu,\"unread\":%llu,"
        "\"unseen\":%llu,\"done\":true}",
        (unsigned long long)position->rev, (unsigned long long)position->unread,
        (unsigned long long)position->unseen);
    answer_request(inbox, request, &text);
}

static void on_synced(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_sync *sync = &request->store.sync;
    if (!check_stored(inbox, request)) {
        return;
    }
    if (sync->resync) {
        answer_resync(inbox, request);
        return;
    }
    struct notification_sync_body body = {
        .items = sync->items,
        .item_count = sync->item_count,
        .changes = sync->changes,
        .change_count = sync->change_count,
        .through_rev = sync->done ? sync->position.rev : sync->through_rev,
        .unread = sync->position.unread,
        .unseen = sync->position.unseen,
        .done = sync->done,
    };
    struct builder text = {0};
    notification_json_sync(&body, &text);
    if (builder_failed(&text) || !ask_for_fewer(inbox, request, builder_bytes(&text).len)) {
        answer_request(inbox, request, &text);
    }
    builder_reset(&text);
}

/* A position of another store is worth nothing here: it counts as one above the head. */
static bool read_sync(const struct client_call *call, uint64_t *ret_rev)
{
    struct bytes argument;
    struct bytes epoch;
    if (!read_object(call, "Expected {epoch, rev}", &argument)) {
        return false;
    }
    if (read_cursor(argument, "rev", ret_rev) != 0) {
        call_refuse_field(call, "rev", "A number: the position of the device");
        return false;
    }
    if (json_scan_get(argument, "epoch", &epoch) != 0 || json_scan_kind(epoch) == JSON_SCAN_NULL) {
        return true;
    }
    if (json_scan_kind(epoch) != JSON_SCAN_STRING) {
        call_refuse_field(call, "epoch", "A text: as hub:ready said it");
        return false;
    }
    if (!json_scan_string_eq(epoch, bytes_str(call->socket->shard->config->epoch))) {
        *ret_rev = UINT64_MAX >> 1;
    }
    return true;
}

static void sync_inbox(const struct client_call *call)
{
    uint64_t rev = 0;
    if (!read_sync(call, &rev)) {
        return;
    }
    struct inbox_request *request =
        inbox_request_create(inbox_of(call->socket->user), STORE_SYNC, on_synced);
    remember_call(request, call);
    request->store.sync.who = inbox_request_who(request);
    request->store.sync.rev = rev < UINT64_MAX >> 1 ? rev : UINT64_MAX >> 1;
    request->store.sync.limit = SYNC_LIMIT;
    request->store.sync.max_bytes = request->shard->config->outbound_bytes;
    inbox_request_submit(request);
}

static const struct parameter up_to_parameter = {"upTo", "The seq of a notification: a number"};

static void received(const struct client_call *call)
{
    uint64_t up_to = 0;
    struct bytes argument;
    struct bytes value;
    if (!read_object(call, "Expected {upTo: seq}", &argument)) {
        return;
    }
    if (json_scan_get(argument, "upTo", &value) != 0 || read_number(value, &up_to) != 0) {
        refuse_parameter(call, &up_to_parameter);
        return;
    }
    inbox_receipts_take(inbox_of(call->socket->user), up_to);
    call_answer(call, BYTES("{\"ok\":true}"));
}

/* Dispatch. */

void inbox_calls_take(const struct client_call *call, enum inbox_what what)
{
    switch (what) {
    case INBOX_ARCHIVE:
        change_state(call, NOTIFICATION_MARK_ARCHIVE, false);
        return;
    case INBOX_DELETE:
        change_state(call, NOTIFICATION_MARK_DELETE, false);
        return;
    case INBOX_LIST:
        list_inbox(call);
        return;
    case INBOX_READ:
        change_state(call, NOTIFICATION_MARK_READ, false);
        return;
    case INBOX_READ_ALL:
        change_state(call, NOTIFICATION_MARK_READ, true);
        return;
    case INBOX_RECEIVED:
        received(call);
        return;
    case INBOX_SEEN:
        change_state(call, NOTIFICATION_MARK_SEEN, false);
        return;
    case INBOX_SEEN_ALL:
        change_state(call, NOTIFICATION_MARK_SEEN, true);
        return;
    case INBOX_SNOOZE:
        change_state(call, NOTIFICATION_MARK_SNOOZE, false);
        return;
    case INBOX_SYNC:
        sync_inbox(call);
        return;
    case INBOX_UNARCHIVE:
        change_state(call, NOTIFICATION_MARK_UNARCHIVE, false);
        return;
    case INBOX_UNREAD:
        change_state(call, NOTIFICATION_MARK_UNREAD, false);
        return;
    }
}
