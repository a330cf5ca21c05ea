/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the tables of routes together for the public, the internal and the cluster's listener.
 */
#include "hub/node/routes.h"

#include <stddef.h>

#include "hub/api/api.h"
#include "hub/config/config.h"
#include "hub/node/bundles.h"
#include "hub/node/cluster_shard.h"
#include "hub/node/dev.h"
#include "hub/node/health.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"
#include "hub/node/pages.h"
#include "hub/node/stats.h"
#include "hub/session/stream_request.h"
#include "hub/session/upgrade.h"

enum { ROUTES_MAX = 160 };

static void on_plain(struct http_request *request, void *context)
{
    struct hub *hub = hub_shard_of_http(context)->hub;
    upgrade_plain(hub->sessions, request);
}

static const struct http_route engine_route = {
    .method = "*",
    .path = "/socket.io/*",
    .handler = cluster_shard_engine,
    .waiting = cluster_shard_engine_waiting,
    .refuse = cluster_shard_engine_refuse,
};

static const struct http_route plain_route = {.method = "GET", .path = "/ws", .handler = on_plain};

static void on_stream(struct http_request *request, void *context)
{
    struct hub *hub = hub_shard_of_http(context)->hub;
    stream_request(hub->sessions, request);
}

static const struct http_route stream_route = {.method = "GET",
    .path = "/api/v1/stream",
    .handler = on_stream,
    .pages = true,
    .query = STREAM_REQUEST_QUERY};

static void on_passed_waiting(struct http_request *request, void *context)
{
    struct hub *hub = hub_shard_of_http(context)->hub;
    upgrade_engine_waiting(hub->sessions, request);
}

static const struct http_route passed_route = {
    .method = "*",
    .path = "/socket.io/*",
    .handler = cluster_shard_passed,
    .waiting = on_passed_waiting,
    .refuse = cluster_shard_engine_refuse,
};

static const struct http_route internal_routes[] = {
    {"GET", "/healthz", health_alive, NULL, 0},
    {"GET", "/metrics", metrics_show, NULL, 0},
    {"GET", "/readyz", health_ready, NULL, 0},
};

/* A table that is being put together; the last row stays empty. */
struct table {
    struct http_route *rows;
    size_t count;
};

static void add(struct table *table, const struct http_route *rows, size_t count)
{
    CHECK(table->count + count < ROUTES_MAX);
    for (size_t i = 0; i < count; i++) {
        table->rows[table->count++] = rows[i];
    }
}

const struct http_route *routes_public(const struct config *config)
{
    static struct http_route rows[ROUTES_MAX];
    struct table table = {.rows = rows};
    if (config->engine_bundles[0] != '\0') {
        add(&table, bundles_routes, bundles_route_count);
    }
    struct http_route engine = engine_route;
    engine.max_body = (uint32_t)config->engine_max_payload;
    add(&table, &engine, 1);
    add(&table, &plain_route, 1);
    add(&table, &stream_route, 1);
    add(&table, api_routes, api_route_count);
    add(&table, stats_routes, stats_route_count);
    if (config->dev) {
        add(&table, dev_routes, dev_route_count);
        add(&table, pages_routes, pages_route_count);
    }
    return rows;
}

const struct http_route *routes_internal(const struct config *config)
{
    static struct http_route rows[ROUTES_MAX];
    struct table table = {.rows = rows};
    (void)config;
    add(&table, internal_routes, ARRAY_LEN(internal_routes));
    return rows;
}

const struct http_route *routes_cluster(const struct config *config)
{
    static struct http_route rows[3]; /* the last stays empty */
    rows[0] = passed_route;
    rows[0].max_body = (uint32_t)config->engine_max_payload;
    rows[1] = api_roll_route;
    return rows;
}
