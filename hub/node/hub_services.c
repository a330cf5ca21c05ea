/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a node as rows of one table: how each starts, when it is wanted, and how it stops.
 *
 * Order of this file: as that of the table at its end, from the store up to the listeners.
 */
#include "hub/node/hub_services.h"

#include <uv.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/shed.h"
#include "actors/history/room_history.h"
#include "actors/inbox/announce_queue.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/inbox_bus.h"
#include "actors/inbox/positions.h"
#include "actors/inbox/schedule.h"
#include "actors/ingest/ingest_proto.h"
#include "actors/jobs/jobs.h"
#include "actors/presence/presence.h"
#include "actors/recover/recovery_bus.h"
#include "actors/rooms/gather.h"
#include "actors/sequencer_proto.h"
#include "actors/values/values.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "hub/api/read_cache.h"
#include "hub/cluster/node_lease.h"
#include "hub/cluster/node_roster.h"
#include "hub/config/config.h"
#include "hub/net/connection.h"
#include "hub/net/half_open.h"
#include "hub/net/listener.h"
#include "hub/net/loop.h"
#include "hub/node/cluster_shard.h"
#include "hub/node/hub_alerts.h"
#include "hub/node/hub_hooks.h"
#include "hub/node/hub_outboxes.h"
#include "hub/node/hub_push.h"
#include "hub/node/hub_series.h"
#include "hub/node/hub_settings.h"
#include "hub/node/memory.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"
#include "hub/node/peal_app.h"
#include "hub/node/queue_watch.h"
#include "hub/node/services.h"
#include "hub/node/slow_log.h"
#include "hub/node/sqlite_lease.h"
#include "hub/node/store_watch.h"
#include "hub/node/sweeper.h"
#include "hub/redis/redis.h"
#include "hub/session/session_layer.h"
#include "sql/store.h"

enum { CLOCK_MS = 1000 };

static bool is_first(const struct hub_shard *shard)
{
    return shard == &shard->hub->shards[0];
}

static bool has_bus(const struct hub_shard *shard)
{
    return shard->hub->config->bus_url[0] != '\0';
}

static bool is_first_with_bus(const struct hub_shard *shard)
{
    return is_first(shard) && has_bus(shard);
}

/* The store, and the bus. */

static int open_store(struct hub_shard *shard)
{
    unsigned index = (unsigned)(shard - shard->hub->shards);
    return store_port_open(shard->hub->store, index, loop_uv(shard->loop), &shard->shard.store);
}

static void on_store_closed(void *context)
{
    ((struct hub_shard *)context)->shard.store = NULL;
}

static void close_store(struct hub_shard *shard)
{
    if (shard->shard.store != NULL) {
        store_port_close(shard->shard.store, on_store_closed, shard);
    }
}

static uint64_t count_store(const struct hub_shard *shard)
{
    return shard->shard.store != NULL ? store_port_pending(shard->shard.store) + 1 : 0;
}

static int open_bus(struct hub_shard *shard)
{
    const struct config *config = shard->hub->config;
    struct redis_options options = {
        .target = &shard->settings->bus,
        .connect_timeout_ms = (uint32_t)config->bus_connect_timeout_ms,
        .reply_max = config->bus_reply_bytes,
        .outage = &shard->hub->bus_outage,
    };
    shard->shard.bus = redis_create(loop_uv(shard->loop), &options);
    return 0;
}

static void close_bus(struct hub_shard *shard)
{
    if (shard->shard.bus != NULL) {
        redis_close(shard->shard.bus, NULL, NULL);
        shard->shard.bus = NULL; /* turns go on: it is not there for them any more */
    }
}

static uint64_t count_bus(const struct hub_shard *shard)
{
    return shard->shard.bus != NULL;
}

static uint64_t count_links(const struct hub_shard *shard)
{
    return shard->shard.bus != NULL ? redis_get_stats(shard->shard.bus).links : 0;
}

/* What actors use. */

static void start_positions(struct hub_shard *shard)
{
    shard->shard.positions = positions_create(&shard->shard);
    shard->shard.audience = audience_create(&shard->shard);
}

