/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: which sockets, what is done with one, slices, broadcasts with acks.
 *
 * The sockets are picked once, in one walk without allocation per socket; from then on a request
 * knows them by their sids, so that whoever goes meanwhile is passed over.
 */
#include "actors/deliver/fanout_ask.h"

#include <stdlib.h>

#include "actors/sequencer_proto.h"
#include "actors/user/user_actor.h"
#include "actors/wire_name.h"
#include "codec/adapter_request.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/names.h"

enum { SLICE_SOCKETS = 64, SLICE_BYTES = 64 << 10 };

/* Ids of acks begin above those that sessions give to questions of their own. */
#define FIRST_ID (UINT64_C(1) << 16)

/* Which sockets. */

struct pick {
    struct socket **sockets; /* as many as there are in the namespace */
    uint32_t count;
};

static void pick_one(struct fanout *fanout, struct socket *socket, void *context)
{
    struct pick *pick = context;
    (void)fanout;
    if (!socket->picked && !socket->closing && socket->user != NULL) {
        socket->picked = true;
        pick->sockets[pick->count++] = socket;
    }
}

static void unpick_one(struct fanout *fanout, struct socket *socket, void *context)
{
    (void)fanout;
    (void)context;
    socket->picked = false;
}

static void visit_leaf(
    struct fanout *fanout, const struct leaf *leaf, fanout_visit_fn visit, void *context)
{
    for (uint32_t i = 0; leaf != NULL && i < leaf->count; i++) {
        visit(fanout, leaf->members[i], context);
    }
}

static void visit_names(
    struct fanout *fanout, struct adapter_names names, fanout_visit_fn visit, void *context)
{
    struct bytes name;
    while (adapter_names_next(&names, &name)) {
        fanout_visit_name(fanout, name, visit, context);
        visit_leaf(fanout, map_get(&fanout->leaves, name), visit, context);
    }
}

/* Those that were not taken out again; their marks go. */
static void settle(struct pick *pick)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pick->count; i++) {
        struct socket *socket = pick->sockets[i];
        if (socket->picked) {
            socket->picked = false;
            pick->sockets[kept++] = socket;
        }
    }
    pick->count = kept;
}

/* The caller frees `sockets`, which is NULL when there is no memory for it. */
static struct pick pick_sockets(struct fanout *fanout, const struct adapter_request *request)
{
    struct pick pick = {
        .sockets = mem_try_calloc(fanout->everyone->count + 1u, sizeof(struct socket *))};
    if (pick.sockets == NULL) {
        return pick;
    }
    if (request->sid.len > 0) {
        struct socket *socket = map_get(&fanout->shard->sockets, request->sid);
        if (socket != NULL && socket->fanout == fanout) {
            pick_one(fanout, socket, &pick);
        }
    } else if (request->options.rooms.count == 0) {
        visit_leaf(fanout, fanout->everyone, pick_one, &pick);
    } else {
        visit_names(fanout, request->options.rooms, pick_one, &pick);
    }
    visit_names(fanout, request->options.except, unpick_one, NULL);
    settle(&pick);
    return pick;
}

void fanout_ask_visit(struct fanout *fanout, const struct adapter_request *request,
    fanout_visit_fn visit, void *context)
{
    struct pick pick = pick_sockets(fanout, request);
    for (uint32_t i = 0; i < pick.count; i++) {
        visit(fanout, pick.sockets[i], context);
    }
    mem_free(pick.sockets);
}

/* NULL when there is no memory for it. */
static struct buf *pick_sids(struct fanout *fanout, const struct adapter_request *request)
{
    struct pick pick = pick_sockets(fanout, request);
    struct builder sids = {0};
    for (uint32_t i = 0; i < pick.count; i++) {
        builder_add(&sids, bytes_of(pick.sockets[i]->sid, SOCKET_SID_LEN));
    }
    bool good = pick.sockets != NULL;
    mem_free(pick.sockets);
    if (!good) {
        builder_reset(&sids);
        return NULL;
    }
    return builder_finish(&sids);
}

/* What is done with one. */

static void write_sid(const struct socket *socket, struct builder *out)
{
    json_scan_write_string(out, bytes_of(socket->sid, SOCKET_SID_LEN));
}

