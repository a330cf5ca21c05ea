/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_op - what is asked of one value, and what came of it.
 *
 * Who asks fills in the first part; the shard of the key fills in the second.
 */
#ifndef ACTORS_VALUES_VALUE_OP_H
#define ACTORS_VALUES_VALUE_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/values/value_memory.h"
#include "actors/values/value_name.h"
#include "codec/base/list.h"

enum {
    VALUE_TAGS_MAX = 16, /* of a value */
    VALUE_TOKEN_MAX = VALUE_LEASE_LEN + 1 + 20, /* who fills, ':', since when (µs) */
};

enum value_verb {
    VALUE_GET,
    VALUE_PUT,
    VALUE_DELETE,
    VALUE_INCREMENT,
    VALUE_LEASE, /* the value, or to be who fills it */
    VALUE_RELEASE, /* who fills it does not: the turn of the next one; MISS, whoever it was */
};

enum value_outcome {
    VALUE_MISS, /* it is not there; of a lease: whoever asked computes it, and nobody keeps it */
    VALUE_HIT,
    VALUE_STALE, /* what it was; somebody fills it */
    VALUE_FILL, /* the caller fills it, with `token` */
    VALUE_DONE,
    VALUE_CONFLICT, /* its version is another one, in `version` */
    VALUE_LEASE_LOST, /* the caller is not who fills it any more */
    VALUE_NO_INTEGER,
    VALUE_OVERFLOW,
    VALUE_UNAVAILABLE, /* Redis is away; nothing was changed */
    VALUE_UNKNOWN, /* it went away meanwhile: done or not */
    VALUE_TOO_LARGE, /* for the memory that is all there is */
    VALUE_NO_MEMORY,
};

/* What came of it. */
struct value_result {
    enum value_outcome outcome;
    struct value_body body; /* a reference */
    uint64_t version;
    uint64_t expires_ms; /* wall clock */
    uint64_t left_ms; /* of what is fresh */
    uint64_t held_ms; /* MISS of a lease: how long somebody else may take to fill it; 0: nobody */
    char token[VALUE_TOKEN_MAX + 1];
};

struct value_op {
    enum value_verb verb;
    size_t name_len;
    char name[VALUE_NAME_MAX];
    struct value_body body; /* PUT: a reference */
    struct buf *tags; /* PUT: a reference; each between two line feeds, none twice; NULL: none */
    size_t room_len; /* PUT: 0: it is shown in none */
    char room[VALUE_KEY_MAX]; /* as clients name it */
    uint64_t ttl_ms;
    uint64_t if_version; /* PUT with `conditional`; 0: it is not there */
    bool conditional;
    char token[VALUE_TOKEN_MAX + 1]; /* PUT, RELEASE: of who fills; "": of nobody */
    int64_t by; /* INCREMENT */
    uint64_t wait_ms; /* LEASE */

    struct value_result result;

    /* private */
    void (*answered)(struct value_op *op); /* the shard of the key has the result */
    struct list link; /* value_parcel.ops, or value_op.followers, or value_flight.waiters */
    struct list followers; /* value_op.link: readers that share its answer */
    void *parcel; /* what it came in */
    void *backend; /* who was asked */
    uint64_t until_ms; /* LEASE: how long it waits */
    uint32_t parts; /* commands without an answer */
    uint64_t stamp; /* PUT with tags */
    bool refused; /* one of its tags was let go after it began to fill */
    bool lost; /* one of its tags was not answered */
    bool forgotten; /* Redis did not know a script */
    bool heard; /* changes were heard when Redis was asked */
    uint64_t issued_ms; /* when Redis was asked */
    uint32_t epoch; /* of the link that tells what changed, then */
};

/* The name of what is asked for. */
static inline struct bytes value_op_name(const struct value_op *op)
{
    return bytes_of(op->name, op->name_len);
}

/* Release what it holds, asked and answered. */
void value_op_finish(struct value_op *op);

#endif
