/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shard of the hub: its loop, listeners and sessions, made, changed over after SIGHUP, and
 * ended.
 *
 * Order of this file: rights after SIGHUP, life of a loop, creating, changing over, draining,
 * stopping.
 */
#include "hub/node/hub_shard.h"

#include <stdio.h>

#include "actors/assembly/shard_floors.h"
#include "actors/history/room_history.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/positions.h"
#include "actors/ingest/ingest_proto.h"
#include "actors/jobs/jobs.h"
#include "actors/presence/presence.h"
#include "actors/user/user.h"
#include "actors/values/values.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/query.h"
#include "hub/api/read_cache.h"
#include "hub/auth/jwt.h"
#include "hub/auth/jwt_config.h"
#include "hub/config/config.h"
#include "hub/net/listener.h"
#include "hub/net/loop.h"
#include "hub/node/cluster_shard.h"
#include "hub/node/dev_guard.h"
#include "hub/node/hub_alerts.h"
#include "hub/node/hub_hooks.h"
#include "hub/node/hub_outboxes.h"
#include "hub/node/hub_push.h"
#include "hub/node/hub_series.h"
#include "hub/node/hub_services.h"
#include "hub/node/hub_settings.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"
#include "hub/node/services.h"
#include "hub/node/settings_make.h"
#include "hub/redis/redis.h"
#include "hub/session/session_layer.h"
#include "hub/session/sid.h"

enum {
    /*
     * Less than the 5 s for which an answer of Redis or of the database is waited for: services
     * that are well end within a second, and who has not answered by then is away. What is left
     * takes care of itself, as after a kill: leases run out, and what was not confirmed is posted
     * again.
     */
    STOP_MAX_MS = 4000,
    DRAIN_WINDOW_MIN_MS = 100,
    RETURN_MS = 1, /* for each client of a draining node, as drain.reconnect allows */
    HALF_OPEN_LEAST = 128, /* twice what a listener takes in one turn */
    CLUSTER_HEAD_EXTRA = 256, /* what a node adds to a head that it passes on */
    CLUSTER_IDLE_MS = 3660000, /* nodes end what they do not need: cluster.idle is less */
};

void hub_store_post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
    struct hub *hub = context;
    sched_post(hub->system, port, fn, arg);
}

/* Services. */

static int fail_built(int status, struct builder *text)
{
    struct bytes bytes = builder_bytes(text);
    fprintf(stderr, "peal: %.*s\n", (int)bytes.len, bytes.len > 0 ? bytes.at : "");
    builder_reset(text);
    return status;
}

/* Rights, after SIGHUP: looked at in turns of their own, so that nobody waits for it. */
struct recheck {
    struct loop_task task;
    struct hub_shard *shard;
    struct user_recheck counts; /* so far */
};

static void on_recheck(struct loop_task *task)
{
    struct recheck *recheck = container_of(task, struct recheck, task);
    struct user_recheck *counts = &recheck->counts;
    struct hub_shard *shard = recheck->shard;
    if (user_recheck_some(&shard->shard, counts)) {
        loop_defer(shard->loop, task);
        return;
    }
    if (counts->rooms > 0 || counts->sockets > 0) {
        log_info("RULES-APPLIED", "sockets left what the new rules do not allow",
            "shard=%u rooms=%llu closed=%llu", sched_shard(shard->shard.sched),
            (unsigned long long)counts->rooms, (unsigned long long)counts->sockets);
    }
    *counts = (struct user_recheck){0};
}

static struct recheck *create_recheck(struct hub_shard *shard)
{
    struct recheck *recheck = mem_alloc(sizeof(*recheck));
    recheck->shard = shard;
    loop_task_init(&recheck->task, on_recheck);
    return recheck;
}

/* The ends of a loop's life, on its thread. */

static unsigned index_of(const struct hub_shard *shard)
{
    return (unsigned)(shard - shard->hub->shards);
}

static int on_start(struct loop *loop, void *context)
{
    struct hub_shard *shard = context;
    shard->loop = loop;
    shard->api.loop = loop;
    shard->next_expiry = 0;
    shard->look_ms = UINT64_MAX;
    memory_guard_keep();
    shard->recheck = create_recheck(shard);
    return services_start(shard->hub->services, index_of(shard), shard, loop);
}

