/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goes through what must hold between settings, and says which of them is to be changed.
 */
#include "hub/config/config_check.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/names.h"
#include "codec/slot.h"
#include "hub/config/bus_address.h"
#include "hub/config/config_alerts.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_draft.h"
#include "hub/config/config_outboxes.h"
#include "hub/config/config_secret.h"
#include "hub/config/config_value.h"
#include "hub/net/loopback.h"
#include "hub/net/origin.h"

enum { TENANT_MAX = 128 }; /* bytes, as an API key may name */
enum { SECRET_LEAST = 32 }; /* bytes of an HS256 secret: RFC 7518 section 3.2 */
enum { HOOKS_MOST = 16, HOOK_NAME_MAX = 64, WEBHOOKS_MOST = 16, WEBHOOK_NAME_MAX = 48 };
enum { QUEUE_NAME_MAX = 64, QUEUES_MAX = 64 }; /* as a lease may name: sql/store_job.h */

static bool is_default(const struct config *config, enum config_place place)
{
    return strcmp(config->came_from[place], "default") == 0;
}

static bool starts_with(const char *text, const char *prefix)
{
    return bytes_starts(bytes_str(text), bytes_str(prefix));
}

/* Development: loopback unless told otherwise, and any user may join any room. */
static int check_dev(struct config *config, struct config_error *error)
{
    if (!config->dev) {
        return 0;
    }
    if (is_default(config, CONFIG_AT_listen_host)) {
        config->listen_host = "127.0.0.1";
        config->came_from[CONFIG_AT_listen_host] = "dev";
    }
    if (is_default(config, CONFIG_AT_core_dumps)) {
        config->core_dumps = true;
        config->came_from[CONFIG_AT_core_dumps] = "dev";
    }
    if (is_default(config, CONFIG_AT_listen_cluster_host)) {
        config->listen_cluster_host = "127.0.0.1";
        config->came_from[CONFIG_AT_listen_cluster_host] = "dev";
    }
    if (!loopback_is_host(bytes_str(config->listen_host)) ||
        !loopback_is_host(bytes_str(config->listen_internal_host)) ||
        !loopback_is_host(bytes_str(config->listen_cluster_host))) {
        return config_draft_refuse(error,
            "%s: dev: listen.host \"%.255s\", listen.internal_host \"%.255s\" and "
            "listen.cluster_host \"%.255s\" must be loopback addresses",
            config->came_from[CONFIG_AT_dev], config->listen_host, config->listen_internal_host,
            config->listen_cluster_host);
    }
    for (size_t i = 0; i < config->room_type_count; i++) {
        struct config_room_type *type = &config->room_types[i];
        if (strcmp(type->name, "*") == 0 && type->access.count == 1 &&
            strcmp(type->access.items[0], "claim") == 0) {
            type->access = (struct config_list){0};
            config_arena_append(config->arena, &type->access, "any");
        }
    }
    return 0;
}

static int check_listeners(const struct config *config, struct config_error *error)
{
    bool same_host = strcmp(config->listen_host, config->listen_internal_host) == 0;
    if (config->listen_port != 0 && config->listen_port == config->listen_internal_port &&
        same_host) {
        return config_draft_refuse(error,
            "%s: listen.internal_port: %u is also listen.port; allowed: another one",
            config->came_from[CONFIG_AT_listen_internal_port], config->listen_internal_port);
    }
    return 0;
}

/* Their names in Redis are not those of the bus, whose prefix others know. */
static int check_values(const struct config *config, struct config_error *error)
{
    if (strpbrk(config->values_prefix, "{}") != NULL) {
        return config_draft_refuse(error,
            "%s: values.prefix: \"%.64s\" has a brace; allowed: others",
            config->came_from[CONFIG_AT_values_prefix], config->values_prefix);
    }
    if (strcmp(config->values_prefix, config->bus_prefix) == 0) {
        return config_draft_refuse(error, "%s: values.prefix: is bus.prefix; allowed: others",
            config->came_from[CONFIG_AT_values_prefix]);
    }
    if (config->values_ttl_ms > config->values_ttl_max_ms) {
        return config_draft_refuse(error, "%s: values.ttl: more than values.ttl_max",
            config->came_from[CONFIG_AT_values_ttl_ms]);
    }
    return 0;
}

