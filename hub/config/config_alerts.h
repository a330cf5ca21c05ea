/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_alerts - what must hold of the blocks `alert`.
 */
#ifndef HUB_CONFIG_CONFIG_ALERTS_H
#define HUB_CONFIG_CONFIG_ALERTS_H

#include "codec/base/check.h"
#include "hub/config/config.h"

enum { CONFIG_ALERTS_MAX = 64, CONFIG_ALERT_NAME_MAX = 64 };

/*
 * Check them, and give those that are there without a block the rule they have then.
 * STATUS_INVALID: `error` says which, and what is allowed.
 */
MUST_CHECK int config_alerts_check(struct config *config, struct config_error *error);

#endif
