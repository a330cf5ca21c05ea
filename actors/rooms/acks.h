/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acks - a shard's part in broadcasts of other nodes that clients acknowledge.
 */
#ifndef ACTORS_ROOMS_ACKS_H
#define ACTORS_ROOMS_ACKS_H

#include <stdint.h>

#include "codec/adapter_request.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"

struct fanout;
struct fanout_ask;
struct socket;

/* Deliver the event of `request`, tell the sequencer how many were asked, and wait for them. */
void acks_ask(struct fanout *fanout, const struct adapter_request *request, struct fanout_ask *msg);

/* A client has acknowledged: `args` is the JSON array of its answer to `id`. */
void acks_take(struct socket *socket, uint64_t id, struct bytes args,
    struct buf *const *attachments, unsigned attachment_count);

/* Forget the broadcasts that wait. */
void acks_finish(struct fanout *fanout);

#endif
