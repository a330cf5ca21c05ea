/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_transport - private to the session layer: server-sent events (WHATWG HTML, 9.2) as the
 * transport of a session.
 *
 * The session's outbox holds frames of /ws. All that waits at the end of a turn becomes one event:
 * `id:` is the place of the client that has it, `data:` an array of all packets. The next event is
 * made when the connection has taken this one.
 */
#ifndef HUB_SESSION_STREAM_TRANSPORT_H
#define HUB_SESSION_STREAM_TRANSPORT_H

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct app_wishes;
struct connection;
struct session_extra;
struct session_part;
struct stream_session;
struct transport;

extern const struct transport stream_transport;

/*
 * Make a session of `part` that will have a stream, with a copy of `wishes`. `extra` is taken over.
 * NULL: no memory, and `extra` is still the caller's.
 */
MUST_CHECK struct stream_session *stream_transport_create(
    struct session_part *part, const struct app_wishes *wishes, struct session_extra *extra);

/* Take over a connection whose outbox has the head of the answer. */
void stream_transport_begin(struct stream_session *stream, struct connection *connection);

#endif
