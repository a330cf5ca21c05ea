/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_route - which route of a table a request takes, and the one error shape of the API.
 */
#ifndef HUB_NET_HTTP_ROUTE_H
#define HUB_NET_HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/errors.h"

struct http_route;

enum { HTTP_ROUTE_ALLOW_MAX = 128 };

/* The first route of the table (it ends with a NULL path) for method and path; HEAD also takes GET
 * routes. NULL: none. */
const struct http_route *http_route_find(
    const struct http_route *routes, struct bytes method, struct bytes path);

/* The header line "Allow: …" for a path that has routes of other methods; empty when it has none.
 */
struct bytes http_route_allow(
    const struct http_route *routes, struct bytes path, char at[HTTP_ROUTE_ALLOW_MAX]);

/* The n-th "{}" segment (from 0) of `path`, percent-decoded into `buffer`. STATUS_INVALID,
 * STATUS_TOO_LARGE. */
MUST_CHECK int http_route_param(const char *pattern, struct bytes path, unsigned n, char *buffer,
    size_t size, struct bytes *ret_value);

/* Whether `name` is in a list of names with commas between them, ", " allowed. */
bool http_route_knows(const char *list, struct bytes name);

/* Copy a name that a caller made up, as far as it is text and fits; a C string. */
void http_route_copy_name(struct bytes name, char *at, size_t size);

enum { HTTP_ROUTE_NAME_MAX = 64 };

/* What is wrong with a query: C strings. */
struct http_route_fault {
    char field[HTTP_ROUTE_NAME_MAX + 1];
    char message[512];
};

/*
 * Whether each parameter of `query` is in `known`, a list as above, and is there once; else
 * `ret_fault` has the first one that is not, and what is known.
 */
bool http_route_check_query(
    const char *known, struct bytes query, struct http_route_fault *ret_fault);

/* Append {"error":{"code","message","field"?}}; `field` may be NULL. */
void http_route_write_error(
    struct builder *out, enum error_code code, const char *message, const char *field);

#endif
