/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msg - the head of every message between actors, and what a kind of message declares.
 *
 * A message is one allocation: a struct whose first member is `struct msg base`. Sending it
 * gives it away, also when it cannot be delivered. After its handler returned, the runtime
 * calls the kind's `drop` and frees it; a handler that keeps a payload takes it out of the
 * message (sets the pointer to NULL) first.
 */
#ifndef ACTORS_CORE_MSG_H
#define ACTORS_CORE_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "actors/core/ref.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct msg;
struct behaviour;

/* What happens at the bound of the FIFO that the message travels in. */
enum lane {
    LANE_CONTROL, /* never dropped; bounded by population */
    LANE_NORMAL, /* never dropped; the sending socket stops being read (sched_pressured) */
    LANE_SHED, /* when drained, the oldest above the bound are dropped and counted */
};

/* One row of an actor's protocol. Static storage. */
struct msg_kind {
    const char *name; /* "room.join": traces and counters */
    const struct behaviour *behaviour; /* whose protocol this is a row of */
    uint16_t index; /* row number: index into behaviour->handlers */
    uint8_t lane; /* enum lane */
    uint8_t creates; /* sent by name: spawn the actor when there is none */
    struct bytes (*key)(const struct msg *msg); /* who is meant when sent by name; may be NULL */
    void (*drop)(struct msg *msg); /* free what the payload owns, not the message; may be NULL */
};

struct msg {
    struct msg *next; /* mailbox or a shard's inbox */
    const struct msg_kind *kind;
    struct actor_ref to; /* generation 0: by name; once sent, `shard` is the sender's */
};

/* Allocate a zeroed message of `size` bytes (at least sizeof(struct msg)) of `kind`; aborts. */
MUST_CHECK void *msg_create(size_t size, const struct msg_kind *kind);

/* Drop the payload and free a message that was not sent. */
void msg_destroy(struct msg *msg);

#endif
