/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake - private to the session layer: what requests that become sessions have in common.
 */
#ifndef HUB_SESSION_HANDSHAKE_H
#define HUB_SESSION_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/eio.h"

struct http_request;
struct session_config;
struct session_extra;
struct session_part;

/* A parameter of at most `cap` bytes decoded; empty when there is none, or it is not good. */
struct bytes handshake_parameter(
    const struct http_request *request, const char *name, char *at, size_t cap);

/* Whether a page may connect; without an Origin it is no page. */
bool handshake_origin_allowed(
    const struct session_config *config, const struct http_request *request);

/*
 * Copy what the application will want to know, because the request is gone after the upgrade; with
 * `query_token` the parameter `token`, too. NULL when out of memory.
 */
MUST_CHECK struct session_extra *handshake_remember(
    const struct http_request *request, struct bytes subprotocol_token, bool query_token);

/* Answer 503: the node drains; there is no memory. The request is gone afterwards. */
void handshake_refuse_draining(struct http_request *request);
void handshake_refuse_starved(struct http_request *request);

/* Tell the operator what neither page nor client is told. */
void handshake_log_refusal(
    struct session_part *part, const struct http_request *request, enum eio_error error);

#endif
