/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heartbeat - private to the session layer: the hub pings, the client answers in time.
 */
#include "hub/session/heartbeat.h"

#include "hub/session/session_core.h"

/* Set the deadline `ms` from now. */
static void set_due(struct session *session, uint32_t ms)
{
    session->heartbeat_due = (uint32_t)(session_now(session) + ms);
}

void heartbeat_start(struct session *session)
{
    session->awaiting_pong = 0;
    set_due(session, session->home->config->ping_interval_ms);
}

void heartbeat_pong(struct session *session)
{
    if (!session->home->config->idle_ignores_heartbeats) {
        session_heard(session);
    }
    if (session->awaiting_pong) {
        session_note_pong(session);
        heartbeat_start(session);
        session_arm(session);
    }
}

void heartbeat_other(struct session *session)
{
    session_heard(session);
    if (session->awaiting_pong && !session->extended) {
        session->extended = 1;
        set_due(session, session->home->config->ping_timeout_ms);
        session_arm(session);
    }
}

uint64_t heartbeat_due(const struct session *session)
{
    uint64_t now = session_now(session);
    int32_t from_now = (int32_t)(session->heartbeat_due - (uint32_t)now);
    return from_now >= 0 ? now + (uint32_t)from_now : now - (uint32_t)(-(int64_t)from_now);
}

/* Whether the deadline was missed by so much that the whole process must have stood still. */
static bool process_stood_still(const struct session *session)
{
    return session_now(session) - heartbeat_due(session) > SESSION_LATE_MS;
}

void heartbeat_expire(struct session *session)
{
    const struct session_config *config = session->home->config;
    if (!session->awaiting_pong) {
        session->awaiting_pong = 1;
        session->extended = 0;
        set_due(session, config->ping_timeout_ms);
        session_note_ping(session);
        (void)session_send_chunk(session, session->home->pings[session->kind]);
    } else if (process_stood_still(session)) {
        /* The pong may lie in the kernel, unread: look again after a turn that reads. */
        set_due(session, SESSION_LATE_MS);
    } else {
        session_end(session, CLOSE_PING_TIMEOUT);
    }
}
