/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_state - private to the session layer: what a session over server-sent events has besides
 * others.
 */
#ifndef HUB_SESSION_STREAM_STATE_H
#define HUB_SESSION_STREAM_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "actors/deliver/outbox.h"
#include "codec/base/buf.h"
#include "hub/session/app.h"
#include "hub/session/session_core.h"

enum {
    STREAM_RETRY_MS = 1000, /* when a client comes back that lost its connection, at least, */
    STREAM_RETRY_OVER_MS = 2000, /* and over how long all of them do */
    STREAM_RETRY_REFUSED_MS = 10000, /* of one that has too many connections */
    STREAM_HEARD_MAX = 64 << 10, /* bytes that a client may send behind its request, for nothing */
};

struct stream_session {
    struct session session; /* first */
    struct connection *connection;
    struct outbox outbox; /* frames of /ws; `busy` while something waits in the connection */
    struct timer timer;
    uint64_t slow_due_ms; /* the outbox is full and must be relieved by then; 0: it is not */
    uint32_t heard; /* bytes that the client has sent behind its request */
    uint32_t event_len; /* of the event that the connection was given last */
    uint32_t held; /* bytes of it that outbox.limits.max lacks, while `waiting` */
    bool waiting; /* the kernel has not taken that event */
    bool counted; /* in stats.streams of session.part */
    struct builder told; /* the place of the last id */
    struct app_wishes wishes; /* in `text` */
    char text[];
};

static inline struct stream_session *stream_of(const struct session *session)
{
    CHECK(session->transport == TRANSPORT_STREAM);
    return (struct stream_session *)(void *)(uintptr_t)session;
}

#endif
