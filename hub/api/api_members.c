/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in a room. Order of this file: what is found, the answer, asking other nodes, the bus, the
 * shards of this node, requests.
 *
 * The question goes from shard to shard of this node, and then, as fetchSockets of a Socket.IO
 * server, to the other nodes, of which as many must answer as subscribe to requests. An answer that
 * does not come in time is told: `complete` is false then.
 */
#include "hub/api/api_members.h"

#include <stdio.h>
#include <stdlib.h>

#include "actors/bus.h"
#include "actors/identity.h"
#include "actors/order/bus_origin.h"
#include "actors/rooms/pick.h"
#include "actors/wire_name.h"
#include "codec/adapter_request.h"
#include "codec/adapter_wire.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/query.h"
#include "codec/slot.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"

enum { LIMIT_DEFAULT = 20, LIMIT_MAX = 100, CALLS_MAX = 16, WAIT_MS = 3000, ID_MAX = 40 };

/* A user with sockets in the room. */
struct member {
    uint64_t sockets;
    uint32_t user_len;
    char user[];
};

/* A shard's connections to ask by, made when they are first needed. */
struct members {
    struct api_shard *shard;
    struct bus_link *link; /* listens for answers, while `calls` holds any */
    struct bus_link *sender;
    struct list calls; /* members_call.link: those that wait for other nodes */
    unsigned count; /* of calls */
    bool confirmed; /* the subscription */
};

struct members_call {
    struct api_call api; /* first */
    struct list link; /* members.calls */
    struct timer timer;
    const struct api_node *node;
    unsigned home; /* the shard that the request came to */
    unsigned next; /* the shard to ask */
    struct map users; /* struct member */
    struct buf *payload; /* the request to other nodes */
    struct buf *packed; /* the same as MessagePack */
    char id[ID_MAX];
    uint64_t limit;
    struct bytes after;
    char after_at[NAMES_USER_MAX];
    bool counting; /* how many must answer: a reply of Redis is under way */
    bool asked; /* `expected` is known */
    bool finished; /* it is kept for that reply only */
    bool starved; /* there was no memory for all users */
    int64_t expected; /* answers */
    int64_t answers;
};

/* What is found. */

static struct bytes member_key(const void *object)
{
    const struct member *member = object;
    return bytes_of(member->user, member->user_len);
}

static void add_member(struct members_call *call, struct bytes user)
{
    struct member *member = map_get(&call->users, user);
    if (member == NULL) {
        member = mem_try_calloc(1, sizeof(*member) + user.len);
        if (member == NULL) {
            call->starved = true;
            return;
        }
        member->user_len = (uint32_t)user.len;
        memcpy(member->user, user.at, user.len);
        if (!map_put(&call->users, member)) {
            call->starved = true;
            mem_free(member);
            return;
        }
    }
    member->sockets++;
}

static void free_call(struct members_call *call)
{
    size_t cursor = 0;
    for (struct member *member; (member = map_next(&call->users, &cursor)) != NULL;) {
        mem_free(member);
    }
    map_finish(&call->users);
    buf_unref(call->payload);
    buf_unref(call->packed);
    mem_free(call);
}

/* The answer. */

static int compare_members(const void *left, const void *right)
{
    const struct member *a = *(const struct member *const *)left;
    const struct member *b = *(const struct member *const *)right;
    size_t len = a->user_len < b->user_len ? a->user_len : b->user_len;
    int order = memcmp(a->user, b->user, len);
    return order != 0 ? order : (a->user_len > b->user_len) - (a->user_len < b->user_len);
}

/* Those behind the cursor, sorted; the caller frees them. NULL: no memory. */
static struct member **sort_members(const struct members_call *call, size_t *ret_count)
{
    size_t most = map_count(&call->users) + 1;
    struct member **sorted = mem_try_calloc(most, sizeof(struct member *));
    if (sorted == NULL) {
        return NULL;
    }
    struct member *border = mem_alloc(sizeof(*border) + call->after.len);
    size_t count = 0;
    size_t cursor = 0;
    border->user_len = (uint32_t)call->after.len;
    if (call->after.len > 0) {
        memcpy(border->user, call->after.at, call->after.len);
    }
    for (struct member *member; (member = map_next(&call->users, &cursor)) != NULL;) {
        if (compare_members(&member, &border) > 0) {
            sorted[count++] = member;
        }
    }
    mem_free(border);
    qsort(sorted, count, sizeof(sorted[0]), compare_members);
    *ret_count = count;
    return sorted;
}