static void write_socket(struct socket *socket, struct builder *out)
{
    const struct claims *claims = identity_claims(socket->identity);
    struct socket_handshake handshake = {0};
    if (socket->ops->describe != NULL) {
        socket->ops->describe(socket, &handshake);
    }
    struct adapter_socket told = {
        .sid = bytes_of(socket->sid, SOCKET_SID_LEN),
        .user = claims_user(claims),
        .name = claims_name(claims),
        .role = claims_role(claims),
        .tenant = claims_tenant(claims),
        .address = bytes_str(handshake.address),
        .issued_ms = handshake.issued_ms,
        .transport = handshake.transport,
        .cross_domain = handshake.cross_domain,
    };
    char at[WIRE_NAME_MAX];
    adapter_socket_begin(&told, out);
    if (bytes_eq(socket_nsp(socket), BYTES("/"))) {
        adapter_socket_room(wire_name_user(identity_key(socket->identity), at), out);
    }
    for (uint32_t i = 0; i < socket->membership_count; i++) {
        adapter_socket_room(leaf_name(socket->memberships[i].leaf), out);
    }
    adapter_socket_end(out);
}

/*
 * Whether `room` (wire name) can be a room of the socket: a name as clients may use it, in the
 * space of its user. Its own sid and its user's name it has anyway; those of others are not to be
 * had.
 */
static bool is_room_for(const struct socket *socket, struct bytes room)
{
    char at[WIRE_NAME_MAX];
    struct bytes name = wire_name_client(room);
    return names_check_room(name) == 0 && !bytes_starts(name, BYTES("user:")) &&
           bytes_eq(wire_name_room(identity_space(socket->identity), name, at), room);
}

static void change_rooms(const struct adapter_request *request, struct socket *socket)
{
    struct adapter_names rooms = request->targets;
    bool join = request->type == ADAPTER_JOIN;
    struct bytes room;
    while (adapter_names_next(&rooms, &room)) {
        if (bytes_eq(room, bytes_of(socket->sid, SOCKET_SID_LEN))) {
            continue;
        }
        if (!is_room_for(socket, room) || !user_rooms_change(socket, room, join, request->loud)) {
            socket->shard->stats.joins_refused++;
        }
    }
}

static void carry_out(
    const struct adapter_request *request, struct socket *socket, struct builder *out)
{
    switch (request->type) {
    case ADAPTER_SOCKETS:
        write_sid(socket, out);
        break;
    case ADAPTER_FETCH:
        write_socket(socket, out);
        break;
    case ADAPTER_JOIN:
    case ADAPTER_LEAVE:
        change_rooms(request, socket);
        break;
    case ADAPTER_DISCONNECT:
        (request->close ? socket->ops->end : socket->ops->disconnect)(socket, CLOSE_FORBIDDEN);
        break;
    case ADAPTER_ALL_ROOMS:
    case ADAPTER_SERVER_EMIT:
    case ADAPTER_BROADCAST_ACK:
    case ADAPTER_REQUEST_TYPES:
    case ADAPTER_CLIENT_ACK:
        break;
    }
}

/* Slices. */

static struct sequencer_part *new_part(const struct fanout *fanout, const struct fanout_ask *msg)
{
    struct sequencer_part *part = sequencer_part_new();
    part->shard = sched_shard(fanout->shard->sched);
    part->serial = msg->serial;
    return part;
}

static void answer_failed(const struct fanout *fanout, const struct fanout_ask *msg)
{
    struct sequencer_part *part = new_part(fanout, msg);
    part->failed = true;
    msg_send(fanout->shard->sched, msg->reply_to, part);
}

static void answer_slice(
    struct fanout *fanout, const struct adapter_request *request, struct fanout_ask *msg)
{
    struct bytes sids = buf_bytes(msg->picked);
    uint32_t count = (uint32_t)(sids.len / SOCKET_SID_LEN);
    struct sequencer_part *part = new_part(fanout, msg);
    struct builder text = {0};
    uint32_t next = msg->next;
    while (next < count && part->found < SLICE_SOCKETS && builder_bytes(&text).len < SLICE_BYTES) {
        struct bytes sid =
            bytes_of(sids.at + (size_t)next++ * SOCKET_SID_LEN, (size_t)SOCKET_SID_LEN);
        struct socket *socket = map_get(&fanout->shard->sockets, sid);
        if (socket == NULL || socket->closing || socket->user == NULL) {
            continue;
        }
        if (builder_bytes(&text).len > 0) {
            builder_byte(&text, ',');
        }
        carry_out(request, socket, &text);
        part->found++;
    }
    part->text = builder_bytes(&text).len > 0 ? builder_finish(&text) : NULL;
    builder_reset(&text);
    if (next < count) {
        part->picked = buf_ref(msg->picked);
        part->next = next;
    }
    msg_send(fanout->shard->sched, msg->reply_to, part);
}

