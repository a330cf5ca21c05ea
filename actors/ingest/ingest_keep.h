/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_keep - how far a stream is trimmed: what was passed less than `bus.keep` ago stays, so
 * that it can be read again from a store or a Redis that went back.
 *
 * The age of an entry counts from when the position passed it, not from when it was added: one that
 * waited an hour stays as long as any other. No more than INGEST_KEEP_MAX entries stay longer.
 */
#ifndef ACTORS_INGEST_INGEST_KEEP_H
#define ACTORS_INGEST_INGEST_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/stream_id.h"

enum { INGEST_KEEP_MAX = 1000000, INGEST_MARKS = 32 };

/* Where the position stood, and when; zeroed at the beginning. */
struct ingest_keep {
    struct {
        uint64_t at_ms;
        struct stream_id id;
    } marks[INGEST_MARKS];
    unsigned first; /* the oldest mark */
    unsigned count;
    struct stream_id trimmed; /* so far */
};

/*
 * Note where the position stands at `now_ms` (monotonic), with `length` entries in the stream. True
 * when the stream is to be trimmed now, up to `*ret_id`, which stays; never above the position.
 */
bool ingest_keep_note(struct ingest_keep *keep, uint64_t now_ms, uint64_t keep_ms,
    struct stream_id position, uint64_t length, struct stream_id *ret_id);

/* Forget it all: the ids are of another stream. */
void ingest_keep_forget(struct ingest_keep *keep);

#endif
