/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_proto - what the reader of a stream partition is told.
 *
 * One per stream on every node, on shard_of("ingest:<number>"); at any time at most one of them
 * owns it: it holds the lease in Redis and the fencing token in the store. The owner reads the
 * stream, stores, and announces, in order; the position advances in the transaction that stores.
 *
 * A position belongs to a stream, whatever `bus.partitions` is: number 0 is the plain stream, which
 * is a partition where there is one only and else has its entries routed; p + 1 is partition p.
 */
#ifndef ACTORS_INGEST_INGEST_PROTO_H
#define ACTORS_INGEST_INGEST_PROTO_H

#include "actors/core/protocol.h"
#include "codec/base/buf.h"

struct ingest_batch;
struct ingest_claim;

/* Begin to compete for the stream. */
struct ingest_begin {
    struct msg base;
    uint32_t number; /* of the stream, as above */
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

/* Let go of the stream and stop: the node ends. */
struct ingest_close {
    struct msg base;
    struct buf *key;
};

#define INGEST_PROTOCOL(X, A, a)                                                                   \
    X(A, a, BEGIN, begin, CONTROL, CREATES(key), PLAIN, "compete for a stream")                    \
    X(A, a, CLAIMED, claimed, CONTROL, REF, OWNS(drop_claim(msg->claim)),                          \
        "the store knows the new owner")                                                           \
    X(A, a, STORED, stored, CONTROL, REF, OWNS(drop_stored_batch(msg->batch)),                     \
        "a batch is committed, or not")                                                            \
    X(A, a, CLOSE, close, CONTROL, NAMED(key), PLAIN, "the node ends")
PROTOCOL_DECLARE(INGEST, ingest)

enum { INGEST_PARTITIONS_MAX = 256 };

struct shard;

/*
 * Start the readers of all streams of this node; from any shard, once. Needs a bus. Streams that a
 * larger number of partitions has left in Redis are found, and read as well.
 */
void ingest_start(struct shard *shard);

/* Let go of all of them. */
void ingest_stop(struct shard *shard);

#endif
