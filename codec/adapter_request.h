/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adapter_request - what the nodes of a Socket.IO cluster ask of each other, and the answers, as
 * the classic Redis adapter writes them.
 *
 * A request is JSON text when it begins with `{`, MessagePack otherwise; it is turned into the
 * latter first, so that there is one decoder and what it hands out are slices of one text. Answers
 * are JSON, but for the ack of a client, which is MessagePack. What is missing, too much or of
 * another shape is refused, as whoever asked for every socket would have said so.
 */
#ifndef CODEC_ADAPTER_REQUEST_H
#define CODEC_ADAPTER_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/adapter_fields.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/json_scan.h"
#include "codec/names.h"

/* The number on the wire is the value. */
enum adapter_request_type {
    ADAPTER_SOCKETS, /* which sockets are in the rooms? */
    ADAPTER_ALL_ROOMS, /* which rooms are there? */
    ADAPTER_JOIN, /* sockets join rooms; no answer unless in the old form, as the next two */
    ADAPTER_LEAVE,
    ADAPTER_DISCONNECT,
    ADAPTER_FETCH, /* what is known of the sockets? */
    ADAPTER_SERVER_EMIT, /* an event for the other servers */
    ADAPTER_BROADCAST_ACK, /* a broadcast that clients are to acknowledge */
    ADAPTER_REQUEST_TYPES,
    ADAPTER_CLIENT_COUNT = ADAPTER_REQUEST_TYPES, /* answers to the last: how many were asked, */
    ADAPTER_CLIENT_ACK, /* and what one of them said */
};

enum { ADAPTER_ID_MAX = 128 };

/* A request; all slices point into its MessagePack. */
struct adapter_request {
    enum adapter_request_type type;
    struct bytes uid; /* of the asking node; empty: an emitter's */
    struct bytes
        id; /* the request's, a MessagePack value of at most ADAPTER_ID_MAX bytes, or empty */
    struct bytes sid; /* old form: this socket alone, which answers; else empty */
    struct adapter_options options; /* whom it is about */
    struct adapter_names targets; /* JOIN and LEAVE: the rooms */
    bool close; /* DISCONNECT: end the whole connection */
    bool presence; /* JOIN, between our own nodes: members of the rooms are told */
    struct adapter_packet packet; /* BROADCAST_ACK */
};

/*
 * Give the MessagePack of a request (a copy, or transcoded JSON). STATUS_INVALID, STATUS_UTF8,
 * STATUS_TOO_LARGE, STATUS_NOMEM.
 */
MUST_CHECK int adapter_request_take(struct bytes payload, struct buf **ret_packed);

/* Decode what adapter_request_take gave. STATUS_INVALID, STATUS_UTF8, STATUS_TOO_LARGE (nesting).
 */
MUST_CHECK int adapter_request_decode(struct bytes packed, struct adapter_request *ret_request);

/* A change that Peal asks of the other nodes: JOIN, LEAVE or DISCONNECT. */
struct adapter_change {
    enum adapter_request_type type;
    struct bytes uid;
    struct bytes room; /* whose sockets */
    struct buf *const *targets;
    uint32_t target_count;
};

/* Append the request: JSON, DISCONNECT with `close`, JOIN `presence`. */
void adapter_change_write(const struct adapter_change *change, struct builder *out);

/* Append Peal's own FETCH of the sockets in `room`, with a text as its id. */
void adapter_fetch_write(struct bytes uid, struct bytes id, struct bytes room, struct builder *out);

/*
 * Begin to read an answer to it, a text that no adapter_request wrote. STATUS_NOT_FOUND when it is
 * to another request, STATUS_INVALID and others when it is none.
 */
MUST_CHECK int adapter_fetched_begin(
    struct bytes payload, struct bytes id, struct json_scan_iter *ret_sockets);

/*
 * The user of the next socket, or false after the last. Empty for a socket that has none; `at` has
 * NAMES_USER_MAX bytes.
 */
bool adapter_fetched_next(struct json_scan_iter *sockets, char *at, struct bytes *ret_user);

/* Append {"requestId":id,key:[elements]}; `id` as decoded. STATUS_TOO_LARGE, as the following. */
MUST_CHECK int adapter_answer_list(
    struct bytes id, const char *key, struct bytes elements, struct builder *out);

/* Append {"requestId":id}: the old form has been carried out. */
MUST_CHECK int adapter_answer_done(struct bytes id, struct builder *out);

/* Append the answer to a SERVER_EMIT of a node that has nothing to say: null. */
MUST_CHECK int adapter_answer_server(struct bytes id, struct builder *out);

/* Append how many clients were asked for an ack. */
MUST_CHECK int adapter_answer_count(struct bytes id, uint32_t count, struct builder *out);

/* Append the ack of a client, a MessagePack value. */
MUST_CHECK int adapter_answer_ack(struct bytes id, struct bytes ack, struct builder *out);

/* What is told of a socket besides its rooms; members may be empty. */
struct adapter_socket {
    struct bytes sid;
    struct bytes user;
    struct bytes name;
    struct bytes role;
    struct bytes tenant;
    struct bytes address; /* empty: nothing is known of how it came */
    uint64_t issued_ms; /* wall clock */
    const char *transport; /* of Engine.IO; NULL: plain WebSocket */
    bool cross_domain;
};

/*
 * Append an element of the answer to FETCH in three steps: the socket, its rooms, its end. Headers,
 * query and auth of the handshake are not kept, and so no token is told; the URL is that of any
 * such request.
 */
void adapter_socket_begin(const struct adapter_socket *socket, struct builder *out);
void adapter_socket_room(struct bytes room, struct builder *out);
void adapter_socket_end(struct builder *out);

#endif
