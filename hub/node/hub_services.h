/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_services - the table of what a shard of this node runs, in the order in which it is started.
 */
#ifndef HUB_NODE_HUB_SERVICES_H
#define HUB_NODE_HUB_SERVICES_H

#include "codec/base/check.h"

struct actor_system;
struct hub_shard;
struct services;

/* Make the services of a node's shards (services.h). */
MUST_CHECK struct services *hub_services_create(struct actor_system *system);

/* Take no connections from clients any more; twice is harmless. On the shard's thread. */
void hub_services_close_public(struct hub_shard *shard);

/* Look at memory if the shard has taken or given much since it did; at the end of each turn. */
void hub_services_watch_memory(struct hub_shard *shard);

#endif
