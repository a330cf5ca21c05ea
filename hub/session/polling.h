/* SPDX-License-Identifier: Apache-2.0 */
/*
 * polling - private to the session layer: HTTP long-polling as the transport of a session.
 *
 * The session's side, on the shard where the session is. Its requests may have arrived on any shard
 * (hub/session/poll_call.h): they come here as messages, and answers go back to where they came
 * from. What waits in the outbox is WebSocket frames, as for every other session; an answer takes
 * the packets out of them, and an upgrade hands them to the WebSocket as they are.
 *
 * A session that came by polling has a name (its sid, which tells the shard of the handshake) in
 * the map `sids` of the shard it is on, until it ends, also after an upgrade. A shard that it has
 * left keeps a forwarding entry until then.
 */
#ifndef HUB_SESSION_POLLING_H
#define HUB_SESSION_POLLING_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/eio.h"
#include "hub/session/poll_call.h"
#include "hub/session/session_core.h"

enum {
    POLLING_LINGER_MS = 30000, /* an orderly close waits so long to be told to the client */
    POLLING_PROBE_SLACK_MS = 5000, /* a WebSocket not heard of so long after its time is lost */
    POLLING_NOOP_MS = 100, /* while an upgrade is probed, a GET is held no longer */
};

/* What a sid stands for on a shard. */
struct poll_entry {
    char sid[SID_LEN];
    bool forward; /* a struct poll_forward */
};

/* The session has gone on to another shard. */
struct poll_forward {
    struct poll_entry entry;
    unsigned shard;
};

/* The transport itself; gone after an upgrade. */
struct polling {
    struct session *session;
    struct outbox outbox; /* `busy` while no GET is held: what is volatile is then dropped */
    struct poll_ticket get; /* held */
    struct poll_ticket post; /* under way */
    struct poll_ticket probe; /* a WebSocket that may take over */
    struct poll_message *body; /* of the POST, until its packets are taken */
    struct eio_payload payload; /* the place in it */
    uint64_t noop_due_ms; /* 0: none, as the next */
    uint64_t stall_due_ms; /* the outbox is full and must be relieved by then */
    uint64_t probe_due_ms; /* the WebSocket that probes must have been heard of by then */
    uint16_t pauses;
    bool working; /* taking packets */
    bool lost; /* what waited, on the way to another shard: there was no memory for it */
    bool probed; /* 2probe has come */
    bool over; /* nothing is owed to the client any more: to be freed */
    unsigned target; /* shard, while session.moving */
};

/* A session that came by polling. */
struct poll_session {
    struct session session; /* first */
    struct polling *polling; /* NULL after an upgrade */
    struct poll_entry entry;
    uint8_t moves; /* 2: twice or more */
    struct unjoined_seat seat; /* in polling_home.unjoined, while it has joined no namespace */
    char remote[46]; /* of the handshake: later requests may come through another node */
};

/* The session as one that came by polling; NULL if it did not. */
static inline struct poll_session *poll_session_of(const struct session *session)
{
    return session->polled ? (struct poll_session *)(void *)session : NULL;
}

/* The transport of a session that is polling now, or NULL. */
static inline struct polling *polling_of(const struct session *session)
{
    return session->polled ? poll_session_of(session)->polling : NULL;
}

/* The part of a shard. */
void polling_home_init(struct session_home *home);
void polling_home_finish(struct session_home *home);

/* End and free what is polling, now; no new session arrives. */
void polling_home_stop(struct session_home *home);

/* Make a session for a handshake; `extra` is taken over; NULL, and then so is the result: no
 * memory. NULL also without memory for the session. */
MUST_CHECK struct session *polling_create(
    struct session_home *home, struct session_extra *extra, struct bytes remote);

/* Its sid, for the open packet. */
struct bytes polling_sid(const struct session *session);

/* A request, or what became of one; takes `message`. */
void polling_handle(struct session_home *home, struct poll_message *message);

/* Stop taking packets, or go on; counted. */
void polling_pause(struct session *session);
void polling_resume(struct session *session);

/* A namespace was joined. */
void polling_joined(struct session *session);

/* The session was ended: tell the client, by the GET that is held or by the next. */
void polling_close(struct session *session, enum close_reason reason);

/* The earliest deadline (UINT64_MAX: none), and what to do when it has passed. */
uint64_t polling_due(const struct session *session);
void polling_expire(struct session *session);

/* Go to `shard` as soon as no packet is being taken. */
void polling_move(struct session *session, unsigned shard);

/*
 * The names of a session whose WebSocket moves: forward; and it has arrived (false: no memory,
 * nobody will find it).
 */
void polling_forward(struct session *session, unsigned shard);
MUST_CHECK bool polling_arrive(struct session *session);

/* Forget the session's names, on every shard; and free its transport. */
void polling_forget(struct session *session);
void polling_finish(struct session *session);

/* --- between polling.c and polling_names.c --- */

MUST_CHECK struct polling *polling_new(struct session *session);
void polling_free(struct polling *polling);

/* The session that an entry, which is no forwarding one, belongs to. */
struct session *polling_entry_session(const struct poll_entry *entry);

/* Forget where a session has gone. */
void polling_drop_forward(struct session_home *home, struct bytes sid);

/* Send a session that moves on its way; it is not to be touched any more. */
void polling_depart(struct session *session);

/* Take further packets of the POST, if there are any and nothing speaks against it. */
void polling_work(struct session *session);

/*
 * The WebSocket `number` of shard `from` may take over: its session is here, polling, and waits for
 * it. NULL otherwise; `*ret_forward` is then the shard it is on, or -1.
 */
struct session *polling_find_probed(
    struct session_home *home, struct bytes sid, struct poll_ticket ticket, int *ret_forward);

/* A WebSocket takes over: answer the held GET, and give up the outbox to `outbox`. */
void polling_hand_over(struct session *session, struct outbox *outbox);

#endif
