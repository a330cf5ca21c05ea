/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: settings to services, what is shared by all shards, start, drain, stop.
 *
 * Start: store, bus check, keys and lists, shards (first the one that picks the port), partitions.
 * Stop is the reverse: partitions and listeners, clients, sessions, links, store ports, threads,
 * actors, store.
 */
#include "hub/hub.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actors/ingest_proto.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/access.h"
#include "hub/apikey.h"
#include "hub/config.h"
#include "hub/crypto.h"
#include "hub/dev.h"
#include "hub/hub_rules.h"
#include "hub/hub_shard.h"
#include "hub/metrics.h"
#include "hub/origin.h"
#include "hub/peal_app.h"
#include "hub/redis.h"
#include "hub/routes.h"
#include "hub/session_layer.h"
#include "sql/store.h"

enum { ERROR_MAX = 512, REDIS_CHECK_MS = 5000, ATTACHMENTS_MS = 10000 };

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

/* Settings to services. */

static struct rate rate_of(unsigned burst, unsigned per_minute)
{
    return (struct rate){.burst = burst, .per_minute = per_minute};
}

static void fill_actor_config(struct hub *hub)
{
    const struct config *config = hub->config;
    _Static_assert((int)CONFIG_BATCHING_OFF == (int)BATCHING_OFF, "modes in one order");
    hub->actors = (struct actor_config){
        .node = hub->node,
        .epoch = store_epoch(hub->store),
        .bus_prefix = config->bus_prefix,
        .adapter_key = config->bus_socketio_key,
        .tenants = config->auth_tenants,
        .batching = (enum batching_mode)config->batching_mode,
        .tick_ms = (uint32_t)config->batching_tick_ms,
        .flushes_per_tick = config->batching_flushes_per_tick,
        .messages = rate_of(config->limits_messages_burst, config->limits_messages_per_minute),
        .joins = rate_of(config->limits_joins_burst, config->limits_joins_per_minute),
        .typing = rate_of(config->limits_typing_burst, config->limits_typing_per_minute),
        .inbox = rate_of(config->limits_inbox_burst, config->limits_inbox_per_minute),
        .rooms_per_socket = config->limits_rooms,
        .sockets_per_user = config->limits_connections_per_user,
        .connections_per_tenant = config->limits_connections_per_tenant,
        .message_chars = 1000,
        .outbox_bytes = (uint32_t)config->limits_outbound_bytes,
        .stall_ms = (uint32_t)config->limits_slow_consumer_ms,
        .recheck_ms = (uint32_t)config->bus_recheck_ms,
        .partitions = config->bus_partitions,
        .lease_ms = (uint32_t)config->bus_lease_ms,
        .dead_max = config->bus_dead_max,
        .message_bytes = (uint32_t)config->limits_message_bytes,
        .context = hub,
        .room_access = hub_room_access,
        .auto_join = hub_auto_join,
        .hash128 = crypto_hash128,
    };
}

static int open_store(struct hub *hub)
{
    const struct config *config = hub->config;
    struct builder url = {0};
    char error[ERROR_MAX] = "";
    if (config->store_url[0] != '\0') {
        builder_str(&url, config->store_url);
    } else {
        builder_str(&url, "sqlite:");
        builder_str(&url, config->store_path);
    }
    struct store_config options = {
        .url = builder_bytes(&url),
        .port_count = hub->shard_count,
        .pool_size = config->store_pool,
        .slow_ms = (uint32_t)config->store_slow_query_ms,
        .post = hub_store_post,
        .post_context = hub,
    };
    int status = store_open(&options, &hub->store, error, sizeof(error));
    builder_reset(&url);
    return status != 0 ? fail(status, error) : 0;
}

