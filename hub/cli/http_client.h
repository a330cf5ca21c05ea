/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_client - HTTP requests of the command line, blocking. Never used on a shard.
 */
#ifndef HUB_CLI_HTTP_CLIENT_H
#define HUB_CLI_HTTP_CLIENT_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct http_client;

/*
 * Make a client of `url`, "http[s]://host[:port][/base]". STATUS_INVALID with a sentence appended
 * to `error`. Connects with the first request; certificates must be signed by one of those in the
 * PEM file `ca`, which must outlive the client; NULL: as the machine says. No proxy is used.
 */
MUST_CHECK int http_client_create(
    const char *url, const char *ca, struct builder *error, struct http_client **ret_client);

/* Close and free; NULL is allowed. */
void http_client_destroy(struct http_client *client);

/*
 * POST a JSON text and wait for the answer, 30 s at most. `path` is put behind the base of the URL;
 * `key` is sent as bearer token where it is not empty. Fills in the status and appends the body.
 * STATUS_UNAVAILABLE: http_client_error says why; it is not known whether the request, which is
 * sent once, was carried out.
 */
MUST_CHECK int http_client_post(struct http_client *client, const char *path, const char *key,
    struct bytes json, unsigned *ret_status, struct builder *ret_body);

/* The same for GET, without key and body, on a connection that is kept; where it had been closed,
 * the request is sent again on another one. */
MUST_CHECK int http_client_get(
    struct http_client *client, const char *path, unsigned *ret_status, struct builder *ret_body);

/* A request of any kind. */
struct http_ask {
    const char *method;
    const char *path; /* behind the base of the URL, with its query */
    const char *key; /* as above */
};

/* The same for any method, without a body. */
MUST_CHECK int http_client_ask(struct http_client *client, const struct http_ask *ask,
    unsigned *ret_status, struct builder *ret_body);

/* What went wrong in the last request. */
const char *http_client_error(const struct http_client *client);

#endif
