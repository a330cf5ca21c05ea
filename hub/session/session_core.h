/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_core - private to the session layer: the state of a session and how its parts call each
 * other.
 *
 *     upgrade ─▶ session ─▶ eio_session ─▶ sio_session ─▶ app
 *                      └──▶ plain_session ─────────────▶ app
 *
 * Invariants:
 *  1. A session is in one list of its home (open, paused, ending), or, new or moving, in none.
 *  2. It has one timer, set to the earliest of its deadlines: the heartbeat's, those in `extra`.
 *  3. Sockets end outside of calls from actors: socket_ops.disconnect only marks and queues; the
 *     home's `reap` timer, due at once, tells the application.
 *  4. `extra` exists only while something in it is needed: not for an idle session.
 *  5. Only session.c knows the WebSocket (websocket_*, connection_*), only polling*.c long-polling;
 *     a session has either of them, and one that polls may become one with a WebSocket.
 */
#ifndef HUB_SESSION_SESSION_CORE_H
#define HUB_SESSION_SESSION_CORE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/close.h"
#include "actors/core/timer.h"
#include "actors/deliver/socket.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/sio.h"
#include "hub/net/websocket.h"
#include "hub/session/app.h"
#include "hub/session/session_layer.h"
#include "hub/session/unjoined.h"

enum session_kind { SESSION_ENGINE, SESSION_JSON, SESSION_MSGPACK, SESSION_KIND_COUNT };

enum {
    SESSION_SOCKETS_MAX = 16, /* namespaces joined at a time, unless configured */
    SESSION_REFUSALS_MAX = 16, /* CONNECT packets refused before the session is ended */
    SESSION_LATE_MS = 1000, /* a timer this late says that the process stood still */
    SESSION_RELIEF_MS = 1, /* between looks at a line under pressure */
};

struct eio_packet;
struct http_request;
struct recovery_fetch;

/* What long-polling keeps on a shard. */
struct polling_home {
    struct map sids; /* struct poll_entry by sid */
    struct map calls; /* struct poll_call by number: requests that wait for an answer */
    struct map probes; /* struct probe by number */
    uint64_t numbers; /* given to calls and probes so far */
    struct unjoined unjoined; /* sessions without a namespace that poll */
    struct log_limit floods;
    bool stopping;
};

/* A layer's part on one shard. */
struct session_home {
    struct session_layer *layer;
    const struct session_config *config; /* = &own */
    struct session_config own; /* changed in place: limits of WebSockets point into it */
    struct shard *shard;
    struct list open; /* session.link */
    struct list paused; /* session.link: not read until the lines to other shards are relieved */
    struct list ending; /* session.link: have sockets whose end the application must be told */
    struct timer relief;
    struct timer reap;
    struct timer drain;
    uint64_t drain_until; /* monotonic ms */
    uint32_t drain_over_ms; /* over which those who are sent away come back */
    size_t count;
    size_t live; /* of them, not yet ended */
    bool refusing; /* no new sessions */
    struct log_limit refusals;
    struct chunk *pings[SESSION_KIND_COUNT];
    struct polling_home polls;
};

struct session_layer {
    struct session_config config;
    unsigned shard_count;
    struct unjoined_node *unjoined;
    struct session_home homes[];
};

/* A socket of a second or further namespace. */
struct session_socket {
    struct socket socket;
    struct session *session;
    struct list link; /* session_extra.sockets */
};

/* A binary packet whose attachments are arriving. */
struct session_assembly {
    uint64_t due_ms;
    struct buf *text; /* the packet, without the Engine.IO digit; NULL: none */
    unsigned expected;
    unsigned count;
    size_t bytes;
    struct buf *attachments[SIO_ATTACHMENTS_MAX];
};

/* A CONNECT that waits for the application, or moves to the shard of its user. */
struct session_connect {
    struct list link; /* session_extra.waits, while it waits */
    struct session *session;
    struct recovery_fetch *fetch; /* what it waits for; NULL: nothing */
    struct identity *identity; /* who the verified token names: one reference */
    size_t nsp_len;
    size_t auth_len;
    char text[]; /* the namespace, then the payload */
};

/* What only some sessions need, or only for a while. */
struct session_extra {
    struct list sockets; /* session_socket.link */
    uint64_t connect_due_ms; /* a namespace must be joined until then; 0: no such deadline */
    unsigned refusals;
    struct app_connect request; /* tokens and addresses, in `tokens`, until a namespace is joined */
    char *tokens;
    size_t tokens_len;
    struct session_connect *moving; /* the CONNECT that goes along to another shard */
    struct list waits; /* session_connect.link */
    struct session_assembly assembly;
};

struct session {
    struct websocket websocket;
    struct session_home *home;
    struct list link; /* of home: open, paused or ending */
    struct timer timer;
    struct session_extra *extra;
    struct identity *identity; /* one reference, from the first namespace joined on */
    uint32_t heartbeat_due; /* low 32 bits of monotonic ms */
    uint32_t heard; /* the same: when the client last showed that it is not idle */
    uint32_t issued; /* when it began: low 32 bits of the wall clock in ms */
    unsigned asked : 15; /* requests sent to the client */
    unsigned kind : 2; /* enum session_kind */
    unsigned reason : 5; /* why it ends; or why a socket was sent away for good; 0: neither */
    unsigned awaiting_pong : 1;
    unsigned extended : 1; /* another packet has prolonged the wait for this pong */
    unsigned paused : 1;
    unsigned ended : 1; /* the transport is being closed */
    unsigned moving : 1;
    unsigned reaping : 1; /* in home.ending */
    unsigned has_first : 1; /* `first` is in use */
    unsigned expelled : 1; /* we have sent DISCONNECT: packets of that may be in flight */
    unsigned cross_domain : 1; /* its handshake named an Origin */
    unsigned polled : 1; /* it came by long-polling: a struct poll_session */
    struct socket first;
};

