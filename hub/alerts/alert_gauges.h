/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alert_gauges - which alerts of the cluster fire, as this node has heard last.
 */
#ifndef HUB_ALERTS_ALERT_GAUGES_H
#define HUB_ALERTS_ALERT_GAUGES_H

#include <stdatomic.h>
#include <stdint.h>

#include "hub/alerts/alert_state.h"

/* Any thread, relaxed: names as hashes, so that nobody reads a text that is being written. */
struct alert_gauges {
    struct {
        _Atomic(uint64_t) name; /* hash_bytes of it; 0: none */
        _Atomic(uint64_t) since_ms; /* wall clock */
    } of[ALERTS_MAX];
    _Atomic(uint64_t) told; /* messages about alerts, by this node */
    _Atomic(uint64_t) untold; /* that were given up */
};

/* Since when the alert `name` fires; 0: it does not. */
uint64_t alert_gauges_since(const struct alert_gauges *gauges, const char *name);

/* Take over what fires of `state`. */
void alert_gauges_set(struct alert_gauges *gauges, const struct alert_state *state);

#endif
