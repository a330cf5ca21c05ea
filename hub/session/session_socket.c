/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_socket - private to the session layer: the sockets of a session, one per namespace.
 *
 * The first socket lives inside the session; further ones are allocations of their own. Which of
 * the two a socket is, its ops tell.
 */
#include "actors/recover/recovery.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/sio.h"
#include "hub/net/connection.h"
#include "hub/session/polling.h"
#include "hub/session/session.h"
#include "hub/session/session_core.h"
#include "hub/session/session_extra.h"
#include "hub/session/sio_session.h"
#include "hub/session/sio_writer.h"

static struct session *session_of(struct socket *socket);

static void on_disconnect(struct socket *socket, enum close_reason reason)
{
    struct session *session = session_of(socket);
    if (socket->closing) {
        return;
    }
    if (session->kind == SESSION_ENGINE && close_is_final(reason)) {
        sio_session_expel(session, socket, reason);
    } else {
        session_end(session, reason);
    }
}

/* Send every socket away that is not on its way already. */
static void expel_all(struct session *session, enum close_reason reason)
{
    if (session->has_first && !session->first.closing) {
        sio_session_expel(session, &session->first, reason);
    }
    if (!session->extra) {
        return;
    }
    list_for_each (link, &session->extra->sockets) {
        struct session_socket *further = container_of(link, struct session_socket, link);
        if (!further->socket.closing) {
            sio_session_expel(session, &further->socket, reason);
        }
    }
}

