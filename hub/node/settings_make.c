/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns settings into the tables that actors, sessions and listeners work with.
 *
 * Order of this file: lists and keys, what actors work with, what sessions work with, life.
 */
#include "hub/node/settings_make.h"

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_post.h"
#include "hub/api/api_values.h"
#include "hub/auth/access.h"
#include "hub/auth/apikey.h"
#include "hub/auth/jwt_config.h"
#include "hub/cluster/node_lease.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/net/crypto.h"
#include "hub/net/origin.h"
#include "hub/net/proxies.h"
#include "hub/net/tls_context.h"
#include "hub/node/hub_hooks.h"
#include "hub/node/hub_preferences.h"
#include "hub/node/hub_push.h"
#include "hub/node/hub_rules.h"
#include "hub/node/hub_settings.h"
#include "hub/node/hub_tls.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"
#include "hub/node/peal_app.h"
#include "hub/node/zones.h"
#include "hub/session/session_layer.h"
#include "sql/store.h"

enum { ATTACHMENTS_MS = 10000 };

/* Lists and keys. */

static int make_keys(struct hub_settings *settings, const char *dev_key, struct builder *error)
{
    static const char *const default_scopes[] = {"publish", "read", "write"};
    const struct config *config = settings->config;
    size_t count = config->api_key_count;
    struct apikey_options *keys = mem_alloc_array(count + 2, sizeof(*keys));
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
    if (dev_key != NULL) {
        keys[total++] = (struct apikey_options){.name = BYTES("--dev"),
            .key = bytes_str(dev_key),
            .scopes = default_scopes,
            .scope_count = ARRAY_LEN(default_scopes)};
    }
    int status = apikey_set_create(keys, total, error, &settings->api.keys);
    mem_free(keys);
    return status;
}

static int make_origins(struct hub_settings *settings, struct builder *error)
{
    const struct config_list *list = &settings->config->origins;
    struct bytes *origins = mem_alloc_array(list->count + 1, sizeof(*origins));
    size_t count = list->count;
    for (size_t i = 0; i < count; i++) {
        origins[i] = bytes_str(list->items[i]);
    }
    if (settings->config->dev) {
        origins[count++] = BYTES("*"); /* only a loopback address is listened on */
    }
    int status = origin_list_create(origins, count, error, &settings->api.origins);
    mem_free(origins);
    return status;
}

static int make_proxies(struct hub_settings *settings, struct builder *error)
{
    const struct config_list *list = &settings->config->listen_trusted_proxies;
    struct bytes *networks = mem_alloc_array(list->count + 1, sizeof(*networks));
    for (size_t i = 0; i < list->count; i++) {
        networks[i] = bytes_str(list->items[i]);
    }
    int status = proxies_create(networks, list->count, error, &settings->proxies);
    mem_free(networks);
    if (status == 0 && settings->config->listen_proxy_protocol && list->count == 0) {
        builder_str(error,
            "listen.proxy_protocol: listen.trusted_proxies must say whose connections begin so");
        return STATUS_INVALID;
    }
    return status;
}

/* What actors work with. */

static struct rate rate_of(unsigned burst, unsigned per_minute)
{
    return (struct rate){.burst = burst, .per_minute = per_minute};
}

static uint32_t largest_body(const struct config *config)
{
    const uint32_t bodies[] = {
        api_post_event_body(config), api_values_body(config), (uint32_t)config->limits_body_bytes};
    uint32_t largest = 0;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        largest = bodies[i] > largest ? bodies[i] : largest;
    }
    return largest;
}

static struct notification_limits post_limits(const struct config *config)
{
    struct notification_limits limits = notification_limits_default;
    limits.title = (uint32_t)config->limits_title_bytes;
    limits.message = (uint32_t)config->limits_text_bytes;
    limits.data = (uint32_t)config->limits_data_bytes;
    limits.args = (uint32_t)config->limits_event_bytes;
    limits.depth = config->limits_json_depth;
    limits.targets = config->limits_targets < NOTIFICATION_USERS_MAX ? config->limits_targets
                                                                     : NOTIFICATION_USERS_MAX;
    return limits;
}

