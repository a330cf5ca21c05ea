/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_socket - private to the session layer: what actors ask of a socket, and how one is made.
 */
#ifndef HUB_SESSION_SESSION_SOCKET_H
#define HUB_SESSION_SESSION_SOCKET_H

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct app_verdict;
struct session;
struct socket;

/* A new socket for `nsp`; verdict->identity and ->claimed are taken over, also on failure. The
 * limits become those after authentication. STATUS_FULL: it has too many; STATUS_NOMEM. */
MUST_CHECK int session_add_socket(struct session *session, struct bytes nsp,
    const struct app_verdict *verdict, struct socket **ret_socket);

#endif
