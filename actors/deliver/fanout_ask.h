/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout_ask - a shard's part in what other nodes request of a namespace: which sockets are meant,
 * and what is done with them.
 */
#ifndef ACTORS_DELIVER_FANOUT_ASK_H
#define ACTORS_DELIVER_FANOUT_ASK_H

#include "actors/deliver/fanout.h"
#include "actors/deliver/fanout_proto.h"
#include "codec/adapter_request.h"

/* Carry out a slice, and tell the sequencer. */
void fanout_ask_answer(struct fanout *fanout, struct fanout_ask *msg);

/* Visit the sockets that a request is about. */
void fanout_ask_visit(struct fanout *fanout, const struct adapter_request *request,
    fanout_visit_fn visit, void *context);

/* Forget the broadcasts that wait for acks. */
void fanout_ask_finish(struct fanout *fanout);

#endif
