/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol - private to the session layer: the border between sessions and what they carry.
 */
#ifndef HUB_SESSION_PROTOCOL_H
#define HUB_SESSION_PROTOCOL_H

#include <stdbool.h>

#include "actors/close.h"
#include "codec/base/bytes.h"

struct chunk;
struct eio_packet;
struct session;
struct sio_event_out;
struct socket;

/* What a session carries; a row for each kind. */
struct protocol {
    bool hides_codes; /* its clients see no close codes: an end for a time is a line that breaks */
    bool one_way; /* its client says nothing: it is not asked for pongs */
    void (*message)(struct session *session, bool binary, struct bytes message);
    void (*packet)(struct session *session, const struct eio_packet *packet); /* of polling */
    /* It has come to the shard of its user. */
    void (*arrived)(struct session *session);
    /* Answer a CONNECT; false when that could not wait behind what waits. `code` may be NULL. */
    bool (*welcome)(struct session *session, struct bytes nsp, struct socket *socket);
    /* The application has been told of the socket, which may have ended by that. NULL: nothing is
     * to be done. */
    void (*opened)(struct session *session, struct socket *socket);
    void (*refuse)(
        struct session *session, struct bytes nsp, struct bytes message, const char *code);
    /* Tell the sockets of a session that ends why; NULL: the close code does. */
    void (*tell_closing)(struct session *session, enum close_reason reason);
    /* Send one socket away for good; NULL: the session ends. */
    void (*expel)(struct session *session, struct socket *socket, enum close_reason reason);
    /* Make an event with an id that is answered, or NULL when it is too large; NULL: there is no
     * such thing. */
    struct chunk *(*question)(
        const struct session *session, struct socket *socket, const struct sio_event_out *event);
    struct chunk *(*ping)(void);
};

#endif
