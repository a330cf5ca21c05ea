/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_load - settings from a file, the environment and flags.
 */
#ifndef HUB_CONFIG_CONFIG_LOAD_H
#define HUB_CONFIG_CONFIG_LOAD_H

#include "codec/base/check.h"
#include "hub/config/config.h"

/*
 * Load the settings. Arguments that are no settings are stored in order in `ret_rest` (room for
 * argc + 1 pointers; ended by NULL). STATUS_INVALID: `error` says what is wrong and where, and
 * nothing is returned. Main thread only: the file parser keeps state of its own.
 */
MUST_CHECK int config_load(const struct config_input *input, struct config_error *error,
    char **ret_rest, struct config **ret_config);

/*
 * Load the settings once more from the same file, environment and flags as `current`, whose input
 * must still be there. As config_load; arguments that are no settings are passed over.
 */
MUST_CHECK int config_load_again(
    const struct config *current, struct config_error *error, struct config **ret_config);

/*
 * Overwrite the values of secrets among the program's own arguments, so that lists of processes do
 * not show them. What was read of them must be a copy.
 */
void config_hide_secrets(int argc, char **argv);

#endif
