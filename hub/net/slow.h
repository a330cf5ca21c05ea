/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slow - peers that do not take what waits: how long they may, and what the operator is told.
 */
#ifndef HUB_NET_SLOW_H
#define HUB_NET_SLOW_H

#include <stdint.h>

#include "codec/base/bytes.h"

struct shard;

struct slow_peer {
    const char *transport; /* "websocket", "polling", "stream" or "http" */
    struct bytes user; /* tenant and user; empty: unknown */
    const char *remote; /* address */
    uint32_t bytes; /* that wait */
    uint64_t ms; /* for which more than limits.outbound_bytes has waited */
};

/* Log that the peer is closed as slow; so many a minute and thread. Any thread. */
void slow_report(const struct slow_peer *peer);

/* For how long an outbox of `shard` may stay full: limits.slow_consumer. */
uint32_t slow_patience_ms(const struct shard *shard);

/* For how long one has been full that must be relieved by `due_ms`; 0: it was not full before. */
uint64_t slow_full_ms(const struct shard *shard, uint64_t due_ms);

#endif
