/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lends the actors what hub/ knows: rules of rooms, values, namespaces, origins.
 */
#include "hub/node/hub_rules.h"

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/names.h"
#include "hub/auth/access.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/net/origin.h"
#include "hub/node/hub_settings.h"

int hub_make_rules(const struct config *config, struct builder *error, struct access **ret_access)
{
    size_t count = config->room_type_count;
    struct access_type_options *types = mem_alloc_array(count + 1, sizeof(*types));
    for (size_t i = 0; i < count; i++) {
        const struct config_room_type *type = &config->room_types[i];
        types[i] = (struct access_type_options){
            .name = type->name,
            .rules = type->access.items,
            .rule_count = type->access.count,
            .send = type->send.items,
            .send_count = type->send.count,
            .match = type->match.items,
            .match_count = type->match.count,
        };
    }
    int status = access_create(types, count, error, ret_access);
    mem_free(types);
    return status;
}

int hub_make_value_rules(
    const struct config *config, struct builder *error, struct access **ret_access)
{
    size_t count = config->value_type_count;
    struct access_type_options *types = mem_alloc_array(count + 1, sizeof(*types));
    for (size_t i = 0; i < count; i++) {
        const struct config_value_type *type = &config->value_types[i];
        types[i] = (struct access_type_options){
            .name = type->name,
            .rules = type->access.items,
            .rule_count = type->access.count,
            .match = type->match.items,
            .match_count = type->match.count,
        };
    }
    int status = access_create_closed(types, count, error, ret_access);
    mem_free(types);
    return status;
}

/* Whether a word `role:NAME` names the role of `who`. */
static bool is_role(struct bytes word, const struct claims *who)
{
    return bytes_starts(word, BYTES("role:")) && bytes_eq(bytes_skip(word, 5), claims_role(who));
}

int hub_room_access(
    void *context, const struct identity *who, struct bytes room, struct room_rules *ret_rules)
{
    const struct hub_settings *settings = context;
    const struct config_room_type *type = config_room_type(settings->config, room);
    bool is_asked = type->join[0] != '\0' && !bytes_starts(room, BYTES("user:"));
    int hook = is_asked ? hooks_find(&settings->hooks, type->join) : 0;
    int status =
        is_asked ? STATUS_AGAIN : access_check(settings->access, identity_claims(who), room);
    if (hook < 0) {
        return STATUS_DENIED;
    }
    if (status != 0 && status != STATUS_AGAIN) {
        return status;
    }
    *ret_rules = (struct room_rules){
        .hook = (uint8_t)hook,
        .max_members =
            type->max_members > 0 ? type->max_members : settings->config->limits_room_members,
        .presence = type->presence,
    };
    return status;
}

void hub_room_windows(void *context, struct bytes room, struct room_window_rules *ret_rules)
{
    const struct hub_settings *settings = context;
    const struct config_room_type *type = config_room_type(settings->config, room);
    _Static_assert((int)CONFIG_ROOM_BATCHING_OFF == (int)ROOM_BATCHING_OFF, "in one order");
    *ret_rules = (struct room_window_rules){
        .batching = (enum room_batching)type->batching, .batch_event = type->batch_event};
}

void hub_room_memory(void *context, struct bytes room, struct room_memory_rules *ret_rules)
{
    const struct hub_settings *settings = context;
    if (bytes_starts(room, BYTES("user:"))) {
        return;
    }
    const struct config_room_type *type = config_room_type(settings->config, room);
    *ret_rules = (struct room_memory_rules){.events = type->replay,
        .bytes = (uint32_t)type->replay_bytes,
        .age_ms = (uint32_t)type->replay_age_ms,
        .history_ms = type->history == CONFIG_ROOM_HISTORY_STORE ? type->history_age_ms : 0};
}

bool hub_room_retains(void *context, struct bytes room)
{
    const struct hub_settings *settings = context;
    return config_room_type(settings->config, room)->retain;
}

bool hub_room_may_send(void *context, const struct identity *who, struct bytes room)
{
    const struct hub_settings *settings = context;
    return access_may_send(settings->access, identity_claims(who), room);
}

int hub_value_access(void *context, const struct identity *who, struct bytes key)
{
    const struct hub_settings *settings = context;
    return access_check(settings->value_access, identity_claims(who), key);
}

/* Whether `pattern`, which may end in '*', means the event `name`. */
static bool means(struct bytes pattern, struct bytes name)
{
    if (pattern.len > 0 && pattern.at[pattern.len - 1] == '*') {
        return bytes_starts(name, bytes_of(pattern.at, pattern.len - 1));
    }
    return bytes_eq(pattern, name);
}

