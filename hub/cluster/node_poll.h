/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_poll - one question to all other nodes alive, over the cluster listener of each.
 *
 * One per loop. Who is alive is asked of Redis (node_directory.h), then each node is called, proves
 * itself and is asked at the same time; what it answers is given to who asks as it comes.
 */
#ifndef HUB_CLUSTER_NODE_POLL_H
#define HUB_CLUSTER_NODE_POLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct loop;
struct node_directory;
struct node_polls;
struct tls_context;

/* Questions of a loop under way at a time, and bytes of one answer. */
enum { NODE_POLLS_MAX = 16, NODE_POLL_ANSWER_MAX = 1 << 20 };

struct node_poll_counts {
    uint64_t polls; /* questions to all other nodes */
    uint64_t lacking; /* of them: to which not all have answered */
    uint64_t refused; /* not asked: too many under way, or no memory */
};

struct node_polls_options {
    struct loop *loop;
    struct node_directory *directory; /* must outlive node_polls_stop */
    struct bytes secret; /* must outlive it */
    struct tls_context *tls; /* as forward_options.tls */
    struct node_poll_counts *counts; /* must outlive it */
    uint32_t connect_timeout_ms;
    uint32_t answer_timeout_ms;
    uint16_t node; /* tag of this node, which is not asked */
};

MUST_CHECK struct node_polls *node_polls_create(const struct node_polls_options *options);

/* Set node_polls_options.tls for calls to come. */
void node_polls_set_tls(struct node_polls *polls, struct tls_context *tls);

/* Ask nobody any more; what is under way ends with its connections. */
void node_polls_stop(struct node_polls *polls);

/* Free it; after its loop has ended. NULL is allowed. */
void node_polls_destroy(struct node_polls *polls);

/* Who asks. */
struct node_poll_ops {
    /* A node has answered 200, with this body. */
    void (*answered)(void *context, struct bytes body);
    /* No more will come; in a later turn than node_poll_begin, exactly once. `complete`: all nodes
     * alive have answered. */
    void (*done)(void *context, bool complete);
};

/*
 * Ask all others by POST of the JSON text `body` to `path`. STATUS_FULL: too many questions are
 * under way; STATUS_NOMEM; STATUS_CANCELLED: stopped.
 */
MUST_CHECK int node_poll_begin(struct node_polls *polls, const char *path, struct bytes body,
    const struct node_poll_ops *ops, void *context);

#endif
