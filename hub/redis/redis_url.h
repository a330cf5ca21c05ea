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

enum { REDIS_PLACES_MAX = 16 };

enum redis_kind {
    REDIS_SINGLE, /* any of the places is it: the first that can be used */
    REDIS_SENTINEL, /* the places are sentinels, who know where the master is */
    REDIS_CLUSTER, /* the places are some of the servers of a cluster */
};

struct redis_url {
    enum redis_kind kind;
    unsigned count; /* of places, at least 1 */
    struct redis_place places[REDIS_PLACES_MAX];
    char master[128]; /* its name at the sentinels */
    bool tls;
    unsigned db;
    bool has_password;
    char user[256]; /* empty: the default user */
    char password[1024];
};

/*
 * Parse redis://[[user]:password@]host[:port][/db], unix://[[user]:password@]path[?db=n],
 * redis+cluster://[[user]:password@]host[:port][,host[:port]...][/0], or
 * redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/name[/db], whose user and
 * password are those of the master; rediss for redis asks for TLS. User and password may be
 * percent-encoded. STATUS_INVALID with a sentence appended to `error` that does not repeat the
 * password.
 */
MUST_CHECK int redis_url_parse(struct bytes text, struct builder *error, struct redis_url *ret_url);

/* Whether both are the same. */
bool redis_place_equals(const struct redis_place *a, const struct redis_place *b);

/* Append it: "host:6379", "[::1]:6379", or the path. */
void redis_place_show(const struct redis_place *place, struct builder *out);

/* Append the URL without user and password, for logs: "redis://host:6379/0". */
void redis_url_show(const struct redis_url *url, struct builder *out);

#endif
