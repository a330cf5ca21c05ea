/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - one Engine.IO session, or one plain WebSocket: life, deadlines, pressure, moving.
 *
 * Stage 4 of the data path begins here (on_message). The only file that knows the transport.
 */
#include "hub/session/session.h"

#include "actors/identity.h"
#include "codec/base/mem.h"
#include "codec/ws_frame.h"
#include "hub/net/connection.h"
#include "hub/net/loop.h"
#include "hub/net/slow.h"
#include "hub/session/connect.h"
#include "hub/session/eio_session.h"
#include "hub/session/heartbeat.h"
#include "hub/session/plain_session.h"
#include "hub/session/polling.h"
#include "hub/session/session_core.h"
#include "hub/session/session_extra.h"
#include "hub/session/sio_session.h"

/* --- helpers ------------------------------------------------------------------------------- */

uint64_t session_now(const struct session *session)
{
    return sched_now(session->home->shard->sched);
}

struct outbox *session_outbox(struct session *session)
{
    struct polling *polling = polling_of(session);
    return polling ? &polling->outbox : connection_outbox(session->websocket.connection);
}

struct identity *session_identity(const struct session *session)
{
    return session->identity;
}

static struct timer_wheel *wheel(const struct session *session)
{
    return sched_timers(session->home->shard->sched);
}

/* --- sending ------------------------------------------------------------------------------- */

struct chunk *session_chunk(const struct builder *body, bool binary)
{
    if (builder_failed(body)) {
        return NULL;
    }
    struct bytes payload = builder_bytes(body);
    char head[WS_FRAME_HEAD_MAX];
    size_t head_len = ws_frame_write_head(head, binary ? WS_BINARY : WS_TEXT, false, payload.len);
    struct builder frame = {.max = WS_FRAME_HEAD_MAX + payload.len};
    builder_add(&frame, bytes_of(head, head_len));
    builder_add(&frame, payload);
    return chunk_take(&frame);
}

bool session_send_chunk(struct session *session, struct chunk *chunk)
{
    return outbox_append(
        session_outbox(session), &session->home->shard->dirty_outboxes, chunk, 0, chunk->len);
}

bool session_send_made(struct session *session, struct chunk *chunk)
{
    if (!chunk) {
        return false;
    }
    bool sent = session_send_chunk(session, chunk);
    chunk_unref(chunk);
    return sent;
}

bool session_send_text(struct session *session, struct builder *text)
{
    struct chunk *chunk = session_chunk(text, false);
    builder_reset(text);
    return session_send_made(session, chunk);
}

void session_remote(const struct session *session, char ret_text[46])
{
    const struct poll_session *poll = poll_session_of((struct session *)(uintptr_t)session);
    if (poll != NULL) {
        memcpy(ret_text, poll->remote, sizeof(poll->remote));
    } else {
        connection_remote(session->websocket.connection, ret_text);
    }
}

/* --- deadlines ----------------------------------------------------------------------------- */

void session_heard(struct session *session)
{
    session->heard = (uint32_t)session_now(session);
}

/* When the silent session is to be closed; UINT64_MAX: never. */
static uint64_t idle_due(const struct session *session)
{
    uint64_t timeout = session->home->config->idle_timeout_ms;
    uint64_t now = session_now(session);
    uint32_t silent = (uint32_t)now - session->heard;
    return timeout > 0 ? now - silent + timeout : UINT64_MAX;
}

void session_arm(struct session *session)
{
    if (session->ended || session->moving) {
        return;
    }
    uint64_t due = heartbeat_due(session);
    const struct session_extra *extra = session->extra;
    if (extra && extra->connect_due_ms != 0 && extra->connect_due_ms < due) {
        due = extra->connect_due_ms;
    }
    if (extra && extra->assembly.text && extra->assembly.due_ms < due) {
        due = extra->assembly.due_ms;
    }
    uint64_t idle = idle_due(session);
    due = idle < due ? idle : due;
    if (session->polled && polling_due(session) < due) {
        due = polling_due(session);
    }
    if (!timer_armed(&session->timer) || session->timer.due_ms != due) {
        timer_set(wheel(session), &session->timer, due);
    }
}

