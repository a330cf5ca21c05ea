/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads the settings again, refuses what cannot change while the node runs, and has the shards
 * change over.
 */
#include "hub/node/reload.h"

#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/log.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_load.h"
#include "hub/config/config_outboxes.h"
#include "hub/node/hub_settings.h"
#include "hub/node/hub_shard.h"
#include "hub/node/node.h"
#include "hub/node/settings_make.h"
#include "sql/store.h"

static bool refuse(struct bytes reason)
{
    log_error("RELOAD-REFUSED", "the new settings are not used, keeping the old ones", "reason=%s",
        log_quote(reason));
    return false;
}

static bool refuse_fixed(const char *key)
{
    log_error("RELOAD-FIXED",
        "this cannot change while the node runs: restart it; keeping the old settings", "key=%s",
        key);
    return false;
}

/* Every namespace has actors from the start on: none may come or go, or begin to be recovered. */
static bool has_same_namespaces(const struct config *current, const struct config *next)
{
    bool same = current->namespace_count == next->namespace_count;
    for (size_t i = 0; same && i < next->namespace_count; i++) {
        bool found = false;
        for (size_t j = 0; j < current->namespace_count; j++) {
            const struct config_namespace *other = &current->namespaces[j];
            found = found || (strcmp(other->name, next->namespaces[i].name) == 0 &&
                                 other->recovery == next->namespaces[i].recovery);
        }
        same = found;
    }
    return same;
}

static bool has_memory(const struct config *config)
{
    for (size_t i = 0; i < config->room_type_count; i++) {
        if (config->room_types[i].replay > 0) {
            return true;
        }
    }
    return false;
}

static void warn(const struct config *config)
{
    for (size_t i = 0; i < config->warnings.count; i++) {
        log_warn("CONFIG", "a setting needs attention, continuing", "what=%s",
            log_quote(bytes_str(config->warnings.items[i])));
    }
}

/* Make the tables of `next`, which becomes theirs; NULL when something is wrong with them. */
static struct hub_settings *make_settings(struct hub *hub, struct config *next)
{
    struct builder error = {0};
    struct hub_settings *settings = NULL;
    const char *fixed = config_fixed_change(hub->config, next);
    if (fixed == NULL && !has_same_namespaces(hub->config, next)) {
        fixed = "namespace";
    }
    if (fixed == NULL && !config_outboxes_eq(hub->config, next)) {
        fixed = "outbox";
    }
    if (fixed == NULL && has_memory(hub->config) != has_memory(next)) {
        fixed = "room_type.replay"; /* nodes read the stream from their start on, or not at all */
    }
    if (fixed != NULL) {
        refuse_fixed(fixed);
    } else if (settings_make(hub, next, &error, &settings) != 0) {
        refuse(builder_bytes(&error));
        settings = NULL;
    }
    builder_reset(&error);
    return settings;
}

bool reload_settings(struct hub *hub)
{
    struct config_error error;
    struct config *next;
    if (config_load_again(hub->config, &error, &next) != 0) {
        return refuse(bytes_str(error.text));
    }
    struct hub_settings *settings = make_settings(hub, next);
    if (settings == NULL) {
        config_destroy(next);
        return false;
    }
    hub_settings_own(settings, next);
    settings_make_rest(settings, hub);
    warn(next);
    log_set_level((enum log_level)next->log_level);
    store_set_slow(hub->store, (uint32_t)next->store_slow_query_ms);
    hub_shards_change(hub, settings);
    hub_settings_unref(hub->settings);
    hub->settings = settings;
    log_info("RELOAD", "the settings were loaded again", "keys=%zu origins=%zu",
        next->api_key_count + next->jwt_key_count + (next->auth_secret[0] != 0) +
            (next->auth_api_key[0] != 0),
        next->origins.count);
    return true;
}
