/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket - wslay glue: the bytes of a connection become messages (RFC 6455).
 *
 * The receiving side only: outgoing frames are encoded once and shared (codec/ws_frame.h,
 * codec/wire.h) and appended to the connection's outbox, which takes them compressed once for all
 * where that was negotiated (RFC 7692). Pings are answered here. A wslay context is borrowed from
 * the shard's pool while a message or frame is incomplete; an idle WebSocket holds none.
 */
#ifndef HUB_NET_WEBSOCKET_H
#define HUB_NET_WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/net/websocket_limits.h"

struct connection;
struct loop;
struct receiver;
struct websocket;

struct websocket_ops {
    /* A complete message; borrowed. The next one is delivered only after this returned. */
    void (*on_message)(struct websocket *websocket, bool binary, struct bytes message);
    /* It has ended; called exactly once; the WebSocket is freed after it returned. */
    void (*on_closed)(struct websocket *websocket, enum close_reason reason);
    /* What waited in the outbox has been written (after it was not). May be NULL. */
    void (*on_drained)(struct websocket *websocket);
    /* connection_ops: relieved; slow, when it was not closing already. May be NULL. */
    void (*on_relieved)(struct websocket *websocket);
    bool (*on_slow)(struct websocket *websocket, uint64_t ms, bool overflow);
    /*
     * The peer broke a rule: what is put into the outbox now goes before the close frame. on_closed
     * follows. May be NULL.
     */
    void (*on_failing)(struct websocket *websocket, enum close_reason reason);
    /* websocket_move is over: on the thread of the new shard it is usable; with `ok` false, on the
     * old one, the peer has gone, and this was the last call. NULL: it never moves. */
    void (*on_moved)(struct websocket *websocket, bool ok);
};

/* Embedded by the owner (session), who finds itself with container_of. */
struct websocket {
    const struct websocket_ops *ops;
    struct connection *connection;
    /* private */
    const struct websocket_limits *limits;
    struct receiver *receiver; /* borrowed context, while something is incomplete */
    uint16_t control_window; /* in which control_count were received */
    uint16_t control_count;
    uint8_t replies; /* pongs since the outbox was last empty */
    uint8_t reason; /* enum close_reason it ends for */
    uint8_t state;
    uint8_t deflate_bits; /* of the window of compressed messages to it; 0: not negotiated */
};

/* Take over `connection`, whose 101 answer is already in its outbox. `limits` must outlive it. */
void websocket_init(struct websocket *websocket, struct connection *connection,
    const struct websocket_limits *limits, const struct websocket_ops *ops);

/* permessage-deflate was negotiated: what ws_accept_deflate returned; right after websocket_init.
 */
void websocket_set_deflate(struct websocket *websocket, unsigned bits);

/*
 * Become what `from` is, with what it has received, and be told by `ops` from now on; not from
 * inside on_message. `from` is empty memory afterwards.
 */
void websocket_adopt(
    struct websocket *websocket, struct websocket *from, const struct websocket_ops *ops);

/* Use other limits from the next message on (after authentication). */
void websocket_set_limits(struct websocket *websocket, const struct websocket_limits *limits);

/*
 * End it: a close frame with close_code(reason) behind what waits, then the connection is closed
 * when the peer answered or after limits.close_timeout_ms. No on_message afterwards; on_closed
 * comes later. Again: nothing. While it moves: as soon as it has arrived.
 */
void websocket_close(struct websocket *websocket, enum close_reason reason);

/*
 * End it as a line that breaks, without a close frame, behind what waits. For clients that do not
 * come back after a close frame (hub/README.md). Not while it moves; when it is ending: nothing.
 */
void websocket_cut(struct websocket *websocket, enum close_reason reason);

/*
 * Move to another shard, from inside on_message or outside; the current message has been consumed,
 * no further one is delivered. Its memory moves along; on_moved follows.
 */
void websocket_move(struct websocket *websocket, unsigned shard);

/* How many receivers of the loop are borrowed: connections with something incomplete. */
TEST_SEAM unsigned websocket_borrowed(struct loop *loop);

#endif