static void on_end(struct socket *socket, enum close_reason reason)
{
    struct session *session = session_of(socket);
    if (session->kind == SESSION_ENGINE && close_is_final(reason)) {
        expel_all(session, reason);
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
    uint64_t now = sched_wall(session->home->shard->sched);
    ret_handshake->issued_ms = now - (uint32_t)((uint32_t)now - session->issued);
    if (session->kind == SESSION_ENGINE) {
        ret_handshake->transport = session->polled ? "polling" : "websocket";
    }
    ret_handshake->cross_domain = session->cross_domain;
    session_remote(session, ret_handshake->address);
}

static const struct socket_ops first_ops = {
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
    if (socket->ops == &first_ops) {
        return container_of(socket, struct session, first);
    }
    CHECK(socket->ops == &further_ops);
    return container_of(socket, struct session_socket, socket)->session;
}

bool session_has_socket(const struct session *session)
{
    return session->has_first || (session->extra && !list_empty(&session->extra->sockets));
}

static unsigned count_sockets(const struct session *session)
{
    unsigned count = session->has_first;
    if (session->extra) {
        list_for_each (link, &session->extra->sockets) {
            count++;
        }
    }
    return count;
}

struct socket *session_find_socket(struct session *session, struct bytes nsp)
{
    if (session->has_first && bytes_eq(socket_nsp(&session->first), nsp)) {
        return &session->first;
    }
    if (session->extra) {
        list_for_each (link, &session->extra->sockets) {
            struct session_socket *further = container_of(link, struct session_socket, link);
            if (bytes_eq(socket_nsp(&further->socket), nsp)) {
                return &further->socket;
            }
        }
    }
    return NULL;
}

/* --- joining ------------------------------------------------------------------------------- */

static enum wire_format format_of(const struct session *session, bool batch)
{
    switch ((enum session_kind)session->kind) {
    case SESSION_JSON:
        return WIRE_JSON;
    case SESSION_MSGPACK:
        return WIRE_MSGPACK;
    case SESSION_ENGINE:
    case SESSION_KIND_COUNT:
        break;
    }
    if (session->home->config->msgpack_parser) {
        return WIRE_SIO_MSGPACK; /* which has no windows */
    }
    return batch ? WIRE_SIO_BATCH : WIRE_SIO;
}

/* Zeroed memory for one more socket, with its ops; NULL: no memory. */
static struct socket *place_socket(struct session *session, const struct socket_ops **ret_ops)
{
    if (!session->has_first) {
        session->has_first = 1;
        memset(&session->first, 0, sizeof(session->first));
        *ret_ops = &first_ops;
        return &session->first;
    }
    struct session_socket *further = mem_try_calloc(1, sizeof(*further));
    if (further == NULL) {
        return NULL;
    }
    further->session = session;
    list_init(&further->link);
    list_append(&session_extra(session)->sockets, &further->link);
    *ret_ops = &further_ops;
    return &further->socket;
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
    if (session->polled) {
        polling_joined(session);
    }
    if (!polling_of(session)) {
        connection_authenticated(session->websocket.connection);
        websocket_set_limits(&session->websocket, &session->home->config->after_auth);
    }
}

/* Give back what place_socket gave. */
static void remove_socket(struct session *session, struct socket *socket)
{
    if (socket == &session->first) {
        session->has_first = 0;
        return;
    }
    struct session_socket *further = container_of(socket, struct session_socket, socket);
    list_remove(&further->link);
    mem_free(further);
}

int session_add_socket(struct session *session, struct bytes nsp, const struct app_verdict *verdict,
    struct socket **ret_socket)
{
    unsigned most = session->home->config->namespaces;
    if (count_sockets(session) >= (most > 0 ? most : SESSION_SOCKETS_MAX)) {
        identity_unref(verdict->identity);
        recovery_drop(verdict->claimed);
        return STATUS_FULL;
    }
    become_authenticated(session, verdict->identity);
    struct socket_options options = {
        .shard = session->home->shard,
        .nsp = nsp,
        .outbox = session_outbox(session),
        .identity = verdict->identity,
        .format = format_of(session, verdict->batch),
        .claimed = verdict->claimed,
    };
    struct socket *socket = place_socket(session, &options.ops);
    if (socket == NULL || !socket_init(socket, &options)) {
        recovery_drop(verdict->claimed);
        if (socket != NULL) {
            remove_socket(session, socket);
        }
        return STATUS_NOMEM;
    }
    *ret_socket = socket;
    return 0;
}

/* --- leaving ------------------------------------------------------------------------------- */

void session_drop_socket(struct session *session, struct socket *socket, enum close_reason reason)
{
    const struct app *app = &session->home->config->app;
    socket->closing = true;
    app->ops->closed(app->context, socket, reason);
    CHECK(!socket->user); /* the application has called socket_detach */
    remove_socket(session, socket);
}

void session_drop_sockets(struct session *session, bool only_closing, enum close_reason reason)
{
    if (session->has_first && (!only_closing || session->first.closing)) {
        session_drop_socket(session, &session->first, reason);
    }
    if (!session->extra) {
        return;
    }
    list_for_each_safe (link, next, &session->extra->sockets) {
        struct session_socket *further = container_of(link, struct session_socket, link);
        if (!only_closing || further->socket.closing) {
            session_drop_socket(session, &further->socket, reason);
        }
    }
}

static void for_each_socket(struct session *session, void (*tell)(struct socket *socket))
{
    if (session->has_first) {
        tell(&session->first);
    }
    if (session->extra) {
        list_for_each (link, &session->extra->sockets) {
            tell(&container_of(link, struct session_socket, link)->socket);
        }
    }
}

void session_note_relief(struct session *session)
{
    for_each_socket(session, socket_relieved);
}

void session_note_ping(struct session *session)
{
    for_each_socket(session, socket_pinged);
}

void session_note_pong(struct session *session)
{
    for_each_socket(session, socket_ponged);
}

void session_set_outbox(struct session *session, struct outbox *outbox)
{
    if (session->has_first) {
        session->first.outbox = outbox;
    }
    if (session->extra) {
        list_for_each (link, &session->extra->sockets) {
            container_of(link, struct session_socket, link)->socket.outbox = outbox;
        }
    }
}

void session_mark_closing(struct session *session)
{
    if (session->has_first) {
        session->first.closing = true;
    }
    if (session->extra) {
        list_for_each (link, &session->extra->sockets) {
            container_of(link, struct session_socket, link)->socket.closing = true;
        }
    }
}

/* --- asking -------------------------------------------------------------------------------- */

/* `[[id,"name",args]]`, or an EVENT with id. NULL when it would be too large. */
static struct chunk *make_question(
    const struct session *session, struct socket *socket, const struct sio_event_out *event)
{
    if (session->kind == SESSION_ENGINE) {
        struct sio_head head = {.nsp = socket_nsp(socket), .has_id = true, .id = session->asked};
        return sio_writer_event(session, &head, event);
    }
    struct builder out = {0};
    builder_printf(&out, "[[%u,", (unsigned)session->asked);
    json_scan_write_string(&out, event->name);
    if (event->args.len > 0) {
        builder_byte(&out, ',');
        builder_add(&out, event->args);
    }
    builder_str(&out, "]]");
    struct chunk *chunk = session_chunk(&out, false);
    builder_reset(&out);
    return chunk;
}

int session_ask(struct socket *socket, struct bytes name, struct bytes args, uint64_t *ret_id)
{
    struct session *session = session_of(socket);
    if (session->kind == SESSION_MSGPACK) {
        return STATUS_UNSUPPORTED;
    }
    session->asked++;
    session->asked += session->asked == 0; /* a plain id is positive */
    struct sio_event_out event = {.name = name, .args = args};
    struct chunk *chunk = make_question(session, socket, &event);
    if (!chunk) {
        return STATUS_TOO_LARGE;
    }
    *ret_id = session->asked;
    bool sent = socket_send(socket, chunk);
    chunk_unref(chunk);
    return sent ? 0 : STATUS_FULL;
}
