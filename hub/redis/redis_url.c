/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes addresses of Redis apart, and shows them without the password.
 */
#include "hub/redis/redis_url.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/query.h"
#include "codec/url.h"

enum { REDIS_PORT = 6379, UNIX_PATH_MAX_LEN = 107, DB_MAX = 65535 };

static int refuse(struct builder *error, const char *why)
{
    builder_printf(error, "Redis URL: %s", why);
    return STATUS_INVALID;
}

/* Percent-decode into a NUL-terminated array; false when malformed, too long, or with a NUL. */
static bool decode(struct bytes text, char *at, size_t size)
{
    struct bytes decoded;
    if (query_decode_path(text, at, size - 1, &decoded) != 0) {
        return false;
    }
    at[decoded.len] = '\0';
    return true;
}

/* Copy into a NUL-terminated array of `size`; false when empty, too long, or with a NUL. */
static bool copy(struct bytes text, char *at, size_t size)
{
    if (text.len == 0 || text.len >= size || memchr(text.at, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(at, text.at, text.len);
    at[text.len] = '\0';
    return true;
}

static bool parse_userinfo(struct bytes text, struct redis_url *url)
{
    const char *colon = text.len > 0 ? memchr(text.at, ':', text.len) : NULL;
    size_t len = colon != NULL ? (size_t)(colon - text.at) : text.len;
    if (len + 1 >= text.len) {
        return false;
    }
    url->has_password = true;
    return decode(bytes_of(text.at, len), url->user, sizeof(url->user)) &&
           decode(bytes_skip(text, len + 1), url->password, sizeof(url->password));
}

static int parse_db(struct bytes text, struct builder *error, struct redis_url *url)
{
    uint64_t db = 0;
    if (text.len > 0 && bytes_to_u64(text, DB_MAX, &db) != 0) {
        return refuse(error, "the database must be a number");
    }
    url->db = (unsigned)db;
    return 0;
}

static int parse_tcp(const struct url *parts, struct builder *error, struct redis_url *url)
{
    struct url_host host;
    if (url_split_host(parts->host, &host) != 0) {
        return refuse(error, "the host's brackets do not fit, or something stands behind them");
    }
    if (url_port(&host, REDIS_PORT, &url->place.port) != 0) {
        return refuse(error, "the port must be a number from 1 to 65535 (in a password / ? # are "
                             "%2F %3F %23)");
    }
    if (!copy(host.name, url->place.host, sizeof(url->place.host))) {
        return refuse(error, "the host is missing or too long");
    }
    if (parts->has_query || parts->has_fragment) {
        return refuse(error, "behind the database nothing may stand");
    }
    return parse_db(parts->path.len > 0 ? bytes_skip(parts->path, 1) : parts->path, error, url);
}

static int parse_unix(const struct url *parts, struct builder *error, struct redis_url *url)
{
    struct bytes path = bytes_of(parts->host.at, parts->host.len + parts->path.len);
    url->place.is_unix = true;
    if (parts->has_fragment || !copy(path, url->place.host, UNIX_PATH_MAX_LEN + 1)) {
        return refuse(error, "the path of the unix socket is missing or longer than 107 bytes");
    }
    if (parts->has_query && (!bytes_starts(parts->query, BYTES("db=")) || parts->query.len == 3)) {
        return refuse(error, "after '?' only db=<number> is known");
    }
    return parts->has_query ? parse_db(bytes_skip(parts->query, 3), error, url) : 0;
}

/* What follows the scheme. */
static int parse_parts(const struct url *parts, struct builder *error, struct redis_url *url)
{
    if (parts->has_userinfo && !parse_userinfo(parts->userinfo, url)) {
        return refuse(error, "before '@' there must be user:password or :password");
    }
    return bytes_eq_str(parts->scheme, "unix") ? parse_unix(parts, error, url)
                                               : parse_tcp(parts, error, url);
}

int redis_url_parse(struct bytes text, struct builder *error, struct redis_url *ret_url)
{
    struct redis_url url = {0};
    struct url parts = {0};
    if (url_split(text, &parts) != 0 ||
        (!bytes_eq_str(parts.scheme, "redis") && !bytes_eq_str(parts.scheme, "rediss") &&
            !bytes_eq_str(parts.scheme, "unix"))) {
        return refuse(error, "must begin with redis://, rediss:// or unix://");
    }
    url.tls = bytes_eq_str(parts.scheme, "rediss");
    int status = parse_parts(&parts, error, &url);
    if (status == 0) {
        *ret_url = url;
    }
    return status;
}

void redis_url_show(const struct redis_url *url, struct builder *out)
{
    const struct redis_place *place = &url->place;
    const char *scheme = url->tls ? "rediss" : "redis";
    if (place->is_unix) {
        builder_printf(out, "unix://%s?db=%u", place->host, url->db);
    } else if (strchr(place->host, ':') != NULL) {
        builder_printf(out, "%s://[%s]:%u/%u", scheme, place->host, place->port, url->db);
    } else {
        builder_printf(out, "%s://%s:%u/%u", scheme, place->host, place->port, url->db);
    }
}
