/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares a path with the rows of a table, segment by segment, and collects what its parameters
 * stand for.
 */
#include "hub/net/http_route.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/query.h"
#include "codec/utf8.h"
#include "hub/net/http_types.h"

/* Take the first segment off `path`, which begins with '/'. */
static struct bytes take_segment(struct bytes *path)
{
    struct bytes rest = bytes_skip(*path, 1);
    const char *slash = rest.len > 0 ? memchr(rest.at, '/', rest.len) : NULL;
    size_t len = slash != NULL ? (size_t)(slash - rest.at) : rest.len;
    *path = bytes_skip(rest, len);
    return bytes_of(rest.at, len);
}

static bool match_path(const char *pattern, struct bytes path)
{
    struct bytes left = bytes_str(pattern);
    while (left.len > 0 && path.len > 0 && left.at[0] == '/' && path.at[0] == '/') {
        struct bytes want = take_segment(&left);
        if (bytes_eq_str(want, "*") && left.len == 0) {
            return true;
        }
        struct bytes have = take_segment(&path);
        bool any = bytes_eq_str(want, "{}");
        if (any ? have.len == 0 : !bytes_eq(want, have)) {
            return false;
        }
    }
    return left.len == 0 && path.len == 0;
}

static bool match_method(const struct http_route *route, struct bytes method)
{
    return strcmp(route->method, "*") == 0 || bytes_eq_str(method, route->method) ||
           (bytes_eq_str(method, "HEAD") && strcmp(route->method, "GET") == 0);
}

const struct http_route *http_route_find(
    const struct http_route *routes, struct bytes method, struct bytes path)
{
    for (const struct http_route *route = routes; route->path != NULL; route++) {
        if (match_method(route, method) && match_path(route->path, path)) {
            return route;
        }
    }
    return NULL;
}

struct bytes http_route_allow(
    const struct http_route *routes, struct bytes path, char at[HTTP_ROUTE_ALLOW_MAX])
{
    struct builder line = {.max = HTTP_ROUTE_ALLOW_MAX - 2};
    for (const struct http_route *route = routes; route->path != NULL; route++) {
        if (match_path(route->path, path)) {
            builder_str(&line, builder_bytes(&line).len == 0 ? "Allow: " : ", ");
            builder_str(&line, route->method);
            builder_str(&line, strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
        }
    }
    struct bytes text = builder_bytes(&line);
    size_t len = 0;
    if (text.len > 0 && !builder_failed(&line)) {
        memcpy(at, text.at, text.len);
        memcpy(at + text.len, "\r\n", 2);
        len = text.len + 2;
    }
    builder_reset(&line);
    return bytes_of(at, len);
}

int http_route_param(const char *pattern, struct bytes path, unsigned n, char *buffer, size_t size,
    struct bytes *ret_value)
{
    struct bytes left = bytes_str(pattern);
    while (left.len > 0 && path.len > 0) {
        struct bytes want = take_segment(&left);
        struct bytes have = take_segment(&path);
        if (bytes_eq_str(want, "{}") && n-- == 0) {
            return query_decode_path(have, buffer, size, ret_value);
        }
    }
    return STATUS_INVALID;
}

bool http_route_knows(const char *list, struct bytes name)
{
    struct bytes rest = bytes_str(list);
    while (rest.len > 0) {
        const char *comma = memchr(rest.at, ',', rest.len);
        struct bytes known =
            bytes_of(rest.at, comma != NULL ? (size_t)(comma - rest.at) : rest.len);
        rest = bytes_skip(rest, known.len + (comma != NULL));
        rest = bytes_skip(rest, rest.len > 0 && rest.at[0] == ' ');
        if (bytes_eq(known, name)) {
            return true;
        }
    }
    return false;
}

void http_route_copy_name(struct bytes name, char *at, size_t size)
{
    size_t len = name.len < size ? name.len : size - 1;
    while (len > 0 && !utf8_valid(bytes_of(name.at, len))) {
        len--;
    }
    if (len > 0) {
        memcpy(at, name.at, len);
    }
    at[len] = '\0';
}

/* Whether `name`, decoded, is among the parameters of `query`. */
static bool has_parameter(struct bytes query, struct bytes name)
{
    struct bytes raw;
    struct bytes value;
    while (query_next(&query, &raw, &value)) {
        char text[HTTP_ROUTE_NAME_MAX];
        struct bytes other;
        if (query_decode(raw, text, sizeof(text), &other) == 0 && bytes_eq(other, name)) {
            return true;
        }
    }
    return false;
}

bool http_route_check_query(
    const char *known, struct bytes query, struct http_route_fault *ret_fault)
{
    struct bytes raw;
    struct bytes value;
    while (query_next(&query, &raw, &value)) {
        char text[HTTP_ROUTE_NAME_MAX];
        struct bytes name = raw;
        bool read = query_decode(raw, text, sizeof(text), &name) == 0;
        bool unknown = !read || !http_route_knows(known, name);
        if (unknown) {
            snprintf(ret_fault->message, sizeof(ret_fault->message),
                "Unknown parameter; known here: %s", known[0] != '\0' ? known : "none");
        } else if (has_parameter(query, name)) {
            snprintf(ret_fault->message, sizeof(ret_fault->message),
                "Given more than once; several values stand in one, with commas between");
        } else {
            continue;
        }
        http_route_copy_name(read ? name : raw, ret_fault->field, sizeof(ret_fault->field));
        return false;
    }
    return true;
}

void http_route_write_error(
    struct builder *out, enum error_code code, const char *message, const char *field)
{
    json_write_open(out, '{');
    json_write_key(out, "error");
    json_write_open(out, '{');
    json_write_text(out, "code", bytes_str(errors_text(code)));
    json_write_text(out, "message", bytes_str(message));
    if (field != NULL) {
        json_write_text(out, "field", bytes_str(field));
    }
    json_write_close(out, '}');
    json_write_close(out, '}');
}
