/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds out whose a request is, and passes on those of sessions on other nodes or shards.
 */
#include "hub/node/cluster_shard.h"

#include "actors/bus.h"
#include "codec/base/status.h"
#include "codec/query.h"
#include "hub/cluster/cluster_server.h"
#include "hub/cluster/forward.h"
#include "hub/cluster/node_directory.h"
#include "hub/cluster/node_lease.h"
#include "hub/cluster/node_poll.h"
#include "hub/config/config.h"
#include "hub/net/loop.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"
#include "hub/session/sid.h"
#include "hub/session/upgrade.h"

enum { ANSWER_SLACK_MS = 5000, POLL_MS = 3000 };

static struct hub_shard *shard_of_request(const struct http_request *request)
{
    return hub_shard_of(loop_shard(request->loop));
}

/* Where the session that the request names was made; false when it names none. */
static bool find_place(const struct http_request *request, struct sid_place *ret_place)
{
    char at[SID_LEN];
    struct bytes sid;
    return query_get(request->query, "sid", at, sizeof(at), &sid) == 0 && sid_read(sid, ret_place);
}

/* Whether the request is of a session that another node has; `ret_tag` is that of the node. */
static bool is_foreign(const struct http_request *request, uint16_t *ret_tag)
{
    const struct hub_shard *shard = shard_of_request(request);
    struct sid_place place;
    if (shard->forwards == NULL || !find_place(request, &place) ||
        place.node == shard->hub->lease->tag) {
        return false;
    }
    *ret_tag = place.node;
    return true;
}

void cluster_shard_engine(struct http_request *request, void *context)
{
    const struct hub *hub = hub_shard_of_http(context)->hub;
    uint16_t tag;
    if (is_foreign(request, &tag)) {
        forward_begin(shard_of_request(request)->forwards, request, tag);
    } else {
        upgrade_engine(hub->sessions, request);
    }
}

void cluster_shard_engine_waiting(struct http_request *request, void *context)
{
    const struct hub *hub = hub_shard_of_http(context)->hub;
    uint16_t tag;
    if (!is_foreign(request, &tag)) {
        upgrade_engine_waiting(hub->sessions, request);
    }
}

void cluster_shard_engine_refuse(struct http_request *request, unsigned status, void *context)
{
    const struct hub *hub = hub_shard_of_http(context)->hub;
    upgrade_engine_refuse(hub->sessions, request, status);
}

/* Sessions are not made here: the client's address would be that of the node. */
void cluster_shard_passed(struct http_request *request, void *context)
{
    const struct hub *hub = hub_shard_of_http(context)->hub;
    struct sid_place place;
    if (find_place(request, &place)) {
        upgrade_engine(hub->sessions, request);
    } else {
        upgrade_engine_refuse(hub->sessions, request, 400);
    }
}

/* Where there is no such node the session layer says as much: it does not know the sid. */
static void refuse(void *context, struct http_request *request, int why)
{
    const struct hub_shard *shard = context;
    if (why == STATUS_NOT_FOUND) {
        upgrade_engine(shard->hub->sessions, request);
    } else {
        upgrade_engine_refuse(shard->hub->sessions, request, 503);
    }
}

static void make_forwards(struct hub_shard *shard)
{
    const struct hub *hub = shard->hub;
    const struct config *config = hub->config;
    shard->directory = node_directory_open(shard->shard.bus, shard->shard.sched, &hub->names);
    struct forward_options options = {
        .loop = shard->loop,
        .directory = shard->directory,
        .secret = bytes_str(hub->lease->secret),
        .tls = shard->settings->tls.of[HUB_TLS_CALLS],
        .refuse = refuse,
        .context = shard,
        .counts = &shard->forward_counts,
        .open_max = config->cluster_connections,
        .connect_timeout_ms = (uint32_t)config->cluster_connect_timeout_ms,
        .answer_timeout_ms = (uint32_t)(config->engine_ping_interval_ms +
                                        config->engine_ping_timeout_ms + ANSWER_SLACK_MS),
        .idle_ms = (uint32_t)config->cluster_idle_ms,
        .slow_consumer_ms = shard->shard.config->slow_consumer_ms,
        .trust_ms = (uint32_t)config->auth_timeout_ms,
        .answer_bytes = config->cluster_answer_bytes,
    };
    shard->forwards = forwards_create(&options);
}

static void make_polls(struct hub_shard *shard)
{
    const struct hub *hub = shard->hub;
    const struct node_polls_options options = {
        .loop = shard->loop,
        .directory = shard->directory,
        .secret = bytes_str(hub->lease->secret),
        .tls = shard->settings->tls.of[HUB_TLS_CALLS],
        .counts = &shard->poll_counts,
        .connect_timeout_ms = (uint32_t)hub->config->cluster_connect_timeout_ms,
        .answer_timeout_ms = POLL_MS,
        .node = hub->lease->tag,
    };
    shard->polls = node_polls_create(&options);
    shard->api.polls = shard->polls;
}

int cluster_shard_start(struct hub_shard *shard)
{
    const struct hub *hub = shard->hub;
    make_forwards(shard);
    make_polls(shard);
    struct cluster_server_options options = {
        .loop = shard->loop,
        .host = hub->lease->host,
        .port = hub->lease->port,
        .node = hub->lease->tag,
        .secret = bytes_str(hub->lease->secret),
        .tls = shard->settings->tls.of[HUB_TLS_CLUSTER],
        .timeout_ms = (uint32_t)hub->config->cluster_connect_timeout_ms,
        .http = &shard->cluster_http,
        .addresses = hub->addresses,
        .refused = &shard->forward_counts.refused,
    };
    return cluster_server_open(&options, &shard->cluster_server);
}

void cluster_shard_reload(struct hub_shard *shard)
{
    if (shard->cluster_server != NULL) {
        cluster_server_set_tls(shard->cluster_server, shard->settings->tls.of[HUB_TLS_CLUSTER]);
    }
    if (shard->forwards != NULL) {
        forwards_set_tls(shard->forwards, shard->settings->tls.of[HUB_TLS_CALLS]);
        node_polls_set_tls(shard->polls, shard->settings->tls.of[HUB_TLS_CALLS]);
    }
}

void cluster_shard_stop(struct hub_shard *shard)
{
    cluster_server_close(shard->cluster_server);
    if (shard->forwards != NULL) {
        forwards_stop(shard->forwards);
        node_polls_stop(shard->polls);
        shard->api.polls = NULL;
        node_directory_close(shard->directory);
        shard->directory = NULL;
    }
}

void cluster_shard_finish(struct hub_shard *shard)
{
    cluster_server_destroy(shard->cluster_server);
    forwards_destroy(shard->forwards);
    node_polls_destroy(shard->polls);
}
