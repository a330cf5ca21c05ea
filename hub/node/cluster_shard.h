/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_shard - a shard's part in the cluster: what lets any node take any client's request.
 *
 * Without Redis there is none: every function does nothing then.
 */
#ifndef HUB_NODE_CLUSTER_SHARD_H
#define HUB_NODE_CLUSTER_SHARD_H

#include "codec/base/check.h"

struct http_request;
struct hub;
struct hub_shard;

/* Listen for other nodes, and be ready to pass requests on; before clients can come; on
 * a node that has Redis. On the shard's thread. */
MUST_CHECK int cluster_shard_start(struct hub_shard *shard);

/* Use the certificates of the shard's new settings, for connections to come; nothing when it was
 * not started. */
void cluster_shard_reload(struct hub_shard *shard);

/* End it; links are closed in later turns. */
void cluster_shard_stop(struct hub_shard *shard);

/* Free what is left; after its loop has ended. */
void cluster_shard_finish(struct hub_shard *shard);

/* A request on the Engine.IO path of the public listener: passed on, or for the session layer. */
void cluster_shard_engine(struct http_request *request, void *context);

/* The same before its body has come, and where the body is refused. */
void cluster_shard_engine_waiting(struct http_request *request, void *context);
void cluster_shard_engine_refuse(struct http_request *request, unsigned status, void *context);

/* A request that came through another node: for the session layer, and never passed on again. */
void cluster_shard_passed(struct http_request *request, void *context);

#endif