static int check_bus(const struct hub *hub)
{
    struct builder error = {0};
    struct redis_report report;
    struct redis_options options = {.url = hub->config->bus_url};
    if (hub->config->bus_url[0] == '\0') {
        return 0;
    }
    int status = redis_check(&options, REDIS_CHECK_MS, &error, &report);
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

static int make_keys(struct hub *hub)
{
    static const char *const default_scopes[] = {"publish", "read"};
    const struct config *config = hub->config;
    size_t count = config->api_key_count;
    struct apikey_options *keys = mem_alloc_array(count + 1, sizeof(*keys));
    struct builder error = {0};
    for (size_t i = 0; i < count; i++) {
        const struct config_api_key *key = &config->api_keys[i];
        keys[i] = (struct apikey_options){.name = bytes_str(key->name),
            .key = bytes_str(key->key),
            .scopes = key->scopes.items,
            .scope_count = key->scopes.count,
            .tenant = bytes_str(key->tenant)};
    }
    size_t total = count;
    if (config->auth_api_key[0] != '\0') {
        keys[total++] = (struct apikey_options){.name = BYTES("auth.api_key"),
            .key = bytes_str(config->auth_api_key),
            .scopes = default_scopes,
            .scope_count = ARRAY_LEN(default_scopes)};
    }
    int status = apikey_set_create(keys, total, &error, &hub->keys);
    mem_free(keys);
    return status != 0 ? fail_built(status, &error) : 0;
}

static int make_origins(struct hub *hub)
{
    const struct config_list *list = &hub->config->origins;
    struct bytes *origins = mem_alloc_array(list->count + 1, sizeof(*origins));
    struct builder error = {0};
    size_t count = list->count;
    for (size_t i = 0; i < count; i++) {
        origins[i] = bytes_str(list->items[i]);
    }
    if (hub->config->dev) {
        origins[count++] = BYTES("*"); /* only a loopback address is listened on */
    }
    int status = origin_list_create(origins, count, &error, &hub->origins);
    mem_free(origins);
    return status != 0 ? fail_built(status, &error) : 0;
}

static bool origin_allowed(void *context, const struct bytes *origins, size_t count, bool has_token)
{
    const struct hub *hub = context;
    return origin_allows(hub->origins, origins, count, has_token);
}

static int make_sessions(struct hub *hub)
{
    const struct config *config = hub->config;
    struct websocket_limits limits = {
        .message_bytes = (uint32_t)config->limits_message_bytes,
        .fragments = config->limits_fragments,
        .control_frames = config->limits_control_frames,
        .queued_replies = config->limits_queued_replies,
    };
    struct session_config options = {
        .app = peal_app(hub),
        .context = hub,
        .origin_allowed = origin_allowed,
        .sha1 = crypto_sha1,
        .before_auth = limits,
        .after_auth = limits,
        .ping_interval_ms = (uint32_t)config->engine_ping_interval_ms,
        .ping_timeout_ms = (uint32_t)config->engine_ping_timeout_ms,
        .connect_timeout_ms = (uint32_t)config->auth_timeout_ms,
        .attachments_timeout_ms = ATTACHMENTS_MS,
        .attachments_bytes = (uint32_t)config->engine_max_payload,
        .query_token = config->auth_query_token,
    };
    options.before_auth.message_bytes = (uint32_t)config->limits_message_bytes_unauthenticated;
    hub->sessions = session_layer_create(&options, hub->shard_count);
    return 0;
}

static void make_http(struct hub *hub)
{
    const struct config *config = hub->config;
    hub->public_http = (struct http_server_config){
        .routes = routes_public(config),
        .context = hub,
        .observe = metrics_observe,
        .max_head_bytes = (uint32_t)config->limits_head_bytes,
        .max_headers = config->limits_headers,
        .head_timeout_ms = (uint32_t)config->limits_head_timeout_ms,
        .body_timeout_ms = (uint32_t)config->limits_body_timeout_ms,
        .idle_timeout_ms = (uint32_t)config->limits_keep_alive_ms,
    };
    hub->internal_http = hub->public_http;
    hub->internal_http.routes = routes_internal(config);
}

/* Raise the open-file limit as far as it goes: every connection is a descriptor. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int check_dev(const struct config *config)
{
    const char *host = config->listen_host;
    bool loopback =
        strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
    if (config->dev && !loopback) {
        return fail(STATUS_INVALID,
            "--dev opens every room and shows tokens: listen.host must be a loopback address");
    }
    return 0;
}

static int build(struct hub *hub)
{
    int status = check_dev(hub->config);
    if (status == 0) {
        status = hub_make_rules(hub);
    }
    if (status == 0) {
        status = make_keys(hub);
    }
    if (status == 0) {
        status = make_origins(hub);
    }
    if (status == 0) {
        status = check_bus(hub);
    }
    if (status == 0) {
        status = open_store(hub);
    }
    if (status == 0) {
        fill_actor_config(hub);
        make_http(hub);
        hub->system = actor_system_create(hub->shard_count);
        status = make_sessions(hub);
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
    unsigned count = config->shards > 0 ? config->shards : cores > 0 ? (unsigned)cores : 1;
    return count < SHARD_MAX ? count : SHARD_MAX;
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
    hub->shard_count = count_shards(config);
    make_node_name(hub);
    raise_file_limit();
    dev_make_secret(hub);
    int status = build(hub);
    if (status == 0) {
        hub->shards = mem_alloc_array(hub->shard_count, sizeof(*hub->shards));
        status = hub_shards_start(hub);
    }
    if (status != 0) {
        hub_stop(hub);
        return status;
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
    log_info("START", "listening",
        "version=%s node=%s public=%s:%u internal=%s:%u store=%s bus=%s cores=%u files=%llu",
        PEAL_VERSION, hub->node, config->listen_host, (unsigned)hub->port,
        config->listen_internal_host, (unsigned)hub->internal_port, store_engine(hub->store),
        config->bus_url[0] != '\0' ? "redis" : "none", hub->shard_count,
        (unsigned long long)limit.rlim_cur);
}

/* Drain and stop. */

void hub_drain(struct hub *hub)
{
    atomic_store_explicit(&hub->draining, true, memory_order_relaxed);
    hub_shards_drain(hub);
}

void hub_stop(struct hub *hub)
{
    if (hub->shards != NULL) {
        hub_shards_stop(hub);
    }
    if (hub->system != NULL) {
        actor_system_destroy(hub->system);
    }
    hub_shards_finish(hub);
    session_layer_destroy(hub->sessions);
    if (hub->store != NULL) {
        store_close(hub->store);
    }
    access_destroy(hub->access);
    origin_list_destroy(hub->origins);
    apikey_set_destroy(hub->keys);
    mem_free(hub->dev_secret);
    mem_free(hub->shards);
    mem_free(hub);
}
