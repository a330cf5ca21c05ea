/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node from its start to its end: what all shards share, and the threads they run on.
 *
 * Order of this file: services, what is shared by all shards, start, drain, stop.
 *
 * Start: bus check, store, claims, keys and lists, shards (first the one that picks the port) with
 * their services (hub_services.c), partitions. Stop is the reverse: services, threads, actors,
 * store.
 */
#include "hub/node/hub.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "actors/ingest/ingest_proto.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/bus_version.h"
#include "hub/cluster/node_lease.h"
#include "hub/cluster/node_roster.h"
#include "hub/config/config.h"
#include "hub/config/store_options.h"
#include "hub/net/name_counts.h"
#include "hub/net/name_rates.h"
#include "hub/node/bundles.h"
#include "hub/node/dev.h"
#include "hub/node/hub_services.h"
#include "hub/node/hub_settings.h"
#include "hub/node/hub_shard.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"
#include "hub/node/routes.h"
#include "hub/node/services.h"
#include "hub/node/settings_make.h"
#include "hub/node/sqlite_lease.h"
#include "hub/node/zones.h"
#include "hub/redis/redis.h"
#include "hub/session/session_layer.h"
#include "sql/store.h"

enum {
    ERROR_MAX = 512,
    REDIS_CHECK_MS = 5000,
    START_PAUSE_MS = 250,
    RESERVED_FILES = 64,
    RESERVED_OF_SHARD = 16,
};

static int fail(int status, const char *text)
{
    fprintf(stderr, "peal: %s\n", text);
    return status;
}

static int fail_built(int status, struct builder *text)
{
    struct bytes bytes = builder_bytes(text);
    fprintf(stderr, "peal: %.*s\n", (int)bytes.len, bytes.len > 0 ? bytes.at : "");
    builder_reset(text);
    return status;
}

/* Waiting for what is starting itself. */

struct patience {
    uint64_t until_ms; /* 0: not begun */
    uint64_t most_ms;
};

/* Whether to try again, after a pause; said at once, with what the other end says. */
static bool wait_for(struct patience *patience, const char *what, struct bytes why)
{
    const struct timespec pause = {.tv_nsec = START_PAUSE_MS * 1000000L};
    if (patience->until_ms == 0) {
        patience->until_ms = clock_mono_ms() + patience->most_ms;
        log_warn("START-WAIT", "waiting for what is starting itself",
            "for=%s at_most_ms=%llu why=%s", what, (unsigned long long)patience->most_ms,
            log_quote(why));
    }
    if (clock_mono_ms() >= patience->until_ms) {
        return false;
    }
    nanosleep(&pause, NULL);
    return true;
}

/* Services. */

static int open_store(struct hub *hub)
{
    char error[ERROR_MAX] = "";
    struct store_options options;
    store_options_init(&options, hub->config);
    options.config.port_count = hub->shard_count;
    options.config.post = hub_store_post;
    options.config.post_context = hub;
    struct patience patience = {.most_ms = hub->config->store_start_timeout_ms};
    int status = 0;
    bool again = true;
    while (again) {
        status = store_open(&options.config, &hub->store, error, sizeof(error));
        bool starting = strstr(error, "starting up") != NULL || strstr(error, "refused") != NULL ||
                        strstr(error, "shutting down") != NULL;
        again = status == STATUS_UNAVAILABLE && starting &&
                wait_for(&patience, "store", bytes_str(error));
    }
    store_options_finish(&options);
    return status != 0 ? fail(status, error) : 0;
}

/* The names of what this node has in Redis, which are made of its database. */
static void make_names(struct hub *hub)
{
    const struct config *config = hub->config;
    hub->names = (struct bus_names){
        .prefix = config->bus_prefix, .slots = config->bus_slots, .db = hub->settings->bus.url.db};
}

static bool is_loading(struct bytes error)
{
    return error.len > 0 && memmem(error.at, error.len, "LOADING", strlen("LOADING")) != NULL;
}

static int check_bus(const struct hub *hub)
{
    struct builder error = {0};
    struct redis_report report;
    struct redis_options options = {.target = &hub->settings->bus};
    if (hub->config->bus_url[0] == '\0') {
        return 0;
    }
    struct patience patience = {.most_ms = hub->config->bus_start_timeout_ms};
    int status = redis_check(&options, REDIS_CHECK_MS, &error, &report);
    while (status == STATUS_UNAVAILABLE && is_loading(builder_bytes(&error)) &&
           wait_for(&patience, "bus", builder_bytes(&error))) {
        builder_clear(&error);
        status = redis_check(&options, REDIS_CHECK_MS, &error, &report);
    }
    if (status != 0) {
        return fail_built(status, &error);
    }
    builder_reset(&error);
    if (!report.append_only) {
        log_warn("BUS-NO-AOF",
            "Redis keeps no append-only file: stream entries do not survive its crash, continuing",
            "version=%s", report.version);
    }
    return 0;
}