static void on_deadline(struct timer *timer)
{
    struct session *session = container_of(timer, struct session, timer);
    const struct session_extra *extra = session->extra;
    uint64_t now = session_now(session);
    if (session->ended) {
        polling_expire(session);
    } else if (extra && extra->connect_due_ms != 0 && extra->connect_due_ms <= now) {
        session_end(session, session->reason != 0 ? session->reason : CLOSE_AUTH_TIMEOUT);
    } else if (extra && extra->assembly.text && extra->assembly.due_ms <= now) {
        session_end(session, CLOSE_PARSE);
    } else if (idle_due(session) <= now) {
        session_end(session, CLOSE_IDLE);
    } else if (heartbeat_due(session) <= now) {
        heartbeat_expire(session);
    } else if (session->polled && polling_due(session) <= now) {
        polling_expire(session);
    }
    session_arm(session);
}

/* --- pressure ------------------------------------------------------------------------------ */

void session_hold(struct session *session, bool held)
{
    struct connection *connection = session->websocket.connection;
    if (polling_of(session)) {
        (held ? polling_pause : polling_resume)(session);
    } else {
        (held ? connection_pause : connection_resume)(connection);
    }
}

/*
 * Peer packets become messages to the user's actor (this shard) and from there to rooms and
 * sequencers on any shard. While a line from this shard is at its bound, sessions that go on
 * talking are not read.
 */
static bool lines_pressured(const struct session_home *home)
{
    for (unsigned i = 0; i < home->layer->shard_count; i++) {
        if (sched_pressured(home->shard->sched, i)) {
            return true;
        }
    }
    return false;
}

/* Put the session into the list where its state says it belongs. */
static void settle(struct session *session)
{
    struct session_home *home = session->home;
    list_remove(&session->link);
    if (session->reaping) {
        list_append(&home->ending, &session->link);
        if (!timer_armed(&home->reap)) {
            timer_set(wheel(session), &home->reap, session_now(session));
        }
    } else if (session->paused) {
        list_append(&home->paused, &session->link);
        if (!timer_armed(&home->relief)) {
            timer_set(wheel(session), &home->relief, session_now(session) + SESSION_RELIEF_MS);
        }
    } else {
        list_append(&home->open, &session->link);
    }
}

static void pause_under_pressure(struct session *session)
{
    if (!session->ended && !session->moving && !session->paused && lines_pressured(session->home)) {
        session->paused = 1;
        settle(session);
        session_hold(session, true);
    }
}

static void resume(struct session *session)
{
    if (session->paused) {
        session->paused = 0;
        settle(session);
        session_hold(session, false);
    }
}

static void on_relief(struct timer *timer)
{
    struct session_home *home = container_of(timer, struct session_home, relief);
    if (lines_pressured(home)) {
        uint64_t now = sched_now(home->shard->sched);
        timer_set(sched_timers(home->shard->sched), timer, now + SESSION_RELIEF_MS);
        return;
    }
    struct list relieved;
    list_init(&relieved);
    list_splice(&relieved, &home->paused);
    while (!list_empty(&relieved)) {
        resume(container_of(relieved.next, struct session, link));
    }
}

/* --- the end ------------------------------------------------------------------------------- */

void session_reap_later(struct session *session)
{
    if (!session->reaping && !session->moving) {
        session->reaping = 1;
        settle(session);
    }
}

void session_await_join(struct session *session, uint32_t timeout_ms)
{
    if (!session->ended && !session_has_socket(session)) {
        session_extra(session)->connect_due_ms = session_now(session) + timeout_ms;
        session_arm(session);
    }
}

static void on_reap(struct timer *timer)
{
    struct session_home *home = container_of(timer, struct session_home, reap);
    struct list reaped;
    list_init(&reaped);
    list_splice(&reaped, &home->ending);
    while (!list_empty(&reaped)) {
        struct session *session = container_of(reaped.next, struct session, link);
        session->reaping = 0;
        settle(session);
        session_drop_sockets(session, !session->ended, session->reason);
        /* One that was sent away for good may stay a little, to be told so if it asks again. */
        session_await_join(session, session->home->config->connect_timeout_ms);
        const struct polling *polling = polling_of(session);
        if (polling && polling->over) {
            session_gone(session, session->reason);
        }
    }
}

