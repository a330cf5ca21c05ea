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
#include "hub/redis/redis_options.h"

struct tls_context;

/* Make the bus of a shard. Does not connect: each link does, when opened. */
MUST_CHECK struct bus *redis_create(uv_loop_t *loop, const struct redis_options *options);

/* Have connections to come use the rules of `tls`, which a reference is taken of, where the bus
 * connects over TLS; those that are there go on. */
void redis_set_tls(struct bus *bus, struct tls_context *tls);

/*
 * Close a bus all of whose links are closed; `fn` (may be NULL) is called in a later turn. From now
 * on nobody may ask it for anything: the owner forgets it here.
 */
void redis_close(struct bus *bus, redis_closed_fn fn, void *context);

/* Counters since redis_create. */
struct redis_stats redis_get_stats(const struct bus *bus);

/* Why a link of `bus` is down, for people ("" while unknown), and the status of that. */
const char *redis_explain(const struct bus *bus, const struct bus_link *link, int *ret_status);

/* What redis_check found out about the server. */
struct redis_report {
    unsigned version_major;
    unsigned version_minor;
    bool append_only; /* stream entries survive a crash of the server */
    bool is_replica;
    bool is_cluster;
    unsigned masters; /* that were asked: several of a cluster */
    bool is_sentinel;
    char version[32];
    char eviction[32]; /* maxmemory-policy */
};

/*
 * Connect to the server and check it before the shards start: blocks this thread up to
 * `timeout_ms` (0 = 10,000). 0 with a report (warn when append_only is false);
 * STATUS_UNAVAILABLE: no answer in time; STATUS_UNAUTHORIZED: the server refuses user or
 * password; STATUS_UNSUPPORTED: older than version 7, evicts keys of its own choice (allkeys-*),
 * is a replica or a sentinel, or one of a cluster though the address is not. For each a sentence
 * for people is appended to `error`, without the password.
 */
MUST_CHECK int redis_check(const struct redis_options *options, uint32_t timeout_ms,
    struct builder *error, struct redis_report *ret_report);

#endif
