/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_life - private to the session layer: one Engine.IO session, or one plain WebSocket, from
 * its beginning to its end.
 *
 * Stage 4 of the data path begins here (on_message). Order of this file: phases, pressure, the end,
 * what the transport tells, the beginning, moving, parts.
 */
#include "hub/session/session_life.h"

#include "actors/identity.h"
#include "codec/base/mem.h"
#include "hub/net/slow.h"
#include "hub/session/deadlines.h"
#include "hub/session/session.h"
#include "hub/session/session_core.h"

struct identity *session_identity(const struct session *session)
{
    return session->identity;
}

/* --- phases -------------------------------------------------------------------------------- */

bool session_may_become(enum session_phase phase, enum session_phase next)
{
    static const bool allowed[SESSION_PHASE_COUNT][SESSION_PHASE_COUNT] = {
        [SESSION_NEW] = {[SESSION_OPEN] = true, [SESSION_GONE] = true},
        [SESSION_OPEN] = {[SESSION_MOVING] = true, [SESSION_ENDING] = true, [SESSION_GONE] = true},
        [SESSION_MOVING] = {[SESSION_OPEN] = true, [SESSION_GONE] = true},
        [SESSION_ENDING] = {[SESSION_GONE] = true},
    };
    return allowed[phase][next];
}

/* The one place where a phase changes. A session counts where it is, and as live until it ends. */
static void become(struct session *session, enum session_phase next)
{
    static const bool counts[SESSION_PHASE_COUNT] = {
        [SESSION_NEW] = true, [SESSION_OPEN] = true, [SESSION_ENDING] = true};
    struct session_part *part = session->part;
    enum session_phase phase = session->phase;
    CHECK(session_may_become(phase, next));
    session->phase = next;
    part->count += (size_t)counts[next] - counts[phase];
    part->live += (size_t)(counts[next] && next != SESSION_ENDING) -
                  (counts[phase] && phase != SESSION_ENDING);
}

/* --- pressure ------------------------------------------------------------------------------ */

void session_hold(struct session *session, bool held)
{
    session_transport(session)->hold(session, held);
}

/*
 * Peer packets become messages to the user's actor (this shard) and from there to rooms and
 * sequencers on any shard. While a line from this shard is at its bound, sessions that go on
 * talking are not read.
 */
static bool lines_pressured(const struct session_part *part)
{
    for (unsigned i = 0; i < part->layer->shard_count; i++) {
        if (sched_pressured(part->shard->sched, i)) {
            return true;
        }
    }
    return false;
}

/* Put the session into the list where its state says it belongs. */
static void put_in_list(struct session *session)
{
    struct session_part *part = session->part;
    list_remove(&session->link);
    if (session->reaping) {
        list_append(&part->ending, &session->link);
        if (!timer_armed(&part->reap)) {
            timer_set(session_wheel(session), &part->reap, session_now(session));
        }
    } else if (session->paused) {
        list_append(&part->paused, &session->link);
        if (!timer_armed(&part->relief)) {
            timer_set(
                session_wheel(session), &part->relief, session_now(session) + SESSION_RELIEF_MS);
        }
    } else {
        list_append(&part->open, &session->link);
    }
}

static void pause_under_pressure(struct session *session)
{
    if (session->phase == SESSION_OPEN && !session->paused && lines_pressured(session->part)) {
        session->paused = 1;
        put_in_list(session);
        session_hold(session, true);
    }
}

static void resume(struct session *session)
{
    if (session->paused) {
        session->paused = 0;
        put_in_list(session);
        session_hold(session, false);
    }
}

static void on_relief(struct timer *timer)
{
    struct session_part *part = container_of(timer, struct session_part, relief);
    if (lines_pressured(part)) {
        uint64_t now = sched_now(part->shard->sched);
        timer_set(sched_timers(part->shard->sched), timer, now + SESSION_RELIEF_MS);
        return;
    }
    struct list relieved;
    list_init(&relieved);
    list_splice(&relieved, &part->paused);
    while (!list_empty(&relieved)) {
        resume(container_of(relieved.next, struct session, link));
    }
}

/* --- the end ------------------------------------------------------------------------------- */

void session_drop_later(struct session *session)
{
    if (!session->reaping && session->phase != SESSION_MOVING) {
        session->reaping = 1;
        put_in_list(session);
    }
}

void session_await_join(struct session *session, uint32_t timeout_ms)
{
    if (session->phase == SESSION_OPEN && !session_has_socket(session)) {
        session_extra(session)->connect_due_ms = session_now(session) + timeout_ms;
        deadlines_arm(session);
    }
}

static void on_reap(struct timer *timer)
{
    struct session_part *part = container_of(timer, struct session_part, reap);
    struct list reaped;
    list_init(&reaped);
    list_splice(&reaped, &part->ending);
    while (!list_empty(&reaped)) {
        struct session *session = container_of(reaped.next, struct session, link);
        session->reaping = 0;
        put_in_list(session);
        session_drop_sockets(session, session->phase == SESSION_OPEN, session->reason);
        /* One that was sent away for good may stay a little, to be told so if it asks again. */
        session_await_join(session, session->part->config->connect_timeout_ms);
    }
}

void session_part_drop_ended(struct session_part *part)
{
    on_reap(&part->reap);
}

void session_end(struct session *session, enum close_reason reason)
{
    if (session_is_over(session)) {
        return;
    }
    become(session, SESSION_ENDING);
    session->reason = reason;
    timer_cancel(session_wheel(session), &session->timer);
    session_drop_assembly(session);
    session_mark_closing(session);
    resume(session); /* or the peer's answer to our close frame would not be read */
    if (session_has_socket(session)) {
        session_drop_later(session);
    }
    bool cut = session_protocol(session)->hides_codes && close_is_temporary(reason);
    const struct transport *transport = session_transport(session);
    (cut ? transport->cut : transport->close)(session, reason);
}

