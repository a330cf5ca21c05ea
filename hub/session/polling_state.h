/* SPDX-License-Identifier: Apache-2.0 */
/*
 * polling_state - private to the session layer: what a session that came by long-polling has
 * besides others.
 */
#ifndef HUB_SESSION_POLLING_STATE_H
#define HUB_SESSION_POLLING_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "actors/deliver/outbox.h"
#include "codec/eio.h"
#include "hub/session/poll_mail.h"
#include "hub/session/session_core.h"
#include "hub/session/sid.h"
#include "hub/session/unjoined.h"

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
    uint64_t slow_due_ms; /* the outbox is full and must be relieved by then */
    uint64_t probe_due_ms; /* the WebSocket that probes must have been heard of by then */
    uint64_t linger_due_ms; /* the client must have come to hear of the end by then */
    struct timer timer; /* the earliest of these */
    uint16_t pauses;
    bool working; /* taking packets */
    bool lost; /* what waited, on the way to another shard: there was no memory for it */
    bool probed; /* 2probe has come */
    bool over; /* nothing is owed to the client any more: to be freed */
    unsigned target; /* shard, while it moves */
};

/* Where the name of a session is known, on the shard of session.part. */
enum poll_place {
    POLL_HERE,
    POLL_LEFT, /* it moves: a forwarding entry says so */
    POLL_NOWHERE, /* it was lost on its way, and the shard is another thread's */
};

/* A session that came by polling. */
struct poll_session {
    struct session session; /* first */
    struct polling *polling; /* NULL after an upgrade */
    struct poll_entry entry;
    uint8_t moves; /* 2: twice or more */
    uint8_t place; /* enum poll_place */
    struct unjoined_seat seat; /* in polling_part.unjoined, while it has joined no namespace */
    char remote[46]; /* of the handshake: later requests may come through another node */
};

/* The session as one that came by polling; NULL if it did not. */
static inline struct poll_session *poll_session_of(const struct session *session)
{
    bool polled =
        session->transport == TRANSPORT_POLLING || session->transport == TRANSPORT_UPGRADED;
    return polled ? (struct poll_session *)(void *)session : NULL;
}

/* The transport of a session that is polling now, or NULL. */
static inline struct polling *polling_of(const struct session *session)
{
    const struct poll_session *poll = poll_session_of(session);
    return poll != NULL ? poll->polling : NULL;
}

#endif
