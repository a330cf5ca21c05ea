/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_preferences - what the configuration says of notifications, as preferences of everybody.
 */
#ifndef HUB_NODE_HUB_PREFERENCES_H
#define HUB_NODE_HUB_PREFERENCES_H

#include "codec/base/check.h"

struct builder;
struct config;
struct preferences;
struct zones;

/*
 * Make them of preferences.timezone and the blocks notification_type; preferences_destroy frees
 * them. STATUS_INVALID with one line for the operator in `error`.
 */
MUST_CHECK int hub_make_preferences(const struct config *config, struct zones *zones,
    struct builder *error, struct preferences **ret_preferences);

#endif