/* Broadcasts with acks. */

struct asked {
    uint32_t socket_id;
    bool answered;
};

struct ask {
    struct list link; /* fanout.asks */
    struct timer timer;
    struct fanout *fanout;
    struct actor_ref sequencer;
    struct buf *request_id;
    uint64_t id; /* of the ack */
    uint32_t waiting; /* sockets that have not answered */
    uint32_t count;
    struct asked sockets[]; /* by socket_id */
};

static void free_ask(struct ask *ask)
{
    timer_cancel(sched_timers(ask->fanout->shard->sched), &ask->timer);
    list_remove(&ask->link);
    ask->fanout->ask_count--;
    buf_unref(ask->request_id);
    mem_free(ask);
}

void fanout_ask_finish(struct fanout *fanout)
{
    list_for_each_safe (link, following, &fanout->asks) {
        free_ask(container_of(link, struct ask, link));
    }
}

static void on_timer(struct timer *timer)
{
    free_ask(container_of(timer, struct ask, timer));
}

static int compare_asked(const void *left, const void *right)
{
    uint32_t a = ((const struct asked *)left)->socket_id;
    uint32_t b = ((const struct asked *)right)->socket_id;
    return (a > b) - (a < b);
}

/* False: there is no memory for it. */
static bool start_ask(struct fanout *fanout, const struct adapter_request *request,
    const struct fanout_ask *msg, const struct pick *pick)
{
    struct shard *shard = fanout->shard;
    struct ask *ask = mem_try_calloc(1, sizeof(*ask) + pick->count * sizeof(ask->sockets[0]));
    if (ask == NULL) {
        return false;
    }
    ask->fanout = fanout;
    ask->sequencer = msg->reply_to;
    ask->request_id = buf_new_name(request->id);
    ask->id = fanout->ask_id;
    for (uint32_t i = 0; i < pick->count; i++) {
        ask->sockets[i].socket_id = pick->sockets[i]->id;
    }
    ask->count = pick->count;
    ask->waiting = pick->count;
    qsort(ask->sockets, ask->count, sizeof(ask->sockets[0]), compare_asked);
    uint64_t most = shard->config->ack_ms;
    uint64_t wait = request->options.timeout_ms;
    timer_init(&ask->timer, on_timer);
    timer_set(sched_timers(shard->sched), &ask->timer,
        sched_now(shard->sched) + (wait > 0 && wait < most ? wait : most));
    list_append(&fanout->asks, &ask->link);
    fanout->ask_count++;
    return true;
}

/* Whether a client of this format answers; to the others it is an event like any. */
static bool can_ack(enum wire_format format)
{
    return format != WIRE_JSON && format != WIRE_MSGPACK;
}

/* The event for each format, with the id of the ack where one is asked for. False: too large. */
static bool encode_all(
    const struct fanout *fanout, const struct event *event, struct chunk *chunks[WIRE_FORMAT_COUNT])
{
    bool good = true;
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        struct builder out = {.max = UINT32_MAX};
        int status = can_ack((enum wire_format)format)
                         ? wire_ask((enum wire_format)format, fanout_nsp(fanout), fanout->ask_id,
                               event, &out)
                         : wire_event((enum wire_format)format, fanout_nsp(fanout), event, &out);
        chunks[format] = status == 0 ? chunk_take(&out) : NULL;
        good = good && chunks[format] != NULL;
        builder_reset(&out);
    }
    return good;
}

/* Send to all of them; those that can answer stay in `pick`. */
static void send_event(struct pick *pick, struct chunk *const chunks[WIRE_FORMAT_COUNT])
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pick->count; i++) {
        struct socket *socket = pick->sockets[i];
        socket_send(socket, chunks[socket->format]);
        if (can_ack((enum wire_format)socket->format)) {
            pick->sockets[kept++] = socket;
        }
    }
    pick->count = kept;
}

