/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_file - reads a configuration file with libconfuse; the only file that knows it.
 */
#ifndef HUB_CONFIG_CONFIG_FILE_H
#define HUB_CONFIG_CONFIG_FILE_H

#include "codec/base/check.h"
#include "hub/config/config.h"

/*
 * Set what the file at `path` says. STATUS_INVALID: `error` begins with file and line. Main
 * thread only: the scanner of libconfuse is one for the process.
 */
MUST_CHECK int config_file_read(
    const char *path, struct config *config, struct config_error *error);

#endif
