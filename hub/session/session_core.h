/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_core - private to the session layer: the state of sessions, and the tables between its
 * floors. Who calls whom is in README.md.
 *
 * Invariants:
 *  1. A session is in one list of its part (open, paused, ending), or, moving, in none.
 *  2. It has one timer, set to the earliest of its deadlines (deadlines.c); a transport has its
 * own.
 *  3. Sockets end outside of calls from actors: socket_ops.disconnect only marks and queues; the
 *     part's `reap` timer, due at once, tells the application.
 *  4. `extra` exists only while something in it is needed: not for an idle session.
 *  5. Only session_life.c changes `phase`.
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
#include "hub/session/protocol.h"
#include "hub/session/session_config.h"
#include "hub/session/transport.h"
#include "hub/session/unjoined.h"

enum session_kind {
    SESSION_ENGINE,
    SESSION_JSON,
    SESSION_MSGPACK,
    SESSION_STREAM,
    SESSION_KIND_COUNT,
};

enum {
    SESSION_SOCKETS_MAX = 16, /* namespaces joined at a time, unless configured */
    SESSION_REFUSALS_MAX = 16, /* CONNECT packets refused before the session is ended */
    SESSION_LATE_MS = 1000, /* a timer this late says that the process stood still */
    SESSION_RELIEF_MS = 1, /* between looks at a line under pressure */
};

/* The steps of a life; what may follow which is a table of session_life.c. */
enum session_phase {
    SESSION_NEW, /* its transport is being made */
    SESSION_OPEN,
    SESSION_MOVING, /* between two shards */
    SESSION_ENDING, /* the transport is being closed */
    SESSION_GONE, /* to be freed */
    SESSION_PHASE_COUNT,
};

struct poll_ops;
struct recovery_fetch;

/* What long-polling keeps on a shard. */
struct polling_part {
    struct map sids; /* struct poll_entry by sid */
    struct map calls; /* struct poll_call by number: requests that wait for an answer */
    struct map probes; /* struct probe by number */
    const struct poll_ops *ops;
    uint64_t numbers; /* given to calls and probes so far */
    struct unjoined unjoined; /* sessions without a namespace that poll */
    struct log_limit floods;
    bool stopping;
};

/* A layer's part on one shard. */
struct session_part {
    struct session_layer *layer;
    const struct session_config *config; /* = &own */
    struct session_config own; /* changed in place: limits of WebSockets point into it */
    struct shard *shard;
    const struct protocol *const *protocols; /* by session.kind */
    const struct transport *const *transports; /* by session.transport */
    const struct transport_events *events;
    struct list open; /* session.link */
    struct list paused; /* session.link: not read until the lines to other shards are relieved */
    struct list ending; /* session.link: have sockets whose end the application must be told */
    struct timer relief;
    struct timer reap;
    struct timer drain;
    uint64_t drain_until; /* monotonic ms */
    uint32_t drain_over_ms; /* over which those who are sent away come back */
    uint32_t drain_told_ms; /* when the last one that was sent away is to come back */
    size_t count;
    size_t live; /* of them, not yet ended */
    bool refusing; /* no new sessions */
    struct log_limit refusals;
    struct chunk *pings[SESSION_KIND_COUNT];
    struct polling_part polls;
};

struct session_layer {
    struct session_config config;
    unsigned shard_count;
    struct unjoined_node *unjoined;
    struct session_part parts[];
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
    struct websocket websocket; /* of ws_transport.c alone */
    struct session_part *part;
    struct list link; /* of part: open, paused or ending */
    struct timer timer;
    struct session_extra *extra;
    struct identity *identity; /* one reference, from the first namespace joined on */
    uint32_t heartbeat_due; /* low 32 bits of monotonic ms */
    uint32_t heard; /* the same: when the client last showed that it is not idle */
    uint32_t issued; /* when it began: low 32 bits of the wall clock in ms */
    unsigned asked : 13; /* requests sent to the client */
    unsigned kind : 2; /* enum session_kind */
    unsigned transport : 2; /* enum transport_kind */
    unsigned phase : 3; /* enum session_phase */
    unsigned reason : 5; /* why it ends; or why a socket was sent away for good; 0: neither */
    unsigned awaiting_pong : 1;
    unsigned extended : 1; /* another packet has prolonged the wait for this pong */
    unsigned paused : 1;
    unsigned reaping : 1; /* in part.ending */
    unsigned has_first : 1; /* `first` is in use */
    unsigned expelled : 1; /* we have sent DISCONNECT: packets of that may be in flight */
    unsigned cross_domain : 1; /* its handshake named an Origin */
    struct socket first;
};

