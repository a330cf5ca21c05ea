/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slow - what the operator is told of peers that are closed because they do not take what waits.
 */
#ifndef HUB_NET_SLOW_H
#define HUB_NET_SLOW_H

#include <stdint.h>

#include "codec/base/bytes.h"

struct slow_peer {
    const char *transport; /* "websocket", "polling" or "http" */
    struct bytes user; /* tenant and user; empty: unknown */
    const char *remote; /* address */
    uint32_t bytes; /* that wait */
    uint64_t ms; /* for which more than limits.outbound_bytes has waited */
};

/* Log that the peer is closed as slow; so many a minute and thread. Any thread. */
void slow_report(const struct slow_peer *peer);

#endif
