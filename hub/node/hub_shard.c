/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: a shard's services, its clock, start, drain, stop.
 */
#include "hub/node/hub_shard.h"

#include <stdio.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/shed.h"
#include "actors/inbox/cluster.h"
#include "actors/inbox/positions.h"
#include "actors/ingest/ingest_proto.h"
#include "actors/order/sequencer_proto.h"
#include "actors/recover/recovery_bus.h"
#include "actors/user/user.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/query.h"
#include "hub/api/api_members.h"
#include "hub/auth/jwt.h"
#include "hub/auth/jwt_config.h"
#include "hub/cluster/node_lease.h"
#include "hub/cluster/node_roster.h"
#include "hub/config/config.h"
#include "hub/net/listener.h"
#include "hub/net/loop.h"
#include "hub/node/cluster_shard.h"
#include "hub/node/dev_guard.h"
#include "hub/node/hub_settings.h"
#include "hub/node/memory.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"
#include "hub/node/peal_app.h"
#include "hub/node/settings_make.h"
#include "hub/node/sqlite_lease.h"
#include "hub/node/store_watch.h"
#include "hub/node/sweeper.h"
#include "hub/redis/redis.h"
#include "hub/session/session_layer.h"
#include "hub/session/sid.h"
#include "sql/store.h"

enum {
    CLOCK_MS = 1000,
    STOP_POLL_MS = 10,
    STOP_MAX_MS = 5000,
    DRAIN_WINDOW_MIN_MS = 100,
    RETURN_MS = 1, /* for each client of a draining node, as drain.reconnect allows */
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

static int open_bus(struct hub_shard *shard, uv_loop_t *uv)
{
    const struct config *config = shard->hub->config;
    struct builder error = {0};
    struct redis_options options = {
        .url = config->bus_url,
        .connect_timeout_ms = (uint32_t)config->bus_connect_timeout_ms,
        .reply_max = config->bus_reply_bytes,
        .outage = &shard->hub->bus_outage,
    };
    if (config->bus_url[0] == '\0') {
        return 0;
    }
    int status = redis_create(uv, &options, &error, &shard->shard.bus);
    return status != 0 ? fail_built(status, &error) : 0;
}

/* Whether the node may take one more; others count at the same time, a few more are no harm. */
static bool has_room(void *context)
{
    const struct hub_shard *shard = context;
    const struct hub *hub = shard->hub;
    uint64_t limit = shard->settings->config->limits_connections;
    uint64_t count = shard->shard.stats.connections;
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct metrics_sums counts;
        metrics_read(&hub->shards[i], &counts);
        count += shard != &hub->shards[i] ? counts.shards.connections : 0;
    }
    return count < (limit > 0 ? limit : hub->connections_max);
}

static void on_public(struct connection *connection, void *context)
{
    struct hub_shard *shard = context;
    shard->shard.stats.accepted++;
    http_serve(connection, &shard->public_http);
}

static void on_internal(struct connection *connection, void *context)
{
    struct hub_shard *shard = context;
    http_serve(connection, &shard->internal_http);
}

static int open_listeners(struct hub_shard *shard)
{
    struct hub *hub = shard->hub;
    const struct config *config = hub->config;
    struct listener_config options = {
        .host = config->listen_host,
        .port = hub->port,
        .option = "--listen-port",
        .alone = shard == &hub->shards[0] && config->bus_url[0] == 0, /* nodes share it */
        .backlog = (int)config->listen_backlog,
        .unsent_bytes = (uint32_t)config->listen_unsent_bytes,
        .per_address = config->limits_unauthenticated_per_address,
        .addresses = hub->addresses,
        .proxies = shard->settings->proxies,
        .has_room = has_room,
        .on_accept = on_public,
        .context = shard,
    };
    int status = listener_open(shard->loop, &options, &shard->listener);
    if (status != 0 || shard != &hub->shards[0]) {
        return status;
    }
    hub->port = listener_port(shard->listener);
    options.host = config->listen_internal_host;
    options.port = hub->internal_port;
    options.option = "--listen-internal-port";
    options.alone = true;
    options.per_address = 0;
    options.proxies = NULL;
    options.has_room = NULL; /* operators always get in */
    options.on_accept = on_internal;
    status = listener_open(shard->loop, &options, &shard->internal_listener);
    if (status == 0) {
        hub->internal_port = listener_port(shard->internal_listener);
    }
    return status;
}

static void start_fanouts(struct hub_shard *shard)
{
    const struct config *config = shard->hub->config;
    shard_open_nsp(&shard->shard, BYTES("/"));
    for (size_t i = 0; i < config->namespace_count; i++) {
        struct bytes nsp = bytes_str(config->namespaces[i].name);
        if (!bytes_eq(nsp, BYTES("/"))) {
            shard_open_nsp(&shard->shard, nsp);
        }
    }
}

