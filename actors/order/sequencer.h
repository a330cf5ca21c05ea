/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sequencer - what is said to a namespace's sequencer from any shard; the protocol is in
 * actors/sequencer_proto.h.
 */
#ifndef ACTORS_ORDER_SEQUENCER_H
#define ACTORS_ORDER_SEQUENCER_H

#include "actors/deliver/broadcast.h"
#include "codec/base/buf.h"

struct shard;

/*
 * Publish `broadcast` (takes the reference) in namespace `nsp`, from any shard's thread. It may be
 * NULL, as broadcast_new returns it: STATUS_NOMEM.
 */
int sequencer_send(struct shard *shard, struct bytes nsp, struct broadcast *broadcast);

/* Publish a request in namespace `nsp` (takes `payload`); does nothing on a single node. */
void sequencer_ask(struct shard *shard, struct bytes nsp, struct buf *payload);

/* The sockets on `index` in room `name` will miss what comes, for want of memory: they are closed.
 */
void sequencer_lose(struct shard *shard, struct bytes nsp, struct bytes name, unsigned index);

#endif
