/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt_config - the token check that the settings describe.
 */
#ifndef HUB_JWT_CONFIG_H
#define HUB_JWT_CONFIG_H

#include "codec/base/check.h"

struct hub;
struct jwt;

/* Make a token check for one shard; reads key files. Writes one line to standard error on failure.
 */
MUST_CHECK int jwt_from_config(const struct hub *hub, struct jwt **ret_jwt);

#endif
