/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_directory - where the other nodes are: their addresses by tag, asked of Redis, remembered
 * for a moment.
 *
 * One per shard, on its thread. A tag comes out of a sid, which anybody can make up: questions
 * about one tag are asked once however many wait for the answer, that there is no such node is
 * remembered too, and at most NODE_DIRECTORY_MAX tags are under way or remembered at a time. Where
 * Redis does not answer, the last address known is good enough.
 */
#ifndef HUB_CLUSTER_NODE_DIRECTORY_H
#define HUB_CLUSTER_NODE_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "codec/base/list.h"

struct bus;
struct bus_names;
struct node_directory;
struct sched;

enum { NODE_DIRECTORY_MAX = 256, NODE_KNOWN_MS = 2000, NODE_ABSENT_MS = 1000 };

/* A question, embedded by who asks; zeroed but for `fn`. */
struct node_question {
    /* 0 with the address; STATUS_NOT_FOUND: no such node; STATUS_UNAVAILABLE: it cannot be told
     * now; STATUS_CANCELLED: the directory is closed. */
    void (*fn)(struct node_question *question, int status, const char *address);
    struct list link; /* of the node asked about */
};

/* Open on `bus`; `names` must outlive it. */
MUST_CHECK struct node_directory *node_directory_open(
    struct bus *bus, struct sched *sched, const struct bus_names *names);

/* Answer what is under way with STATUS_CANCELLED and free it. */
void node_directory_close(struct node_directory *directory);

/* Ask for the address of the node with `tag`; answered once, perhaps within the call. */
void node_directory_ask(
    struct node_directory *directory, uint16_t tag, struct node_question *question);

/* Take back a question that was not answered yet. */
void node_directory_take_back(struct node_question *question);

/* The question who is there, embedded by who asks; zeroed but for `fn`. */
struct node_census {
    /*
     * The tags of all nodes that are alive, or have died lately, this one too; at most
     * NODE_DIRECTORY_MAX, and then not `complete`. STATUS_UNAVAILABLE, STATUS_CANCELLED: none.
     */
    void (*fn)(
        struct node_census *census, int status, const uint16_t *tags, size_t count, bool complete);
};

/* Ask who is there; answered once, in a later turn. */
void node_directory_census(struct node_directory *directory, struct node_census *census);

/* The address of `tag` does not answer: ask Redis again next time. */
void node_directory_doubt(struct node_directory *directory, uint16_t tag);

#endif
