/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds the tables of a node's settings by reference count.
 */
#include "hub/node/hub_settings.h"

#include "codec/base/mem.h"
#include "codec/preferences.h"
#include "hub/auth/access.h"
#include "hub/auth/apikey.h"
#include "hub/auth/jwt_config.h"
#include "hub/config/config_ask.h"
#include "hub/net/crypto.h"
#include "hub/net/origin.h"
#include "hub/net/outgoing_guard.h"
#include "hub/net/proxies.h"

void hub_settings_destroy(struct api_settings *api)
{
    struct hub_settings *settings = container_of(api, struct hub_settings, api);
    access_destroy(settings->access);
    access_destroy(settings->value_access);
    origin_list_destroy(api->origins);
    proxies_destroy(settings->proxies);
    outgoing_guard_destroy(settings->hooks.guard);
    crypto_wipe(&settings->hooks, sizeof(settings->hooks));
    crypto_wipe(&settings->webhooks, sizeof(settings->webhooks));
    crypto_wipe(&settings->push, sizeof(settings->push));
    hub_tls_finish(&settings->tls);
    redis_target_finish(&settings->bus);
    apikey_set_destroy(api->keys);
    jwt_keys_destroy(settings->jwt);
    preferences_destroy(settings->preferences);
    mem_free(settings->sessions);
    config_destroy(settings->owned);
    mem_free(settings);
}

void hub_settings_own(struct hub_settings *settings, struct config *config)
{
    CHECK(settings->config == config);
    settings->owned = config;
}

struct hub_settings *hub_settings_ref(struct hub_settings *settings)
{
    api_settings_ref(&settings->api);
    return settings;
}

void hub_settings_unref(struct hub_settings *settings)
{
    api_settings_unref(settings != NULL ? &settings->api : NULL);
}
