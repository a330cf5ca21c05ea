/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_neighbours - who else is on the same Redis and will not be heard.
 *
 * Servers with Socket.IO's sharded adapter publish on shard channels (SPUBLISH) of the names that
 * the classic adapter's channels have. Peal joins the classic ones alone: neither hears the other,
 * and nothing fails. Operators are told.
 */
#ifndef HUB_CLUSTER_BUS_NEIGHBOURS_H
#define HUB_CLUSTER_BUS_NEIGHBOURS_H

struct bus_link;
struct shard;

/*
 * Ask for shard channels under the key of Socket.IO (`bus.socketio_key`) and log BUS-SHARDED when
 * there are any. A server that does not know the question, or forbids it, is asked in vain. On the
 * shard of `link`, which is up.
 */
void bus_neighbours_look(struct shard *shard, struct bus_link *link);

#endif