void session_home_reap(struct session_home *home)
{
    on_reap(&home->reap);
}

void session_end(struct session *session, enum close_reason reason)
{
    if (session->ended) {
        return;
    }
    CHECK(!session->moving);
    session->ended = 1;
    session->home->live--;
    session->reason = reason;
    timer_cancel(wheel(session), &session->timer);
    session_drop_assembly(session);
    session_mark_closing(session);
    resume(session); /* or the peer's answer to our close frame would not be read */
    if (session_has_socket(session)) {
        session_reap_later(session);
    }
    if (polling_of(session)) {
        polling_close(session, reason);
    } else if (session->kind == SESSION_ENGINE && close_is_temporary(reason)) {
        websocket_cut(&session->websocket, reason);
    } else {
        websocket_close(&session->websocket, reason);
    }
}

void session_too_large(struct session *session)
{
    if (session->kind == SESSION_ENGINE) {
        sio_session_tell_closing(session, CLOSE_FRAME_TOO_LARGE);
    }
    session_end(session, CLOSE_FRAME_TOO_LARGE);
}

void session_linger(struct session *session, uint32_t ms)
{
    timer_set(wheel(session), &session->timer, session_now(session) + ms);
}

void session_destroy(struct session *session)
{
    if (session->polled) {
        polling_finish(session);
    }
    session_extra_destroy(session->extra);
    identity_unref(session->identity);
    mem_free(session);
}

void session_gone(struct session *session, enum close_reason reason)
{
    timer_cancel(wheel(session), &session->timer);
    session->home->live -= !session->ended;
    session_drop_sockets(session, false, session->ended ? session->reason : reason);
    list_remove(&session->link);
    session->home->count--;
    if (session->polled) {
        polling_joined(session);
        polling_forget(session);
    }
    session_destroy(session);
}

static void on_closed(struct websocket *websocket, enum close_reason reason)
{
    struct session *session = container_of(websocket, struct session, websocket);
    if (session->moving) {
        session_destroy(session);
    } else {
        session_gone(session, reason);
    }
}

/* --- the beginning ------------------------------------------------------------------------- */

static void on_message(struct websocket *websocket, bool binary, struct bytes message)
{
    struct session *session = container_of(websocket, struct session, websocket);
    if (session->ended) {
        return;
    }
    if (session->kind == SESSION_ENGINE) {
        eio_session_message(session, binary, message);
    } else {
        plain_session_message(session, binary, message);
    }
    pause_under_pressure(session);
}

void session_packet(struct session *session, const struct eio_packet *packet)
{
    eio_session_packet(session, packet);
    pause_under_pressure(session);
}

void session_relieved(struct session *session)
{
    if (!session->ended && !session->moving) {
        session_note_relief(session);
    }
}

void session_report_slow(struct session *session, uint64_t ms)
{
    char remote[46];
    struct slow_peer peer = {.remote = remote, .ms = ms};
    peer.transport = polling_of(session) ? "polling" : "websocket";
    peer.bytes = session_outbox(session)->bytes;
    if (session->identity) {
        peer.user = identity_key(session->identity);
    }
    session_remote(session, remote);
    slow_report(&peer);
}

static void on_relieved(struct websocket *websocket)
{
    session_relieved(container_of(websocket, struct session, websocket));
}

/* The code of an overflow comes behind what waits; who was given time and took nothing gets none.
 */
static bool on_slow(struct websocket *websocket, uint64_t ms, bool overflow)
{
    struct session *session = container_of(websocket, struct session, websocket);
    session_report_slow(session, ms);
    if (overflow && !session->moving) {
        session_end(session, CLOSE_SLOW);
        return true;
    }
    return false;
}

/* Of all that a peer may break, one is told to its application: it can mend it. */
static void on_failing(struct websocket *websocket, enum close_reason reason)
{
    struct session *session = container_of(websocket, struct session, websocket);
    if (reason == CLOSE_FRAME_TOO_LARGE && session->kind == SESSION_ENGINE) {
        sio_session_tell_closing(session, reason);
    }
}

static const struct websocket_ops websocket_ops = {
    .on_message = on_message,
    .on_closed = on_closed,
    .on_relieved = on_relieved,
    .on_slow = on_slow,
    .on_failing = on_failing,
};

