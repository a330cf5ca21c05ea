/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_probe - whether messages come back: a number on a channel of the shard's own, again and
 * again. In a cluster each server that others may publish at is tried.
 *
 * Redis may answer every command while nothing is delivered (rights of a user, a proxy between).
 * Then shard_stats.deaf is 1, and the node is not ready. Where Redis does not even answer, it is
 * away, which links know by themselves. Used by inbox_bus, on its two links.
 */
#ifndef ACTORS_ORDER_BUS_PROBE_H
#define ACTORS_ORDER_BUS_PROBE_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct bus_link;
struct bus_probe;
struct shard;

/* How many messages in a row must not have come back. */
enum { BUS_PROBE_MISSES = 3 };

/* Begin on the links of `shard`; `listener` is subscribed, `sender` publishes. */
MUST_CHECK struct bus_probe *bus_probe_create(
    struct shard *shard, struct bus_link *listener, struct bus_link *sender);

/* End; the links are closed already. */
void bus_probe_destroy(struct bus_probe *probe);

/* Whether `channel` is the probe's. */
bool bus_probe_owns(const struct bus_probe *probe, struct bytes channel);

/* A message has come on its channel. */
void bus_probe_heard(struct bus_probe *probe, struct bytes payload);

#endif
