/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eio_session - private to the session layer: Engine.IO revision 4 over whole messages.
 */
#ifndef HUB_SESSION_EIO_SESSION_H
#define HUB_SESSION_EIO_SESSION_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"

struct protocol;
struct session;

extern const struct protocol eio_protocol;

/* Write the open packet of a session whose transport is up, and start its deadlines. */
void eio_session_open(struct session *session, struct bytes sid, bool polling, struct builder *out);

#endif
