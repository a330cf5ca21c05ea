/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sio_writer - private to the session layer: Socket.IO packets as whole WebSocket messages, in the
 * form of the parser that is configured.
 *
 * Events and acks of actors do not come by here (codec/wire.h). Each function returns a chunk with
 * one reference; NULL when there is no memory or it would be too large.
 */
#ifndef HUB_SESSION_SIO_WRITER_H
#define HUB_SESSION_SIO_WRITER_H

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/sio.h"

struct chunk;
struct session;

/* The answer to a CONNECT; without `pid` when that is empty. */
MUST_CHECK struct chunk *sio_writer_connect(
    const struct session *session, struct bytes nsp, struct bytes sid, struct bytes pid);

/* A CONNECT_ERROR; `data` is JSON, or empty. */
MUST_CHECK struct chunk *sio_writer_refusal(
    const struct session *session, struct bytes nsp, struct bytes message, struct bytes data);

/* A DISCONNECT. */
MUST_CHECK struct chunk *sio_writer_disconnect(const struct session *session, struct bytes nsp);

/* An EVENT. */
MUST_CHECK struct chunk *sio_writer_event(
    const struct session *session, const struct sio_head *head, const struct sio_event_out *event);

#endif
