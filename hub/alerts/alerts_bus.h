/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alerts_bus - what nodes tell each other about alerts over Redis: their figures, the state, and
 * which of them evaluates.
 *
 * `<prefix>:alerts:{0}:figures` is a hash with a field for each node, `<end> <version> <epoch>
 * <figures>`; `:state` is the state, `<version> <epoch> <text>`; `:lease` the lease of who
 * evaluates (actors/lease.h). While Redis is away nobody can get the lease, so who has it goes on.
 */
#ifndef HUB_ALERTS_ALERTS_BUS_H
#define HUB_ALERTS_ALERTS_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/alerts/alert_state.h"
#include "hub/alerts/figures.h"

struct alerts_bus;
struct shard;

/* What its owner is told, always in a later turn than what it asked. */
struct alerts_bus_events {
    /* The answer to alerts_bus_report; false: there is none. `sum` and `state` are borrowed; the
     * state has number 0 where there is none. */
    void (*reported)(void *context, bool answered, const struct figures_sum *sum,
        const struct alert_state *state);
    /* The answer to alerts_bus_save; false: another node evaluates. True also while Redis is away.
     */
    void (*saved)(void *context, bool ours);
    /* Another node has the lease. */
    void (*lost)(void *context);
};

/* Begin; `node` is this one's name and must outlive it, as `events`. A node reports each
 * `every_ms`. */
MUST_CHECK struct alerts_bus *alerts_bus_open(struct shard *shard, const char *node,
    uint32_t every_ms, const struct alerts_bus_events *events, void *context);

/* End: nothing is told any more but, once, `ended`, perhaps before it returns. The lease is given
 * back, so that another node goes on at once. */
void alerts_bus_close(struct alerts_bus *bus, void (*ended)(void *context));

/* Whether this node is the one that evaluates. */
bool alerts_bus_is_ours(const struct alerts_bus *bus);

/* Tell this node's figures, and ask for all and for the state. Not again before the answer. */
void alerts_bus_report(struct alerts_bus *bus, const struct figures *figures);

/* Keep the state, while this node evaluates. Not again before the answer. */
void alerts_bus_save(struct alerts_bus *bus, const struct alert_state *state);

#endif
