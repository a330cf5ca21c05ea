/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_layer - the session layer of a node: its settings, and its part on each shard.
 *
 * One layer carries one application (hub/session/app.h) over Engine.IO and Socket.IO on one path,
 * and over the plain WebSocket on another. It is made before the loops start; each shard joins it
 * from its own thread. Requests come in through hub/session/upgrade.h. What an application does
 * with a single session is in hub/session/session.h.
 */
#ifndef HUB_SESSION_SESSION_LAYER_H
#define HUB_SESSION_SESSION_LAYER_H

#include <stddef.h>
#include <stdint.h>

#include "actors/close.h"
#include "codec/base/check.h"
#include "hub/session/session_config.h"

struct session_layer;
struct shard;

/* Make a layer for shards 0 to `shard_count` - 1. `config` is copied. */
MUST_CHECK struct session_layer *session_layer_create(
    const struct session_config *config, unsigned shard_count);

/* Free the layer; after the threads of its shards have ended. NULL is allowed. */
void session_layer_destroy(struct session_layer *layer);

/* Join: before the first connection of `shard`, on its thread. */
void session_layer_start(struct session_layer *layer, struct shard *shard);

/*
 * Work with the limits of `config`, which is copied: new sessions at once, those that are there
 * from their next message on. Application, SHA-1, node and the intervals of pings stay. On the
 * shard's thread.
 */
void session_layer_reload(
    struct session_layer *layer, struct shard *shard, const struct session_config *config);

/*
 * End every session of `shard` without ceremony: each is closed with `reason` and freed when its
 * connection has gone. New ones are refused with 503 from now on.
 */
void session_layer_stop(struct session_layer *layer, struct shard *shard, enum close_reason reason);

/*
 * Send the sessions of `shard` away, evenly over `window_ms` milliseconds: each gets `hub:draining
 * {reconnectIn}`, below `return_ms` and what is configured, then CLOSE_DRAINING. New ones are
 * refused with 503 from now on.
 */
void session_layer_drain(
    struct session_layer *layer, struct shard *shard, uint32_t window_ms, uint32_t return_ms);

/* What a session of one namespace takes of memory besides its socket and its timer. */
size_t session_cost(void);

/* How many sessions there are on `shard`. Its own thread. */
size_t session_layer_count(const struct session_layer *layer, const struct shard *shard);

#endif