/* A drop is noticed after a ping interval and timeout: what was sent meanwhile is missed, too. */
static struct recovery_limits recovery_limits(const struct config *config)
{
    return (struct recovery_limits){
        .age_ms = (uint32_t)config->recovery_age_ms,
        .replay_ms = (uint32_t)(config->recovery_age_ms + config->engine_ping_interval_ms +
                                config->engine_ping_timeout_ms),
        .bytes = (uint32_t)config->recovery_bytes,
        .events = config->recovery_events,
        .sessions = config->recovery_sessions,
    };
}

/* Whether a key may be used for values, or clients may read some. */
static bool has_values(const struct config *config)
{
    if (config->value_type_count > 0) {
        return true;
    }
    for (size_t i = 0; i < config->api_key_count; i++) {
        const struct config_list *scopes = &config->api_keys[i].scopes;
        for (size_t j = 0; j < scopes->count; j++) {
            if (strcmp(scopes->items[j], "values") == 0) {
                return true;
            }
        }
    }
    return false;
}

static struct value_settings value_settings(
    const struct hub_settings *settings, const struct hub *hub)
{
    const struct config *config = settings->config;
    return (struct value_settings){
        .wanted = has_values(config),
        .warm = (unsigned)(hooks_find(&settings->hooks, config->values_warm) + 1),
        .prefix = hub->config->values_prefix,
        .bytes = config->values_bytes / hub->shard_count,
        .stale_ms = config->values_stale_ms,
        .fill_ms = config->values_fill_ms,
        .waiting = config->limits_value_waits,
        .drops = config->limits_value_drops,
    };
}

/* What rooms remember together; `age_ms` is 0 where none has a memory. */
static struct room_memory_limits memory_limits(const struct config *config)
{
    struct room_memory_limits limits = {.bytes = (size_t)config->rooms_memory_bytes};
    for (size_t i = 0; i < config->room_type_count; i++) {
        const struct config_room_type *type = &config->room_types[i];
        if (type->replay > 0 && type->replay_age_ms > limits.age_ms) {
            limits.age_ms = (uint32_t)type->replay_age_ms;
        }
        limits.history = limits.history || type->history == CONFIG_ROOM_HISTORY_STORE;
    }
    return limits;
}

/* What pages subscribe with. */
static const char *push_key_of(const struct push_settings *push)
{
    return push->key_count > 0 ? push->public_keys[0] : NULL;
}

