/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out a request of another node on the sockets of this shard, slice by slice.
 *
 * Order of this file: which sockets, what is done with one, slices.
 *
 * The sockets are picked once; from then on a request knows them by their sids, so that whoever
 * goes meanwhile is passed over.
 */
#include "actors/rooms/ask.h"

#include "actors/deliver/fanout_proto.h"
#include "actors/deliver/owner.h"
#include "actors/deliver/socket.h"
#include "actors/rooms/acks.h"
#include "actors/rooms/part.h"
#include "actors/rooms/pick.h"
#include "actors/wire_name.h"
#include "codec/adapter_request.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/names.h"

enum { SLICE_SOCKETS = 64, SLICE_BYTES = 64 << 10 };

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
        if (!is_room_for(socket, room) ||
            !socket->shard->owners->change_room(socket, room, join, request->presence)) {
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

static void answer_slice(
    struct fanout *fanout, const struct adapter_request *request, struct fanout_ask *msg)
{
    struct bytes sids = buf_bytes(msg->picked);
    uint32_t count = (uint32_t)(sids.len / SOCKET_SID_LEN);
    struct sequencer_part *part = part_new(fanout, msg);
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
    bool written = builder_bytes(&text).len > 0;
    part->text = written ? builder_finish(&text) : NULL;
    part->failed = written && part->text == NULL; /* no memory: a part would look like the whole */
    builder_reset(&text);
    if (next < count) {
        part->picked = buf_ref(msg->picked);
        part->next = next;
    }
    msg_send(fanout->shard->sched, msg->reply_to, part);
}

void ask_answer(struct fanout *fanout, struct fanout_ask *msg)
{
    struct adapter_request request;
    int status = adapter_request_decode(buf_bytes(msg->request), &request);
    CHECK(status == 0); /* it was decoded once, by the sequencer */
    if (request.type == ADAPTER_BROADCAST_ACK) {
        acks_ask(fanout, &request, msg);
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
        part_fail(fanout, msg);
    }
}
