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
#include "codec/http1.h"

struct connection;
struct http_request;
struct http_server;
struct loop;
struct name_counts;
struct proxies;

/* Called with the complete request (body included); answers now or later with http_respond. */
typedef void (*http_handler_fn)(struct http_request *request, void *context);

/* Decide on the head alone, before the body: return false after having answered (http_respond). */
typedef bool (*http_head_fn)(struct http_request *request, void *context);

/* As max_body of a route: http_server_config.max_body_bytes. */
#define HTTP_BODY_CONFIGURED UINT32_MAX

/* Answer what the server refuses for a route after its head: 408, 413, or 400 for a bad body. */
typedef void (*http_refuse_fn)(struct http_request *request, unsigned status, void *context);

struct http_route {
    const char *method; /* "GET", "POST", …; "*": any */
    const char
        *path; /* exact, or with "{}" segments (http_param), or a prefix ending in '/' + '*' */
    http_handler_fn handler;
    http_head_fn head; /* may be NULL */
    uint32_t max_body; /* bytes; 0: no body allowed; HTTP_BODY_CONFIGURED: as the server says */
    http_handler_fn waiting; /* the body did not come with the head; may answer; may be NULL */
    http_refuse_fn refuse; /* NULL: with the error shape of the API */
    bool pages; /* pages of listed origins may use it: of a user's own, with the user's token */
    const char *query; /* parameters it knows, commas between; others: 400. NULL: any */
};

/*
 * One request; alive until http_respond, or until `gone` was called. A handler that has set `gone`
 * or `user` in `waiting` finds them again.
 */
struct http_request {
    struct connection *connection;
    struct loop *loop;
    const struct http1_request *head; /* parsed head; lives as long as the request */
    struct bytes path; /* percent-encoded as received, without query */
    struct bytes query;
    struct bytes body;
    void *user; /* the handler's own */
    void (*gone)(struct http_request *request); /* set by a handler that answers later */
};

/* A refusal that the one who asked is told of, in the error shape of the API. */
struct http_refusal {
    unsigned status;
    const char *message; /* what is allowed */
    const char *field; /* the header at fault; NULL: none */
    const char *headers; /* complete lines of the answer; "": none */
};

/* A server: route tables and limits, of one shard; limits may change between two turns. */
struct http_server_config {
    const struct http_route *routes; /* ends with a NULL path */
    void *context;
    /* Called with each request that is answered (not those that are upgraded), before the answer
     * leaves; `took_ns` from its complete head on. May be NULL. */
    void (*observe)(
        void *context, const struct http_request *request, unsigned status, uint64_t took_ns);
    /* Why a request is refused by its head alone, before the routes, static; NULL: it is not. The
     * function may be NULL: none is. */
    const struct http_refusal *(*refuse)(void *context, const struct http1_request *head);
    /*
     * The value of Access-Control-Allow-Origin for a page of `origin` on a route for pages; empty:
     * it may not. NULL: no page may.
     */
    struct bytes (*cors_value)(
        void *context, const struct http_request *request, struct bytes origin);
    struct name_counts *addresses; /* where clients of theirs are counted; with per_address */
    const struct proxies *proxies; /* whose word on the client is taken; NULL: nobody's */
    uint32_t per_address; /* unauthenticated requests of one client of theirs at a time; 0: any */
    uint32_t max_head_bytes; /* 8 KiB */
    uint32_t max_headers; /* 64 */
    uint32_t max_body_bytes; /* of routes that name no limit of their own */
    uint32_t head_timeout_ms; /* 5,000, from accept or the previous answer's end for the next head's
                                 first byte on */
    uint32_t body_timeout_ms;
    uint32_t idle_timeout_ms; /* keep-alive */
    bool tells_authenticated; /* requests come through other nodes: see http_authenticated */
};

/* Serve HTTP on a connection fresh from the listener. `config` must outlive it. */
void http_serve(struct connection *connection, const struct http_server_config *config);

/* The context of the server that serves the request. */
void *http_context(const struct http_request *request);

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

/* Answer with the one error shape of the API: {"error":{"code","message","field"?}}; field may be
 * NULL. */
void http_respond_error(struct http_request *request, unsigned status, const char *code,
    const char *message, const char *field);

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

#endif
