/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_settings - the settings of a node and the tables made from them, as one immutable whole.
 *
 * SIGHUP makes another one (hub/node/reload.h). Every shard holds a reference of the one it works
 * with, in hub_shard.settings, and changes over in a turn of its own; the last reference frees it.
 * What is borrowed from it is valid until the end of the turn.
 */
#ifndef HUB_NODE_HUB_SETTINGS_H
#define HUB_NODE_HUB_SETTINGS_H

#include "actors/shard.h"
#include "codec/base/check.h"
#include "hub/api/api_shard.h"
#include "hub/hooks/hooks.h"
#include "hub/hooks/out.h"
#include "hub/hooks/webhooks.h"
#include "hub/net/http_server.h"
#include "hub/node/hub_tls.h"
#include "hub/push/push.h"
#include "hub/redis/redis_target.h"

struct access;
struct builder;
struct config;
struct hub;
struct jwt_keys;
struct preferences;
struct proxies;
struct session_config;

struct hub_settings {
    struct api_settings api; /* counts the references */
    const struct config *config;
    struct actor_config actors;
    struct session_config *sessions; /* NULL before settings_make_rest */
    struct access *access;
    struct access *value_access;
    struct proxies *proxies;
    struct hub_tls tls;
    struct redis_target bus; /* all zero without one */
    struct jwt_keys *jwt;
    struct hook_settings hooks; /* with the guard, which is owned */
    struct webhook_settings webhooks; /* which borrow it */
    struct out_settings out;
    struct push_settings push; /* borrows the guard of `hooks` */
    struct preferences *preferences; /* everybody's, where users do not say it themselves */
    /* private */
    struct config *owned;
};

/* Have `config` freed with the last reference. */
void hub_settings_own(struct hub_settings *settings, struct config *config);

/* api_settings.destroy: with the last reference. */
void hub_settings_destroy(struct api_settings *api);

/* Add a reference and return `settings`. Any thread. */
struct hub_settings *hub_settings_ref(struct hub_settings *settings);

/* Drop a reference; NULL is allowed. Any thread. */
void hub_settings_unref(struct hub_settings *settings);

#endif
