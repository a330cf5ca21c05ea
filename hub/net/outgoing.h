/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outgoing - HTTP requests of ours to backends, from a shard, without ever blocking it.
 *
 * Connections are kept and shared by the requests of a shard, HTTP/2 is used where the server has
 * it. What is asked, and its answer, is held to bounds: the time of everything together, the bytes
 * of the answer, requests under way and waiting for one endpoint. No redirect is followed, no proxy
 * used, no protocol but http and https spoken, and no address called that the guard does not allow;
 * plain http goes to hosts that are listed alone.
 */
#ifndef HUB_NET_OUTGOING_H
#define HUB_NET_OUTGOING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"

struct loop;
struct outgoing;
struct outgoing_guard;
struct outgoing_request;

/* How a request has ended. */
enum outgoing_end {
    OUTGOING_ANSWERED, /* whatever the status */
    OUTGOING_NO_HOST, /* the name has no address */
    OUTGOING_FORBIDDEN, /* none that the guard allows */
    OUTGOING_NO_CONNECTION,
    OUTGOING_NO_TRUST, /* TLS, or its certificate */
    OUTGOING_TIMEOUT,
    OUTGOING_TOO_LARGE, /* the answer */
    OUTGOING_BROKEN, /* no HTTP, or cut */
    OUTGOING_CLOSED, /* we end */
    OUTGOING_END_COUNT
};

/* What ended it, for people; static. */
const char *outgoing_end_text(enum outgoing_end end);

/* Where requests go, and how many at a time; embedded, all zero but the two numbers, and there
 * until its last request has ended. */
struct outgoing_endpoint {
    uint32_t under_way_max; /* 1 or more */
    uint32_t waiting_max;
    /* private */
    uint32_t under_way;
    uint32_t waiting_count;
    struct list waiting; /* outgoing_request.link; .next NULL: never used */
};

/* Called once, in a later turn than outgoing_begin; the request may be freed in it. */
typedef void (*outgoing_done_fn)(struct outgoing_request *request);

/* Embedded by who asks. All zero at first. */
struct outgoing_request {
    struct outgoing_endpoint *endpoint;
    const char *url; /* these five are borrowed until it has ended */
    const char *method; /* POST and others: with the body; NULL: POST */
    const char *const *headers; /* `Name: value` */
    size_t header_count;
    struct bytes body;
    uint32_t timeout_ms; /* of everything from outgoing_begin on; 1 or more */
    uint32_t answer_max; /* bytes of the body */
    outgoing_done_fn done;
    /* How it ended; `status`, `answer` and `retry_after_s` with OUTGOING_ANSWERED. */
    enum outgoing_end end;
    unsigned status;
    struct builder answer; /* its owner resets it */
    uint64_t retry_after_s; /* as the answer says (RFC 9110, 10.2.3); 0: it does not; unbounded */
    /* private */
    struct outgoing *outgoing;
    struct list link; /* endpoint.waiting, while it waits */
    struct list all; /* outgoing.requests */
    struct timer timer;
    void *easy; /* libcurl's, as the next two; NULL: it waits */
    void *target;
    void *lines;
    uint32_t head_bytes; /* of the answer */
    uint64_t sent_ms; /* by sched_now */
    bool sent; /* it was begun with libcurl, and had half of its time; else it has but waited */
    bool listed; /* its host */
    bool forbidden; /* the guard refused an address of it */
    bool too_large;
};

/* What a shard counts. */
struct outgoing_stats {
    uint64_t requests; /* begun */
    uint64_t refused; /* for want of a place to wait */
    uint64_t forbidden; /* by the guard */
    uint64_t timeouts;
    uint64_t failed; /* in other ways */
    uint64_t under_way; /* now */
    uint64_t waiting; /* now */
};

/* Make the client of a loop, on its thread; nothing is opened before the first request. */
MUST_CHECK struct outgoing *outgoing_open(struct loop *loop);

/* End all requests (OUTGOING_CLOSED, told before it returns) and close all connections. None begins
 * any more. */
void outgoing_close(struct outgoing *outgoing);

/* How much of it is open: 0 when it was closed and may be destroyed. */
uint64_t outgoing_count_open(const struct outgoing *outgoing);

/* Free it; NULL is allowed. */
void outgoing_destroy(struct outgoing *outgoing);

/*
 * Say what it works with from the next request on: both borrowed until said anew. `ca` is a file of
 * certificates that are trusted; empty: the machine's. Connections that are kept are looked at by
 * the new guard, too.
 */
void outgoing_set(struct outgoing *outgoing, const struct outgoing_guard *guard, const char *ca);

/*
 * Begin a request. STATUS_FULL: too many wait; STATUS_DENIED: the URL is none that may be asked;
 * STATUS_NOMEM; STATUS_CLOSED. `done` is not called then. What has begun ends by itself in its
 * time, or with outgoing_close.
 */
MUST_CHECK int outgoing_begin(struct outgoing *outgoing, struct outgoing_request *request);

/* What the shard counts, now. */
const struct outgoing_stats *outgoing_get_stats(const struct outgoing *outgoing);

/*
 * What is wrong with a URL that is to be asked; NULL: nothing. It is http://host or https://host,
 * perhaps with port, path and query, without a user; http only where the guard lists the host. Any
 * thread.
 */
const char *outgoing_url_fault(const struct outgoing_guard *guard, const char *url);

#endif
