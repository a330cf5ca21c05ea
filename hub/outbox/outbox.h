/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbox - takes what applications posted within their own transactions in one database, and has it
 * stored and published; on one node of the cluster at a time.
 */
#ifndef HUB_OUTBOX_OUTBOX_H
#define HUB_OUTBOX_OUTBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"

struct outbox;
struct shard;
struct uv_loop_s;

enum { OUTBOXES_MAX = 16, OUTBOX_LATE_MS = 5000 };

/* What operators see of one. Any thread, relaxed. */
struct outbox_gauge {
    _Atomic(uint64_t) owner; /* whether this node reads it */
    _Atomic(uint64_t) down; /* whether its database does not answer this node, which should read */
    _Atomic(uint64_t) down_ms; /* monotonic: since when; 0: it answers */
    _Atomic(uint64_t) lag_ms; /* how long the first had waited, at the last look */
    _Atomic(uint64_t) waiting; /* transactions that were not taken yet, about */
    _Atomic(uint64_t) posts; /* stored, repeats included */
    _Atomic(uint64_t) events; /* published */
    _Atomic(uint64_t) dead;
    _Atomic(uint64_t) looks; /* questions for what is there */
};

struct outbox_options {
    struct shard *shard;
    struct uv_loop_s *loop; /* the shard's */
    const char *name;
    const char *url;
    const char *node; /* this one's name */
    bool wakes;
    struct outbox_gauge *gauge;
};

/* Begin; what the options point to must outlive it. */
MUST_CHECK struct outbox *outbox_start(const struct outbox_options *options);

/* Begin the end: what is being stored is the last. Twice is harmless. */
void outbox_stop(struct outbox *outbox);

/* What of it has not ended yet; 0: it may be destroyed. */
uint64_t outbox_count_open(const struct outbox *outbox);

/* Free what has ended. */
void outbox_destroy(struct outbox *outbox);

/* Whether it is late, or its database away, for longer than OUTBOX_LATE_MS at `now_ms` (monotonic).
 * Any thread. */
bool outbox_is_late(const struct outbox_gauge *gauge, uint64_t now_ms);

#endif
