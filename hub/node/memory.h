/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - what a shard's connections, users and rooms take, by owner, in bytes.
 *
 * Counts times sizes, tables and the allocator's heads included. Not in it: texts of names, what
 * waits in outboxes and windows, requests under way, the database and the libraries.
 */
#ifndef HUB_NODE_MEMORY_H
#define HUB_NODE_MEMORY_H

struct hub_shard;
struct memory_use;

/* Measure the shard, on its thread. */
void memory_measure(struct hub_shard *shard, struct memory_use *ret_use);

#endif
