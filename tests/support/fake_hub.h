/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_hub - stands in for loop, connection, websocket and http_server under the session layer.
 *
 * A program that links it instead of the real ones plays the peer by function calls and the time by
 * turns: what a session does is then decided by the test alone. Outboxes, scheds, timing wheels and
 * codecs are the real ones.
 */
#ifndef TESTS_SUPPORT_FAKE_HUB_H
#define TESTS_SUPPORT_FAKE_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "actors/shard.h"
#include "codec/base/bytes.h"

enum { FAKE_SHARDS = 2 };

/* How a request was answered. */
struct fake_answer {
    unsigned status; /* 101: upgraded */
    char type[64];
    char head[1024]; /* further header lines, or the whole 101 head */
    char body[1024]; /* of an upgrade that is refused: the frames behind the head */
};

/* Make FAKE_SHARDS shards at time `mono_ms`; let every peer go; free the shards. */
void fake_begin(uint64_t mono_ms);
void fake_end_peers(void);
void fake_end(void);

struct shard *fake_shard(unsigned index);

/* Let `ms` pass, then run turns on all shards until nothing is left to do. */
void fake_pass(uint64_t ms);

/*
 * Give a request head to `handler` on shard 0. Returns the peer's number, for the functions below,
 * which stays valid until fake_end.
 */
struct session_layer;
struct http_request;
typedef void (*fake_handler_fn)(struct session_layer *layer, struct http_request *request);
unsigned fake_request(struct session_layer *layer, fake_handler_fn handler, const char *head);

/* The same with the body of a POST. A request may be answered later. */
unsigned fake_post(
    struct session_layer *layer, fake_handler_fn handler, const char *head, const char *body);

const struct fake_answer *fake_answer(unsigned peer);

/* Let a whole message arrive from the peer, and run a turn. */
void fake_text(unsigned peer, const char *text);
void fake_message(unsigned peer, bool binary, struct bytes message);

/* Let bytes arrive that are no message's, and run a turn. */
void fake_bytes(unsigned peer, struct bytes bytes);

/*
 * The next message that was sent to the peer, NUL-terminated, valid until the next call; "" when
 * there is none. Binary messages come as "b:" and their bytes in hexadecimal.
 */
const char *fake_sent(unsigned peer);

/* All that was sent to the peer since, as it stands; else as fake_sent. */
const char *fake_body(unsigned peer);

/* Do not take anything from the outbox, as a peer that does not read; or again. */
void fake_stall(unsigned peer, bool stalled);

/* Let the connection end: the peer has gone, with or without an answer to its request, or answered
 * our close frame. */
void fake_gone(unsigned peer, enum close_reason reason);

/* Whether websocket_close, websocket_cut, connection_close or http_close was called, and why. */
bool fake_is_closing(unsigned peer, enum close_reason *ret_reason);

/* Whether it was websocket_cut, or connection_close without a flush. */
bool fake_is_cut(unsigned peer);

/* What the layer did with the peer's connection; whether it is a WebSocket's or a stream's. */
bool fake_has_owner(unsigned peer);
bool fake_is_paused(unsigned peer);
bool fake_is_authenticated(unsigned peer);
uint32_t fake_message_limit(unsigned peer);
unsigned fake_peer_shard(unsigned peer);

/* Within how many ms its kernel must acknowledge; 0: nothing is asked for. */
uint32_t fake_acks_ms(unsigned peer);

/* Put the line from shard 0 to shard 1 under pressure, or relieve it. */
void fake_press(bool pressed);

/* Let the next move of the peer's connection fail. */
void fake_fail_move(unsigned peer);

/* Let the moves of all further peers fail. */
void fake_fail_moves(void);

#endif