static void deliver(struct fanout *fanout, const struct adapter_request *request,
    struct fanout_ask *msg, struct chunk *const chunks[WIRE_FORMAT_COUNT])
{
    struct pick pick = pick_sockets(fanout, request);
    if (pick.sockets == NULL) {
        answer_failed(fanout, msg);
        return;
    }
    struct sequencer_part *part = new_part(fanout, msg);
    send_event(&pick, chunks);
    part->failed = pick.count > 0 && !start_ask(fanout, request, msg, &pick);
    part->found = part->failed ? 0 : pick.count;
    mem_free(pick.sockets);
    msg_send(fanout->shard->sched, msg->reply_to, part);
}

static void answer_broadcast(
    struct fanout *fanout, const struct adapter_request *request, struct fanout_ask *msg)
{
    struct chunk *chunks[WIRE_FORMAT_COUNT] = {0};
    struct event *event = NULL;
    fanout->ask_id = fanout->ask_id < FIRST_ID ? FIRST_ID : fanout->ask_id + 1;
    if (fanout->ask_count < fanout->shard->config->asks &&
        event_from_msgpack(request->packet.data, 0, &event) == 0 &&
        encode_all(fanout, event, chunks)) {
        deliver(fanout, request, msg, chunks);
    } else {
        answer_failed(fanout, msg);
    }
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        if (chunks[format] != NULL) {
            chunk_unref(chunks[format]);
        }
    }
    event_unref(event);
}

void fanout_ask_answer(struct fanout *fanout, struct fanout_ask *msg)
{
    struct adapter_request request;
    int status = adapter_request_decode(buf_bytes(msg->request), &request);
    CHECK(status == 0); /* it was decoded once, by the sequencer */
    if (request.type == ADAPTER_BROADCAST_ACK) {
        answer_broadcast(fanout, &request, msg);
        return;
    }
    bool is_expulsion = request.type == ADAPTER_DISCONNECT || request.type == ADAPTER_LEAVE;
    if (msg->picked == NULL) {
        if (is_expulsion && fanout->watch != NULL) {
            fanout->watch->ops->expel(fanout->watch, &request);
        }
        msg->picked = pick_sids(fanout, &request);
    }
    if (msg->picked != NULL) {
        answer_slice(fanout, &request, msg);
    } else {
        answer_failed(fanout, msg);
    }
}

/* The first argument of an ack as MessagePack; nil when there is none. NULL: it cannot be told. */
static struct buf *pack_ack(
    struct bytes args, struct buf *const *attachments, unsigned attachment_count)
{
    struct builder out = {0};
    struct json_scan_iter iter;
    struct bytes first;
    int status = 0;
    if (json_scan_iter_init(&iter, args) && json_scan_element(&iter, &first)) {
        status = mp_from_json(first, attachments, attachment_count, &out);
    } else {
        mp_pack_nil(&out);
    }
    if (status < 0) {
        builder_reset(&out);
        return NULL;
    }
    return builder_finish(&out);
}

static struct ask *find_ask(struct fanout *fanout, uint64_t id)
{
    list_for_each (link, &fanout->asks) {
        struct ask *ask = container_of(link, struct ask, link);
        if (ask->id == id) {
            return ask;
        }
    }
    return NULL;
}

void fanout_acked(struct socket *socket, uint64_t id, struct bytes args,
    struct buf *const *attachments, unsigned attachment_count)
{
    struct fanout *fanout = socket->fanout;
    struct ask *ask = fanout != NULL ? find_ask(fanout, id) : NULL;
    const struct asked key = {.socket_id = socket->id};
    struct asked *asked =
        ask != NULL ? bsearch(&key, ask->sockets, ask->count, sizeof(key), compare_asked) : NULL;
    if (asked == NULL || asked->answered) {
        return; /* it was not asked, or not any more */
    }
    asked->answered = true;
    struct buf *packed = pack_ack(args, attachments, attachment_count);
    if (packed != NULL) {
        struct sequencer_acked *msg = sequencer_acked_new();
        msg->id = buf_ref(ask->request_id);
        msg->ack = packed;
        msg_send(fanout->shard->sched, ask->sequencer, msg);
    }
    if (--ask->waiting == 0) {
        free_ask(ask);
    }
}