int hub_event_hook(void *context, struct bytes name)
{
    const struct hub_settings *settings = context;
    const struct config_list *rows = &settings->config->events_to;
    for (size_t i = 0; i < rows->count; i++) {
        const char *sign = strchr(rows->items[i], '=');
        if (means(bytes_of(rows->items[i], (size_t)(sign - rows->items[i])), name)) {
            return strcmp(sign + 1, "out") == 0 ? HOOK_OUT : hooks_find(&settings->hooks, sign + 1);
        }
    }
    return -1;
}

bool hub_topic_self(void *context, struct bytes topic)
{
    const struct hub_settings *settings = context;
    const struct config_topic_type *type = config_topic_type(settings->config, topic);
    return type != NULL && type->self;
}

bool hub_is_queue(void *context, struct bytes name)
{
    const struct hub_settings *settings = context;
    const struct config *config = settings->config;
    for (size_t i = 0; i < config->queue_count; i++) {
        if (bytes_eq_str(name, config->queues[i].name)) {
            return !config_queue_is_own(&config->queues[i]);
        }
    }
    return false;
}

struct bytes hub_room_type(void *context, struct bytes room)
{
    const struct hub_settings *settings = context;
    struct bytes type = access_type(settings->access, room);
    return bytes_eq(type, BYTES("*")) ? bytes_of("", 0) : type;
}

/* Fill "{sub}", "{role}" and "{tenant}" in; false when one of them is empty or the text too long.
 */
static bool fill_in(const char *pattern, const struct identity *who, char *at, size_t *ret_len)
{
    const struct claims *claims = identity_claims(who);
    const struct {
        const char *name;
        struct bytes value;
    } parts[] = {{"{sub}", claims_user(claims)}, {"{role}", claims_role(claims)},
        {"{tenant}", claims_tenant(claims)}};
    size_t len = 0;
    while (*pattern != '\0') {
        struct bytes piece = bytes_of(pattern, 1);
        size_t skip = 1;
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            if (strncmp(pattern, parts[i].name, strlen(parts[i].name)) == 0) {
                piece = parts[i].value;
                skip = strlen(parts[i].name);
            }
        }
        if (piece.len == 0 || len + piece.len > NAMES_ROOM_MAX) {
            return false;
        }
        memcpy(at + len, piece.at, piece.len);
        len += piece.len;
        pattern += skip;
    }
    *ret_len = len;
    return len > 0;
}

bool hub_auto_join(
    void *context, const struct identity *who, unsigned n, char *at, struct bytes *ret_room)
{
    const struct config *config = ((const struct hub_settings *)context)->config;
    for (size_t i = 0; i < config->room_type_count; i++) {
        const struct config_list *patterns = &config->room_types[i].auto_join;
        for (size_t j = 0; j < patterns->count; j++) {
            size_t len;
            if (fill_in(patterns->items[j], who, at, &len) && n-- == 0) {
                *ret_room = bytes_of(at, len);
                return true;
            }
        }
    }
    return false;
}

bool hub_namespace_access(const struct config *config, struct bytes nsp, const struct claims *who)
{
    for (size_t i = 0; i < config->namespace_count; i++) {
        const struct config_namespace *row = &config->namespaces[i];
        if (!bytes_eq_str(nsp, row->name)) {
            continue;
        }
        for (size_t j = 0; j < row->access.count; j++) {
            struct bytes word = bytes_str(row->access.items[j]);
            if (bytes_eq(word, BYTES("any")) || is_role(word, who)) {
                return true;
            }
        }
        return false;
    }
    return true; /* "/" without a block: every user */
}

bool hub_may_connect(void *context, const struct identity *who, struct bytes nsp)
{
    const struct hub_settings *settings = context;
    return hub_namespace_access(settings->config, nsp, identity_claims(who));
}

bool hub_recovers(void *context, struct bytes nsp)
{
    const struct hub_settings *settings = context;
    for (size_t i = 0; i < settings->config->namespace_count; i++) {
        const struct config_namespace *row = &settings->config->namespaces[i];
        if (bytes_eq_str(nsp, row->name)) {
            return row->recovery;
        }
    }
    return false;
}

bool hub_origin_allowed(void *context, const struct bytes *origins, size_t count, bool has_token)
{
    const struct hub_settings *settings = context;
    return origin_allows(settings->api.origins, origins, count, has_token);
}

struct bytes hub_cors_value(void *context, struct bytes origin, bool *ret_credentials)
{
    const struct hub_settings *settings = context;
    struct bytes value = origin_cors_value(settings->api.origins, origin, ret_credentials);
    *ret_credentials = *ret_credentials && settings->config->engine_cors_credentials;
    return value;
}