static int check_urls(struct config *config, struct config_error *error)
{
    int status = bus_address_make(config, error);
    const char *store = config->store_url;
    if (status < 0) {
        return status;
    }
    if (store[0] != 0 && !starts_with(store, "postgres://") &&
        !starts_with(store, "postgresql://")) {
        return config_draft_refuse(error, "%s: store.url: must begin with postgres://",
            config->came_from[CONFIG_AT_store_url]);
    }
    if (strpbrk(config->bus_prefix, "{}") != NULL) { /* Redis would take it for a hash tag */
        return config_draft_refuse(error, "%s: bus.prefix: \"%.64s\" has a brace; allowed: others",
            config->came_from[CONFIG_AT_bus_prefix], config->bus_prefix);
    }
    return check_values(config, error);
}

static int check_origins(struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->origins.count; i++) {
        const char *origin = config->origins.items[i];
        const char *fault = origin_fault(bytes_str(origin));
        if (fault != NULL) {
            return config_draft_refuse(error,
                "%s: origins: \"%.255s\" is not an origin (allowed: scheme://host[:port] or *): %s",
                config->came_from[CONFIG_AT_origins], origin, fault);
        }
        if (strcmp(origin, "*") == 0) {
            config_draft_warn(config, "origins: * lets the pages of any site connect");
        }
    }
    return 0;
}

static int check_aliases(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->events_alias.count; i++) {
        const char *alias = config->events_alias.items[i];
        const char *sign = strchr(alias, '=');
        if (sign == NULL || sign == alias || sign[1] == 0) {
            return config_draft_refuse(error,
                "%s: events.alias: \"%.255s\" is not of the form theirs=ours",
                config->came_from[CONFIG_AT_events_alias], alias);
        }
        if (names_event_reserved(bytes_str(sign + 1))) {
            return config_draft_refuse(error,
                "%s: events.alias: \"%.255s\": Socket.IO keeps the name \"%.255s\" for itself",
                config->came_from[CONFIG_AT_events_alias], alias, sign + 1);
        }
    }
    return 0;
}

static int check_jwt_keys(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->jwt_key_count; i++) {
        const struct config_jwt_key *key = &config->jwt_keys[i];
        bool secret = key->secret[0] != 0;
        bool file = key->file[0] != 0;
        if (secret == file) {
            return config_draft_refuse(
                error, "%s: jwt_key \"%.64s\": needs either secret or file", key->where, key->name);
        }
        if (secret && key->algorithm != ALGORITHM_HS256) {
            return config_draft_refuse(
                error, "%s: jwt_key \"%.64s\": a secret is for HS256 only", key->where, key->name);
        }
        if (secret && strlen(key->secret) < SECRET_LEAST) {
            return config_draft_refuse(error,
                "%s: jwt_key \"%.64s\": the secret is shorter than %d bytes", key->where, key->name,
                SECRET_LEAST);
        }
    }
    if (config->auth_secret[0] != 0 && strlen(config->auth_secret) < SECRET_LEAST) {
        return config_draft_refuse(error, "%s: auth.secret: too short; allowed: %d to 4096 bytes",
            config->came_from[CONFIG_AT_auth_secret], SECRET_LEAST);
    }
    return 0;
}

static int check_api_keys(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->api_key_count; i++) {
        if (config->api_keys[i].key[0] == 0) {
            return config_draft_refuse(error, "%s: api_key \"%.64s\": needs a key",
                config->api_keys[i].where, config->api_keys[i].name);
        }
    }
    size_t len = strlen(config->auth_api_key);
    if (len > 0 && len < 16) {
        return config_draft_refuse(error, "%s: auth.api_key: too short; allowed: 16 to 1024 bytes",
            config->came_from[CONFIG_AT_auth_api_key]);
    }
    return 0;
}