/* Of all that a peer may break, one is told to its application: it can mend it. */
static void on_failing(struct session *session, enum close_reason reason)
{
    const struct protocol *protocol = session_protocol(session);
    if (reason == CLOSE_FRAME_TOO_LARGE && protocol->tell_closing != NULL) {
        protocol->tell_closing(session, reason);
    }
}

void session_too_large(struct session *session)
{
    on_failing(session, CLOSE_FRAME_TOO_LARGE);
    session_end(session, CLOSE_FRAME_TOO_LARGE);
}

void session_destroy(struct session *session)
{
    if (session->phase != SESSION_GONE) {
        become(session, SESSION_GONE);
    }
    list_remove(&session->link);
    if (session_transport(session)->finish != NULL) {
        session_transport(session)->finish(session);
    }
    session_extra_destroy(session->extra);
    identity_unref(session->identity);
    mem_free(session);
}

static void on_closed(struct session *session, enum close_reason reason)
{
    if (session->phase != SESSION_MOVING) {
        timer_cancel(session_wheel(session), &session->timer);
        enum close_reason why = session->phase == SESSION_ENDING ? session->reason : reason;
        become(session, SESSION_GONE);
        session_drop_sockets(session, false, why);
    }
    session_destroy(session);
}

static void on_deadline(struct timer *timer)
{
    struct session *session = container_of(timer, struct session, timer);
    enum close_reason reason = deadlines_expire(session);
    if (reason != 0) {
        session_end(session, reason);
    }
    deadlines_arm(session);
}

/* --- what the transport tells -------------------------------------------------------------- */

static void on_message(struct session *session, bool binary, struct bytes message)
{
    if (session->phase == SESSION_OPEN) {
        session_protocol(session)->message(session, binary, message);
        pause_under_pressure(session);
    }
}

static void on_packet(struct session *session, const struct eio_packet *packet)
{
    session_protocol(session)->packet(session, packet);
    pause_under_pressure(session);
}

static void on_relieved(struct session *session)
{
    if (session->phase == SESSION_OPEN) {
        session_tell_sockets(session, socket_relieved);
    }
}

static void report_slow(const struct session *session, uint64_t ms)
{
    char remote[46];
    const struct transport *transport = session_transport(session);
    struct slow_peer peer = {.transport = transport->name, .remote = remote, .ms = ms};
    peer.bytes = transport->outbox(session)->bytes;
    if (session->identity) {
        peer.user = identity_key(session->identity);
    }
    transport->remote(session, remote);
    slow_report(&peer);
}

/* The code of an overflow comes behind what waits; who was given time and took nothing gets none.
 */
static bool on_slow(struct session *session, uint64_t ms, bool overflow)
{
    report_slow(session, ms);
    if (overflow && session->phase == SESSION_OPEN) {
        session_end(session, CLOSE_SLOW);
        return true;
    }
    return false;
}

/* Become one of the sessions of `part`. */
static void move_in(struct session *session, struct session_part *part)
{
    session->part = part;
    put_in_list(session);
}

static void on_moved(struct session *session, struct session_part *part)
{
    if (part == NULL) {
        session_destroy(session);
        return;
    }
    move_in(session, part);
    become(session, SESSION_OPEN);
    bool known = session_transport(session)->arrived(session);
    deadlines_arm(session);
    if (part->refusing) {
        session_end(session, CLOSE_DRAINING);
    } else if (!known) {
        session_end(session, CLOSE_NO_MEMORY);
    } else {
        session_protocol(session)->arrived(session);
    }
}

const struct transport_events session_events = {
    .message = on_message,
    .packet = on_packet,
    .relieved = on_relieved,
    .slow = on_slow,
    .failing = on_failing,
    .failed = session_end,
    .moved = on_moved,
    .closed = on_closed,
};

/* --- the beginning ------------------------------------------------------------------------- */

void session_init(struct session *session, struct session_part *part, enum session_kind kind,
    struct session_extra *extra)
{
    session->kind = kind;
    session->extra = extra;
    session->issued = (uint32_t)sched_wall(part->shard->sched);
    list_init(&session->link);
    timer_init(&session->timer, on_deadline);
    move_in(session, part);
    part->count++;
    part->live++;
}

struct session *session_create(
    struct session_part *part, enum session_kind kind, struct session_extra *extra)
{
    struct session *session = mem_try_calloc(1, sizeof(*session));
    if (session != NULL) {
        session_init(session, part, kind, extra);
    }
    return session;
}

void session_start(struct session *session)
{
    become(session, SESSION_OPEN);
    deadlines_start(session);
}

/* --- moving -------------------------------------------------------------------------------- */

void session_move(struct session *session, unsigned shard)
{
    if (session_has_socket(session) || !list_empty(&session->extra->waits)) {
        session_end(session, CLOSE_PARSE); /* two users on one session */
        return;
    }
    resume(session);
    timer_cancel(session_wheel(session), &session->timer);
    list_remove(&session->link);
    become(session, SESSION_MOVING);
    session_transport(session)->move(session, shard);
}

/* --- the parts of shards ------------------------------------------------------------------- */

void session_part_init(struct session_part *part)
{
    list_init(&part->open);
    list_init(&part->paused);
    list_init(&part->ending);
    timer_init(&part->relief, on_relief);
    timer_init(&part->reap, on_reap);
}
