/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user - how the session layer's application talks to user actors: attach a socket, pass an event.
 *
 * The protocol between actors is in user_proto.h.
 */
#ifndef ACTORS_USER_USER_H
#define ACTORS_USER_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct buf;
struct identity;
struct shard;
struct socket;

/* Return the shard that the user of `identity` lives on. Any thread. */
unsigned user_shard(const struct shard *shard, const struct identity *identity);

/*
 * Make `socket`, which socket_init has prepared on the user's shard, one of its user's sockets; the
 * actor is started with the first one. hub:ready follows once the user's feed is certain to be on.
 * STATUS_FULL: too many sockets of this user; where actor_config.replaces its oldest one that is
 * not of the same connection is ended with CLOSE_REPLACED instead.
 */
MUST_CHECK int user_attach(struct shard *shard, struct socket *socket);

/*
 * Hand a client event to the user actor (one message; bytes are copied here, once). `data` is the
 * whole JSON array text `["name",…]`; `id` (may be NULL): an ack is expected. `attachments` (may be
 * NULL with 0) are referenced.
 */
void user_event(struct socket *socket, struct bytes data, const uint64_t *id,
    struct buf *const *attachments, unsigned attachment_count);

/*
 * Join the rooms that the configuration has every socket of the user join (auto_join) and that it
 * is not in: when it opens, and when a newer token of it may name others.
 */
void user_auto_join(struct socket *socket);

/* What a look at the rights of sockets came to. */
struct user_recheck {
    uint64_t rooms; /* left */
    uint64_t sockets; /* sent away: they may not be in their namespace */
};

/*
 * The token of `socket` has changed: it leaves the rooms that the token does not allow (`room_left`
 * with a reason; those that a backend chose stay), and goes where its namespace does not let it be.
 */
void user_recheck_socket(struct socket *socket);

/* The rules have changed: all sockets of the shard are to be looked at, by user_recheck_some. */
void user_recheck_begin(struct shard *shard);

/* Look at some thousand memberships, as user_recheck_socket; adds to `counts`. Whether more wait.
 */
MUST_CHECK bool user_recheck_some(struct shard *shard, struct user_recheck *counts);

#endif