/* The clock. */

static void shed(void *arg, bool cancelled)
{
    struct hub_shard *shard = arg;
    if (cancelled) {
        return;
    }
    struct memory_guard *guard = &shard->hub->memory;
    uint64_t limit = atomic_load_explicit(&guard->limit, memory_order_relaxed);
    uint64_t used = memory_guard_resident();
    uint64_t share = (used > limit ? used - limit : 0) / shard->hub->shard_count;
    unsigned ended = share > 0 ? shed_outboxes(&shard->shard, share) : 0;
    atomic_fetch_add_explicit(&guard->shed, ended, memory_order_relaxed);
    if (ended > 0) {
        log_warn("MEMORY-SHED", "clients that read slowly were closed to free memory",
            "shard=%u ended=%u", sched_shard(shard->shard.sched), ended);
    }
}

/* Once a second, for the whole node. */
static void guard_memory(const struct hub_shard *shard)
{
    struct hub *hub = shard->hub;
    uint64_t limit = shard->settings->config->limits_memory;
    if (memory_guard_look(&hub->memory, memory_guard_resident(), limit) > 0) {
        for (unsigned i = 0; i < hub->shard_count; i++) {
            sched_post(hub->system, i, shed, &hub->shards[i]);
        }
    }
}

static void on_clock(uv_timer_t *timer)
{
    struct hub_shard *shard = timer->data;
    peal_app_check_expiry(shard);
    memory_measure(shard, &shard->memory);
    if (shard == &shard->hub->shards[0]) {
        guard_memory(shard);
    }
}

static void start_clock(struct hub_shard *shard, uv_loop_t *uv)
{
    shard->clock = mem_alloc(sizeof(*shard->clock));
    uv_timer_init(uv, shard->clock);
    shard->clock->data = shard;
    uv_timer_start(shard->clock, on_clock, CLOCK_MS, CLOCK_MS);
    memory_measure(shard, &shard->memory);
}

static void free_timer(uv_handle_t *handle)
{
    mem_free(handle);
}

static void close_timer(uv_timer_t **timer)
{
    if (*timer != NULL) {
        uv_close((uv_handle_t *)*timer, free_timer);
        *timer = NULL;
    }
}

/* Start, on the shard's thread. */

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

static void on_stop(struct loop *loop, void *context);

static void keep_lease(struct hub_shard *shard)
{
    const struct hub *hub = shard->hub;
    if (shard == &hub->shards[0] && hub->lease != NULL) {
        node_lease_start(hub->lease, &shard->shard);
        shard->roster = node_roster_start(&shard->shard, &hub->roster);
    }
}

static int on_start(struct loop *loop, void *context)
{
    struct hub_shard *shard = context;
    struct hub *hub = shard->hub;
    uv_loop_t *uv = loop_uv(loop);
    unsigned index = (unsigned)(shard - hub->shards);
    shard->loop = loop;
    shard->api.loop = loop;
    shard->next_expiry = 0;
    shard->recheck = create_recheck(shard);
    int status = store_port_open(hub->store, index, uv, &shard->shard.store);
    if (status == 0) {
        status = open_bus(shard, uv);
    }
    if (status == 0) {
        shard->shard.positions = positions_create(&shard->shard);
        shard->shard.cluster = shard->shard.bus ? cluster_create(&shard->shard) : NULL;
        start_fanouts(shard);
        shard->shard.recovery_bus = recovery_bus_create(&shard->shard);
        session_layer_start(hub->sessions, &shard->shard);
        start_clock(shard, uv);
        hub_sweeper_start(shard);
        store_watch_start(shard);
        sqlite_lease_start(shard);
        keep_lease(shard);
        status = cluster_shard_start(shard);
    }
    if (status == 0) {
        status = open_listeners(shard);
    }
    if (status != 0 && shard->shard.store != NULL) {
        on_stop(loop, context); /* what was opened keeps the loop running */
    }
    return status;
}

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
    shard->public_http = config;
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
    shard->api = (struct api_shard){
        .shard = &shard->shard, .node = &hub->api, .settings = &shard->settings->api};
    event_counts_init(&shard->events);
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
        .on_turn = metrics_publish,
        .context = shard,
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
    reload_jwt(shard);
    shard->next_expiry = 0; /* what happens to tokens that expire may have changed */
    user_recheck_begin(&shard->shard);
    loop_defer(shard->loop, &shard->recheck->task);
    session_layer_reload(shard->hub->sessions, &shard->shard, shard->settings->sessions);
    if (shard->listener != NULL) {
        listener_set_per_address(shard->listener, shard->public_http.per_address);
        listener_set_proxies(shard->listener, shard->public_http.proxies);
    }
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

