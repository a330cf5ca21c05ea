/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_gauges - what a node knows of each stream, for who operates it: metrics and readiness.
 *
 * Written by the stream's reader on its shard, read by any thread: relaxed atomics, each for
 * itself.
 */
#ifndef ACTORS_INGEST_INGEST_GAUGES_H
#define ACTORS_INGEST_INGEST_GAUGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "actors/ingest/ingest_proto.h"
#include "codec/base/bytes.h"

enum { INGEST_STREAMS_MAX = INGEST_PARTITIONS_MAX + 1, INGEST_WAITING_MAX = 1000 };

/* What Redis refuses, or the store: one bit each in `trouble`. */
enum ingest_trouble {
    INGEST_TROUBLE_LEASE = 1u << 0, /* claiming or renewing (NOREPLICAS, MISCONF, NOPERM …) */
    INGEST_TROUBLE_READ = 1u << 1, /* reading (WRONGTYPE, NOPERM …) */
    INGEST_TROUBLE_WRITE = 1u << 2, /* routing, dead letters (OOM, WRONGTYPE …) */
    INGEST_TROUBLE_LOCK = 1u << 4, /* of the store: a lock that somebody holds is in the way */
    INGEST_TROUBLE_IDS = 1u << 3, /* the stream has used its last id: nobody can add to it */
};

/* One stream; times are wall clock ms of the entries' ids, except where they say otherwise. */
struct ingest_gauge {
    _Atomic(uint64_t) begun; /* monotonic ms; 0: not read by this node */
    _Atomic(uint64_t)
        owned; /* monotonic ms at which an owner was known last: this node, or another */
    _Atomic(uint64_t) owner; /* 1: this node */
    _Atomic(uint64_t) position;
    _Atomic(uint64_t) tip;
    _Atomic(uint64_t) waiting; /* entries behind the position; INGEST_WAITING_MAX: or more */
    _Atomic(uint64_t) oldest; /* of these; 0: none */
    _Atomic(uint64_t) trouble; /* set of enum ingest_trouble */
    _Atomic(uint64_t) reread; /* times it was read again: Redis has another history */
    _Atomic(uint64_t) lost; /* times entries were found gone that had not been read */
};

/* Those of a node, by the number of the stream. */
struct ingest_gauges {
    struct ingest_gauge of[INGEST_STREAMS_MAX];
};

/* Set a number. */
void ingest_gauge_set(_Atomic(uint64_t) *number, uint64_t value);

/* Set one to the milliseconds of an entry's id. */
void ingest_gauge_set_id(_Atomic(uint64_t) *number, struct bytes id);

/* Read a number. Any thread. */
uint64_t ingest_gauge_get(const _Atomic(uint64_t) *number);

/*
 * Log, once until it ends, that Redis refuses something of `stream`; and that it no longer does.
 * `text` is the error's.
 */
void ingest_gauge_complain(
    struct ingest_gauge *gauge, enum ingest_trouble trouble, const char *stream, struct bytes text);
void ingest_gauge_forgive(
    struct ingest_gauge *gauge, enum ingest_trouble trouble, const char *stream);

/*
 * This node is not the stream's owner any more: what it has waiting, and what Redis refuses of it,
 * is said by the next.
 */
void ingest_gauge_end_term(struct ingest_gauge *gauge);

/* Note the newest id of the stream; complain when it is the last that there can be. */
void ingest_gauge_note_tip(struct ingest_gauge *gauge, const char *stream, struct bytes tip);

/* Whether intake of some stream stands: refused by Redis, or without an owner for 5 s. Any thread.
 */
bool ingest_gauges_stand(const struct ingest_gauges *gauges, uint64_t now_ms);

#endif
