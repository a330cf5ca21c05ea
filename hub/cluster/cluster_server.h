/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_server - the listener for other nodes, on one loop: who has proved to be one speaks HTTP.
 */
#ifndef HUB_CLUSTER_CLUSTER_SERVER_H
#define HUB_CLUSTER_CLUSTER_SERVER_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct cluster_server;
struct http_server_config;
struct loop;
struct name_counts;
struct tls_context;

/* Connections that have proved nothing yet, of a loop, and of one address (IPv6: a /64) on this
 * node; further ones are closed. */
enum { CLUSTER_STRANGERS_MAX = 1024, CLUSTER_STRANGERS_OF_ADDRESS = 256 };

struct cluster_server_options {
    struct loop *loop;
    const char *host;
    uint16_t port;
    uint16_t node; /* tag of this node */
    struct bytes secret; /* must outlive the server */
    struct tls_context *tls; /* NULL: none; a reference is taken */
    uint32_t timeout_ms; /* until a caller has proved that it is a node */
    const struct http_server_config *http; /* must outlive the server */
    struct name_counts *addresses; /* where callers are counted; must outlive the server */
    uint64_t *refused; /* counts callers that were refused */
};

/* Listen. Statuses of listener_open. */
MUST_CHECK int cluster_server_open(
    const struct cluster_server_options *options, struct cluster_server **ret_server);

/* Set cluster_server_options.tls for callers to come; nothing once it is closed. */
void cluster_server_set_tls(struct cluster_server *server, struct tls_context *tls);

/* Stop accepting; connections stay. NULL is allowed. */
void cluster_server_close(struct cluster_server *server);

/* Free it; after its loop has ended. NULL is allowed. */
void cluster_server_destroy(struct cluster_server *server);

#endif
