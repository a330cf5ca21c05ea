/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_counts - what a shard counts for operators besides shard_stats: answers of the API, and
 * client events by name.
 *
 * Written on the shard's thread. The numbers are read racily by the metrics of the node; the names
 * of events only on the shard's thread.
 */
#ifndef HUB_NODE_NODE_COUNTS_H
#define HUB_NODE_NODE_COUNTS_H

#include <stdint.h>

#include "actors/core/sched.h"
#include "actors/jobs/jobs.h"
#include "actors/presence/presence_stats.h"
#include "actors/shard.h"
#include "actors/values/values.h"
#include "codec/base/bytes.h"
#include "codec/base/map.h"
#include "codec/base/published.h"
#include "hub/api/read_cache.h"
#include "hub/auth/jwt.h"
#include "hub/cluster/forward.h"
#include "hub/cluster/node_poll.h"
#include "hub/hooks/hooks.h"
#include "hub/hooks/out.h"
#include "hub/hooks/webhooks.h"
#include "hub/net/tls_stream.h"
#include "hub/push/handoffs.h"
#include "hub/push/push.h"
#include "hub/series/series_stats.h"

enum {
    API_BUCKET_COUNT = 12,
    API_CLASS_COUNT = 6,
    EVENT_COUNTS_MAX = 256,
    EVENT_COUNT_NAME_MAX = 128
};

/* Upper bounds of the buckets of response times, microseconds, ascending. */
extern const uint64_t api_bucket_us[API_BUCKET_COUNT];

struct api_counts {
    uint64_t classes[API_CLASS_COUNT]; /* answers by status / 100 */
    uint64_t buckets[API_BUCKET_COUNT + 1]; /* by response time; the last is beyond all bounds */
    uint64_t total_us;
};

/* Count an answer that took `took_ns` from the complete request head on. */
void api_counts_add(struct api_counts *counts, unsigned status, uint64_t took_ns);

/* One name. */
struct event_count {
    uint64_t count;
    uint32_t name_len;
    char name[EVENT_COUNT_NAME_MAX];
};

/* At most EVENT_COUNTS_MAX names, because clients choose them; more count as "(other)". */
struct event_counts {
    struct map names; /* struct event_count by name */
    uint64_t other;
};

void event_counts_init(struct event_counts *counts);
void event_counts_finish(struct event_counts *counts);
void event_counts_add(struct event_counts *counts, struct bytes name, uint64_t count);

/* What a shard's connections, users and rooms take, by owner, bytes (memory.h). */
struct memory_use {
#define X(owner, help) uint64_t owner;
#include "hub/node/memory.def"
#undef X
};

/* What the links to the bus and the port of the store refused. */
struct link_counts {
    uint64_t bus_down; /* links that are down now */
    uint64_t bus_refused;
    uint64_t bus_timeouts;
    uint64_t bus_protocol_errors;
    uint64_t bus_moved;
    uint64_t bus_asked;
    uint64_t bus_retried;
    uint64_t bus_uncovered; /* slots without a master, by each shard */
    uint64_t store_refused;
};

/* All that a shard counts, or the sum over shards: nothing but uint64_t. */
struct metrics_sums {
    struct shard_stats shards;
    struct sched_stats sched;
    struct api_counts api;
    struct read_cache_stats cache;
    struct values_stats values;
    struct hook_stats hooks;
    struct outgoing_stats outgoing; /* requests of hooks; in sums, of both */
    struct webhook_stats webhooks;
    struct out_stats out;
    struct outgoing_stats told; /* requests of webhooks */
    struct push_stats push;
    struct handoff_stats handoffs;
    struct presence_stats presence;
    struct jobs_stats jobs;
    struct series_stats series; /* of shard 0 */
    struct jwt_stats tokens;
    struct memory_use memory;
    struct forward_counts forwards;
    struct node_poll_counts polls;
    struct link_counts links;
    struct tls_counts tls;
};

/* What a shard has published of it. */
struct metrics_copy {
    /* shared: written by the owner */
    _Atomic(uint64_t) words[PUBLISHED_WORDS(struct metrics_sums)];
};

#endif
