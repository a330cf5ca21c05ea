/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_options - what a bus is made of, what it counts, and what it calls at its end.
 */
#ifndef HUB_REDIS_REDIS_OPTIONS_H
#define HUB_REDIS_REDIS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hub/redis/redis_outage.h"

struct redis_input;
struct redis_target;

/* Where Redis is and how patient to be; zero means the default. */
struct redis_options {
    const struct redis_target *target; /* copied */
    uint32_t connect_timeout_ms; /* also for authenticating; default 5,000 */
    uint32_t ping_ms; /* idle time before a PING; default 5,000 */
    uint32_t silence_ms; /* silence that means dead; above ping_ms; default 10,000 */
    uint32_t backoff_min_ms; /* first pause before reconnecting; default 100 */
    uint32_t backoff_max_ms; /* longest pause; default 5,000, in the first minute 1,000 */
    size_t reply_max; /* bytes of one reply; default 64 MiB */
    size_t send_max; /* bytes that may wait to be sent, a link; default 64 MiB */
    struct redis_outage *outage; /* outlives the bus; NULL: one of its own */
    struct redis_input *input; /* of another bus of the loop, outlives this; NULL: one of its own */
    bool quiet; /* nothing is logged: who asked reports redis_link_error itself */
};

/* Called when a bus is closed and its memory gone. */
typedef void (*redis_closed_fn)(void *context);

/* Counters of one bus. */
struct redis_stats {
    uint64_t commands; /* sent by callers */
    uint64_t refused; /* not sent: link down or its bound reached */
    uint64_t timeouts; /* connections given up for a late reply or silence */
    uint64_t protocol_errors; /* connections given up for bytes that are no RESP */
    uint64_t connects; /* links that came up */
    uint64_t messages; /* received on channels */
    uint64_t channel_bytes; /* of memory, for the channels subscribed now */
    unsigned links; /* open now */
    unsigned links_up; /* of these, up now */
    /* Of a cluster: */
    uint64_t moved; /* commands answered with MOVED */
    uint64_t asked; /* with ASK */
    uint64_t retried; /* with what passes by itself: TRYAGAIN, CLUSTERDOWN … */
    unsigned masters; /* that are known now */
    unsigned uncovered; /* slots that none of them has */
};

#endif