/* Become one of the sessions of `home`. */
static void move_in(struct session *session, struct session_home *home)
{
    session->home = home;
    home->count++;
    home->live++;
    settle(session);
}

void session_init(struct session *session, struct session_home *home, enum session_kind kind,
    struct session_extra *extra)
{
    session->kind = kind;
    session->extra = extra;
    session->issued = (uint32_t)sched_wall(home->shard->sched);
    list_init(&session->link);
    timer_init(&session->timer, on_deadline);
    move_in(session, home);
}

struct session *session_create(
    struct session_home *home, enum session_kind kind, struct session_extra *extra)
{
    struct session *session = mem_try_calloc(1, sizeof(*session));
    if (session != NULL) {
        session_init(session, home, kind, extra);
    }
    return session;
}

/* A plain session has shown its token before the upgrade, another one with its first namespace. */
static const struct websocket_limits *limits_of(const struct session *session)
{
    const struct session_config *config = session->home->config;
    bool known = session->kind != SESSION_ENGINE || session->identity != NULL;
    return known ? &config->after_auth : &config->before_auth;
}

/* Limits belong to the home: those of another shard may change under our hands. */
static void set_limits(struct session *session)
{
    websocket_set_limits(&session->websocket, limits_of(session));
}

void session_begin(struct session *session, struct connection *connection)
{
    websocket_init(&session->websocket, connection, limits_of(session), &websocket_ops);
    heartbeat_start(session);
    session_heard(session);
    session_arm(session);
}

void session_take_over(struct session *session, struct websocket *from)
{
    unsigned pauses = polling_of(session)->pauses;
    struct connection *connection = from->connection;
    polling_hand_over(session, connection_outbox(connection));
    polling_finish(session);
    session_set_outbox(session, connection_outbox(connection));
    websocket_adopt(&session->websocket, from, &websocket_ops);
    set_limits(session);
    if (session->identity) {
        connection_authenticated(connection);
    }
    for (unsigned i = 0; i < pauses; i++) {
        connection_pause(connection);
    }
    session_arm(session);
}

/* --- moving -------------------------------------------------------------------------------- */

static void on_arrived(void *context, bool ok)
{
    struct session *session = context;
    if (!ok) { /* on the old thread: the peer has gone */
        if (session->polled) {
            polling_drop_forward(session->home, polling_sid(session));
            polling_forget(session);
        }
        session_destroy(session);
        return;
    }
    struct shard *shard = loop_shard(connection_loop(session->websocket.connection));
    session_arrived(session, session_layer_home(session->home->layer, shard));
}

void session_arrived(struct session *session, struct session_home *home)
{
    session->moving = 0;
    move_in(session, home);
    bool known = !session->polled || polling_arrive(session);
    if (!polling_of(session)) {
        set_limits(session);
    }
    session_arm(session);
    if (session->home->refusing) {
        session_end(session, CLOSE_DRAINING);
    } else if (!known) {
        session_end(session, CLOSE_NO_MEMORY);
    } else {
        connect_arrived(session);
    }
}

void session_move(struct session *session, unsigned shard)
{
    if (session_has_socket(session) || !list_empty(&session->extra->waits)) {
        session_end(session, CLOSE_PARSE); /* two users on one session */
        return;
    }
    resume(session);
    timer_cancel(wheel(session), &session->timer);
    list_remove(&session->link);
    session->home->count--;
    session->home->live--;
    session->moving = 1;
    if (polling_of(session)) {
        polling_move(session, shard);
        return;
    }
    if (session->polled) {
        polling_forward(session, shard);
    }
    websocket_move(&session->websocket, shard, on_arrived, session);
}

/* --- homes --------------------------------------------------------------------------------- */

void session_home_init(struct session_home *home)
{
    list_init(&home->open);
    list_init(&home->paused);
    list_init(&home->ending);
    timer_init(&home->relief, on_relief);
    timer_init(&home->reap, on_reap);
    polling_home_init(home);
}

void session_rearm_all(struct session_home *home)
{
    struct list *lists[] = {&home->open, &home->paused, &home->ending};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_for_each (link, lists[i]) {
            session_arm(container_of(link, struct session, link));
        }
    }
}
