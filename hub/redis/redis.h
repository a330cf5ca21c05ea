/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis - the bus (actors/bus.h) over Redis 7 or newer, one per shard, on the shard's loop.
 *
 * hiredis serves as the reader of replies; sockets, timeouts, reconnects are ours
 * (redis_link.c). Everything here is called on the loop's thread.
 */
#ifndef HUB_REDIS_REDIS_H
#define HUB_REDIS_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "actors/bus.h"
#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "hub/redis/redis_outage.h"

/* Where Redis is and how patient to be; zero means the default. */
struct redis_options {
    const char *url; /* redis://[[user]:password@]host[:port][/db] or unix://path[?db=n] */
    uint32_t connect_timeout_ms; /* also for authenticating; default 5,000 */
    uint32_t ping_ms; /* idle time before a PING; default 5,000 */
    uint32_t silence_ms; /* silence that means dead; above ping_ms; default 10,000 */
    uint32_t backoff_min_ms; /* first pause before reconnecting; default 100 */
    uint32_t backoff_max_ms; /* longest pause; default 5,000, in the first minute 1,000 */
    size_t reply_max; /* bytes of one reply; default 64 MiB */
    size_t send_max; /* bytes that may wait to be sent, a link; default 64 MiB */
    struct redis_outage *outage; /* outlives the bus; NULL: one of its own */
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
};

/*
 * Make the bus of a shard. STATUS_INVALID with a sentence appended to `error` when the URL is not
 * one; STATUS_UNSUPPORTED for rediss:// (TLS). Does not connect: each link does, when opened.
 */
MUST_CHECK int redis_create(uv_loop_t *loop, const struct redis_options *options,
    struct builder *error, struct bus **ret_bus);

/*
 * Close a bus all of whose links are closed; `fn` (may be NULL) is called in a later turn. From now
 * on nobody may ask it for anything: the owner forgets it here.
 */
void redis_close(struct bus *bus, redis_closed_fn fn, void *context);

/* Counters since redis_create. */
struct redis_stats redis_get_stats(const struct bus *bus);

/* What redis_check found out about the server. */
struct redis_report {
    unsigned version_major;
    unsigned version_minor;
    bool append_only; /* stream entries survive a crash of the server */
    bool is_replica;
    bool is_cluster;
    char version[32];
    char eviction[32]; /* maxmemory-policy */
};

/*
 * Connect to the server and check it before the shards start: blocks this thread up to
 * `timeout_ms` (0 = 10,000). 0 with a report (warn when append_only is false);
 * STATUS_UNAVAILABLE: no answer in time; STATUS_UNAUTHORIZED: the server refuses user or
 * password; STATUS_UNSUPPORTED: older than version 7, evicts keys of its own choice (allkeys-*),
 * is a replica, or runs as a cluster; STATUS_INVALID: the URL. For each a sentence for people is
 * appended to `error`, without the password.
 */
MUST_CHECK int redis_check(const struct redis_options *options, uint32_t timeout_ms,
    struct builder *error, struct redis_report *ret_report);

#endif
