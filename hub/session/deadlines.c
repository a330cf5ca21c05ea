/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deadlines - private to the session layer: when a session must be looked at again.
 */
#include "hub/session/deadlines.h"

#include "hub/session/session_core.h"

/* --- the heartbeat ------------------------------------------------------------------------- */

enum { COMMENT_MS = 15000 }; /* unless configured */

/* Set the deadline `ms` from now. */
static void set_due(struct session *session, uint32_t ms)
{
    session->heartbeat_due = (uint32_t)(session_now(session) + ms);
}

/* The deadline, in full monotonic ms. */
static uint64_t heartbeat_due(const struct session *session)
{
    uint64_t now = session_now(session);
    int32_t from_now = (int32_t)(session->heartbeat_due - (uint32_t)now);
    return from_now >= 0 ? now + (uint32_t)from_now : now - (uint32_t)(-(int64_t)from_now);
}

/* Between two signs of life of ours. */
static uint32_t interval_of(const struct session *session)
{
    const struct session_config *config = session->part->config;
    if (!session_protocol(session)->one_way) {
        return config->ping_interval_ms;
    }
    return config->comment_ms > 0 ? config->comment_ms : COMMENT_MS;
}

static void await_ping(struct session *session)
{
    session->awaiting_pong = 0;
    set_due(session, interval_of(session));
}

/* The client has shown that it is there: its silence begins anew. */
static void hear(struct session *session)
{
    session->heard = (uint32_t)session_now(session);
}

void deadlines_start(struct session *session)
{
    await_ping(session);
    hear(session);
    deadlines_arm(session);
}

void deadlines_pong(struct session *session)
{
    if (!session->part->config->idle_ignores_heartbeats) {
        hear(session);
    }
    if (session->awaiting_pong) {
        session_tell_sockets(session, socket_ponged);
        await_ping(session);
        deadlines_arm(session);
    }
}

void deadlines_other(struct session *session)
{
    hear(session);
    if (session->awaiting_pong && !session->extended) {
        session->extended = 1;
        set_due(session, session->part->config->ping_timeout_ms);
        deadlines_arm(session);
    }
}

/* Whether the deadline was missed by so much that the whole process must have stood still. */
static bool process_stood_still(const struct session *session)
{
    return session_now(session) - heartbeat_due(session) > SESSION_LATE_MS;
}

static enum close_reason beat(struct session *session)
{
    const struct session_config *config = session->part->config;
    if (session_protocol(session)->one_way) {
        hear(session); /* it cannot say that it is there */
        await_ping(session);
        (void)session_send_chunk(session, session->part->pings[session->kind]);
    } else if (!session->awaiting_pong) {
        session->awaiting_pong = 1;
        session->extended = 0;
        set_due(session, config->ping_timeout_ms);
        session_tell_sockets(session, socket_pinged);
        (void)session_send_chunk(session, session->part->pings[session->kind]);
    } else if (process_stood_still(session)) {
        /* The pong may lie in the kernel, unread: look again after a turn that reads. */
        set_due(session, SESSION_LATE_MS);
    } else {
        return CLOSE_PING_TIMEOUT;
    }
    return 0;
}

/* --- all of them --------------------------------------------------------------------------- */

/* When the silent session is to be closed; UINT64_MAX: never. */
static uint64_t idle_due(const struct session *session)
{
    uint64_t timeout = session->part->config->idle_timeout_ms;
    uint64_t now = session_now(session);
    uint32_t silent = (uint32_t)now - session->heard;
    return timeout > 0 ? now - silent + timeout : UINT64_MAX;
}

/* When a namespace must be joined; UINT64_MAX: whenever. */
static uint64_t connect_due(const struct session *session)
{
    const struct session_extra *extra = session->extra;
    return extra && extra->connect_due_ms != 0 ? extra->connect_due_ms : UINT64_MAX;
}

static uint64_t assembly_due(const struct session *session)
{
    const struct session_extra *extra = session->extra;
    return extra && extra->assembly.text ? extra->assembly.due_ms : UINT64_MAX;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void deadlines_arm(struct session *session)
{
    if (session->phase != SESSION_OPEN) {
        return;
    }
    uint64_t due = earlier(heartbeat_due(session), idle_due(session));
    due = earlier(due, earlier(connect_due(session), assembly_due(session)));
    if (!timer_armed(&session->timer) || session->timer.due_ms != due) {
        timer_set(session_wheel(session), &session->timer, due);
    }
}

void deadlines_arm_all(struct session_part *part)
{
    struct list *lists[] = {&part->open, &part->paused, &part->ending};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_for_each (link, lists[i]) {
            deadlines_arm(container_of(link, struct session, link));
        }
    }
}

enum close_reason deadlines_expire(struct session *session)
{
    uint64_t now = session_now(session);
    if (connect_due(session) <= now) {
        return session->reason != 0 ? session->reason : CLOSE_AUTH_TIMEOUT;
    }
    if (assembly_due(session) <= now) {
        return CLOSE_PARSE;
    }
    if (idle_due(session) <= now) {
        return CLOSE_IDLE;
    }
    return heartbeat_due(session) <= now ? beat(session) : 0;
}