static void make_http(struct hub *hub)
{
    hub->public_routes = routes_public(hub->config);
    hub->internal_routes = routes_internal(hub->config);
    hub->cluster_routes = routes_cluster(hub->config);
}

/*
 * Raise the open-file limit as far as it goes: every connection is a descriptor. What the store,
 * the bus and the shards need of it is set aside.
 */
static void raise_file_limit(struct hub *hub)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    uint64_t aside = RESERVED_FILES + hub->shard_count * (uint64_t)RESERVED_OF_SHARD +
                     hub->config->store_pool_max;
    getrlimit(RLIMIT_NOFILE, &limit);
    hub->connections_max = limit.rlim_cur > 2 * aside ? limit.rlim_cur - aside : limit.rlim_cur / 2;
}

static int make_settings(struct hub *hub)
{
    struct builder error = {0};
    int status = settings_make(hub, hub->config, &error, &hub->settings);
    if (status != 0) {
        return fail_built(status, &error);
    }
    builder_reset(&error);
    return 0;
}

static int claim_bus(struct hub *hub)
{
    struct builder error = {0};
    int status = sqlite_lease_claim(hub, &error);
    if (status == 0) {
        const struct node_lease_options options = {.config = hub->config,
            .redis = &hub->settings->bus,
            .names = &hub->names,
            .node = hub->node};
        status = node_lease_claim(&options, &error, &hub->lease);
    }
    if (status != 0) {
        return fail_built(status, &error);
    }
    builder_reset(&error);
    return 0;
}

/* The nodes that are alive together must not want more connections than the server takes. */
static void check_connections(const struct hub *hub, unsigned nodes)
{
    uint32_t most = store_connections(hub->store);
    uint64_t wanted = (uint64_t)nodes * hub->config->store_pool_max;
    if (most > 0 && wanted > most) {
        log_warn("STORE-CONNECTIONS",
            "the nodes may want more connections than Postgres takes: lower store.pool_max or "
            "raise "
            "max_connections, continuing",
            "nodes=%u pool_max=%u wanted=%llu allowed=%u", nodes,
            (unsigned)hub->config->store_pool_max, (unsigned long long)wanted, (unsigned)most);
    }
}

static int enter_roster(struct hub *hub)
{
    const struct config *config = hub->config;
    struct builder error = {0};
    unsigned alive = 1;
    if (hub->lease == NULL) {
        check_connections(hub, alive);
        return 0;
    }
    hub->roster = (struct node_roster_options){
        .names = &hub->names,
        .redis = &hub->settings->bus,
        .store = store_identity(hub->store),
        .epoch = store_epoch(hub->store),
        .lifetime_ms = config->cluster_lease_ms,
        .lowest = &hub->peers_version,
        .strangers = &hub->strangers,
        .tag = hub->lease->tag,
    };
    int status = node_roster_enter(&hub->roster, &error, &alive);
    if (status != 0) {
        return fail_built(status, &error);
    }
    builder_reset(&error);
    check_connections(hub, alive);
    return 0;
}

static int load_bundles(struct hub *hub)
{
    struct builder error = {0};
    if (hub->config->engine_bundles[0] == '\0') {
        return 0;
    }
    int status = bundles_load(hub->config->engine_bundles, &error, &hub->bundles);
    if (status != 0) {
        return fail_built(status, &error);
    }
    builder_reset(&error);
    return 0;
}

static int build(struct hub *hub)
{
    int status = make_settings(hub);
    if (status == 0) {
        status = load_bundles(hub);
    }
    if (status == 0) {
        make_names(hub);
        status = check_bus(hub);
    }
    if (status == 0) {
        status = open_store(hub);
    }
    if (status == 0) {
        status = claim_bus(hub); /* who has the store's lock: see sqlite_lease.c */
    }
    if (status == 0) {
        status = enter_roster(hub);
    }
    if (status == 0) {
        settings_make_rest(hub->settings, hub);
        make_http(hub);
        hub->system = actor_system_create(hub->shard_count);
        hub->api =
            (struct api_node){.system = hub->system, .rates = hub->rates, .exports = hub->exports};
        hub->services = hub_services_create(hub->system);
        hub->sessions = session_layer_create(hub->settings->sessions, hub->shard_count);
    }
    return status;
}

