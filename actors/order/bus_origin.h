/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_origin - whose a message on the bus is: this store's or another's, of a version that is
 * understood or not.
 *
 * What is strange is dropped by who asks here, which counts it and logs it once a minute: several
 * environments may share a Redis by mistake, and none of them may hear the others.
 */
#ifndef ACTORS_ORDER_BUS_ORIGIN_H
#define ACTORS_ORDER_BUS_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct shard;

enum bus_origin {
    BUS_ORIGIN_STOCK, /* a Socket.IO server or emitter */
    BUS_ORIGIN_SELF, /* this node */
    BUS_ORIGIN_PEER, /* another node of the same store */
    BUS_ORIGIN_STRANGE, /* a node of another store or version; counted */
};

/* Whose a uid of the adapter is. `what` names the kind of message, for the log. */
MUST_CHECK enum bus_origin bus_origin_of(struct shard *shard, const char *what, struct bytes uid);

/* Whether what says `epoch` and `version` of itself is to be taken; counts what is not. */
MUST_CHECK bool bus_origin_is_ours(
    struct shard *shard, const char *what, struct bytes epoch, uint64_t version);

/* The version in which this node writes now: the lowest one alive, its own without a bus. */
unsigned bus_origin_version(const struct shard *shard);

/* Append this node's uid. */
void bus_origin_write_uid(const struct shard *shard, struct builder *out);

#endif
