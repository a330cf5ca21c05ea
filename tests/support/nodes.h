/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodes - one or more whole nodes of actors under one seed: shards, fan-outs, store and bus.
 *
 * Each node is a system of its own under det_sched; the bus and the store between them are the
 * fakes. One seed decides which of all these moves next. One `struct nodes` at a time.
 */
#ifndef TESTS_SUPPORT_NODES_H
#define TESTS_SUPPORT_NODES_H

#include "actors/ingest/ingest_gauges.h"
#include "actors/shard.h"
#include "tests/support/det_sched.h"
#include "tests/support/fake_bus.h"
#include "tests/support/fake_store.h"

enum { NODES_MAX = 3, NODES_SHARDS_MAX = 4 };

struct nodes;

/* One shard of a node; `shard` is what its actors see. */
struct node_shard {
    struct shard shard;
    struct det_sched *det;
    unsigned number;
};

struct node {
    struct nodes *nodes;
    struct det_sched *det; /* NULL: not running */
    struct actor_config config;
    struct ingest_gauges streams;
    char name[16];
    bool frozen;
    struct node_shard shards[NODES_SHARDS_MAX];
};

struct nodes_options {
    unsigned nodes;
    unsigned shards;
    bool bus;
    bool ingest;
    bool presence; /* who is online */
    bool recovers; /* connection state recovery, with its replay stream and its records */
    uint64_t recovery_ms; /* recovery.age; 0: a minute */
    uint32_t replay; /* events that rooms called "mem:…" remember; 0: none */
    uint32_t replay_ms; /* for how long; 0: a minute */
    uint32_t memory_bytes; /* of all of them; 0: a lot */
    uint32_t retain_bytes; /* of last values; 0: none is kept */
    bool history; /* what is said in rooms called "said:…" is kept in the store, for a minute */
    uint32_t partitions;
    enum batching_mode batching;
};

struct nodes {
    struct nodes_options options;
    uint64_t seed;
    struct rand dice;
    uint64_t now_ms;
    unsigned started; /* nodes so far, for their names */
    struct fake_store *store;
    struct fake_redis *redis; /* NULL without a bus */
    struct node node[NODES_MAX];
};

/* Start all nodes. Rooms called "quiet:…" tell nobody who comes and goes, "small:…" have at most
 * three members; nothing is kept for "bare:…"; what is sent to "batch:…" leaves with the tick, as
 * one batch_update; who may join "asked:…" is asked of hook 0, and what "order:…" events come to of
 * hook 3 (shard.hook_ask, which is the test's). */
struct nodes *nodes_create(uint64_t seed, const struct nodes_options *options);

/* Stop all nodes and destroy everything; sockets must have been detached. */
void nodes_destroy(struct nodes *nodes);

/* Start a node that was stopped, under a new name; or stop one, as its process would end. */
void nodes_start(struct nodes *nodes, unsigned node);
void nodes_stop(struct nodes *nodes, unsigned node);

/* Stop and continue a node's process: nothing of it moves, its clock jumps. */
void nodes_freeze(struct nodes *nodes, unsigned node);
void nodes_thaw(struct nodes *nodes, unsigned node);

/* A number below `bound`, out of the seed. */
uint64_t nodes_dice(struct nodes *nodes, uint64_t bound);

/* Act on the thread of a shard: it will run. */
struct shard *nodes_on(struct nodes *nodes, unsigned node, unsigned shard);

/* Do one thing that the seed decides; false when nothing can move before time does. */
bool nodes_step(struct nodes *nodes);

/* Step until nothing moves. */
void nodes_settle(struct nodes *nodes);

/* Move time on by `ms`, with steps between. */
void nodes_advance(struct nodes *nodes, uint64_t ms);

/* The shard of `node` that a user (its key) lives on. */
unsigned nodes_user_shard(const struct nodes *nodes, unsigned node, const char *key);

/* A counter of a node, over its shards; `offset` is in struct shard_stats. */
uint64_t nodes_stat(const struct nodes *nodes, unsigned node, size_t offset);

#endif