static void on_stop(struct loop *loop, void *context)
{
    struct hub_shard *shard = context;
    (void)loop;
    services_stop(shard->hub->services, index_of(shard));
}

static void on_turn(void *context)
{
    struct hub_shard *shard = context;
    metrics_publish(shard);
    hub_services_watch_memory(shard);
    services_turn(shard->hub->services, index_of(shard));
}

static void on_end(void *context)
{
    const struct hub_shard *shard = context;
    mem_drop_reserve();
    services_ended(shard->hub->services, index_of(shard));
}

/* Create and start. */

/* Whether a request is that of a client which is not connected yet. */
static bool is_handshake(const struct http1_request *head)
{
    char at[SID_LEN];
    struct bytes sid;
    bool engine = bytes_starts(head->path, BYTES("/socket.io/"));
    return bytes_eq(head->path, BYTES("/ws")) ||
           (engine && query_get(head->query, "sid", at, sizeof(at), &sid) == STATUS_NOT_FOUND);
}

static const struct http_refusal *refuse_internal(void *context, const struct http1_request *head)
{
    const struct hub *hub = hub_shard_of_http(context)->hub;
    return hub->config->dev ? dev_guard_refuse(hub->config, head) : NULL;
}

static const struct http_refusal *refuse_public(void *context, const struct http1_request *head)
{
    static const struct http_refusal short_of_memory = {
        .status = 503,
        .message = "The node is short of memory and takes no new connections, try again",
        .headers = "Retry-After: 5\r\n",
    };
    struct hub *hub = hub_shard_of_http(context)->hub;
    const struct http_refusal *refusal = refuse_internal(context, head);
    bool full = refusal == NULL && is_handshake(head) && memory_guard_refuses(&hub->memory);
    return full ? &short_of_memory : refusal;
}

/* What falls to one shard; each takes what comes in one turn. */
static uint32_t half_open_share(const struct hub *hub, const struct config *config)
{
    uint64_t share = config->limits_half_open / hub->shard_count;
    return share > HALF_OPEN_LEAST ? (uint32_t)share : HALF_OPEN_LEAST;
}

static void fill_http(struct hub_shard *shard)
{
    struct hub *hub = shard->hub;
    struct http_server_config config = settings_make_http(shard->settings);
    config.context = &shard->api;
    config.refuse = refuse_public;
    config.addresses = hub->addresses;
    config.proxies = shard->settings->proxies;
    config.per_address = shard->settings->config->limits_unauthenticated_per_address;
    config.routes = hub->public_routes;
    config.half_open_max = half_open_share(hub, shard->settings->config);
    shard->public_http = config;
    config.half_open_max = 0;
    config.routes = hub->internal_routes;
    config.proxies = NULL;
    config.refuse = refuse_internal;
    shard->internal_http = config;
    config.routes = hub->cluster_routes;
    config.max_head_bytes += CLUSTER_HEAD_EXTRA;
    config.idle_timeout_ms = CLUSTER_IDLE_MS;
    config.tells_authenticated = true;
    config.refuse = NULL; /* the node that was called has looked */
    shard->cluster_http = config;
}

static int make_jwt(struct hub_shard *shard)
{
    struct builder error = {0};
    int status = jwt_create(jwt_keys_policy(shard->settings->jwt), &error, &shard->api.jwt);
    if (status != 0) {
        return fail_built(status, &error);
    }
    builder_reset(&error);
    return 0;
}

static void set_cache(struct hub_shard *shard)
{
    const struct config *config = shard->settings->config;
    read_cache_set_limits(
        shard->api.cache, config->cache_bytes / shard->hub->shard_count, config->cache_age_ms);
}

