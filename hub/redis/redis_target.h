/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_target - whom to connect to and how: the one thing that links, checks and commands share.
 */
#ifndef HUB_REDIS_REDIS_TARGET_H
#define HUB_REDIS_REDIS_TARGET_H

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "hub/redis/redis_url.h"

struct config;
struct tls_context;

struct redis_target {
    struct redis_url url; /* with user and password */
    char sentinel_user[256]; /* who logs in at the sentinels; empty: the default user */
    char sentinel_password[1024]; /* empty: nobody does */
    struct tls_context *tls; /* one reference; NULL: plain */
    char tls_name[256]; /* whom the certificate must be for; empty: the host connected to */
};

/*
 * Read what `config` says (bus.url, bus.user, bus.password, bus.tls_…); `url`, unless NULL, stands
 * for bus.url and brings its own user and password. STATUS_INVALID, STATUS_NOT_FOUND, STATUS_IO
 * with a sentence appended to `error`, without passwords. Blocks to read files.
 */
MUST_CHECK int redis_target_init(const struct config *config, const char *url,
    struct builder *error, struct redis_target *ret_target);

/* The sentinels of `from`, as servers that can be connected to; a reference of its own. */
void redis_target_sentinels(const struct redis_target *from, struct redis_target *ret_target);

/* Copy `from`, with a reference of its own. */
void redis_target_copy(const struct redis_target *from, struct redis_target *ret_target);

/* Drop what it refers to, and its password. All zero is allowed. */
void redis_target_finish(struct redis_target *target);

#endif