static void close_listeners(struct hub_shard *shard)
{
    if (shard->listener != NULL) {
        listener_close(shard->listener);
        shard->listener = NULL;
    }
}

static void drain_shard(void *arg, bool cancelled)
{
    struct hub_shard *shard = arg;
    const struct config *config = shard->settings->config;
    uint64_t window = config->drain_deadline_ms / 2;
    uint64_t spread = shard->hub->leaving * RETURN_MS;
    if (cancelled) {
        return;
    }
    close_listeners(shard);
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

static void on_store_closed(void *context)
{
    ((struct hub_shard *)context)->shard.store = NULL;
}

static void close_sequencers(struct hub_shard *shard)
{
    list_for_each (link, &shard->shard.fanouts) {
        struct fanout *fanout = container_of(link, struct fanout, shard_link);
        struct sequencer_close *msg = sequencer_close_new();
        msg->nsp = buf_new_name(fanout_nsp(fanout));
        msg_send_home(shard->shard.sched, msg);
    }
}

/*
 * Sessions end in turns of their own, the links of sequencer and ingest with their actors, when a
 * stream is given back behind its last commit: the services that they use are closed when they are
 * gone, or after a while without them. The timer ends with the last of them: nothing else keeps the
 * loop running.
 */
static void on_stopping(uv_timer_t *timer)
{
    struct hub_shard *shard = timer->data;
    bool late = clock_mono_ms() >= shard->stop_by;
    size_t sessions = session_layer_count(shard->hub->sessions, &shard->shard);
    unsigned links = shard->shard.bus ? redis_get_stats(shard->shard.bus).links : 0;
    if (sessions == 0 && links > 0) {
        close_sequencers(shard); /* a session that ended may have called one back */
    }
    if ((sessions > 0 || links > 0) && !late) {
        return;
    }
    if (shard->shard.bus != NULL && links == 0) {
        redis_close(shard->shard.bus, NULL, NULL);
        shard->shard.bus = NULL; /* turns go on: it is not there for them any more */
    }
    if (!shard->store_closing) {
        shard->store_closing = true;
        store_port_close(shard->shard.store, on_store_closed, shard);
    }
    if (shard->shard.store == NULL && (links == 0 || late)) {
        close_timer(&shard->stopping);
    }
}

static void on_stop(struct loop *loop, void *context)
{
    struct hub_shard *shard = context;
    (void)loop;
    close_listeners(shard);
    if (shard->internal_listener != NULL) {
        listener_close(shard->internal_listener);
        shard->internal_listener = NULL;
    }
    session_layer_stop(shard->hub->sessions, &shard->shard, CLOSE_DRAINING);
    hub_sweeper_stop(shard);
    store_watch_stop(shard);
    sqlite_lease_stop(shard);
    api_members_stop(&shard->api);
    if (shard == &shard->hub->shards[0] && shard->hub->lease != NULL) {
        node_lease_stop(shard->hub->lease);
    }
    node_roster_stop(shard->roster);
    shard->roster = NULL;
    cluster_shard_stop(shard);
    close_timer(&shard->clock);
    recovery_bus_destroy(shard->shard.recovery_bus);
    shard->shard.recovery_bus = NULL;
    cluster_destroy(shard->shard.cluster);
    shard->shard.cluster = NULL;
    if (shard == &shard->hub->shards[0]) {
        close_sequencers(shard);
        if (shard->shard.bus != NULL) {
            ingest_stop(&shard->shard);
        }
    }
    shard->stop_by = clock_mono_ms() + STOP_MAX_MS;
    shard->api.stopping = true;
    shard->stopping = mem_alloc(sizeof(*shard->stopping));
    uv_timer_init(loop_uv(loop), shard->stopping);
    shard->stopping->data = shard;
    uv_timer_start(shard->stopping, on_stopping, STOP_POLL_MS, STOP_POLL_MS);
}

void hub_shards_stop(struct hub *hub)
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        if (hub->shards[i].created) {
            loop_stop(hub->shards[i].loop);
        }
    }
    for (unsigned i = 0; i < hub->shard_count; i++) {
        if (hub->shards[i].created) {
            loop_join(hub->shards[i].loop);
        }
    }
    for (unsigned i = 0; i < hub->shard_count; i++) { /* its timer is in the actor system's wheel */
        positions_destroy(hub->shards[i].shard.positions);
        hub->shards[i].shard.positions = NULL;
    }
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
        event_counts_finish(&shard->events);
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