static void answer(struct members_call *call, bool complete)
{
    size_t count;
    struct member **sorted = call->starved ? NULL : sort_members(call, &count);
    if (sorted == NULL) {
        api_refuse_memory(call->api.request);
        return;
    }
    size_t shown = count < call->limit ? count : call->limit;
    struct builder out = {0};
    builder_str(&out, "{\"items\":[");
    for (size_t i = 0; i < shown; i++) {
        builder_str(&out, i > 0 ? ",{\"userId\":" : "{\"userId\":");
        json_scan_write_string(&out, member_key(sorted[i]));
        builder_printf(&out, ",\"sockets\":%llu}", (unsigned long long)sorted[i]->sockets);
    }
    builder_str(&out, "],\"next\":");
    if (shown < count) {
        json_scan_write_string(&out, member_key(sorted[shown - 1]));
    } else {
        builder_str(&out, "null");
    }
    builder_str(&out, complete ? ",\"complete\":true}" : ",\"complete\":false}");
    mem_free(sorted);
    api_answer(call->api.request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

/* On its home shard. */
static void finish(struct members_call *call, bool complete)
{
    if (call->api.request != NULL) {
        answer(call, complete);
    }
    call->finished = true;
    if (!call->counting) {
        free_call(call);
    }
}

/* Asking other nodes. */

static void write_channel(
    const struct api_shard *shard, enum adapter_channel channel, struct builder *out)
{
    adapter_channel_write(
        channel, bytes_str(shard->shard->config->adapter_key), BYTES("/"), bytes_of(NULL, 0), out);
}

static void listen(struct members *members, bool on)
{
    const struct bus_ops *ops = members->shard->shard->bus->ops;
    struct builder channel = {0};
    write_channel(members->shard, ADAPTER_RESPONSE, &channel);
    if (on) {
        (void)ops->subscribe(members->link, builder_bytes(&channel)); /* else nobody answers */
    } else {
        ops->unsubscribe(members->link, builder_bytes(&channel));
    }
    members->confirmed = false;
    builder_reset(&channel);
}

/* It waits for nobody any more. */
static void leave(struct members *members, struct members_call *call)
{
    timer_cancel(sched_timers(members->shard->shard->sched), &call->timer);
    list_remove(&call->link);
    members->count--;
    if (list_empty(&members->calls)) {
        listen(members, false);
    }
}

static void end(struct members_call *call, bool complete)
{
    leave(call->node->shard(call->node, call->home)->members, call);
    finish(call, complete);
}

static void on_timer(struct timer *timer)
{
    struct members_call *call = container_of(timer, struct members_call, timer);
    end(call, call->asked && call->answers >= call->expected);
}

/* End it with the next turn: callbacks of the bus do not change what it is just walking over. */
static void end_soon(struct members_call *call)
{
    timer_set(
        sched_timers(call->node->shard(call->node, call->home)->shard->sched), &call->timer, 0);
}

/* The subscribers of the channel of requests: this node is one of them. */
static void on_count(void *context, int status, const struct bus_reply *reply)
{
    struct members_call *call = context;
    call->counting = false;
    if (call->finished) {
        free_call(call);
        return;
    }
    if (status != 0 || reply->type != BUS_ARRAY || reply->count != 2 ||
        reply->items[1]->type != BUS_INTEGER) {
        end_soon(call);
        return;
    }
    struct api_shard *shard = call->node->shard(call->node, call->home);
    call->expected = reply->items[1]->integer - 1;
    call->asked = true;
    if (call->expected <= 0) {
        end_soon(call);
        return;
    }
    struct builder channel = {0};
    write_channel(shard, ADAPTER_REQUEST, &channel);
    const struct bytes argv[] = {
        BYTES("PUBLISH"), builder_bytes(&channel), buf_bytes(call->payload)};
    shard->shard->bus->ops->command(
        shard->members->sender, argv, ARRAY_LEN(argv), WAIT_MS, NULL, NULL);
    builder_reset(&channel);
}

static void count_nodes(struct members *members, struct members_call *call)
{
    struct builder channel = {0};
    write_channel(members->shard, ADAPTER_REQUEST, &channel);
    const struct bytes argv[] = {BYTES("PUBSUB"), BYTES("NUMSUB"), builder_bytes(&channel)};
    call->counting = true;
    members->shard->shard->bus->ops->command(
        members->sender, argv, ARRAY_LEN(argv), WAIT_MS, on_count, call);
    builder_reset(&channel);
}

/* Ask for those that have not been, now that both connections are there. */
static void go_on(struct members *members)
{
    if (!members->confirmed || !members->shard->shard->bus->ops->is_up(members->sender)) {
        return;
    }
    list_for_each (link, &members->calls) {
        struct members_call *call = container_of(link, struct members_call, link);
        if (!call->asked && !call->counting) {
            count_nodes(members, call);
        }
    }
}

/* The bus. */

static void on_sender_up(void *context)
{
    go_on(context);
}

static void on_down(void *context)
{
    struct members *members = context;
    members->confirmed = false;
}

static void on_subscribed(void *context, struct bytes channel)
{
    struct members *members = context;
    (void)channel;
    members->confirmed = !list_empty(&members->calls);
    go_on(members);
}

static void take_answer(struct members_call *call, struct json_scan_iter *sockets)
{
    char at[NAMES_USER_MAX];
    struct bytes user;
    while (adapter_fetched_next(sockets, at, &user)) {
        if (user.len > 0) {
            add_member(call, user);
        }
    }
    if (++call->answers >= call->expected) {
        end_soon(call);
    }
}

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct members *members = context;
    (void)channel;
    list_for_each (link, &members->calls) {
        struct members_call *call = container_of(link, struct members_call, link);
        struct json_scan_iter sockets;
        if (call->asked && adapter_fetched_begin(payload, bytes_str(call->id), &sockets) == 0) {
            take_answer(call, &sockets);
            return;
        }
    }
}

static const struct bus_events listener_events = {
    .on_down = on_down, .on_subscribed = on_subscribed, .on_message = on_message};
static const struct bus_events sender_events = {.on_up = on_sender_up};

static struct members *members_of(struct api_shard *shard)
{
    if (shard->members == NULL) {
        struct bus *bus = shard->shard->bus;
        struct members *members = mem_alloc(sizeof(*members));
        members->shard = shard;
        list_init(&members->calls);
        members->link = bus->ops->open(bus, "members", &listener_events, members);
        members->sender = bus->ops->open(bus, "members-ask", &sender_events, members);
        shard->members = members;
    }
    return shard->members;
}

void api_members_stop(struct api_shard *shard)
{
    struct members *members = shard->members;
    if (members == NULL) {
        return;
    }
    list_for_each_safe (link, following, &members->calls) {
        end(container_of(link, struct members_call, link), false);
    }
    const struct bus_ops *ops = shard->shard->bus->ops;
    ops->close(members->link);
    ops->close(members->sender);
    shard->members = NULL;
    mem_free(members);
}

static void ask_nodes(struct api_shard *shard, struct members_call *call)
{
    if (shard->shard->bus == NULL || shard->stopping) {
        finish(call, shard->shard->bus == NULL);
        return;
    }
    struct members *members = members_of(shard);
    if (members->count >= CALLS_MAX) {
        if (call->api.request != NULL) {
            api_refuse_unavailable(call->api.request);
        }
        free_call(call);
        return;
    }
    if (list_empty(&members->calls)) {
        listen(members, true);
    }
    members->count++;
    list_append(&members->calls, &call->link);
    timer_set(
        sched_timers(shard->shard->sched), &call->timer, sched_now(shard->shard->sched) + WAIT_MS);
    go_on(members);
}

/* The shards of this node. */

static void visit(struct fanout *fanout, struct socket *socket, void *context)
{
    (void)fanout;
    add_member(context, claims_user(identity_claims(socket->identity)));
}

/* On the thread of `shard`. */
static void collect(struct members_call *call, struct api_shard *shard)
{
    struct fanout *fanout = fanout_find(shard->shard, BYTES("/"));
    struct adapter_request request;
    if (fanout != NULL && adapter_request_decode(buf_bytes(call->packed), &request) == 0) {
        pick_visit(fanout, &request, visit, call);
    }
}

static void on_visit(void *arg, bool cancelled)
{
    struct members_call *call = arg;
    if (cancelled) {
        free_call(call);
        return;
    }
    if (call->next == call->node->shard_count) {
        ask_nodes(call->node->shard(call->node, call->home), call);
        return;
    }
    collect(call, call->node->shard(call->node, call->next++));
    unsigned to = call->next == call->node->shard_count ? call->home : call->next;
    sched_post(call->node->system, to, on_visit, call);
}

/* Requests. */

static void refuse_field(struct http_request *request, const char *field, const char *message)
{
    api_refuse(request,
        &(struct api_error){.code = ERROR_INVALID_FIELD, .message = message, .field = field});
}

/* The wire name of the room that the path and `tenant` name; false: the request was answered. */
static bool read_room(struct http_request *request, char *wire_at, struct bytes *ret_wire)
{
    char room_at[NAMES_ROOM_MAX];
    char tenant_at[NAMES_TENANT_MAX];
    struct bytes room;
    struct bytes named = {0};
    struct bytes tenant;
    const struct apikey *key = api_auth_key(request, APIKEY_READ);
    if (key == NULL) {
        return false;
    }
    int status = query_get(request->query, "tenant", tenant_at, sizeof(tenant_at), &named);
    if (status != STATUS_NOT_FOUND && (status != 0 || names_check_tenant(named) != 0)) {
        refuse_field(
            request, "tenant", "A tenant: 1 to 128 bytes without / and control characters");
        return false;
    }
    if (api_auth_tenant(request, key, named, &tenant) != 0) {
        api_refuse(request, &(struct api_error){.code = ERROR_FORBIDDEN,
                                .message = "The key is of another tenant",
                                .field = "tenant"});
        return false;
    }
    if (http_param(request, 0, room_at, sizeof(room_at), &room) != 0 ||
        names_check_room(room) != 0) {
        refuse_field(request, "room", "A room: 1 to 200 bytes without / and control characters");
        return false;
    }
    *ret_wire = wire_name_room(tenant, room, wire_at);
    return true;
}

/* The page that is asked for; false: the request was answered. */
static bool read_page(struct http_request *request, struct members_call *call)
{
    char at[8];
    struct bytes text;
    int status = query_get(request->query, "limit", at, sizeof(at), &text);
    call->limit = LIMIT_DEFAULT;
    if (status != STATUS_NOT_FOUND && (status != 0 || json_scan_u64(text, &call->limit) != 0 ||
                                          call->limit == 0 || call->limit > LIMIT_MAX)) {
        refuse_field(request, "limit", "limit must be 1 to 100");
        return false;
    }
    status =
        query_get(request->query, "after", call->after_at, sizeof(call->after_at), &call->after);
    if (status == STATUS_NOT_FOUND) {
        call->after = bytes_of(NULL, 0);
    } else if (status != 0) {
        refuse_field(request, "after", "after must be the `next` of a page");
        return false;
    }
    return true;
}

static void write_request(
    const struct api_shard *shard, struct members_call *call, struct bytes room)
{
    uint8_t number[16];
    char text[UUID_TEXT_LEN];
    uuid7_make(sched_wall(shard->shard->sched), SLOT_NONE, number);
    uuid_format(number, text);
    snprintf(call->id, sizeof(call->id), "%.*s", UUID_TEXT_LEN, text);
    struct builder uid = {0};
    struct builder out = {0};
    bus_origin_write_uid(shard->shard, &uid);
    adapter_fetch_write(builder_bytes(&uid), bytes_str(call->id), room, &out);
    builder_reset(&uid);
    call->payload = builder_finish(&out);
    int status = adapter_request_take(buf_bytes(call->payload), &call->packed);
    CHECK(status == 0); /* we have just written it, with a name that was checked */
}

void api_members_list(struct http_request *request, void *context)
{
    (void)context;
    char wire_at[WIRE_NAME_MAX];
    struct bytes room;
    if (!read_room(request, wire_at, &room)) {
        return;
    }
    struct api_shard *shard = api_shard(request);
    struct members_call *call = mem_alloc(sizeof(*call));
    map_init(&call->users, member_key);
    list_init(&call->link);
    timer_init(&call->timer, on_timer);
    if (!read_page(request, call)) {
        free_call(call);
        return;
    }
    call->node = shard->node;
    call->home = sched_shard(shard->shard->sched);
    write_request(shard, call, room);
    api_call_hold(&call->api, request);
    sched_post(call->node->system, 0, on_visit, call);
}