static int create_shard(struct hub *hub, unsigned index)
{
    struct hub_shard *shard = &hub->shards[index];
    struct sched *sched = actor_system_sched(hub->system, index);
    shard->hub = hub;
    shard->settings = hub_settings_ref(hub->settings);
    shard_init(&shard->shard, sched, &shard->settings->actors);
    shard->shard.peers_version = &hub->peers_version;
    shard->shard.strangers = &hub->strangers;
    shard->shard.store_root = hub->store;
    shard->shard.streams = &hub->streams;
    shard->api = (struct api_shard){.shard = &shard->shard,
        .node = &hub->api,
        .settings = &shard->settings->api,
        .cache = read_cache_create()};
    set_cache(shard);
    event_counts_init(&shard->events);
    route_counts_init(&shard->routes);
    fill_http(shard);
    int status = make_jwt(shard);
    if (status != 0) {
        return status;
    }
    struct loop_config options = {
        .system = hub->system,
        .index = index,
        .shard = &shard->shard,
        .on_start = on_start,
        .on_stop = on_stop,
        .on_turn = on_turn,
        .on_end = on_end,
        .context = shard,
        .lasting = true, /* what other shards still need of it */
    };
    status = loop_create(&options, &shard->loop);
    if (status != 0) {
        return status;
    }
    shard->created = true;
    return 0;
}

int hub_shards_start(struct hub *hub)
{
    int status = 0;
    hub->port = (uint16_t)hub->config->listen_port;
    hub->internal_port = (uint16_t)hub->config->listen_internal_port;
    for (unsigned i = 0; i < hub->shard_count && status == 0; i++) {
        status = create_shard(hub, i);
    }
    for (unsigned i = 0; i < hub->shard_count && status == 0; i++) {
        status = loop_start(hub->shards[i].loop);
    }
    return status;
}

/* Change over to other settings, on the shard's thread. */

/* What a shard is asked to change over to. */
struct change {
    struct hub_shard *shard;
    struct hub_settings *settings; /* one reference */
};

static void reload_jwt(struct hub_shard *shard)
{
    struct builder error = {0};
    if (jwt_reload(shard->api.jwt, jwt_keys_policy(shard->settings->jwt), &error) != 0) {
        log_error("RELOAD-KEYS", "the new token keys could not be loaded, keeping the old ones",
            "shard=%u reason=%s", sched_shard(shard->shard.sched),
            log_quote(builder_bytes(&error)));
    }
    builder_reset(&error);
}

static void change_settings(void *arg, bool cancelled)
{
    struct change *change = arg;
    struct hub_shard *shard = change->shard;
    if (cancelled) {
        hub_settings_unref(change->settings);
        mem_free(change);
        return;
    }
    struct hub_settings *old = shard->settings;
    shard->settings = change->settings;
    shard->api.settings = &shard->settings->api;
    shard->shard.config = &shard->settings->actors;
    fill_http(shard);
    set_cache(shard);
    if (shard->shard.values != NULL) {
        values_reload(shard->shard.values);
    }
    if (shard->shard.hooks != NULL) {
        hooks_set(shard->shard.hooks, &shard->settings->hooks);
        out_set(shard->out, &shard->settings->out);
    }
    hub_webhooks_change(shard);
    hub_alerts_reload(shard);
    hub_push_change(shard);
    reload_jwt(shard);
    shard->next_expiry = 0; /* what happens to tokens that expire may have changed */
    user_recheck_begin(&shard->shard);
    loop_defer(shard->loop, &shard->recheck->task);
    session_layer_reload(shard->hub->sessions, &shard->shard, shard->settings->sessions);
    if (shard->listener != NULL) {
        listener_set_per_address(shard->listener, shard->public_http.per_address);
        listener_set_proxies(shard->listener, shard->public_http.proxies,
            shard->settings->config->listen_proxy_protocol);
        listener_set_tls(shard->listener, shard->settings->tls.of[HUB_TLS_PUBLIC]);
    }
    if (shard->internal_listener != NULL) {
        listener_set_tls(shard->internal_listener, shard->settings->tls.of[HUB_TLS_INTERNAL]);
    }
    if (shard->shard.bus != NULL) {
        redis_set_tls(shard->shard.bus, shard->settings->bus.tls);
    }
    cluster_shard_reload(shard);
    hub_settings_unref(old);
    mem_free(change);
}

void hub_shards_change(struct hub *hub, struct hub_settings *settings)
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct change *change = mem_alloc(sizeof(*change));
        change->shard = &hub->shards[i];
        change->settings = hub_settings_ref(settings);
        sched_post(hub->system, i, change_settings, change);
    }
}

/* Drain, on the shard's thread. */

