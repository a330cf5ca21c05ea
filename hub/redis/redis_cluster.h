/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_cluster - the bus over a Redis Cluster: asks what it looks like, and sends each command to
 * who has its slot.
 */
#ifndef HUB_REDIS_REDIS_CLUSTER_H
#define HUB_REDIS_REDIS_CLUSTER_H

#include "codec/base/check.h"

struct bus_link;
struct redis_bus;
struct redis_cluster;
struct redis_stats;
struct tls_context;

/* Begin, for `bus`, whose target names some servers of a cluster; its operations become those of
 * routes. */
MUST_CHECK struct redis_cluster *redis_cluster_open(struct redis_bus *bus);

/* As redis_set_tls, for the servers. */
void redis_cluster_set_tls(struct redis_cluster *cluster, struct tls_context *tls);

/* Write into `stats`, which are those of the bus itself, what its servers' and its routes' are. */
void redis_cluster_count(const struct redis_cluster *cluster, struct redis_stats *stats);

/* As redis_explain. */
const char *redis_cluster_explain(const struct bus_link *link, int *ret_status);

/* End, in a later turn, with all routes closed; a handle of the bus until then. */
void redis_cluster_close(struct redis_cluster *cluster);

#endif
