/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_layer - the session layer of a node: its settings, and its part on each shard.
 *
 * One layer carries one application (hub/session/app.h) over Engine.IO and Socket.IO on one path,
 * and over the plain WebSocket on another. It is made before the loops start; each shard joins it
 * from its own thread. Requests come in through hub/upgrade.h. What an application does with a
 * single session is in hub/session.h.
 */
#ifndef HUB_SESSION_SESSION_LAYER_H
#define HUB_SESSION_SESSION_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/ws_accept.h"
#include "hub/net/websocket.h"
#include "hub/session/app.h"

struct session;
struct session_layer;
struct shard;

struct session_config {
    struct app app;

    /* The functions below get this first. They are called on every shard's thread. */
    void *context;
    /* Whether a page of these Origin header values may connect; NULL: any. `has_token`: the request
     * is authenticated by a token of its own, never by a cookie (always so on Socket.IO). */
    bool (*origin_allowed)(
        void *context, const struct bytes *origins, size_t count, bool has_token);
    /* The Access-Control-Allow-Origin of answers to a page of `origin` (empty: no such header), and
     * whether credentials may be sent; NULL: no CORS at all. */
    struct bytes (*cors_value)(void *context, struct bytes origin, bool *ret_credentials);
    /* Takes the messages of Engine.IO sessions, which then carry no Socket.IO and have no sockets;
     * NULL: they do. */
    void (*raw_message)(void *context, struct session *session, bool binary, struct bytes message);
    ws_accept_sha1_fn sha1;
    uint16_t node; /* tag of the node in the sids of sessions that poll; 0: it is the only one */

    struct websocket_limits before_auth;
    struct websocket_limits after_auth; /* message_bytes is announced as maxPayload */
    uint32_t polling_bytes; /* of a long-polling body: announced there; the routes refuse more */
    const char *cookie; /* of this name, with the sid of a session that polls; NULL, "": none */
    bool msgpack_parser; /* Socket.IO packets are MessagePack in binary messages */
    bool without_polling; /* transports that are not served */
    bool without_websocket;
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;
    uint32_t upgrade_timeout_ms; /* from the 101 of a polling session's WebSocket to its `5` */
    uint32_t connect_timeout_ms; /* from the upgrade to the first namespace joined */
    uint32_t rejoin_timeout_ms; /* from the last one left to the next; 0: no limit, as stock */
    uint32_t attachments_timeout_ms; /* from a binary packet to its last attachment */
    uint32_t attachments_bytes; /* of one packet together */
    unsigned namespaces; /* of one session at a time; 0: 16 */
    uint32_t unjoined; /* sessions that poll and have joined nothing, of all shards; 0: 32,768 */
    uint64_t idle_timeout_ms; /* a session that is silent for so long is closed; 0: never */
    bool idle_ignores_heartbeats; /* answers to pings are no sign of life for idle_timeout_ms */
    uint32_t reconnect_ms; /* at most, over which a draining node's clients come back; 0: 1,000 */
    bool query_token; /* whether the query parameter `token` is read */
};

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