static_assert(CLOSE_REASON_COUNT <= 32, "session.reason has five bits");
static_assert(SESSION_KIND_COUNT <= 4 && TRANSPORT_COUNT <= 4, "they have two bits each");
static_assert(sizeof(struct session) <= 128 + sizeof(struct socket), "idle sessions stay small");

/* Monotonic ms of the current turn. */
static inline uint64_t session_now(const struct session *session)
{
    return sched_now(session->part->shard->sched);
}

static inline struct timer_wheel *session_wheel(const struct session *session)
{
    return sched_timers(session->part->shard->sched);
}

static inline bool session_is_over(const struct session *session)
{
    return session->phase >= SESSION_ENDING;
}

static inline const struct transport *session_transport(const struct session *session)
{
    return session->part->transports[session->transport];
}

static inline const struct protocol *session_protocol(const struct session *session)
{
    return session->part->protocols[session->kind];
}

static inline struct outbox *session_outbox(const struct session *session)
{
    return session_transport(session)->outbox(session);
}

/* The layer's part on `shard`. */
static inline struct session_part *session_layer_part(
    struct session_layer *layer, const struct shard *shard)
{
    return &layer->parts[sched_shard(shard->sched)];
}

/* --- what only some sessions need ------------------------------------------------------------ */

/* An empty extra; destroyed with what it holds, the tokens wiped. NULL is allowed. */
MUST_CHECK struct session_extra *session_extra_create(void);
void session_extra_destroy(struct session_extra *extra);

/* The extra of a session, made when there is none. */
struct session_extra *session_extra(struct session *session);

/* Free the extra if nothing in it is needed. */
void session_trim(struct session *session);

/* Forget what the request carried (tokens are wiped), and attachments under way. */
void session_forget_request(struct session *session);
void session_drop_assembly(struct session *session);

/*
 * Keep what was asked, and who asks: `identity` is taken over, also on failure. NULL: no memory.
 * What was asked is borrowed from it; dropped, it cancels what it waits for. NULL is allowed.
 */
MUST_CHECK struct session_connect *session_connect_keep(
    struct session *session, const struct app_connect *asked, struct identity *identity);
struct app_connect session_connect_asked(const struct session_connect *kept);
void session_connect_drop(struct session_connect *kept);

/* --- the sockets ----------------------------------------------------------------------------- */

/* Whether the session has one at all, and how many; the one of `nsp`, or NULL. */
bool session_has_socket(const struct session *session);
unsigned session_count_sockets(const struct session *session);
struct socket *session_find_socket(struct session *session, struct bytes nsp);

/* Zeroed memory for one more, NULL without; and given back, unless the application knows it. */
MUST_CHECK struct socket *session_place_socket(struct session *session);
void session_remove_socket(struct session *session, struct socket *socket);

/* Call `tell`, or `fn` with more, for each. */
void session_tell_sockets(struct session *session, void (*tell)(struct socket *socket));
typedef void (*session_socket_fn)(struct session *session, struct socket *socket, void *context);
void session_each_socket(struct session *session, session_socket_fn fn, void *context);

/* Tell the application that `socket` has ended, and free it. Not from a call of an actor. The same
 * for all sockets, or those marked `closing`. */
void session_drop_socket(struct session *session, struct socket *socket, enum close_reason reason);
void session_drop_sockets(struct session *session, bool only_closing, enum close_reason reason);

/* Their outbox is that of the transport from now on; nothing is sent to them any more. */
void session_set_outbox(struct session *session);
void session_mark_closing(struct session *session);

/* --- sending --------------------------------------------------------------------------------- */

/* Make a chunk of a whole WebSocket message, with one reference; NULL when `body` had failed. */
MUST_CHECK struct chunk *session_chunk(const struct builder *body, bool binary);

/* Append one text message to the outbox and reset `text`. False when refused at the cap. */
bool session_send_text(struct session *session, struct builder *text);

/* Append a message that is shared. False when refused at the outbox's maximum. */
bool session_send_chunk(struct session *session, struct chunk *chunk);

/* The same, of a chunk that was made for this: its reference is dropped. NULL: false. */
bool session_send_made(struct session *session, struct chunk *chunk);

#endif