static void drain_shard(void *arg, bool cancelled)
{
    struct hub_shard *shard = arg;
    const struct config *config = shard->settings->config;
    uint64_t window = config->drain_deadline_ms / 2;
    uint64_t spread = shard->hub->leaving * RETURN_MS;
    if (cancelled) {
        return;
    }
    hub_services_close_public(shard);
    session_layer_drain(shard->hub->sessions, &shard->shard,
        (uint32_t)(window > DRAIN_WINDOW_MIN_MS ? window : DRAIN_WINDOW_MIN_MS),
        (uint32_t)(spread < UINT32_MAX ? spread : UINT32_MAX));
    if (shard == &shard->hub->shards[0] && shard->shard.bus != NULL) {
        ingest_stop(&shard->shard);
    }
}

void hub_shards_drain(struct hub *hub)
{
    hub->leaving = hub_sessions(hub);
    for (unsigned i = 0; i < hub->shard_count; i++) {
        sched_post(hub->system, i, drain_shard, &hub->shards[i]);
    }
}

/* Stop. */

static void for_each_created(struct hub *hub, void (*fn)(struct loop *loop))
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        if (hub->shards[i].created) {
            fn(hub->shards[i].loop);
        }
    }
}

static int wait_for_services(struct hub *hub)
{
    uint64_t until = clock_mono_ms() + STOP_MAX_MS;
    int status = services_wait(hub->services, until);
    if (status == 0) {
        for_each_created(hub, loop_end);
        status = services_wait_ended(hub->services, until);
    }
    return status;
}

/* Nothing may be freed then: threads run. What did not end is named, for who looks for the cause.
 */
static void tell_left(struct hub *hub)
{
    struct builder left = {0};
    services_write_left(hub->services, &left);
    log_error("SHUTDOWN-LEFT", "not everything ended in time: the process ends all the same",
        "left=%s after_ms=%d", log_quote(builder_bytes(&left)), (int)STOP_MAX_MS);
    builder_reset(&left);
}

int hub_shards_stop(struct hub *hub)
{
    for_each_created(hub, loop_stop);
    int status = wait_for_services(hub);
    if (status != 0) {
        tell_left(hub);
        return status;
    }
    for_each_created(hub, loop_join);
    for (unsigned i = 0; i < hub->shard_count; i++) { /* its timer is in the actor system's wheel */
        audience_destroy(hub->shards[i].shard.audience);
        hub->shards[i].shard.audience = NULL;
        positions_destroy(hub->shards[i].shard.positions);
        hub->shards[i].shard.positions = NULL;
        jobs_destroy(hub->shards[i].shard.jobs);
        hub->shards[i].shard.jobs = NULL;
        room_history_destroy(hub->shards[i].shard.history);
        hub->shards[i].shard.history = NULL;
        values_destroy(hub->shards[i].shard.values);
        hub->shards[i].shard.values = NULL;
        hub_alerts_finish(&hub->shards[i]);
        hub_outboxes_finish(&hub->shards[i]);
        hub_series_finish(&hub->shards[i]);
        hub_hooks_finish(&hub->shards[i]);
        hub_webhooks_finish(&hub->shards[i]);
        hub_push_finish(&hub->shards[i]);
        presence_destroy(hub->shards[i].shard.presence);
        hub->shards[i].shard.presence = NULL;
    }
    return 0;
}

void hub_shards_finish(struct hub *hub)
{
    for (unsigned i = 0; hub->shards != NULL && i < hub->shard_count; i++) {
        struct hub_shard *shard = &hub->shards[i];
        if (shard->hub == NULL) {
            continue;
        }
        if (shard->created) {
            loop_destroy(shard->loop);
        }
        cluster_shard_finish(shard);
        mem_free(shard->recheck);
        jwt_destroy(shard->api.jwt);
        read_cache_destroy(shard->api.cache);
        event_counts_finish(&shard->events);
        route_counts_finish(&shard->routes);
        shard_finish(&shard->shard);
        hub_settings_unref(shard->settings);
    }
}

uint64_t hub_sessions(const struct hub *hub)
{
    struct metrics_sums sums;
    metrics_sum(hub, &sums);
    return sums.shards.sockets;
}