/* Names that actors keep are those of the start, which live as long as the hub. */
static void fill_actors(struct hub_settings *settings, const struct hub *hub)
{
    const struct config *config = settings->config;
    _Static_assert((int)CONFIG_BATCHING_OFF == (int)BATCHING_OFF, "modes in one order");
    settings->actors = (struct actor_config){
        .node = hub->node,
        .holder = hub->sqlite_holder[0] != '\0' ? hub->sqlite_holder : NULL,
        .epoch = store_epoch(hub->store),
        .names = hub->names,
        .adapter_key = hub->config->bus_socketio_key,
        .tenants = config->auth_tenants,
        .batching = (enum batching_mode)config->batching_mode,
        .tick_ms = (uint32_t)config->batching_tick_ms,
        .events_per_tick = config->batching_events_per_tick,
        .messages = rate_of(config->limits_messages_burst, config->limits_messages_per_minute),
        .joins = rate_of(config->limits_joins_burst, config->limits_joins_per_minute),
        .typing = rate_of(config->limits_typing_burst, config->limits_typing_per_minute),
        .inbox = rate_of(config->limits_inbox_burst, config->limits_inbox_per_minute),
        .rooms = config->limits_rooms,
        .connections_per_user = config->limits_connections_per_user,
        .replaces = config->limits_excess == EXCESS_REPLACE,
        .devices = {.per_user = config->limits_devices, .push_key = push_key_of(&settings->push)},
        .message_chars = config->limits_message_chars,
        .typing_ms = (uint32_t)config->rooms_typing_ms,
        .nonce_ms = (uint32_t)config->rooms_nonce_ms,
        .outbound_bytes = (uint32_t)config->limits_outbound_bytes,
        .outbox_max = (uint32_t)config->limits_outbound_max,
        .slow_consumer_ms = (uint32_t)config->limits_slow_consumer_ms,
        .recheck_ms = (uint32_t)config->bus_recheck_ms,
        .probe_ms = (uint32_t)config->bus_probe_ms,
        .partitions = config->bus_partitions,
        .lease_ms = (uint32_t)config->bus_lease_ms,
        .keep_ms = (uint32_t)config->bus_keep_ms,
        .dead_max = config->bus_dead_max,
        .searches = config->limits_searches,
        .topics_bytes = config->limits_topics_bytes,
        .read_count = config->bus_read_count,
        .message_bytes = (uint32_t)config->limits_message_bytes,
        .requests_waiting = config->bus_requests,
        .request_bytes = (uint32_t)config->bus_request_bytes,
        .answer_bytes = (uint32_t)config->bus_answer_bytes,
        .asks = config->bus_asks,
        .ack_ms = (uint32_t)config->bus_ack_timeout_ms,
        .relay_unknown = config->events_unknown == UNKNOWN_RELAY,
        .posts = settings->api.posts,
        .recovery = recovery_limits(config),
        .values = value_settings(settings, hub),
        .presence = {.visibility = (enum presence_visibility)config->presence_visibility,
            .linger_ms = (uint32_t)config->presence_linger_ms},
        .memory = memory_limits(config),
        .retain = {.bytes = (size_t)hub->config->retain_bytes,
            .names = config->retain_names,
            .age_ms = config->retain_age_ms,
            .user_age_ms = config->retain_user_age_ms,
            .keeps = hub_room_retains},
        .preferences = settings->preferences,
        .zones = {.find = zones_find, .context = hub->zones},
        .context = settings,
        .room_access = hub_room_access,
        .may_send = hub_room_may_send,
        .may_connect = hub_may_connect,
        .room_windows = hub_room_windows,
        .room_memory = hub_room_memory,
        .room_type = hub_room_type,
        .topic_self = hub_topic_self,
        .event_hook = hub_event_hook,
        .is_queue = hub_is_queue,
        .value_access = hub_value_access,
        .recovers = hub_recovers,
        .auto_join = hub_auto_join,
        .hash128 = crypto_hash128,
    };
}

/* What sessions work with. */

static bool has_word(const struct config_list *list, const char *word)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], word) == 0) {
            return true;
        }
    }
    return false;
}

static void fill_sessions(struct hub_settings *settings, struct hub *hub)
{
    const struct config *config = settings->config;
    struct websocket_limits limits = {
        .message_bytes = (uint32_t)config->limits_message_bytes,
        .fragments = config->limits_fragments,
        .control_frames = config->limits_control_frames,
        .control_window_ms = (uint32_t)config->limits_control_window_ms,
        .queued_replies = config->limits_queued_replies,
        .events_per_turn = config->limits_events_per_turn,
        .close_timeout_ms = (uint32_t)config->limits_close_timeout_ms,
        .deflate_bytes = config->websocket_deflate ? (uint32_t)config->websocket_deflate_bytes : 0,
        .deflate_level = (uint8_t)config->websocket_deflate_level,
        .deflate_memory = (uint8_t)config->websocket_deflate_memory,
    };
    settings->sessions = mem_alloc(sizeof(*settings->sessions));
    *settings->sessions = (struct session_config){
        .app = peal_app(hub),
        .context = settings,
        .origin_allowed = hub_origin_allowed,
        .cors_value = hub_cors_value,
        .sha1 = crypto_sha1,
        .node = hub->lease != NULL ? hub->lease->tag : 0,
        .before_auth = limits,
        .after_auth = limits,
        .ping_interval_ms = (uint32_t)config->engine_ping_interval_ms,
        .ping_timeout_ms = (uint32_t)config->engine_ping_timeout_ms,
        .upgrade_timeout_ms = (uint32_t)config->engine_upgrade_timeout_ms,
        .polling_bytes = (uint32_t)config->engine_max_payload,
        .cookie = config->engine_cookie,
        .msgpack_parser = config->socketio_parser == CONFIG_PARSER_MSGPACK,
        .without_polling = !has_word(&config->engine_transports, "polling"),
        .without_websocket = !has_word(&config->engine_transports, "websocket"),
        .connect_timeout_ms = (uint32_t)config->auth_timeout_ms,
        .rejoin_timeout_ms = (uint32_t)config->auth_timeout_ms,
        .attachments_timeout_ms = ATTACHMENTS_MS,
        .attachments_bytes = (uint32_t)config->engine_max_payload,
        .namespaces = config->limits_namespaces,
        .unjoined = config->limits_unjoined,
        .idle_timeout_ms = config->idle_timeout_ms,
        .idle_ignores_heartbeats = !config->idle_heartbeats,
        .reconnect_ms = (uint32_t)config->drain_reconnect_ms,
        .query_token = config->auth_query_token,
    };
    settings->sessions->before_auth.message_bytes =
        (uint32_t)config->limits_message_bytes_unauthenticated;
}

