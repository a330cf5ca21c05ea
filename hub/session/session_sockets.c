/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_sockets - private to the session layer: the sockets of a session, one per namespace.
 */
#include "hub/session/session_sockets.h"

#include "codec/base/mem.h"
#include "hub/session/session_core.h"
#include "hub/session/session_extra.h"

static struct session_socket *further_of(struct list *link)
{
    return container_of(link, struct session_socket, link);
}

void session_each_socket(struct session *session, session_socket_fn fn, void *context)
{
    if (session->has_first) {
        fn(session, &session->first, context);
    }
    if (session->extra) {
        list_for_each_safe (link, next, &session->extra->sockets) {
            fn(session, &further_of(link)->socket, context);
        }
    }
}

bool session_has_socket(const struct session *session)
{
    return session->has_first || (session->extra && !list_empty(&session->extra->sockets));
}

unsigned session_count_sockets(const struct session *session)
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
            if (bytes_eq(socket_nsp(&further_of(link)->socket), nsp)) {
                return &further_of(link)->socket;
            }
        }
    }
    return NULL;
}

struct socket *session_place_socket(struct session *session)
{
    if (!session->has_first) {
        session->has_first = 1;
        memset(&session->first, 0, sizeof(session->first));
        return &session->first;
    }
    struct session_socket *further = mem_try_calloc(1, sizeof(*further));
    if (further == NULL) {
        return NULL;
    }
    further->session = session;
    list_init(&further->link);
    list_append(&session_extra(session)->sockets, &further->link);
    return &further->socket;
}

void session_remove_socket(struct session *session, struct socket *socket)
{
    if (socket == &session->first) {
        session->has_first = 0;
        return;
    }
    struct session_socket *further = container_of(socket, struct session_socket, socket);
    list_remove(&further->link);
    mem_free(further);
}

void session_drop_socket(struct session *session, struct socket *socket, enum close_reason reason)
{
    const struct app *app = &session->home->config->app;
    socket->closing = true;
    app->ops->closed(app->context, socket, reason);
    CHECK(!socket->user); /* the application has called socket_detach */
    session_remove_socket(session, socket);
}

struct drop {
    bool only_closing;
    enum close_reason reason;
};

static void drop(struct session *session, struct socket *socket, void *context)
{
    const struct drop *how = context;
    if (!how->only_closing || socket->closing) {
        session_drop_socket(session, socket, how->reason);
    }
}

void session_drop_sockets(struct session *session, bool only_closing, enum close_reason reason)
{
    struct drop how = {.only_closing = only_closing, .reason = reason};
    session_each_socket(session, drop, &how);
}

static void set_outbox(struct session *session, struct socket *socket, void *context)
{
    socket->outbox = session_outbox(session);
}

void session_set_outbox(struct session *session)
{
    session_each_socket(session, set_outbox, NULL);
}

void session_tell_sockets(struct session *session, void (*tell)(struct socket *socket))
{
    if (session->has_first) {
        tell(&session->first);
    }
    if (session->extra) {
        list_for_each (link, &session->extra->sockets) {
            tell(&further_of(link)->socket);
        }
    }
}

static void mark_closing(struct socket *socket)
{
    socket->closing = true;
}

void session_mark_closing(struct session *session)
{
    session_tell_sockets(session, mark_closing);
}