static void open_inboxes(struct hub_shard *shard)
{
    shard->shard.inbox_bus = inbox_bus_create(&shard->shard);
    audience_connect(shard->shard.audience);
}

static void close_inboxes(struct hub_shard *shard)
{
    announce_queue_send_all(shard->shard.announcements);
    inbox_bus_destroy(shard->shard.inbox_bus);
    shard->shard.inbox_bus = NULL;
}

static void open_values(struct hub_shard *shard)
{
    shard->shard.values = values_create(&shard->shard);
}

static void close_values(struct hub_shard *shard)
{
    if (shard->shard.values != NULL) {
        values_close(shard->shard.values);
    }
}

static uint64_t count_values(const struct hub_shard *shard)
{
    return shard->shard.values != NULL ? values_get_stats(shard->shard.values)->calls : 0;
}

static void open_presence(struct hub_shard *shard)
{
    shard->shard.presence = presence_create(&shard->shard);
}

static void close_presence(struct hub_shard *shard)
{
    if (shard->shard.presence != NULL) {
        presence_close(shard->shard.presence);
    }
}

static uint64_t count_presence(const struct hub_shard *shard)
{
    return shard->shard.presence != NULL ? presence_open(shard->shard.presence) : 0;
}

static void open_jobs(struct hub_shard *shard)
{
    shard->shard.jobs = jobs_create(&shard->shard);
}

static void close_jobs(struct hub_shard *shard)
{
    if (shard->shard.jobs != NULL) {
        jobs_close(shard->shard.jobs);
    }
}

static uint64_t count_jobs(const struct hub_shard *shard)
{
    return shard->shard.jobs != NULL ? jobs_pending(shard->shard.jobs) : 0;
}

static void open_history(struct hub_shard *shard)
{
    shard->shard.history = room_history_create(&shard->shard);
}

static void close_history(struct hub_shard *shard)
{
    if (shard->shard.history != NULL) {
        room_history_close(shard->shard.history);
    }
}

