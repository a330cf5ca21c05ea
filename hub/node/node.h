/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node - what a node and its shards consist of: the services of hub/node work on these two.
 *
 * What is set before the loops start is only read afterwards, by every shard.
 */
#ifndef HUB_NODE_NODE_H
#define HUB_NODE_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "actors/ingest/ingest_gauges.h"
#include "actors/shard.h"
#include "codec/base/check.h"
#include "codec/base/list.h"
#include "hub/alerts/alert_gauges.h"
#include "hub/api/api_shard.h"
#include "hub/cluster/node_poll.h"
#include "hub/cluster/node_roster.h"
#include "hub/net/http_server.h"
#include "hub/node/memory_guard.h"
#include "hub/node/node_counts.h"
#include "hub/node/queue_gauges.h"
#include "hub/node/route_counts.h"
#include "hub/node/store_verdict.h"
#include "hub/outbox/outbox.h"
#include "hub/redis/redis_outage.h"

struct bundles;
struct bus;
struct cluster_server;
struct config;
struct handoffs;
struct hub;
struct hub_alerts;
struct hub_series;
struct hub_settings;
struct listener;
struct loop;
struct node_directory;
struct node_lease;
struct out;
struct recheck;
struct services;
struct session_layer;
struct store;
struct sqlite_lease;
struct sweeper;
struct name_counts;
struct name_rates;
struct zones;

enum { HUB_NODE_LEN = 12, HUB_HOLDER_MAX = 160 };

/* A shard and what the hub keeps for it. Its own thread only, except `copy`. */
struct hub_shard {
    struct shard shard;
    struct hub *hub;
    struct api_shard api;
    struct api_counts answers; /* of the API */
    struct route_counts routes; /* the same by route, since series took them last */
    struct event_counts events; /* of clients, by name */
    struct memory_use memory; /* measured once a second */
    struct metrics_copy copy; /* of all that it counts; any thread, by metrics_read */
    struct loop *loop;
    struct hub_settings *settings; /* one reference; another one after SIGHUP */
    struct http_server_config public_http;
    struct http_server_config internal_http;
    struct http_server_config cluster_http;
    struct listener *listener; /* public */
    struct listener *internal_listener; /* on shard 0 */
    struct uv_timer_s *clock; /* once a second: tokens that expire, sweeping */
    struct uv_timer_s *guard; /* of memory; NULL: not the first shard */
    uint64_t taken_looked; /* what it had taken and given when memory was last looked at */
    uint64_t
        look_ms; /* when to look at memory again, because something was let go; or UINT64_MAX */
    uint64_t kept_ms; /* when the reserve of its thread was tried to be had again */
    atomic_bool sheds; /* relaxed: it was asked to, and has not yet */
    struct out *out; /* events of clients for the stream; NULL: not started, or ended */
    struct handoffs *handoffs; /* notifications for devices; NULL: not started, or ended */
    struct recheck *recheck; /* looks at the rights of sockets after SIGHUP */
    uint64_t next_expiry; /* wall clock ms: no token of a socket here expires before */
    struct sweeper *sweeper; /* on shard 0 */
    struct store_watch *store_watch; /* on shard 0 */
    struct queue_watch *queue_watch; /* on shard 0 */
    struct hub_alerts *alerts; /* on shard 0 */
    struct outbox *outboxes[OUTBOXES_MAX]; /* by place in the settings; NULL: not here */
    struct hub_series *series; /* on shard 0 */
    uint64_t slow_ms; /* wall clock: slow statements before it are told; on shard 0 */
    bool queues_ending; /* it was stopped while it asked */
    struct sqlite_lease *sqlite_lease; /* on shard 0, with SQLite and Redis */
    struct node_roster *roster; /* on shard 0, with Redis */
    struct cluster_server *cluster_server; /* with Redis, as the next two */
    struct node_directory *directory;
    struct forwards *forwards;
    struct node_polls *polls;
    struct node_poll_counts poll_counts;
    struct forward_counts forward_counts;
    bool created;
};

struct hub {
    struct api_node api;
    const struct config *config; /* of the start: for what SIGHUP may not change (FIXED) */
    struct hub_settings *settings; /* the latest; main thread: shards have their own */
    struct actor_system *system;
    struct store *store;
    struct session_layer *sessions;
    struct zones *zones; /* that users may name */
    struct bundles *bundles; /* NULL without engine.bundles */
    struct name_counts *tenants;
    struct name_counts *addresses; /* connections that are not authenticated */
    struct name_rates *rates; /* refusals by address, calls by user */
    struct name_counts *exports; /* of inboxes, under way, by user */
    struct node_lease *lease; /* NULL without Redis */
    uint64_t leaving; /* clients when draining began; written before the shards are told */
    uint64_t connections_max; /* that the open-file limit allows */
    const struct http_route *public_routes;
    const struct http_route *internal_routes;
    const struct http_route *cluster_routes;
    struct services *services; /* of all shards */
    struct hub_shard *shards;
    unsigned shard_count;
    struct store_verdict verdict; /* any thread */
    atomic_bool outdated; /* the store went back: the node is to start anew; relaxed */
    struct ingest_gauges streams; /* any thread */
    struct queue_gauges queues; /* any thread */
    struct alert_gauges alerts; /* any thread */
    struct outbox_gauge outboxes[OUTBOXES_MAX]; /* likewise; by their place in the settings */
    struct redis_outage bus_outage; /* any thread */
    struct bus_names names;
    atomic_uint peers_version; /* the lowest alive; relaxed */
    atomic_bool push_refused; /* a push service does not take our key; relaxed */
    atomic_bool strangers; /* nodes with another store live on this bus; relaxed */
    struct node_roster_options roster; /* with Redis */
    char node[HUB_NODE_LEN + 1];
    char sqlite_holder[HUB_HOLDER_MAX]; /* the name of a SQLite file as a holder of leases; "" with
                                           Postgres */
    uint64_t started_ms; /* monotonic */
    uint16_t port; /* public, as bound */
    uint16_t internal_port;
    uint8_t ticket_secret[32]; /* made at the start: for TLS tickets, without cluster.secret */
    char *dev_secret; /* NULL unless --dev made one */
    char *dev_key; /* of the API, as dev_secret */
    struct memory_guard memory;
    atomic_bool started; /* every shard runs; released by hub_start */
    atomic_bool draining; /* relaxed: readiness may be told a turn late */
};

/* The hub's part of a shard. */
static inline struct hub_shard *hub_shard_of(struct shard *shard)
{
    return (struct hub_shard *)(void *)shard;
}

/* The hub's part of the shard whose HTTP servers have this context. */
static inline struct hub_shard *hub_shard_of_http(void *context)
{
    return container_of((struct api_shard *)context, struct hub_shard, api);
}

#endif
