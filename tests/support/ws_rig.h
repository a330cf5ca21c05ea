/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_rig - a WebSocket of the hub on memory: hub/net/websocket, wslay and outboxes are the real
 * ones, loop and connection are played here.
 *
 * A program that links it instead of the real two says byte by byte what arrives, and what has left
 * is decided by that alone: no thread, no socket, no time. Behind the WebSocket is an echo. Linked
 * with --wrap of mem_try_alloc and mem_try_realloc, so that those can fail.
 */
#ifndef TESTS_SUPPORT_WS_RIG_H
#define TESTS_SUPPORT_WS_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/ws_frame.h"
#include "hub/net/websocket.h"

struct ws_rig_options {
    struct websocket_limits limits;
    unsigned deflate_bits; /* as negotiated; 0: it was not */
    unsigned close_after; /* messages, then the hub closes with CLOSE_NORMAL; 0: it does not */
    unsigned move_every; /* messages, then it moves to the other shard; 0: it stays */
    bool moves; /* after each read, whatever is incomplete */
};

struct ws_rig {
    struct ws_rig_options options;
    struct websocket websocket;
    struct connection *connection; /* NULL: it has ended */
    struct builder sent; /* everything that has left, in order */
    unsigned delivered; /* messages */
    unsigned closed; /* calls of on_closed */
    enum close_reason reason;
};

/* Open one; `rig` is overwritten. */
void ws_rig_open(struct ws_rig *rig, const struct ws_rig_options *options);

/* Let `bytes` arrive by one read, then run turns until nothing is left to do. */
void ws_rig_receive(struct ws_rig *rig, struct bytes bytes);

/* Let the time that the peer has for its answer to a close frame be over. */
void ws_rig_expire(struct ws_rig *rig);

/*
 * Let allocations that may fail (mem_try_…) do so inside the WebSocket: `count` of them behind the
 * next `after`; 0: none. Returns how many have failed since the last call.
 */
unsigned ws_rig_fail(unsigned after, unsigned count);

/* The peer goes, where it has not; aborts unless the end was told once and nothing is borrowed. */
void ws_rig_finish(struct ws_rig *rig);

/* --- frames --- */

/* Append a frame of a client, masked, with `first` as its first byte. */
void ws_rig_add_client(struct builder *out, unsigned first, struct bytes payload);

/* The same, with the payload compressed as a whole message where that makes it smaller. */
void ws_rig_add_packed(struct builder *out, unsigned first, struct bytes payload);

/* Append a frame of the hub. */
void ws_rig_add_server(struct builder *out, unsigned first, struct bytes payload);

/* Append the hub's close frame for `reason`. */
void ws_rig_add_close(struct builder *out, enum close_reason reason);

/* Append the frames of `sent` as they are without compression; false for what is no frame. */
bool ws_rig_unpack(struct bytes sent, struct builder *out);

#endif
