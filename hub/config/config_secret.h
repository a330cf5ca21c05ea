/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_secret - secrets in files of their own, and who on this machine can see them.
 *
 * Every setting that is a secret, or an address with a password in it, can also be named by a file
 * that holds it: auth { secret_file = … }, PEAL_AUTH_SECRET_FILE, --auth-secret-file.
 */
#ifndef HUB_CONFIG_CONFIG_SECRET_H
#define HUB_CONFIG_CONFIG_SECRET_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/config/config_table.h"

/* Whether `row` is a secret or may hold one (an address). */
bool config_secret_is(const struct config_setting *row);

/* What stands before `suffix` in `name` ("-file", "_FILE", "_file"); empty when it ends otherwise.
 */
struct bytes config_secret_base(struct bytes name, const char *suffix);

/*
 * Read the secret in the file at `path`, named at `where`, without the line feed at its end; it
 * lives as long as `config`. Warns where others can read the file. STATUS_INVALID: `error` says why
 * it cannot be read, or that it is empty, holds a NUL, or is larger than 64 KiB.
 */
MUST_CHECK int config_secret_read(struct config *config, const char *path, const char *where,
    struct config_error *error, const char **ret_text);

/* Warn when others can write the file at `path`, or read it although it holds secrets. */
void config_secret_check_mode(struct config *config, const char *path, bool holds_secrets);

#endif
