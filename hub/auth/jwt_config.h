/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt_config - the keys and the policy for tokens that the settings describe.
 */
#ifndef HUB_AUTH_JWT_CONFIG_H
#define HUB_AUTH_JWT_CONFIG_H

#include "codec/base/check.h"

struct builder;
struct config;
struct config_jwt_key;
struct jwt_key_options;
struct jwt_keys;
struct jwt_options;

/*
 * Read the keys of `config`, and with `dev_secret` (may be NULL) one more, and try them. `config`
 * and `dev_secret` must outlive the result. STATUS_NOT_FOUND, STATUS_IO (a key file) or
 * STATUS_INVALID, with a sentence for people appended to `error`.
 */
MUST_CHECK int jwt_keys_create(const struct config *config, const char *dev_secret,
    struct builder *error, struct jwt_keys **ret_keys);

/*
 * Make one key of its block in the settings; a key file is read into `file`, which the result
 * points into. Statuses as above, except STATUS_INVALID: the key is not tried.
 */
MUST_CHECK int jwt_key_from_config(const struct config_jwt_key *key, struct builder *file,
    struct builder *error, struct jwt_key_options *ret_key);

/* Free them; NULL is allowed. */
void jwt_keys_destroy(struct jwt_keys *keys);

/* Keys and policy as jwt_create and jwt_reload take them. */
const struct jwt_options *jwt_keys_policy(const struct jwt_keys *keys);

#endif