struct http_server_config settings_make_http(const struct hub_settings *settings)
{
    const struct config *config = settings->config;
    return (struct http_server_config){
        .cors_value = api_cors_value,
        .observe = metrics_observe,
        .timed = "/api/",
        .max_head_bytes = (uint32_t)config->limits_head_bytes,
        .max_headers = config->limits_headers,
        .max_body_bytes = largest_body(config),
        .head_timeout_ms = (uint32_t)config->limits_head_timeout_ms,
        .body_timeout_ms = (uint32_t)config->limits_body_timeout_ms,
        .idle_timeout_ms = (uint32_t)config->limits_keep_alive_ms,
    };
}

/* Life. */

static int make_bus(struct hub_settings *settings, struct builder *error)
{
    if (settings->config->bus_url[0] == '\0') {
        return 0;
    }
    int status = redis_target_init(settings->config, NULL, error, &settings->bus);
    if (status == 0 && settings->bus.tls != NULL) {
        settings->tls.of[HUB_TLS_BUS] = tls_context_ref(settings->bus.tls);
    }
    return status;
}

int settings_make(const struct hub *hub, const struct config *config, struct builder *error,
    struct hub_settings **ret_settings)
{
    struct hub_settings *settings = mem_alloc(sizeof(*settings));
    settings->config = config;
    settings->api.config = config;
    settings->api.posts = post_limits(config);
    settings->api.destroy = hub_settings_destroy;
    hub_make_out(config, &settings->out);
    atomic_init(&settings->api.refs, 1);
    int status = hub_make_rules(config, error, &settings->access);
    if (status == 0) {
        status = hub_make_value_rules(config, error, &settings->value_access);
    }
    if (status == 0) {
        status = make_keys(settings, hub->dev_key, error);
    }
    if (status == 0) {
        status = make_origins(settings, error);
    }
    if (status == 0) {
        status = make_proxies(settings, error);
    }
    if (status == 0) {
        status = hub_make_hooks(config, error, &settings->hooks);
    }
    if (status == 0) {
        status = hub_make_webhooks(config, settings->hooks.guard, error, &settings->webhooks);
    }
    if (status == 0) {
        status = hub_make_push(config, &settings->hooks, error, &settings->push);
    }
    if (status == 0) {
        status = hub_tls_init(hub, config, error, &settings->tls);
    }
    if (status == 0) {
        status = make_bus(settings, error);
    }
    if (status == 0) {
        status = jwt_keys_create(config, hub->dev_secret, error, &settings->jwt);
    }
    if (status == 0) {
        status = hub_make_preferences(config, hub->zones, error, &settings->preferences);
    }
    if (status != 0) {
        hub_settings_unref(settings);
        return status;
    }
    *ret_settings = settings;
    return 0;
}

void settings_make_rest(struct hub_settings *settings, struct hub *hub)
{
    fill_actors(settings, hub);
    fill_sessions(settings, hub);
}