static_assert(CLOSE_REASON_COUNT <= 32, "session.reason has five bits");
static_assert(sizeof(struct session) <= 128 + sizeof(struct socket), "idle sessions stay small");

/* The layer's part on `shard`. */
struct session_home *session_layer_home(struct session_layer *layer, const struct shard *shard);
/* The address of the client, as it was at the handshake. */
void session_remote(const struct session *session, char ret_text[46]);

/* Make the lists and timers of a home that belong to session.c. */
void session_home_init(struct session_home *home);

/*
 * Make a session of `home`, not yet on a connection. `extra` (may be NULL) is taken over. NULL: no
 * memory, and `extra` is still the caller's.
 */
MUST_CHECK struct session *session_create(
    struct session_home *home, enum session_kind kind, struct session_extra *extra);

/* The same for zeroed memory of the caller's, in which `polled` may be set. */
void session_init(struct session *session, struct session_home *home, enum session_kind kind,
    struct session_extra *extra);

/*
 * Append the 101 to a WebSocket handshake that was checked, with what else was negotiated and, as
 * other answers of that path have them, the headers of CORS. Returns
 * what websocket_set_deflate is to be told, or STATUS_INVALID for offers that are malformed.
 */
MUST_CHECK int session_write_upgrade(const struct session_home *home,
    const struct http_request *request, bool cors, struct ws_accept_answer *answer,
    struct builder *out);

/* Take over a connection that has been upgraded. */
void session_begin(struct session *session, struct connection *connection);

/*
 * End the session: its sockets are sent nothing any more, the transport is closed behind what
 * waits, and the application is told soon. Safe from everywhere; again: nothing.
 */
void session_end(struct session *session, enum close_reason reason);

/* An Engine.IO packet arrived, by whichever transport. */
void session_packet(struct session *session, const struct eio_packet *packet);

/* A WebSocket becomes the transport of a session that polls. `from` is empty afterwards. */
void session_take_over(struct session *session, struct websocket *from);

/* End it because of a message above the limit; Socket.IO sockets are told first. */
void session_too_large(struct session *session);

/* Let a session that was ended stay for `ms`, then polling_expire. */
void session_linger(struct session *session, uint32_t ms);

/* The outbox is no longer full: the actors go on with what waited for that. */
void session_relieved(struct session *session);

/* Log that the client has not taken what waits for `ms`. */
void session_report_slow(struct session *session, uint64_t ms);

/* The session has come to `home`: present what it took along. */
void session_arrived(struct session *session, struct session_home *home);

/* Nothing holds the session any more: tell the application if needed, and free it. */
void session_gone(struct session *session, enum close_reason reason);

/* Free a session that is in no home. */
void session_destroy(struct session *session);

/* Stop, or go on, taking what the client sends; counted. */
void session_hold(struct session *session, bool held);

/* Tell the application at once of what has ended on this shard. */
void session_home_reap(struct session_home *home);

/* Go to another shard, where extra.moving is asked again. One that has joined a namespace, or is
 * about to, ends: it would be two users'. */
void session_move(struct session *session, unsigned shard);

/* End the session unless it joins a namespace within `timeout_ms`; nothing while it is in one. */
void session_await_join(struct session *session, uint32_t timeout_ms);

/* Set the timer to the earliest deadline; the same for all of `home`, where they have changed. */
void session_arm(struct session *session);
void session_rearm_all(struct session_home *home);

/* The client has shown that it is there: its silence (idle_timeout_ms) begins anew. */
void session_heard(struct session *session);

/* Monotonic ms of the current turn. */
uint64_t session_now(const struct session *session);

/* Make a chunk of a whole WebSocket message, with one reference; NULL when `body` had failed. */
MUST_CHECK struct chunk *session_chunk(const struct builder *body, bool binary);

/* Append one text message to the outbox and reset `text`. False when refused at the cap. */
bool session_send_text(struct session *session, struct builder *text);

/* Append a message that is shared. False when refused at the outbox's maximum. */
bool session_send_chunk(struct session *session, struct chunk *chunk);

/* The same, of a chunk that was made for this: its reference is dropped. NULL: false. */
bool session_send_made(struct session *session, struct chunk *chunk);

/* The outbox of the transport; another one after an upgrade. */
struct outbox *session_outbox(struct session *session);

/* A new socket for `nsp`; verdict->identity and ->claimed are taken over, also on failure. The
 * limits become those after authentication. STATUS_FULL: it has too many; STATUS_NOMEM. */
MUST_CHECK int session_add_socket(struct session *session, struct bytes nsp,
    const struct app_verdict *verdict, struct socket **ret_socket);

/* Tell the application that `socket` has ended, and free it. Not from a call of an actor. The same
 * for all sockets, or those marked `closing`. */
void session_drop_socket(struct session *session, struct socket *socket, enum close_reason reason);
void session_drop_sockets(struct session *session, bool only_closing, enum close_reason reason);

/* The sockets' outbox is another one from now on; nothing is sent to them any more. */
void session_set_outbox(struct session *session, struct outbox *outbox);
void session_mark_closing(struct session *session);

/* Tell the sockets that the outbox is no longer full; that a ping goes out behind everything for
 * them; its pong: the client has had it. */
void session_note_relief(struct session *session);
void session_note_ping(struct session *session);
void session_note_pong(struct session *session);

/* The socket of `nsp`, or NULL; whether the session has one at all. */
struct socket *session_find_socket(struct session *session, struct bytes nsp);
bool session_has_socket(const struct session *session);

/* Drop what is marked `closing` soon, outside of calls from actors. */
void session_reap_later(struct session *session);

#endif
