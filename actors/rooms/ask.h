/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask - a shard's part in what other nodes request of a namespace: what is done with the sockets
 * that are meant.
 */
#ifndef ACTORS_ROOMS_ASK_H
#define ACTORS_ROOMS_ASK_H

struct fanout;
struct fanout_ask;

/* Carry out a slice, and tell the sequencer (fanout_ops.ask). */
void ask_answer(struct fanout *fanout, struct fanout_ask *msg);

#endif
