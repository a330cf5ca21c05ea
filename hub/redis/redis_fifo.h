/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_fifo - commands whose answers are outstanding, in pages, so that no number of them makes an
 * allocation large.
 */
#ifndef HUB_REDIS_REDIS_FIFO_H
#define HUB_REDIS_REDIS_FIFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"

/* What a reply is for; it decides who gets it. */
enum redis_purpose {
    REDIS_FOR_CALLER,
    REDIS_FOR_AUTH,
    REDIS_FOR_SELECT,
    REDIS_FOR_NAME,
    REDIS_FOR_ROLE,
    REDIS_FOR_PING
};

struct redis_request {
    bus_reply_fn fn; /* may be NULL */
    void *context;
    uint64_t deadline; /* loop time in ms; never before that of the request ahead */
    enum redis_purpose purpose;
};

/* All zero is an empty one. */
struct redis_fifo {
    /* private */
    struct redis_page *first;
    struct redis_page *last;
    size_t begin; /* of the first request, in the first page */
    size_t count;
};

/* Put a request behind the last one. */
void redis_fifo_push(struct redis_fifo *fifo, struct redis_request request);

/* The first request, or NULL; valid until the next call. */
const struct redis_request *redis_fifo_first(const struct redis_fifo *fifo);

/* The last request, or NULL; valid until the next call. */
const struct redis_request *redis_fifo_last(const struct redis_fifo *fifo);

/* Take the first request out; false when there is none. */
bool redis_fifo_pop(struct redis_fifo *fifo, struct redis_request *ret_request);

/* The number of requests. */
size_t redis_fifo_count(const struct redis_fifo *fifo);

/* Free the pages. */
void redis_fifo_finish(struct redis_fifo *fifo);

#endif
