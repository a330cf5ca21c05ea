/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_socket - private to the session layer: what actors ask of a socket, and how one is made.
 *
 * Whether a socket is the first of its session, its ops tell.
 */
#include "hub/session/session_socket.h"

#include "actors/identity.h"
#include "actors/recover/recovery.h"
#include "codec/base/status.h"
#include "codec/sio.h"
#include "hub/session/session.h"
#include "hub/session/session_core.h"
#include "hub/session/session_life.h"

static struct session *session_of(struct socket *socket);

/* Whether sockets are sent away for this reason, and the session may stay. */
static bool expels(const struct session *session, enum close_reason reason)
{
    return session_protocol(session)->expel != NULL && close_is_final(reason);
}

static void on_disconnect(struct socket *socket, enum close_reason reason)
{
    struct session *session = session_of(socket);
    if (socket->closing) {
        return;
    }
    if (expels(session, reason)) {
        session_protocol(session)->expel(session, socket, reason);
    } else {
        session_end(session, reason);
    }
}

static void expel(struct session *session, struct socket *socket, void *context)
{
    if (!socket->closing) {
        session_protocol(session)->expel(session, socket, *(enum close_reason *)context);
    }
}

static void on_end(struct socket *socket, enum close_reason reason)
{
    struct session *session = session_of(socket);
    if (expels(session, reason)) {
        session_each_socket(session, expel, &reason);
    }
    session_end(session, reason);
}

static void on_pause(struct socket *socket, bool paused)
{
    session_hold(session_of(socket), paused);
}

static void on_describe(struct socket *socket, struct socket_handshake *ret_handshake)
{
    const struct session *session = session_of(socket);
    const struct transport *transport = session_transport(session);
    uint64_t now = sched_wall(session->part->shard->sched);
    ret_handshake->issued_ms = now - (uint32_t)((uint32_t)now - session->issued);
    uint32_t silent = (uint32_t)session_now(session) - session->heard;
    uint64_t heard = now - silent; /* of another clock than `issued` */
    ret_handshake->heard_ms = heard > ret_handshake->issued_ms ? heard : ret_handshake->issued_ms;
    if (session->kind == SESSION_ENGINE) {
        ret_handshake->transport = transport->handshake;
    }
    ret_handshake->cross_domain = session->cross_domain;
    transport->remote(session, ret_handshake->address);
}

static const struct socket_ops first_ops = {
    .disconnect = on_disconnect,
    .end = on_end,
    .pause = on_pause,
    .describe = on_describe,
};
static const struct socket_ops stream_ops = {
    .one_way = true,
    .disconnect = on_disconnect,
    .end = on_end,
    .pause = on_pause,
    .describe = on_describe,
};
static const struct socket_ops further_ops = {
    .disconnect = on_disconnect,
    .end = on_end,
    .pause = on_pause,
    .describe = on_describe,
};

static struct session *session_of(struct socket *socket)
{
    if (socket->ops == &first_ops || socket->ops == &stream_ops) {
        return container_of(socket, struct session, first);
    }
    CHECK(socket->ops == &further_ops);
    return container_of(socket, struct session_socket, socket)->session;
}

/* --- joining ------------------------------------------------------------------------------- */

static enum wire_format format_of(const struct session *session, bool batch)
{
    switch ((enum session_kind)session->kind) {
    case SESSION_JSON:
    case SESSION_STREAM:
        return WIRE_JSON;
    case SESSION_MSGPACK:
        return WIRE_MSGPACK;
    case SESSION_ENGINE:
    case SESSION_KIND_COUNT:
        break;
    }
    if (session->part->config->msgpack_parser) {
        return WIRE_SIO_MSGPACK; /* which has no windows */
    }
    return batch ? WIRE_SIO_BATCH : WIRE_SIO;
}

void session_refresh(struct socket *socket, struct identity *identity)
{
    struct session *session = session_of(socket);
    identity_unref(session->identity);
    session->identity = identity_ref(identity);
}

/* The token has done its work. */
static void become_authenticated(struct session *session, struct identity *identity)
{
    identity_unref(session->identity);
    session->identity = identity;
    session_forget_request(session);
    if (session->extra) {
        session->extra->connect_due_ms = 0;
        session_trim(session);
    }
    session_transport(session)->authenticated(session);
}

static const struct socket_ops *ops_of(const struct session *session, const struct socket *socket)
{
    if (socket != &session->first) {
        return &further_ops;
    }
    return session_protocol(session)->one_way ? &stream_ops : &first_ops;
}

int session_add_socket(struct session *session, struct bytes nsp, const struct app_verdict *verdict,
    struct socket **ret_socket)
{
    unsigned most = session->part->config->namespaces;
    if (session_count_sockets(session) >= (most > 0 ? most : SESSION_SOCKETS_MAX)) {
        identity_unref(verdict->identity);
        recovery_drop(verdict->claimed);
        return STATUS_FULL;
    }
    become_authenticated(session, verdict->identity);
    struct socket *socket = session_place_socket(session);
    struct socket_options options = {
        .shard = session->part->shard,
        .ops = ops_of(session, socket),
        .nsp = nsp,
        .outbox = session_outbox(session),
        .identity = verdict->identity,
        .format = format_of(session, verdict->batch),
        .claimed = verdict->claimed,
    };
    if (socket == NULL || !socket_init(socket, &options)) {
        recovery_drop(verdict->claimed);
        if (socket != NULL) {
            session_remove_socket(session, socket);
        }
        return STATUS_NOMEM;
    }
    *ret_socket = socket;
    return 0;
}

/* --- asking -------------------------------------------------------------------------------- */

int session_ask(struct socket *socket, struct bytes name, struct bytes args, uint64_t *ret_id)
{
    struct session *session = session_of(socket);
    const struct protocol *protocol = session_protocol(session);
    if (protocol->question == NULL) {
        return STATUS_UNSUPPORTED;
    }
    session->asked++;
    session->asked += session->asked == 0; /* a plain id is positive */
    struct sio_event_out event = {.name = name, .args = args};
    struct chunk *chunk = protocol->question(session, socket, &event);
    if (!chunk) {
        return STATUS_TOO_LARGE;
    }
    *ret_id = session->asked;
    bool sent = socket_send(socket, chunk);
    chunk_unref(chunk);
    return sent ? 0 : STATUS_FULL;
}
