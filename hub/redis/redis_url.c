/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/redis/redis_url.h"

#include <string.h>

#include "codec/base/status.h"

enum { REDIS_PORT = 6379, UNIX_PATH_MAX_LEN = 107, DB_MAX = 65535 };

static int refuse(struct builder *error, const char *why)
{
    builder_printf(error, "Redis URL: %s", why);
    return STATUS_INVALID;
}

/* The position of `byte` in `text`, or text.len. */
static size_t find(struct bytes text, char byte)
{
    const char *at = text.len > 0 ? memchr(text.at, byte, text.len) : NULL;
    return at != NULL ? (size_t)(at - text.at) : text.len;
}

static size_t find_last(struct bytes text, char byte)
{
    const char *at = text.len > 0 ? memrchr(text.at, byte, text.len) : NULL;
    return at != NULL ? (size_t)(at - text.at) : text.len;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Percent-decode into a NUL-terminated array; false when malformed, too long, or with a NUL. */
static bool decode(struct bytes text, char *ret_text, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        int byte = (unsigned char)text.at[i];
        if (byte == '%') {
            int high = i + 2 < text.len ? hex_value(text.at[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.at[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            byte = high * 16 + low;
            i += 2;
        }
        if (byte == 0 || len + 1 >= size) {
            return false;
        }
        ret_text[len++] = (char)byte;
    }
    ret_text[len] = '\0';
    return true;
}

static bool parse_userinfo(struct bytes text, struct redis_url *url)
{
    size_t colon = find(text, ':');
    if (colon == text.len || colon + 1 == text.len) {
        return false;
    }
    url->has_password = true;
    return decode(bytes_of(text.at, colon), url->user, sizeof(url->user)) &&
           decode(bytes_skip(text, colon + 1), url->password, sizeof(url->password));
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

/* Split "host[:port]" or "[v6][:port]". */
static int parse_host(struct bytes text, struct builder *error, struct redis_url *url)
{
    struct bytes host = text;
    struct bytes rest = {0};
    if (text.len > 0 && text.at[0] == '[') {
        size_t end = find(text, ']');
        if (end == text.len) {
            return refuse(error, "a '[' without ']'");
        }
        host = bytes_of(text.at + 1, end - 1);
        rest = bytes_skip(text, end + 1);
    } else {
        size_t colon = find(text, ':');
        host = bytes_of(text.at, colon);
        rest = bytes_skip(text, colon);
    }
    uint64_t port = REDIS_PORT;
    if (rest.len > 0 &&
        (rest.at[0] != ':' || bytes_to_u64(bytes_skip(rest, 1), 65535, &port) != 0 || port == 0)) {
        return refuse(error, "the port must be a number from 1 to 65535");
    }
    if (host.len == 0 || host.len >= sizeof(url->host)) {
        return refuse(error, "the host is missing or too long");
    }
    memcpy(url->host, host.at, host.len);
    url->host[host.len] = '\0';
    url->port = (uint16_t)port;
    return 0;
}

static int parse_tcp(struct bytes text, struct builder *error, struct redis_url *url)
{
    size_t slash = find(text, '/');
    struct bytes authority = bytes_of(text.at, slash);
    struct bytes path = bytes_skip(text, slash);
    size_t at = find_last(authority, '@');
    if (at < authority.len) {
        if (!parse_userinfo(bytes_of(authority.at, at), url)) {
            return refuse(error, "before '@' there must be user:password or :password");
        }
        authority = bytes_skip(authority, at + 1);
    }
    int status = parse_host(authority, error, url);
    if (status != 0) {
        return status;
    }
    return parse_db(path.len > 0 ? bytes_skip(path, 1) : path, error, url);
}

static int parse_unix(struct bytes text, struct builder *error, struct redis_url *url)
{
    url->is_unix = true;
    size_t at = find(bytes_of(text.at, find(text, '/')), '@');
    if (at < find(text, '/')) {
        if (!parse_userinfo(bytes_of(text.at, at), url)) {
            return refuse(error, "before '@' there must be user:password or :password");
        }
        text = bytes_skip(text, at + 1);
    }
    size_t mark = find(text, '?');
    struct bytes query = bytes_skip(text, mark);
    struct bytes path = bytes_of(text.at, mark);
    if (path.len == 0 || path.len > UNIX_PATH_MAX_LEN || find(path, '\0') < path.len) {
        return refuse(error, "the path of the unix socket is missing or longer than 107 bytes");
    }
    memcpy(url->host, path.at, path.len);
    url->host[path.len] = '\0';
    if (query.len == 0) {
        return 0;
    }
    if (!bytes_starts(query, BYTES("?db=")) || query.len == 4) {
        return refuse(error, "after '?' only db=<number> is known");
    }
    return parse_db(bytes_skip(query, 4), error, url);
}

int redis_url_parse(struct bytes text, struct builder *error, struct redis_url *ret_url)
{
    struct redis_url url = {0};
    int status;
    if (bytes_starts(text, BYTES("redis://"))) {
        status = parse_tcp(bytes_skip(text, 8), error, &url);
    } else if (bytes_starts(text, BYTES("unix://"))) {
        status = parse_unix(bytes_skip(text, 7), error, &url);
    } else if (bytes_starts(text, BYTES("rediss://"))) {
        builder_str(error,
            "Redis URL: rediss:// (TLS) is not supported; use redis:// over a private network "
            "or a tunnel, or unix://");
        status = STATUS_UNSUPPORTED;
    } else {
        status = refuse(error, "must begin with redis:// or unix://");
    }
    if (status == 0) {
        *ret_url = url;
    }
    return status;
}

void redis_url_show(const struct redis_url *url, struct builder *out)
{
    if (url->is_unix) {
        builder_printf(out, "unix://%s?db=%u", url->host, url->db);
    } else if (strchr(url->host, ':') != NULL) {
        builder_printf(out, "redis://[%s]:%u/%u", url->host, url->port, url->db);
    } else {
        builder_printf(out, "redis://%s:%u/%u", url->host, url->port, url->db);
    }
}