/* Whether a rule is one of `words` (separated by '|'); one ending in ':' takes an argument. */
static bool is_rule(const char *rule, const char *words)
{
    for (const char *at = words; *at != 0;) {
        size_t len = strcspn(at, "|");
        bool takes = at[len - 1] == ':';
        if (strncmp(rule, at, len) == 0 && (takes ? rule[len] != 0 : rule[len] == 0)) {
            return true;
        }
        at += len + (at[len] == '|');
    }
    return false;
}

static int check_rules(const char *where, const char *name, const char *option,
    const struct config_list *rules, const char *words, struct config_error *error)
{
    for (size_t i = 0; i < rules->count; i++) {
        if (!is_rule(rules->items[i], words)) {
            return config_draft_refuse(error,
                "%s: \"%.64s\": %s: unknown rule \"%.255s\"; allowed: %s", where, name, option,
                rules->items[i], words);
        }
    }
    return 0;
}

static int check_topic_types(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->topic_type_count; i++) {
        const struct config_topic_type *type = &config->topic_types[i];
        if (type->name[0] == 0 || strpbrk(type->name, "/:") != NULL) {
            return config_draft_refuse(error,
                "%s: topic_type \"%.64s\": a name without / and : is needed", type->where,
                type->name);
        }
    }
    return 0;
}

static int check_age(
    const char *where, const char *name, uint64_t age_ms, struct config_error *error)
{
    return age_ms == 0 || age_ms >= 1000
               ? 0
               : config_draft_refuse(
                     error, "%s: %s: too short; allowed: 0, or from 1s on", where, name);
}

/* How long notifications are kept, by tenant. */
static int check_retention(struct config *config, struct config_error *error)
{
    int status = check_age(config->came_from[CONFIG_AT_inbox_retention_age_ms],
        "inbox.retention_age", config->inbox_retention_age_ms, error);
    for (size_t i = 0; i < config->tenant_count && status == 0; i++) {
        const struct config_tenant *tenant = &config->tenants[i];
        if (strlen(tenant->name) > TENANT_MAX) {
            status = config_draft_refuse(
                error, "%s: tenant: the name is too long; allowed: up to 128 bytes", tenant->where);
        } else {
            status = check_age(tenant->where, "retention_age", tenant->retention_age_ms, error);
        }
    }
    if (status == 0 && config->tenant_count > 0 && !config->auth_tenants) {
        config_draft_warn(config, "tenant: auth.tenants is off, so no user has a tenant");
    }
    return status;
}

