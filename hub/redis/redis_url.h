/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_url - the address of a Redis server, as settings write it.
 */
#ifndef HUB_REDIS_REDIS_URL_H
#define HUB_REDIS_REDIS_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* Where one server listens. */
struct redis_place {
    bool is_unix;
    uint16_t port;
    char host[256]; /* name or address without brackets, or the path of a unix socket */
};

struct redis_url {
    struct redis_place place;
    bool tls;
    unsigned db;
    bool has_password;
    char user[256]; /* empty: the default user */
    char password[1024];
};

/*
 * Parse redis://[[user]:password@]host[:port][/db], the same with rediss:// for TLS, or
 * unix://[[user]:password@]path[?db=n]; user and password may be percent-encoded. STATUS_INVALID
 * with a sentence appended to `error` that does not repeat the password.
 */
MUST_CHECK int redis_url_parse(struct bytes text, struct builder *error, struct redis_url *ret_url);

/* Append the URL without user and password, for logs: "redis://host:6379/0". */
void redis_url_show(const struct redis_url *url, struct builder *out);

#endif
