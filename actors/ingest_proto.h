/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_proto - what the reader of a stream partition is told.
 *
 * One per partition on every node, on shard_of("ingest:<p>"); at any time at most one of them owns
 * the partition: it holds the lease in Redis and the fencing token in the store. The owner reads
 * the stream, stores, and announces, in order; the position advances in the transaction that
 * stores.
 */
#ifndef ACTORS_INGEST_PROTO_H
#define ACTORS_INGEST_PROTO_H

#include "actors/core/protocol.h"
#include "codec/base/buf.h"

struct ingest_batch;
struct ingest_claim;

/* Begin to compete for the partition. */
struct ingest_begin {
    struct msg base;
    uint32_t partition; /* INGEST_ROUTER: the plain stream, whose entries go to partitions */
    struct buf *key;
};

/* The store has answered to a claim. */
struct ingest_claimed {
    struct msg base;
    struct ingest_claim *claim;
};

/* The store has answered to a batch. */
struct ingest_stored {
    struct msg base;
    struct ingest_batch *batch;
};

/* Let go of the partition and stop: the node ends. */
struct ingest_close {
    struct msg base;
    struct buf *key;
};

#define INGEST_PROTOCOL(X, A, a)                                                                   \
    X(A, a, BEGIN, begin, CONTROL, CREATES, OWNS, "compete for a partition")                       \
    X(A, a, CLAIMED, claimed, CONTROL, REF, OWNS, "the store knows the new owner")                 \
    X(A, a, STORED, stored, CONTROL, REF, OWNS, "a batch is committed, or not")                    \
    X(A, a, CLOSE, close, CONTROL, NAMED, OWNS, "the node ends")
PROTOCOL_DECLARE(INGEST, ingest)

#define INGEST_ROUTER UINT32_C(0x7fffffff)

struct shard;

/* Start the readers of all partitions of this node; from any shard, once. Needs a bus. */
void ingest_start(struct shard *shard);

/* Let go of all of them. */
void ingest_stop(struct shard *shard);

#endif
