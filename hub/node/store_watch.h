/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_watch - whether the store can be written and read now, as one verdict for the node: told in
 * the log when it changes, in readiness, in metrics, and to who owns streams.
 *
 * Health is what was last achieved, not what is connected. On the first shard the watch raises the
 * node's own row (the witness) and reads, each WATCH_EVERY_MS at most; a question that is not
 * answered within 2 s, a probe that failed, or a put that failed within the last 2 s and none that
 * succeeded since, means that the store is away.
 */
#ifndef HUB_NODE_STORE_WATCH_H
#define HUB_NODE_STORE_WATCH_H

struct hub_shard;
struct store_watch;

/* Begin, on one shard of a node. */
void store_watch_start(struct hub_shard *shard);

/* End; what is under way is waited for by the store. */
void store_watch_stop(struct hub_shard *shard);

#endif
