/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_transport - private to the session layer: a WebSocket as the transport of a session.
 */
#include "hub/session/ws_transport.h"

#include "hub/net/connection.h"
#include "hub/net/loop.h"
#include "hub/session/session_core.h"

static struct session *session_of(struct websocket *websocket)
{
    return container_of(websocket, struct session, websocket);
}

/* --- what it tells ------------------------------------------------------------------------- */

static void on_message(struct websocket *websocket, bool binary, struct bytes message)
{
    struct session *session = session_of(websocket);
    session->part->events->message(session, binary, message);
}

static void on_relieved(struct websocket *websocket)
{
    struct session *session = session_of(websocket);
    session->part->events->relieved(session);
}

static bool on_slow(struct websocket *websocket, uint64_t ms, bool overflow)
{
    struct session *session = session_of(websocket);
    return session->part->events->slow(session, ms, overflow);
}

static void on_failing(struct websocket *websocket, enum close_reason reason)
{
    struct session *session = session_of(websocket);
    session->part->events->failing(session, reason);
}

static void on_moved(struct websocket *websocket, bool ok)
{
    struct session *session = session_of(websocket);
    struct session_part *part = NULL;
    if (ok) {
        struct shard *shard = loop_shard(connection_loop(websocket->connection));
        part = session_layer_part(session->part->layer, shard);
    }
    session->part->events->moved(session, part);
}

static void on_closed(struct websocket *websocket, enum close_reason reason)
{
    struct session *session = session_of(websocket);
    session->part->events->closed(session, reason);
}

static const struct websocket_ops websocket_ops = {
    .on_message = on_message,
    .on_closed = on_closed,
    .on_relieved = on_relieved,
    .on_slow = on_slow,
    .on_failing = on_failing,
    .on_moved = on_moved,
};

/* --- what it is asked ---------------------------------------------------------------------- */

/* A plain session has shown its token before the upgrade, another one with its first namespace. */
static const struct websocket_limits *limits_of(const struct session *session)
{
    const struct session_config *config = session->part->config;
    bool known = session->kind != SESSION_ENGINE || session->identity != NULL;
    return known ? &config->after_auth : &config->before_auth;
}

void ws_transport_init(struct session *session, struct connection *connection)
{
    websocket_init(&session->websocket, connection, limits_of(session), &websocket_ops);
}

void ws_transport_adopt(struct session *session, struct websocket *from)
{
    websocket_adopt(&session->websocket, from, &websocket_ops);
    (void)ws_transport_arrived(session);
    if (session->identity) {
        connection_authenticated(session->websocket.connection);
    }
}

struct outbox *ws_transport_outbox(const struct session *session)
{
    return connection_outbox(session->websocket.connection);
}

static void get_remote(const struct session *session, char ret_text[46])
{
    connection_remote(session->websocket.connection, ret_text);
}

void ws_transport_hold(struct session *session, bool held)
{
    (held ? connection_pause : connection_resume)(session->websocket.connection);
}

void ws_transport_authenticated(struct session *session)
{
    connection_authenticated(session->websocket.connection);
    websocket_set_limits(&session->websocket, &session->part->config->after_auth);
}

void ws_transport_move(struct session *session, unsigned shard)
{
    websocket_move(&session->websocket, shard);
}

/* Limits belong to the part: those of another shard may change under our hands. */
bool ws_transport_arrived(struct session *session)
{
    websocket_set_limits(&session->websocket, limits_of(session));
    return true;
}

void ws_transport_close(struct session *session, enum close_reason reason)
{
    websocket_close(&session->websocket, reason);
}

void ws_transport_cut(struct session *session, enum close_reason reason)
{
    websocket_cut(&session->websocket, reason);
}

const struct transport ws_transport = {
    .name = "websocket",
    .handshake = "websocket",
    .outbox = ws_transport_outbox,
    .remote = get_remote,
    .hold = ws_transport_hold,
    .authenticated = ws_transport_authenticated,
    .move = ws_transport_move,
    .arrived = ws_transport_arrived,
    .close = ws_transport_close,
    .cut = ws_transport_cut,
};
