/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward - requests of sessions that another node has: passed on to it, its answer passed back.
 *
 * One per loop. The node is found by the tag in the sid (hub/cluster/node_directory.h), called or
 * called again (hub/cluster/cluster_link.h), given the request, and answers it as if the client
 * were its own: its CORS, its compression. A WebSocket stays joined to it (hub/net/splice.h). A
 * client that goes takes the connection to the node along, so that the session learns of it. What a
 * node is given is never passed on once more.
 */
#ifndef HUB_CLUSTER_FORWARD_H
#define HUB_CLUSTER_FORWARD_H

#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct forwards;
struct http_request;
struct loop;
struct node_directory;
struct tls_context;

struct forward_counts {
    uint64_t requests; /* passed on */
    uint64_t failed; /* of them: without an answer of the node, or over the bound */
    uint64_t open; /* under way now, WebSockets included */
    uint64_t refused; /* callers of the cluster listener that are no node */
};

struct forward_options {
    struct loop *loop;
    struct node_directory *directory; /* must outlive forwards_stop */
    struct bytes secret; /* must outlive it */
    struct tls_context *tls; /* to call nodes with, NULL: none; must outlive it, or the next call of
                                forwards_set_tls */
    /* Answer a request that cannot be passed on: STATUS_NOT_FOUND: there is no such node, or
     * STATUS_UNAVAILABLE. `request->user` and `gone` are as before. */
    void (*refuse)(void *context, struct http_request *request, int why);
    void *context;
    struct forward_counts *counts; /* must outlive it */
    unsigned open_max; /* requests and WebSockets under way at a time */
    uint32_t connect_timeout_ms;
    uint32_t answer_timeout_ms;
    uint32_t idle_ms; /* how long a connection without a request is kept */
    uint32_t slow_consumer_ms; /* how long one side of a WebSocket may take nothing */
    uint32_t trust_ms; /* see splice.h */
    size_t answer_bytes; /* largest body of an answer */
};

MUST_CHECK struct forwards *forwards_create(const struct forward_options *options);

/* Set forward_options.tls for calls to come. */
void forwards_set_tls(struct forwards *forwards, struct tls_context *tls);

/* Pass nothing on any more; what is under way ends with its connections. */
void forwards_stop(struct forwards *forwards);

/* Free it; after its loop has ended. NULL is allowed. */
void forwards_destroy(struct forwards *forwards);

/* Pass a complete request on to the node with `tag`; it is answered later, perhaps at once. */
void forward_begin(struct forwards *forwards, struct http_request *request, uint16_t tag);

#endif