static uint64_t count_history(const struct hub_shard *shard)
{
    return shard->shard.history != NULL ? room_history_pending(shard->shard.history) : 0;
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

/* Every shard tells all of them, behind whatever its sessions had to tell them last. */
static void close_sequencers(struct hub_shard *shard)
{
    list_for_each (link, &shard->shard.fanouts) {
        struct fanout *fanout = container_of(link, struct fanout, shard_link);
        struct sequencer_close *msg = sequencer_close_new();
        msg->nsp = buf_new_name(fanout_nsp(fanout));
        msg_send_home(shard->shard.sched, msg);
    }
}

static uint64_t count_sequencers(const struct hub_shard *shard)
{
    return sched_actors_of(shard->shard.sched, &sequencer_behaviour);
}

static void open_recovery(struct hub_shard *shard)
{
    shard->shard.recovery_bus = recovery_bus_create(&shard->shard);
}

static void close_recovery(struct hub_shard *shard)
{
    recovery_bus_destroy(shard->shard.recovery_bus);
    shard->shard.recovery_bus = NULL;
}

/* Sessions. */

static void start_sessions(struct hub_shard *shard)
{
    session_layer_start(shard->hub->sessions, &shard->shard);
}

static void stop_sessions(struct hub_shard *shard)
{
    session_layer_stop(shard->hub->sessions, &shard->shard, CLOSE_DRAINING);
}

static uint64_t count_sessions(const struct hub_shard *shard)
{
    return session_layer_count(shard->hub->sessions, &shard->shard);
}

/* The clock. */

static void shed(void *arg, bool cancelled)
{
    struct hub_shard *shard = arg;
    atomic_store_explicit(&shard->sheds, false, memory_order_relaxed);
    if (cancelled) {
        return;
    }
    struct memory_guard *guard = &shard->hub->memory;
    uint64_t share = memory_guard_excess(guard) / shard->hub->shard_count;
    if (share == 0) {
        return;
    }
    struct shed largest = {.count = 0};
    shed_offer_sockets(&largest, &shard->shard);
    connection_offer(shard->loop, &largest);
    unsigned ended = shed_end(&largest, share) + half_open_shed(shard->loop);
    atomic_fetch_add_explicit(&guard->shed, ended, memory_order_relaxed);
    if (ended > 0) {
        shard->look_ms = sched_now(shard->shard.sched) + MEMORY_FREED_MS;
        log_warn("MEMORY-SHED",
            "clients that read slowly or send no whole request were closed to free memory",
            "shard=%u ended=%u", sched_shard(shard->shard.sched), ended);
    }
}

/* For the whole node; a shard that has not shed yet is not asked again. */
static void look_at_memory(const struct hub_shard *shard)
{
    struct hub *hub = shard->hub;
    uint64_t limit = shard->settings->config->limits_memory;
    if (memory_guard_look(&hub->memory, limit, sched_now(shard->shard.sched)) == 0) {
        return;
    }
    for (unsigned i = 0; i < hub->shard_count; i++) {
        if (!atomic_exchange_explicit(&hub->shards[i].sheds, true, memory_order_relaxed)) {
            sched_post(hub->system, i, shed, &hub->shards[i]);
        }
    }
}

static void on_guard(uv_timer_t *timer)
{
    look_at_memory(timer->data);
}

void hub_services_watch_memory(struct hub_shard *shard)
{
    const struct shard_stats *stats = &shard->shard.stats;
    if (mem_is_low() && sched_now(shard->shard.sched) >= shard->kept_ms + 1000 / MEMORY_LOOKS) {
        shard->kept_ms = sched_now(shard->shard.sched);
        memory_guard_keep();
    }
    uint64_t taken = stats->bytes_in + stats->bytes_out + stats->accepted * MEMORY_CLIENT_BYTES;
    bool much = taken - shard->taken_looked >= memory_guard_step(&shard->hub->memory);
    if (much || sched_now(shard->shard.sched) >= shard->look_ms) {
        shard->look_ms = UINT64_MAX;
        shard->taken_looked = taken;
        look_at_memory(shard);
    }
}

static void on_clock(uv_timer_t *timer)
{
    struct hub_shard *shard = timer->data;
    if (is_first(shard)) {
        slow_log_look(shard);
    }
    peal_app_check_expiry(shard);
    read_cache_tidy(shard->api.cache, sched_now(shard->shard.sched));
    values_tidy(shard->shard.values);
    memory_measure(shard, &shard->memory);
}

static uv_timer_t *start_timer(struct hub_shard *shard, uint64_t every_ms, uv_timer_cb fn)
{
    uv_timer_t *timer = mem_alloc(sizeof(*timer));
    uv_timer_init(loop_uv(shard->loop), timer);
    timer->data = shard;
    uv_timer_start(timer, fn, every_ms, every_ms);
    return timer;
}

static void start_clock(struct hub_shard *shard)
{
    shard->clock = start_timer(shard, CLOCK_MS, on_clock);
    memory_measure(shard, &shard->memory);
}

static void start_guard(struct hub_shard *shard)
{
    shard->guard = start_timer(shard, CLOCK_MS / MEMORY_LOOKS, on_guard);
}

static void free_timer(uv_handle_t *handle)
{
    mem_free(handle);
}

static void stop_clock(struct hub_shard *shard)
{
    uv_close((uv_handle_t *)shard->clock, free_timer);
    shard->clock = NULL;
}

static void stop_guard(struct hub_shard *shard)
{
    uv_close((uv_handle_t *)shard->guard, free_timer);
    shard->guard = NULL;
}

/* What the first shard does for the node. */

static void start_schedule(struct hub_shard *shard)
{
    schedule_start(&shard->shard);
}

static void stop_schedule(struct hub_shard *shard)
{
    schedule_stop(&shard->shard);
}

static uint64_t count_schedule(const struct hub_shard *shard)
{
    return shard->shard.schedule != NULL;
}

static bool is_alone_on_bus(const struct hub_shard *shard)
{
    return is_first(shard) && sqlite_lease_is_wanted(shard->hub);
}

static uint64_t count_sqlite_lease(const struct hub_shard *shard)
{
    return shard->sqlite_lease != NULL;
}

static void keep_lease(struct hub_shard *shard)
{
    node_lease_start(shard->hub->lease, &shard->shard);
}

static void give_lease_back(struct hub_shard *shard)
{
    node_lease_stop(shard->hub->lease);
}

/* Of the first shard's thread, as the lease. */
static uint64_t count_node_lease(const struct hub_shard *shard)
{
    return shard->hub->lease->keeper != NULL;
}

static void keep_roster(struct hub_shard *shard)
{
    shard->roster = node_roster_start(&shard->shard, &shard->hub->roster);
}

static void leave_roster(struct hub_shard *shard)
{
    node_roster_stop(shard->roster);
    shard->roster = NULL;
}

/* Streams begin when all shards run (hub.c). */
static void stop_streams(struct hub_shard *shard)
{
    if (is_first(shard)) {
        ingest_stop(&shard->shard);
    }
}

static uint64_t count_streams(const struct hub_shard *shard)
{
    return sched_actors_of(shard->shard.sched, &ingest_behaviour);
}

static void stop_members(struct hub_shard *shard)
{
    gather_stop(&shard->shard);
}

/* Connections. */

/* The loop closes them when it is stopped. */
static uint64_t count_connections(const struct hub_shard *shard)
{
    return shard->shard.stats.connections;
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

static int listen_public(struct hub_shard *shard)
{
    struct hub *hub = shard->hub;
    const struct config *config = hub->config;
    struct listener_config options = {
        .host = config->listen_host,
        .port = hub->port,
        .option = "--listen-port",
        .alone = is_first(shard) && !has_bus(shard), /* nodes share it */
        .backlog = (int)config->listen_backlog,
        .unsent_bytes = (uint32_t)config->listen_unsent_bytes,
        .per_address = config->limits_unauthenticated_per_address,
        .addresses = hub->addresses,
        .proxies = shard->settings->proxies,
        .prefaces = config->listen_proxy_protocol,
        .tls = shard->settings->tls.of[HUB_TLS_PUBLIC],
        .has_room = has_room,
        .on_accept = on_public,
        .context = shard,
    };
    int status = listener_open(shard->loop, &options, &shard->listener);
    if (status == 0 && is_first(shard)) {
        hub->port = listener_port(shard->listener); /* before the other shards start */
    }
    return status;
}

void hub_services_close_public(struct hub_shard *shard)
{
    if (shard->listener != NULL) {
        listener_close(shard->listener);
        shard->listener = NULL;
    }
}

static void on_internal(struct connection *connection, void *context)
{
    struct hub_shard *shard = context;
    http_serve(connection, &shard->internal_http);
}

/* Without has_room: operators always get in. */
static int listen_internal(struct hub_shard *shard)
{
    struct hub *hub = shard->hub;
    const struct config *config = hub->config;
    struct listener_config options = {
        .host = config->listen_internal_host,
        .port = hub->internal_port,
        .option = "--listen-internal-port",
        .alone = true,
        .backlog = (int)config->listen_backlog,
        .unsent_bytes = (uint32_t)config->listen_unsent_bytes,
        .addresses = hub->addresses,
        .tls = shard->settings->tls.of[HUB_TLS_INTERNAL],
        .on_accept = on_internal,
        .context = shard,
    };
    int status = listener_open(shard->loop, &options, &shard->internal_listener);
    if (status == 0) {
        hub->internal_port = listener_port(shard->internal_listener);
    }
    return status;
}

static void close_internal(struct hub_shard *shard)
{
    if (shard->internal_listener != NULL) {
        listener_close(shard->internal_listener);
        shard->internal_listener = NULL;
    }
}

/*
 * What is `last` waits for all that uses it: requests to the store come from everywhere and are
 * served by the first shards, streams commit and announce, and sessions call sequencers back until
 * they are gone. What else needs Redis gives back at once, so that a Redis that does not answer is
 * waited for once, not by one after the other.
 */
static const struct service table[] = {
    {.name = "store",
        .try_start = open_store,
        .stop = close_store,
        .open = count_store,
        .last = true},
    {.name = "bus",
        .wanted = has_bus,
        .try_start = open_bus,
        .stop = close_bus,
        .open = count_bus,
        .last = true},
    {.name = "bus links", .wanted = has_bus, .open = count_links},
    {.name = "positions", .start = start_positions},
    {.name = "inboxes",
        .wanted = has_bus,
        .start = open_inboxes,
        .stop = close_inboxes,
        .last = true},
    {.name = "values",
        .start = open_values,
        .stop = close_values,
        .open = count_values,
        .last = true},
    {.name = "hooks",
        .start = hub_hooks_start,
        .stop = hub_hooks_stop,
        .open = hub_hooks_count_open,
        .last = true},
    {.name = "webhooks",
        .start = hub_webhooks_start,
        .stop = hub_webhooks_stop,
        .open = hub_webhooks_count_open,
        .last = true},
    {.name = "push",
        .start = hub_push_start,
        .stop = hub_push_stop,
        .open = hub_push_count_open,
        .last = true},
    {.name = "presence",
        .start = open_presence,
        .stop = close_presence,
        .open = count_presence,
        .last = true},
    {.name = "jobs", .start = open_jobs, .stop = close_jobs, .open = count_jobs},
    {.name = "history", .start = open_history, .stop = close_history, .open = count_history},
    {.name = "namespaces", .start = start_fanouts},
    {.name = "sequencers",
        .wanted = has_bus,
        .stop = close_sequencers,
        .open = count_sequencers,
        .last = true,
        .again = true},
    {.name = "recovery", .wanted = has_bus, .start = open_recovery, .stop = close_recovery},
    {.name = "sessions", .start = start_sessions, .stop = stop_sessions, .open = count_sessions},
    {.name = "clock", .start = start_clock, .stop = stop_clock},
    {.name = "memory", .wanted = is_first, .start = start_guard, .stop = stop_guard},
    {.name = "schedule",
        .wanted = is_first,
        .start = start_schedule,
        .stop = stop_schedule,
        .open = count_schedule},
    {.name = "sweeper", .wanted = is_first, .start = hub_sweeper_start, .stop = hub_sweeper_stop},
    {.name = "queue watch",
        .wanted = is_first,
        .start = queue_watch_start,
        .stop = queue_watch_stop,
        .open = queue_watch_pending},
    {.name = "alerts",
        .wanted = is_first,
        .start = hub_alerts_start,
        .stop = hub_alerts_stop,
        .open = hub_alerts_count_open},
    {.name = "outboxes",
        .start = hub_outboxes_start,
        .stop = hub_outboxes_stop,
        .open = hub_outboxes_count_open},
    {.name = "series",
        .wanted = is_first,
        .start = hub_series_start,
        .stop = hub_series_stop,
        .open = hub_series_count_open},
    {.name = "store watch",
        .wanted = is_first,
        .start = store_watch_start,
        .stop = store_watch_stop},
    {.name = "sqlite lease",
        .wanted = is_alone_on_bus,
        .start = sqlite_lease_start,
        .stop = sqlite_lease_stop,
        .open = count_sqlite_lease},
    {.name = "node lease",
        .wanted = is_first_with_bus,
        .start = keep_lease,
        .stop = give_lease_back,
        .open = count_node_lease},
    {.name = "roster", .wanted = is_first_with_bus, .start = keep_roster, .stop = leave_roster},
    {.name = "room members", .stop = stop_members},
    {.name = "cluster",
        .wanted = has_bus,
        .try_start = cluster_shard_start,
        .stop = cluster_shard_stop},
    {.name = "streams", .wanted = has_bus, .stop = stop_streams, .open = count_streams},
    {.name = "connections", .open = count_connections},
    {.name = "public listener", .try_start = listen_public, .stop = hub_services_close_public},
    {.name = "internal listener",
        .wanted = is_first,
        .try_start = listen_internal,
        .stop = close_internal},
};

struct services *hub_services_create(struct actor_system *system)
{
    return services_create(table, ARRAY_LEN(table), system);
}
