/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_mail - private to the session layer: what shards tell each other of sessions that poll.
 *
 * A request stays on its loop. What it asks travels as a message to the shard of the session (a
 * plain call when that is this one), with its body copied once; the answer travels back under the
 * request's ticket. Messages from one shard to another keep their order, so that nothing has to be
 * shared or locked: an answer to a request that has gone finds no ticket, and a request that has
 * gone is told behind the request itself.
 */
#ifndef HUB_SESSION_POLL_MAIL_H
#define HUB_SESSION_POLL_MAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/eio.h"
#include "hub/session/sid.h"

struct session_part;
struct session_layer;

/* A request, or a WebSocket that probes: a number of the shard it is on; 0: none. */
struct poll_ticket {
    uint64_t number;
    unsigned from;
};

/* Columns: NAME, whether it wants an answer. */
#define POLL_VERBS(X)                                                                              \
    X(GET, true)                                                                                   \
    X(POST_BEGINS, true) /* its body is still to come */                                           \
    X(POST, true)                                                                                  \
    X(POST_REFUSED, false) /* after POST_BEGINS: too large, or too late */                         \
    X(OTHER, true) /* no method of this protocol */                                                \
    X(GONE, false) /* the peer of a GET or POST has gone without an answer */                      \
    X(PROBE, true) /* a WebSocket wants to take over */                                            \
    X(PROBED, false)                                                                               \
    X(PROBE_GONE, false)                                                                           \
    X(PROBE_CLOSE, false) /* to the shard of the WebSocket */                                      \
    X(FORGET, false) /* the session has ended: forward nothing any more */

enum poll_verb {
#define X(name, answered) POLL_##name,
    POLL_VERBS(X)
#undef X
        POLL_VERB_COUNT
};

struct poll_message {
    struct session_layer *layer;
    enum poll_verb verb;
    unsigned to; /* shard */
    struct poll_ticket ticket;
    char sid[SID_LEN];
    bool polling; /* transport=polling, and no upgrade */
    bool version; /* EIO=4 */
    bool octets; /* the content type that is refused */
    size_t body_len;
    char body[];
};

enum poll_answer_kind {
    POLL_ANSWER_ERROR, /* `code` is an enum eio_error */
    POLL_ANSWER_EMPTY, /* `code` is the HTTP status */
    POLL_ANSWER_OK,
    POLL_ANSWER_PAYLOAD,
    POLL_ANSWER_UPGRADE, /* to PROBE: go on with 101 */
    POLL_ANSWER_CLOSE, /* to PROBE: 101, and close at once */
};

struct poll_answer {
    struct session_layer *layer;
    struct poll_ticket ticket;
    enum poll_answer_kind kind;
    unsigned code;
    unsigned owner; /* shard of the session */
    bool authenticated; /* the connection no longer counts as unauthenticated */
    struct builder body;
};

/* Who takes what arrives on a shard; polling_part.ops. */
struct poll_ops {
    /* A message to a session; takes it. */
    void (*take)(struct session_part *part, struct poll_message *message);
    /* PROBE_CLOSE: the session of the WebSocket `number` has ended. */
    void (*end_probe)(struct session_part *part, uint64_t number);
    /* An answer to a request; its body is the caller's. */
    void (*answered)(struct session_part *part, const struct poll_answer *answer);
};

/* Whether the verb wants an answer. */
bool poll_mail_is_answered(enum poll_verb verb);

/* Make a message, with a copy of `body`; without memory for that, NULL. */
MUST_CHECK struct poll_message *poll_mail_new(struct session_part *part, enum poll_verb verb,
    struct poll_ticket ticket, struct bytes sid, struct bytes body);

/* Send a message to shard `to`, where it is taken: within the call, when that is this one. And pass
 * on one that was taken. Both take it. */
void poll_mail_send(struct session_part *part, struct poll_message *message, unsigned to);
void poll_mail_pass(struct poll_message *message, unsigned to);

/* Send a message without body, under `ticket`. */
void poll_mail_tell(struct session_part *part, unsigned to, enum poll_verb verb,
    struct poll_ticket ticket, struct bytes sid);

/* Answer the request of `answer->ticket`, which is on any shard; takes the body. */
void poll_mail_answer(struct session_part *part, const struct poll_answer *answer);

#endif
