/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_shard - what the API works with on the shard that serves a request, and in its node.
 *
 * The node fills it in and has it as the context of its HTTP servers (http_server_config.context).
 */
#ifndef HUB_API_API_SHARD_H
#define HUB_API_API_SHARD_H

#include <stdatomic.h>
#include <stdbool.h>

#include "actors/shard.h"
#include "codec/notification.h"
#include "hub/net/http_server.h"

struct actor_system;
struct apikey_set;
struct config;
struct jwt;
struct loop;
struct name_counts;
struct name_rates;
struct node_polls;
struct origin_list;
struct read_cache;
struct series;

/* The settings of the API, immutable. A call that ends in a later turn holds a reference. */
struct api_settings {
    const struct config *config;
    struct apikey_set *keys;
    struct origin_list *origins;
    struct notification_limits posts;
    /* private */
    atomic_uint refs;
    void (*destroy)(struct api_settings *settings); /* of the whole that this is a part of */
};

/* Add a reference and return `settings`. Any thread. */
struct api_settings *api_settings_ref(struct api_settings *settings);

/* Drop a reference, the last one destroys; NULL is allowed. Any thread. */
void api_settings_unref(struct api_settings *settings);

/* The same for all shards of a node, and set before the first one runs. */
struct api_node {
    struct actor_system *system;
    struct name_rates *rates; /* refusals by address, calls by user */
    struct name_counts *exports; /* under way, by user */
    struct series *series; /* of shard 0's thread alone; NULL: not started, or ended */
};

/* A shard's own thread only. */
struct api_shard {
    struct shard *shard;
    struct loop *loop;
    const struct api_node *node;
    struct api_settings *settings; /* the latest */
    struct jwt *jwt; /* NULL: no token is taken */
    struct read_cache *cache; /* answers to reads of inboxes */
    struct node_polls *polls; /* asks the other nodes; NULL: there are none, or the node ends */
};

/* The shard that a request is served on. */
struct api_shard *api_shard(const struct http_request *request);

#endif
