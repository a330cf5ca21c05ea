/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eio_session - private to the session layer: Engine.IO revision 4 over whole messages.
 */
#ifndef HUB_SESSION_EIO_SESSION_H
#define HUB_SESSION_EIO_SESSION_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"

struct eio_packet;
struct session;

/* Write the open packet of a session that polls, and start its deadlines. */
void eio_session_open_polling(struct session *session, struct builder *out);

/* Send the open packet and start the deadlines of a session that was just begun. */
void eio_session_open(struct session *session);

/* A message arrived. */
void eio_session_message(struct session *session, bool binary, struct bytes message);

/* A packet arrived, taken out of whatever had carried it. */
void eio_session_packet(struct session *session, const struct eio_packet *packet);

#endif
