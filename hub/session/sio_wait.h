/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sio_wait - private to the session layer: CONNECT packets that wait until the application can
 * decide, because the client may have been on another node.
 */
#ifndef HUB_SESSION_SIO_WAIT_H
#define HUB_SESSION_SIO_WAIT_H

#include <stdbool.h>

#include "codec/base/bytes.h"

struct recovery_fetch;
struct session;
struct session_extra;

/*
 * Keep the packet `raw`, which asks for the namespace `nsp`, until `fetch` is done; then it is
 * presented again (sio_session_waited).
 */
void sio_wait_start(
    struct session *session, struct bytes nsp, struct bytes raw, struct recovery_fetch *fetch);

/* Whether packets of the session wait; or one that asks for this namespace. */
bool sio_wait_any(const struct session_extra *extra);
bool sio_wait_has(const struct session_extra *extra, struct bytes nsp);

/* Forget them. */
void sio_wait_cancel(struct session_extra *extra);

#endif
