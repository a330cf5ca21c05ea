/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_names - private to the session layer: which session a sid means, on each shard.
 *
 * A session that came by polling has a name (its sid, which tells the shard of the handshake) in
 * the map `sids` of the shard it is on, until it ends, also after an upgrade. A message to it goes
 * to the shard of its handshake and from there along the forwarding entries. An entry is made
 * before the session is sent on, and both travel the same way: whoever follows it arrives behind
 * the session.
 */
#ifndef HUB_SESSION_POLL_NAMES_H
#define HUB_SESSION_POLL_NAMES_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/session/sid.h"

struct session;
struct session_part;

/* Draw a sid for a session that begins on this shard. */
void poll_names_draw(const struct session_part *part, char ret_sid[SID_LEN]);

/* The shard of the handshake of `sid`, or -1 when it cannot be one of this node. */
int poll_names_shard(const struct session_part *part, struct bytes sid);

/* The sid of a session that came by polling. */
struct bytes poll_names_sid(const struct session *session);

/* The session of `sid` here; NULL: `*ret_forward` is the shard it has gone to, or -1. */
struct session *poll_names_find(struct session_part *part, struct bytes sid, int *ret_forward);

/* It is going to `shard`; it has come to its part (false: no memory, nobody will find it). */
void poll_names_leave(struct session *session, unsigned shard);
MUST_CHECK bool poll_names_arrive(struct session *session);

/* Forget the session's names, on every shard. */
void poll_names_forget(struct session *session);

/* Forget where a session has gone. */
void poll_names_drop_forward(struct session_part *part, struct bytes sid);

/* Free the forwarding entries of a shard that has stopped; and the key of the map. */
void poll_names_finish(struct session_part *part);
struct bytes poll_names_key(const void *entry);

#endif