static int check_room_types(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->room_type_count; i++) {
        const struct config_room_type *type = &config->room_types[i];
        if (type->name[0] == 0 || strpbrk(type->name, "/:") != NULL) {
            return config_draft_refuse(error,
                "%s: room_type \"%.64s\": a name without / and : is needed", type->where,
                type->name);
        }
        if (type->replay > 0 &&
            strcmp(type->name, "*") == 0) { /* a sid, too, would be one of them */
            return config_draft_refuse(error,
                "%s: room_type \"*\": replay: rooms of no other type have no memory; allowed: 0",
                type->where);
        }
        int status = check_rules(type->where, type->name, "access", &type->access,
            "any|deny|claim|tenant|role:|pattern:", error);
        if (status == 0) {
            status = check_rules(
                type->where, type->name, "send", &type->send, "member|nobody|role:", error);
        }
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* Whether `word` is hook:NAME of a hook that there is. */
static bool is_hook(const struct config *config, const char *word)
{
    for (size_t i = 0; i < config->hook_count; i++) {
        if (strncmp(word, "hook:", 5) == 0 && strcmp(word + 5, config->hooks[i].name) == 0) {
            return true;
        }
    }
    return false;
}

/* Who joins by itself is not asked for, and has nobody who could be told that it may not. */
static int check_auto_join(
    const struct config *config, const struct config_room_type *type, struct config_error *error)
{
    for (size_t i = 0; i < type->auto_join.count; i++) {
        const char *room = type->auto_join.items[i];
        const struct config_room_type *joined = config_room_type(config, bytes_str(room));
        if (joined->join[0] != 0 && !starts_with(room, "user:")) {
            return config_draft_refuse(error,
                "%s: room_type \"%.64s\": auto_join: \"%.200s\": who may join rooms of \"%.64s\" "
                "is asked of a hook; allowed: rooms of other types",
                type->where, type->name, room, joined->name);
        }
    }
    return 0;
}

static int check_joins(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->room_type_count; i++) {
        const struct config_room_type *type = &config->room_types[i];
        if (type->join[0] != 0 && !is_hook(config, type->join)) {
            return config_draft_refuse(error,
                "%s: room_type \"%.64s\": join: \"%.80s\"; allowed: hook:NAME of a hook block",
                type->where, type->name, type->join);
        }
        int status = check_auto_join(config, type, error);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* Of the form name=hook:NAME or name=out; Peal's own events are not given away, so none can be
 * meant. */
static int check_events_to(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->events_to.count; i++) {
        const char *row = config->events_to.items[i];
        const char *sign = strchr(row, '=');
        bool out = sign != NULL && strcmp(sign + 1, "out") == 0;
        if (sign == NULL || sign == row || (!out && !is_hook(config, sign + 1))) {
            return config_draft_refuse(error,
                "%s: events.to: \"%.255s\"; allowed: name=hook:NAME of a hook block, name=out",
                config->came_from[CONFIG_AT_events_to], row);
        }
        if (out && config->bus_url[0] == 0) {
            return config_draft_refuse(error, "%s: events.to: \"%.255s\": out needs a bus.url",
                config->came_from[CONFIG_AT_events_to], row);
        }
    }
    return 0;
}

static int check_hooks(const struct config *config, struct config_error *error)
{
    if (config->hook_count > HOOKS_MOST) {
        return config_draft_refuse(error, "%s: hook: one too many; allowed: %d",
            config->hooks[HOOKS_MOST].where, (int)HOOKS_MOST);
    }
    for (size_t i = 0; i < config->hook_count; i++) {
        const struct config_hook *hook = &config->hooks[i];
        size_t len = strlen(hook->name);
        if (len == 0 || len > HOOK_NAME_MAX ||
            strspn(hook->name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != len) {
            return config_draft_refuse(error,
                "%s: hook \"%.64s\": allowed as name: 1 to %d of a to z, 0 to 9, _ and -",
                hook->where, hook->name, (int)HOOK_NAME_MAX);
        }
        if (hook->url[0] == 0 || hook->secret[0] == 0) {
            return config_draft_refuse(
                error, "%s: hook \"%.64s\": needs a url and a secret", hook->where, hook->name);
        }
    }
    if (config->values_warm[0] != 0 && !is_hook(config, config->values_warm)) {
        return config_draft_refuse(error,
            "%s: values.warm: \"%.80s\"; allowed: hook:NAME of a hook block, or empty",
            config->came_from[CONFIG_AT_values_warm], config->values_warm);
    }
    int status = check_joins(config, error);
    return status < 0 ? status : check_events_to(config, error);
}

static int check_webhook(const struct config_webhook *webhook, struct config_error *error)
{
    size_t len = strlen(webhook->name);
    if (len == 0 || len > WEBHOOK_NAME_MAX ||
        strspn(webhook->name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != len) {
        return config_draft_refuse(error,
            "%s: webhook \"%.64s\": allowed as name: 1 to %d of a to z, 0 to 9, _ and -",
            webhook->where, webhook->name, (int)WEBHOOK_NAME_MAX);
    }
    if (webhook->url[0] == 0 || webhook->secret[0] == 0 || webhook->events.count == 0) {
        return config_draft_refuse(error, "%s: webhook \"%.64s\": needs a url, a secret and events",
            webhook->where, webhook->name);
    }
    return 0;
}

static int check_webhooks(const struct config *config, struct config_error *error)
{
    if (config->webhook_count > WEBHOOKS_MOST) {
        return config_draft_refuse(error, "%s: webhook: one too many; allowed: %d",
            config->webhooks[WEBHOOKS_MOST].where, (int)WEBHOOKS_MOST);
    }
    for (size_t i = 0; i < config->webhook_count; i++) {
        int status = check_webhook(&config->webhooks[i], error);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

static int check_value_types(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->value_type_count; i++) {
        const struct config_value_type *type = &config->value_types[i];
        if (type->name[0] == 0 || strpbrk(type->name, "/:") != NULL) {
            return config_draft_refuse(error,
                "%s: value_type \"%.64s\": a name without / and : is needed", type->where,
                type->name);
        }
        int status = check_rules(type->where, type->name, "access", &type->access,
            "any|deny|tenant|role:|pattern:", error);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* Names of queues stand in paths, in messages between nodes, and in labels. */
static bool is_queue_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    return len > 0 && len <= QUEUE_NAME_MAX && strspn(name, allowed) == len;
}

/* Whether there is the webhook that a queue of that name is for. */
static bool has_webhook(const struct config *config, const struct config_queue *queue)
{
    bool has = false;
    for (size_t i = 0; i < config->webhook_count && !has; i++) {
        has = strcmp(config->webhooks[i].name, queue->name + strlen(CONFIG_WEBHOOK_QUEUE)) == 0;
    }
    return has;
}

static int check_queues(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->queue_count; i++) {
        const struct config_queue *queue = &config->queues[i];
        if (!is_queue_name(queue->name)) {
            return config_draft_refuse(error,
                "%s: queue \"%.64s\": a name of 1 to 64 letters, digits, dots, hyphens and "
                "underscores is needed",
                queue->where, queue->name);
        }
        if (bytes_starts(bytes_str(queue->name), BYTES(CONFIG_WEBHOOK_QUEUE)) &&
            !has_webhook(config, queue)) {
            return config_draft_refuse(error,
                "%s: queue \"%.64s\": a name that begins with " CONFIG_WEBHOOK_QUEUE
                " is that of a webhook block",
                queue->where, queue->name);
        }
    }
    if (config->queue_count > QUEUES_MAX) {
        return config_draft_refuse(error,
            "%s: queue: %zu queues; allowed: %d, with those that are there without a block",
            config->queues[config->queue_count - 1].where, config->queue_count, QUEUES_MAX);
    }
    return 0;
}

static int check_namespaces(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->namespace_count; i++) {
        const struct config_namespace *namespace = &config->namespaces[i];
        if (namespace->name[0] != '/') {
            return config_draft_refuse(error, "%s: namespace \"%.64s\": the name must begin with /",
                namespace->where, namespace->name);
        }
        int status = check_rules(namespace->where, namespace->name, "access", &namespace->access,
            "any|deny|role:", error);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

static int check_engine(const struct config *config, struct config_error *error)
{
    const char *cookie = config->engine_cookie;
    if (cookie[0] != 0 && !http1_is_token(bytes_str(cookie))) {
        return config_draft_refuse(error, "%s: engine.cookie: \"%.64s\" is no name of a cookie",
            config->came_from[CONFIG_AT_engine_cookie], cookie);
    }
    return 0;
}

static int check_cluster(const struct config *config, struct config_error *error)
{
    size_t len = strlen(config->cluster_secret);
    if (len > 0 && len < SECRET_LEAST) {
        return config_draft_refuse(error,
            "%s: cluster.secret: too short; allowed: %d to 1024 bytes",
            config->came_from[CONFIG_AT_cluster_secret], SECRET_LEAST);
    }
    return 0;
}

/* A certificate and its key, or neither; who wants those of callers has one of its own. */
static int check_tls_pair(const struct config *config, enum config_place cert_at, const char *cert,
    enum config_place key_at, const char *key, struct config_error *error)
{
    if ((cert[0] == '\0') != (key[0] == '\0')) {
        const char *name = config_settings[key_at].key;
        size_t len = strlen(name) - strlen("key");
        return config_draft_refuse(error, "%s: %s: goes with %.*scert: give both or neither",
            config->came_from[is_default(config, key_at) ? cert_at : key_at], name, (int)len, name);
    }
    return 0;
}

static int check_tls_ca(const struct config *config, const char *cert, enum config_place ca_at,
    const char *ca, struct config_error *error)
{
    if (cert[0] == '\0' && ca[0] != '\0') {
        return config_draft_refuse(error, "%s: %s: there is no certificate to go with it",
            config->came_from[ca_at], config_settings[ca_at].key);
    }
    return 0;
}

static void check_key_modes(struct config *config)
{
    for (size_t i = 0; i < config->listen_tls_key.count; i++) {
        config_secret_check_mode(config, config->listen_tls_key.items[i], true);
    }
    config_secret_check_mode(config, config->listen_internal_tls_key, true);
    config_secret_check_mode(config, config->cluster_tls_key, true);
    config_secret_check_mode(config, config->bus_tls_key, true);
}

static int check_tls(struct config *config, struct config_error *error)
{
    const char *cert = config->listen_tls_cert.count > 0 ? config->listen_tls_cert.items[0] : "";
    const char *internal = config->listen_internal_tls_cert;
    const char *cluster = config->cluster_tls_cert;
    if (config->listen_tls_cert.count != config->listen_tls_key.count) {
        bool untouched = is_default(config, CONFIG_AT_listen_tls_key);
        return config_draft_refuse(error,
            "%s: listen.tls_key: %zu for %zu of listen.tls_cert; allowed: one for each",
            config->came_from[untouched ? CONFIG_AT_listen_tls_cert : CONFIG_AT_listen_tls_key],
            config->listen_tls_key.count, config->listen_tls_cert.count);
    }
    if (cluster[0] != '\0' && config->cluster_tls_ca[0] == '\0') {
        return config_draft_refuse(error,
            "%s: cluster.tls_ca: missing: with cluster.tls_cert each node knows the others by it",
            config->came_from[CONFIG_AT_cluster_tls_cert]);
    }
    int status = check_tls_ca(
        config, cert, CONFIG_AT_listen_tls_client_ca, config->listen_tls_client_ca, error);
    status = status < 0
                 ? status
                 : check_tls_pair(config, CONFIG_AT_listen_internal_tls_cert, internal,
                       CONFIG_AT_listen_internal_tls_key, config->listen_internal_tls_key, error);
    status = status < 0 ? status
                        : check_tls_ca(config, internal, CONFIG_AT_listen_internal_tls_client_ca,
                              config->listen_internal_tls_client_ca, error);
    status = status < 0 ? status
                        : check_tls_pair(config, CONFIG_AT_cluster_tls_cert, cluster,
                              CONFIG_AT_cluster_tls_key, config->cluster_tls_key, error);
    status = status < 0 ? status
                        : check_tls_ca(config, cluster, CONFIG_AT_cluster_tls_ca,
                              config->cluster_tls_ca, error);
    status = status < 0 ? status
                        : check_tls_pair(config, CONFIG_AT_bus_tls_cert, config->bus_tls_cert,
                              CONFIG_AT_bus_tls_key, config->bus_tls_key, error);
    check_key_modes(config);
    return status;
}

static int check_limits(const struct config *config, struct config_error *error)
{
    if (config->limits_message_bytes_unauthenticated > config->limits_message_bytes) {
        bool untouched = is_default(config, CONFIG_AT_limits_message_bytes_unauthenticated);
        return config_draft_refuse(error,
            "%s: limits.message_bytes_unauthenticated: more than limits.message_bytes",
            config->came_from[untouched ? CONFIG_AT_limits_message_bytes
                                        : CONFIG_AT_limits_message_bytes_unauthenticated]);
    }
    return 0;
}

/* A value of a header: RFC 9110 5.5, without what is not ASCII. */
static int check_cache(struct config *config, struct config_error *error)
{
    const char *control = config->cache_control;
    for (const char *at = control; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~') {
            return config_draft_refuse(error,
                "%s: cache.control: has a character that no header may have; allowed: visible "
                "ASCII and blanks",
                config->came_from[CONFIG_AT_cache_control]);
        }
    }
    if (strstr(control, "public") != NULL) {
        config_draft_warn(config, "cache.control: public lets proxies keep the inboxes of users");
    }
    return 0;
}

/* What is written into headers. */
static int check_headers(struct config *config, struct config_error *error)
{
    int status = check_engine(config, error);
    return status < 0 ? status : check_cache(config, error);
}

static int check_store(const struct config *config, struct config_error *error)
{
    if (config->store_pool_min > config->store_pool_max) {
        bool untouched = is_default(config, CONFIG_AT_store_pool_min);
        return config_draft_refuse(error, "%s: store.pool_min: %u is more than store.pool_max, %u",
            config->came_from[untouched ? CONFIG_AT_store_pool_max : CONFIG_AT_store_pool_min],
            config->store_pool_min, config->store_pool_max);
    }
    return 0;
}

static int check_bus(const struct config *config, struct config_error *error)
{
    if (!slot_divides(config->bus_partitions)) {
        return config_draft_refuse(error,
            "%s: bus.partitions: %u is no power of two; allowed: 1, 2, 4, 8, 16, 32, 64, 128, 256",
            config->came_from[CONFIG_AT_bus_partitions], config->bus_partitions);
    }
    if (!slot_divides(config->bus_slots)) {
        return config_draft_refuse(error,
            "%s: bus.slots: %u is no power of two; allowed: 1, 2, 4 and so on to 4096",
            config->came_from[CONFIG_AT_bus_slots], config->bus_slots);
    }
    return 0;
}

/* Blocks that say what holds for what has a name. */
static int check_types(struct config *config, struct config_error *error)
{
    int status = check_room_types(config, error);
    status = status < 0 ? status : check_topic_types(config, error);
    status = status < 0 ? status : check_value_types(config, error);
    status = status < 0 ? status : check_hooks(config, error);
    status = status < 0 ? status : check_webhooks(config, error);
    status = status < 0 ? status : check_queues(config, error);
    status = status < 0 ? status : config_alerts_check(config, error);
    status = status < 0 ? status : config_outboxes_check(config, error);
    return status < 0 ? status : check_retention(config, error);
}

int config_check(struct config *config, struct config_error *error)
{
    int status = check_dev(config, error);
    status = status < 0 ? status : check_listeners(config, error);
    status = status < 0 ? status : check_urls(config, error);
    status = status < 0 ? status : check_origins(config, error);
    status = status < 0 ? status : check_aliases(config, error);
    status = status < 0 ? status : check_jwt_keys(config, error);
    status = status < 0 ? status : check_api_keys(config, error);
    status = status < 0 ? status : check_types(config, error);
    status = status < 0 ? status : check_namespaces(config, error);
    status = status < 0 ? status : check_headers(config, error);
    status = status < 0 ? status : check_cluster(config, error);
    status = status < 0 ? status : check_tls(config, error);
    status = status < 0 ? status : check_limits(config, error);
    status = status < 0 ? status : check_store(config, error);
    status = status < 0 ? status : check_bus(config, error);
    return status;
}
