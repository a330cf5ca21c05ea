/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_check - what must hold between settings, once all are known.
 */
#ifndef HUB_CONFIG_CONFIG_CHECK_H
#define HUB_CONFIG_CONFIG_CHECK_H

#include "codec/base/check.h"
#include "hub/config/config.h"

/*
 * Apply what development mode implies, then check every rule that concerns more than the range
 * of one value, adding warnings for what is allowed but rarely meant. STATUS_INVALID: `error`.
 */
MUST_CHECK int config_check(struct config *config, struct config_error *error);

#endif
