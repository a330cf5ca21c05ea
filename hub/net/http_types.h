/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_types - requests, routes and the settings of a server, as the files of HTTP share them.
 */
#ifndef HUB_NET_HTTP_TYPES_H
#define HUB_NET_HTTP_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/http1.h"

struct connection;
struct http_request;
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
    uint64_t caller; /* who calls, as the one who found out remembers it; 0: nobody has */
    void (*gone)(struct http_request *request); /* set by a handler that answers later */
    void (*drained)(
        struct http_request *request); /* the peer has taken what waited (http_stream) */
};

/* Whether what it asks for changes nothing (RFC 9110 9.2.1), as far as its method says. */
static inline bool http_is_safe(const struct http_request *request)
{
    return request->head->method == HTTP1_GET || request->head->method == HTTP1_HEAD;
}

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
    const char *timed; /* paths that begin so are told X-Response-Time; NULL: none is */
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
    uint32_t half_open_max; /* connections of the loop that send no whole request; 0: any */
    uint32_t max_head_bytes; /* 8 KiB */
    uint32_t max_headers; /* 64 */
    uint32_t max_body_bytes; /* of routes that name no limit of their own */
    uint32_t head_timeout_ms; /* 5,000, from accept or the previous answer's end for the next head's
                                 first byte on */
    uint32_t body_timeout_ms;
    uint32_t idle_timeout_ms; /* keep-alive */
    bool tells_authenticated; /* requests come through other nodes: see http_authenticated */
};

#endif
