/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server - HTTP/1.1 on a connection: heads, bodies, a route table, answers, upgrades.
 *
 * Heads are parsed strictly (codec/http1.h) with a deadline from accept; bodies have a limit per
 * route; keep-alive with pipelining held back: the next request is looked at when the current one
 * has been answered. Handlers may answer later; a request whose peer went is told by `gone`.
 */
#ifndef HUB_NET_HTTP_SERVER_H
#define HUB_NET_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "codec/base/bytes.h"
#include "codec/errors.h"
#include "codec/http1.h"
#include "hub/net/http_types.h"

struct connection;
struct http_answer;

/* Serve HTTP on a connection fresh from the listener. `config` must outlive it. */
void http_serve(struct connection *connection, const struct http_server_config *config);

/* The context of the server that serves the request. */
void *http_context(const struct http_request *request);

struct http_route;

/* The route that the request takes; NULL: none matched. */
const struct http_route *http_route_of(const struct http_request *request);

/* The text of the n-th "{}" segment, percent-decoded into `buffer`; STATUS_INVALID,
 * STATUS_TOO_LARGE. */
MUST_CHECK int http_param(const struct http_request *request, unsigned n, char *buffer, size_t size,
    struct bytes *ret_value);

/*
 * Answer and end the request (its memory is gone afterwards). `headers` is complete header lines
 * ending in CR LF, or empty; Content-Length, Connection and (where configured) CORS headers are
 * added.
 */
void http_respond(struct http_request *request, unsigned status, const char *content_type,
    struct bytes headers, struct bytes body);

/*
 * Answer 200 with a body that lies still until the server ends: it is not copied, so that who does
 * not read costs none of it. Else as http_respond.
 */
void http_respond_lasting(struct http_request *request, const char *content_type,
    struct bytes headers, struct bytes body);

/*
 * Answer with the head alone, for who makes the body piece by piece (http_stream.h): sets how its
 * end is told in `answer`, and what else is the request's. True: the request lives on until
 * http_end, `drained` is called when the peer was behind and has taken all that waited. False: it
 * is answered and gone: it asked for the head alone, or there was no memory.
 */
MUST_CHECK bool http_begin(struct http_request *request, struct http_answer *answer);

/*
 * The body is complete, and the request is gone. The connection ends behind what waits, with
 * `keep_alive` only where it would have after any other answer.
 */
void http_end(struct http_request *request, bool keep_alive);

/* Answer with the one error shape of the API: {"error":{"code","message","field"?}}; field may be
 * NULL. */
void http_respond_error(
    struct http_request *request, enum error_code code, const char *message, const char *field);

/*
 * The peer of the request is authenticated: its connection no longer counts against its address's
 * cap, here or, where the request came through another node, there.
 */
void http_authenticated(struct http_request *request);

/*
 * Answer with `response`, whole bytes of any protocol, and close the connection for `reason` behind
 * them. The request is gone afterwards; http_server_config.observe does not see it.
 */
void http_close(struct http_request *request, struct bytes response, enum close_reason reason);

/*
 * Give the connection away after an upgrade: the server lets go of it, `response` (a complete 101
 * head) is put into its outbox, and bytes behind the head stay unconsumed for the new owner. The
 * request is gone afterwards. Call connection_own (websocket_init does) in the same turn.
 */
void http_upgrade(struct http_request *request, struct bytes response);

/*
 * Answer with the head alone and give the connection away as http_upgrade does: the new owner
 * writes the body, which the end of the connection ends. Sets what is the request's in `answer`.
 * True: the request is gone, its connection is whose connection_own comes in the same turn. False:
 * it is answered and gone, its connection ends: it asked for the head alone, or there was no
 * memory.
 */
MUST_CHECK bool http_hand_over(struct http_request *request, struct http_answer *answer);

#endif
