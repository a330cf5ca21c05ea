/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes addresses of Redis apart, and shows them without the password.
 */
#include "hub/redis/redis_url.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/query.h"
#include "codec/url.h"

enum { REDIS_PORT = 6379, SENTINEL_PORT = 26379, UNIX_PATH_MAX_LEN = 107, DB_MAX = 65535 };

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

static int parse_place(
    struct bytes text, uint16_t port, struct builder *error, struct redis_place *place)
{
    struct url_host host;
    if (url_split_host(text, &host) != 0) {
        return refuse(error, "the host's brackets do not fit, or something stands behind them");
    }
    if (url_port(&host, port, &place->port) != 0) {
        return refuse(error, "the port must be a number from 1 to 65535 (in a password / ? # are "
                             "%2F %3F %23)");
    }
    if (!copy(host.name, place->host, sizeof(place->host))) {
        return refuse(error, "the host is missing or too long");
    }
    return 0;
}

/* Take what stands before the first `mark` off *text. */
static struct bytes take(struct bytes *text, char mark)
{
    const char *end = text->len > 0 ? memchr(text->at, mark, text->len) : NULL;
    struct bytes first = bytes_of(text->at, end != NULL ? (size_t)(end - text->at) : text->len);
    *text = bytes_skip(*text, end != NULL ? first.len + 1 : first.len);
    return first;
}

static int parse_places(
    struct bytes list, uint16_t port, struct builder *error, struct redis_url *url)
{
    int status = 0;
    bool more = true;
    url->count = 0;
    while (status == 0 && more) {
        struct bytes one = list;
        more = list.len > 0 && memchr(list.at, ',', list.len) != NULL;
        one = more ? take(&list, ',') : list;
        if (url->count == REDIS_PLACES_MAX) {
            return refuse(error, "more than 16 hosts");
        }
        status = parse_place(one, port, error, &url->places[url->count++]);
    }
    return status;
}

/* /name[/db] */
static int parse_master(struct bytes path, struct builder *error, struct redis_url *url)
{
    struct bytes rest = path.len > 0 ? bytes_skip(path, 1) : path;
    struct bytes name = take(&rest, '/');
    if (!decode(name, url->master, sizeof(url->master)) || url->master[0] == '\0' ||
        strpbrk(url->master, " \t\r\n") != NULL) {
        return refuse(
            error, "behind the sentinels stands the name of the master: /name or /name/db");
    }
    return parse_db(rest, error, url);
}

static int parse_tcp(const struct url *parts, struct builder *error, struct redis_url *url)
{
    if (parts->has_query || parts->has_fragment) {
        return refuse(error, "behind the database nothing may stand");
    }
    if (url->kind == REDIS_SENTINEL) {
        int status = parse_places(parts->host, SENTINEL_PORT, error, url);
        return status == 0 ? parse_master(parts->path, error, url) : status;
    }
    if (url->kind == REDIS_CLUSTER) {
        int status = parse_places(parts->host, REDIS_PORT, error, url);
        bool first = parts->path.len <= 1 || bytes_eq(parts->path, BYTES("/0"));
        return status != 0 || first ? status : refuse(error, "a cluster has no database but 0");
    }
    if (parts->host.len > 0 && memchr(parts->host.at, ',', parts->host.len) != NULL) {
        return refuse(
            error, "several hosts stand behind redis+sentinel:// and redis+cluster:// alone");
    }
    int status = parse_place(parts->host, REDIS_PORT, error, &url->places[0]);
    struct bytes db = parts->path.len > 0 ? bytes_skip(parts->path, 1) : parts->path;
    return status == 0 ? parse_db(db, error, url) : status;
}

static int parse_unix(const struct url *parts, struct builder *error, struct redis_url *url)
{
    struct bytes path = bytes_of(parts->host.at, parts->host.len + parts->path.len);
    url->places[0].is_unix = true;
    if (parts->has_fragment || !copy(path, url->places[0].host, UNIX_PATH_MAX_LEN + 1)) {
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

static const struct {
    const char *scheme;
    enum redis_kind kind;
    bool tls;
} schemes[] = {
    {"redis", REDIS_SINGLE, false},
    {"rediss", REDIS_SINGLE, true},
    {"unix", REDIS_SINGLE, false},
    {"redis+sentinel", REDIS_SENTINEL, false},
    {"rediss+sentinel", REDIS_SENTINEL, true},
    {"redis+cluster", REDIS_CLUSTER, false},
    {"rediss+cluster", REDIS_CLUSTER, true},
};

static bool find_scheme(struct bytes scheme, struct redis_url *url)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (bytes_eq_str(scheme, schemes[i].scheme)) {
            url->kind = schemes[i].kind;
            url->tls = schemes[i].tls;
            return true;
        }
    }
    return false;
}

int redis_url_parse(struct bytes text, struct builder *error, struct redis_url *ret_url)
{
    struct redis_url url = {.count = 1};
    struct url parts = {0};
    if (url_split(text, &parts) != 0 || !find_scheme(parts.scheme, &url)) {
        return refuse(error, "must begin with redis://, rediss://, redis+sentinel://, "
                             "rediss+sentinel://, redis+cluster://, rediss+cluster:// or unix://");
    }
    int status = parse_parts(&parts, error, &url);
    if (status == 0) {
        *ret_url = url;
    }
    return status;
}

bool redis_place_equals(const struct redis_place *a, const struct redis_place *b)
{
    return a->is_unix == b->is_unix && a->port == b->port && strcmp(a->host, b->host) == 0;
}

void redis_place_show(const struct redis_place *place, struct builder *out)
{
    if (place->is_unix) {
        builder_str(out, place->host);
    } else if (strchr(place->host, ':') != NULL) {
        builder_printf(out, "[%s]:%u", place->host, place->port);
    } else {
        builder_printf(out, "%s:%u", place->host, place->port);
    }
}

void redis_url_show(const struct redis_url *url, struct builder *out)
{
    if (url->places[0].is_unix) {
        builder_printf(out, "unix://%s?db=%u", url->places[0].host, url->db);
        return;
    }
    static const char *const kinds[] = {
        [REDIS_SINGLE] = "", [REDIS_SENTINEL] = "+sentinel", [REDIS_CLUSTER] = "+cluster"};
    builder_printf(out, "redis%s%s://", url->tls ? "s" : "", kinds[url->kind]);
    for (unsigned i = 0; i < url->count; i++) {
        builder_str(out, i > 0 ? "," : "");
        redis_place_show(&url->places[i], out);
    }
    if (url->kind == REDIS_SENTINEL) {
        builder_printf(out, "/%s", url->master);
    }
    builder_printf(out, "/%u", url->db);
}
