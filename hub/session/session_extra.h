/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_extra - private to the session layer: what only some sessions need, or only for a while.
 */
#ifndef HUB_SESSION_SESSION_EXTRA_H
#define HUB_SESSION_SESSION_EXTRA_H

#include "codec/base/check.h"
#include "hub/session/app.h"

struct identity;
struct session;
struct session_connect;
struct session_extra;

/* An empty extra; destroyed with what it holds, the tokens wiped. NULL is allowed. */
MUST_CHECK struct session_extra *session_extra_create(void);
void session_extra_destroy(struct session_extra *extra);

/* The extra of a session, made when there is none. */
struct session_extra *session_extra(struct session *session);

/* Free the extra if nothing in it is needed. */
void session_trim(struct session *session);

/* Forget what the request carried (tokens are wiped), and attachments under way. */
void session_forget_request(struct session *session);
void session_drop_assembly(struct session *session);

/*
 * Keep what was asked, and who asks: `identity` is taken over, also on failure. NULL: no memory.
 * What was asked is borrowed from it; dropped, it cancels what it waits for. NULL is allowed.
 */
MUST_CHECK struct session_connect *session_connect_keep(
    struct session *session, const struct app_connect *asked, struct identity *identity);
struct app_connect session_connect_asked(const struct session_connect *kept);
void session_connect_drop(struct session_connect *kept);

#endif
