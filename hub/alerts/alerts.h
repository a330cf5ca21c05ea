/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alerts - rules of the settings, looked at again and again: who is to know is told that one fires,
 * and that it is over, each once.
 *
 * On the first shard of each node. With Redis one node of the cluster evaluates, for the figures of
 * all (alerts_bus.h); without, a node is alone. The state is kept in the store, and in Redis where
 * there is one, before anybody is told: so it outlives a node, also while one of the two is away.
 * Who takes over tells again what may not have been told; only the log, and rooms, can then have it
 * twice.
 */
#ifndef HUB_ALERTS_ALERTS_H
#define HUB_ALERTS_ALERTS_H

#include <stdint.h>

#include "codec/base/check.h"
#include "hub/alerts/alert_gauges.h"
#include "hub/alerts/figures.h"

struct alerts;
struct config;
struct hook_settings;
struct loop;
struct shard;

/* What it works with; all that is pointed to must outlive it. */
struct alerts_options {
    struct shard *shard;
    struct loop *loop;
    const struct hook_settings *hooks; /* until alerts_set */
    const char *node;
    struct alert_gauges *gauges;
    uint32_t every_ms;
    const uint64_t *bounds_us; /* of the buckets of TIMES: FIGURES_BUCKETS */
    void *context; /* of these two */
    void (*count)(void *context, struct figures *ret_counted); /* since the start */
    const struct config *(*config)(void *context); /* the settings now */
};

/* Begin to look. */
MUST_CHECK struct alerts *alerts_start(const struct alerts_options *options);

/* Change over to other hooks. */
void alerts_set(struct alerts *alerts, const struct hook_settings *hooks);

/* Begin to end. */
void alerts_stop(struct alerts *alerts);

/* How much of it is open: 0 when it was stopped and may be destroyed. */
uint64_t alerts_count_open(const struct alerts *alerts);
void alerts_destroy(struct alerts *alerts);

#endif