/* Start. */

static void make_node_name(struct hub *hub)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint8_t random[HUB_NODE_LEN];
    rand_secret(random, sizeof(random));
    for (size_t i = 0; i < HUB_NODE_LEN; i++) {
        hub->node[i] = digits[random[i] % 36];
    }
}

static unsigned count_shards(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (config->shards > 0) {
        CHECK(config->shards <= SHARD_MAX); /* the range of the setting */
        return config->shards;
    }
    return cores > 1 ? (unsigned)(cores < SHARD_MAX ? cores : SHARD_MAX) : 1;
}

static void begin_ingest(void *arg, bool cancelled)
{
    struct hub *hub = arg;
    if (!cancelled) {
        ingest_start(&hub->shards[0].shard);
    }
}

int hub_start(const struct config *config, struct hub **ret_hub)
{
    struct hub *hub = mem_alloc(sizeof(*hub));
    hub->config = config;
    hub->started_ms = clock_mono_ms();
    memory_guard_init(&hub->memory, "");
    memory_guard_run(&hub->memory);
    hub->shard_count = count_shards(config);
    atomic_init(&hub->peers_version, bus_version);
    make_node_name(hub);
    rand_secret(hub->ticket_secret, sizeof(hub->ticket_secret));
    raise_file_limit(hub);
    hub->tenants = name_counts_create(hub->connections_max);
    hub->addresses = name_counts_create(hub->connections_max);
    hub->rates = name_rates_create();
    hub->exports = name_counts_create(0);
    dev_make_secrets(hub);
    hub->zones = zones_create(config->preferences_zoneinfo);
    int status = build(hub);
    if (status == 0) {
        hub->shards = mem_alloc_array(hub->shard_count, sizeof(*hub->shards));
        status = hub_shards_start(hub);
    }
    if (status != 0) {
        int left = hub_stop(hub);
        return left != 0 ? left : status;
    }
    atomic_store_explicit(&hub->started, true, memory_order_release);
    if (config->bus_url[0] != '\0') {
        sched_post(hub->system, 0, begin_ingest, hub);
    }
    *ret_hub = hub;
    return 0;
}

void hub_print_start(const struct hub *hub)
{
    const struct config *config = hub->config;
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    char bound[NODE_HOST_MAX + 8] = "none";
    if (hub->lease != NULL) {
        snprintf(bound, sizeof(bound), "%s:%u", hub->lease->host, (unsigned)hub->lease->port);
    }
    log_info("START", "listening",
        "version=%s node=%s public=%s:%u internal=%s:%u cluster=%s cluster_bound=%s store=%s "
        "bus=%s cores=%u "
        "files=%llu",
        PEAL_VERSION, hub->node, config->listen_host, (unsigned)hub->port,
        config->listen_internal_host, (unsigned)hub->internal_port,
        hub->lease != NULL ? hub->lease->address : "none", bound, store_engine(hub->store),
        config->bus_url[0] != '\0' ? "redis" : "none", hub->shard_count,
        (unsigned long long)limit.rlim_cur);
    if (config->bus_url[0] == '\0' && hub->settings->actors.values.wanted) {
        log_info("VALUES-LOCAL",
            "values are in the memory of this node alone, and end with it: there is no Redis",
            "bytes=%llu", (unsigned long long)config->values_bytes);
    }
}

/* Drain and stop. */

void hub_drain(struct hub *hub)
{
    atomic_store_explicit(&hub->draining, true, memory_order_relaxed);
    hub_shards_drain(hub);
}

int hub_stop(struct hub *hub)
{
    int status = hub->shards != NULL ? hub_shards_stop(hub) : 0;
    if (status != 0) {
        return status;
    }
    if (hub->system != NULL) {
        actor_system_destroy(hub->system);
    }
    hub_shards_finish(hub);
    services_destroy(hub->services);
    session_layer_destroy(hub->sessions);
    if (hub->store != NULL) {
        store_close(hub->store);
    }
    hub_settings_unref(hub->settings);
    zones_destroy(hub->zones);
    bundles_destroy(hub->bundles);
    name_counts_destroy(hub->tenants);
    name_counts_destroy(hub->addresses);
    name_rates_destroy(hub->rates);
    name_counts_destroy(hub->exports);
    node_lease_destroy(hub->lease);
    mem_free(hub->dev_secret);
    mem_free(hub->dev_key);
    mem_free(hub->shards);
    memory_guard_finish(&hub->memory);
    mem_free(hub);
    return 0;
}
