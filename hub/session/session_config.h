/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_config - the settings of a session layer.
 */
#ifndef HUB_SESSION_SESSION_CONFIG_H
#define HUB_SESSION_SESSION_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/ws_accept.h"
#include "hub/net/websocket_limits.h"
#include "hub/session/app.h"

struct session;

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
    uint32_t comment_ms; /* between comments on a stream of events; 0: 15,000 */
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

#endif
