/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings_make - what SIGHUP may change, made from the configuration.
 */
#ifndef HUB_NODE_SETTINGS_MAKE_H
#define HUB_NODE_SETTINGS_MAKE_H

#include "codec/base/check.h"
#include "hub/net/http_server.h"

struct builder;
struct config;
struct hub;
struct hub_settings;

/*
 * Make the tables that `config` describes and try its token keys, with one reference. Reads key
 * files. STATUS_INVALID, STATUS_NOT_FOUND or STATUS_IO with a sentence for people appended to
 * `error`. Main thread.
 */
MUST_CHECK int settings_make(const struct hub *hub, const struct config *config,
    struct builder *error, struct hub_settings **ret_settings);

/* Fill in what actors and sessions work with; after the store has been opened, before it is shared.
 */
void settings_make_rest(struct hub_settings *settings, struct hub *hub);

/* The limits of HTTP; routes and context are left to the caller. */
struct http_server_config settings_make_http(const struct hub_settings *settings);

#endif
