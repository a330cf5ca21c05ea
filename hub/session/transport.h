/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport - private to the session layer: the border between sessions and what carries them.
 *
 *     session_life  ── struct transport ──▶      ws_transport, polling, probe, stream_transport
 *                   ◀── struct transport_events ──
 *
 * A session has one transport at a time and never asks which. Rows: a WebSocket; long-polling; a
 * WebSocket that has taken over from long-polling, which goes on to be found by its sid;
 * server-sent events. All is called on the session's shard.
 *
 * The end: whoever begins it, `closed` or, while it moves, `moved` without a part, comes once and
 * last, never from inside `close`, `cut` or `move`. Nothing comes after `stop` has returned.
 */
#ifndef HUB_SESSION_TRANSPORT_H
#define HUB_SESSION_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "codec/base/bytes.h"

struct eio_packet;
struct outbox;
struct session;
struct session_part;

enum transport_kind {
    TRANSPORT_WEBSOCKET,
    TRANSPORT_POLLING,
    TRANSPORT_UPGRADED, /* a WebSocket since it was probed */
    TRANSPORT_STREAM,
    TRANSPORT_COUNT,
};

/* What a session asks of its transport. */
struct transport {
    const char *name; /* as it is logged */
    const char *handshake; /* as Socket.IO calls what the client came by */

    /* Where what is sent waits: WebSocket frames, whatever the transport. Another one on another
     * shard, and after an upgrade. */
    struct outbox *(*outbox)(const struct session *session);
    /* The client's address, as it was at the handshake. */
    void (*remote)(const struct session *session, char ret_text[46]);
    /* Stop taking what the client sends, or go on; counted. */
    void (*hold)(struct session *session, bool held);
    /* A namespace was joined: limits are those after authentication. */
    void (*authenticated)(struct session *session);
    /* Go to `shard`, behind what waits; `moved` follows. */
    void (*move)(struct session *session, unsigned shard);
    /* It has come to session.part: be found there. False: no memory for that. */
    bool (*arrived)(struct session *session);
    /* End it behind what waits, and tell the client why; `closed` follows. */
    void (*close)(struct session *session, enum close_reason reason);
    /* The same, for clients that come back only after an error, and see no code. */
    void (*cut)(struct session *session, enum close_reason reason);
    /* The shard stops: it ends now, with `closed`. NULL: with its connection. */
    void (*stop)(struct session *session);
    /* Free what it has besides the session's memory; its sid is forgotten everywhere. NULL: it has
     * neither. */
    void (*finish)(struct session *session);
};

/* What a transport tells its session. */
struct transport_events {
    /* A whole message of a WebSocket, or one packet of a body. Borrowed. */
    void (*message)(struct session *session, bool binary, struct bytes message);
    void (*packet)(struct session *session, const struct eio_packet *packet);
    /* The outbox is no longer full. */
    void (*relieved)(struct session *session);
    /* The client has not taken what waits for `ms`, or (`overflow`) no more can wait. Returns
     * whether the session ends by `close`; otherwise the transport ends by itself. */
    bool (*slow)(struct session *session, uint64_t ms, bool overflow);
    /* The transport ends by itself because of a message: what is sent now comes before that. */
    void (*failing)(struct session *session, enum close_reason reason);
    /* The peer has gone, or broke a rule of the transport: the session is to end. */
    void (*failed)(struct session *session, enum close_reason reason);
    /* It has come to the shard of `part`; NULL, on the old one: it was lost on the way. */
    void (*moved)(struct session *session, struct session_part *part);
    /* Nothing holds the session any more; it is freed when this returns. */
    void (*closed)(struct session *session, enum close_reason reason);
};

#endif
