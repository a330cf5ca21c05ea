/* SPDX-License-Identifier: Apache-2.0 */
/*
 * app - the interface between the session layer and the application on top of it.
 *
 * The session layer (Engine.IO, Socket.IO, the plain WebSocket) knows no event of Peal's own: it
 * hands packets to an application. Peal's is hub/node/peal_app.c; the conformance echo program is
 * another. Everything is called on the shard that the connection is on.
 */
#ifndef HUB_SESSION_APP_H
#define HUB_SESSION_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "actors/deliver/socket.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/errors.h"

struct app_wishes;
struct recoverable;
struct recovery_fetch;
struct session;

/* Somebody asks to use a namespace (Socket.IO CONNECT), or to open /ws (before the upgrade is
 * answered). */
struct app_connect {
    struct session *session; /* NULL for /ws before the upgrade */
    struct bytes nsp; /* "/" */
    struct bytes auth; /* JSON text of the CONNECT payload; empty: none */
    struct bytes bearer; /* token of `Authorization: Bearer`; empty: none */
    struct bytes subprotocol_token; /* what followed "peal.token."; empty: none */
    struct bytes query_token; /* query `token`; empty: none */
    struct bytes origin; /* Origin header; empty: none */
    struct bytes remote; /* peer address as text, without port */
    const struct app_wishes *wishes; /* of a client that only listens; NULL: another one */
    struct identity *identity; /* asked again after MOVE or WAIT: who it was then; or NULL */
    bool final; /* it is asked again after WAIT, or cannot wait */
};

/* What the application says to app_connect. */
struct app_verdict {
    enum { APP_ACCEPT, APP_REFUSE, APP_MOVE, APP_WAIT } kind;
    /* ACCEPT, MOVE and WAIT: who it is; one reference, taken over. It comes back as
     * app_connect.identity when MOVE or WAIT is over, so that a token is verified once. */
    struct identity *identity;
    bool batch; /* ACCEPT: the format's batch variant was asked for */
    struct recoverable *claimed; /* the socket that is continued; NULL: a new one */
    /* WAIT: ask again when this is done. */
    struct recovery_fetch *fetch;
    /* MOVE: the user lives on this shard; the connection goes there and asks again. */
    unsigned shard;
    /* REFUSE: CONNECT_ERROR {"message":…,"data":{"code":…}}; a static string; without `data` for
     * ERROR_NONE. */
    const char *message;
    enum error_code code;
};

/* One event of a client; borrowed for the call. */
struct app_event {
    struct bytes name; /* decoded UTF-8; Socket.IO allows numbers: then their decimal text */
    struct bytes data; /* the whole JSON array, name included: `["name",a,b]` */
    struct bytes args; /* the arguments as JSON text without brackets: `a,b` */
    bool has_id; /* an ack is asked for */
    uint64_t id;
    struct buf *const *attachments; /* binary arguments by placeholder number */
    unsigned attachment_count;
};

/* A client's answer to a request of ours; borrowed for the call. */
struct app_answer {
    struct bytes args; /* JSON array text */
    struct buf *const *attachments; /* as with app_event */
    unsigned attachment_count;
};

/*
 * What a client that only listens (server-sent events) asks for; borrowed. Of a list each name has
 * a '\n' behind it.
 */
struct app_wishes {
    struct bytes rooms;
    struct bytes events; /* names; empty: all */
    struct bytes place; /* where it was, as app_ops.place wrote it or as anybody may have made it
                           up; empty: it has not been here before */
    bool inbox;
};

struct app_ops {
    /* Decide at once (token checks are local), or let the request wait, once. */
    struct app_verdict (*connect)(
        void *app, struct shard *shard, const struct app_connect *request);
    /* A socket was accepted and its CONNECT answered: it may be sent to from now on. */
    void (*opened)(void *app, struct socket *socket);
    /* An event arrived. */
    void (*event)(void *app, struct socket *socket, const struct app_event *event);
    /* The client answered request `id` of ours. */
    void (*ack)(void *app, struct socket *socket, uint64_t id, const struct app_answer *answer);
    /*
     * The socket ends: the application must call socket_detach before it returns. Called exactly
     * once for each `opened`.
     */
    void (*closed)(void *app, struct socket *socket, enum close_reason reason);
    /* A client that only listens has been told of by `opened`: give it what it asks for. */
    void (*listen)(void *app, struct socket *socket, const struct app_wishes *wishes);
    /*
     * Append the place of a client that has had all that was sent to `socket` so far: text without
     * control characters, at most 4 KiB; sends what is pending for it before. Never called inside a
     * call of an actor that tells something. Nothing: it is not known.
     */
    void (*place)(
        void *app, struct socket *socket, const struct app_wishes *wishes, struct builder *out);
    /* Whether the client is to get events of this name. */
    bool (*wants)(void *app, const struct app_wishes *wishes, struct bytes name);
    /* Whether this namespace exists ("/" and configured ones). */
    bool (*has_namespace)(void *app, struct bytes nsp);
};

struct app {
    const struct app_ops *ops;
    void *context;
};

#endif
