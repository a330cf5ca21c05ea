/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_batch - stream entries on their way into the store: decoded, checked, numbered rows.
 *
 * Private to the ingest actor. Entries are committed in runs: normally all at once, but for posts
 * to an audience, each of which is a run of its own, those for later, which are kept, and jobs;
 * when the database refuses a value, halves, down to the one entry at fault.
 */
#ifndef ACTORS_INGEST_INGEST_BATCH_H
#define ACTORS_INGEST_INGEST_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "actors/core/ref.h"
#include "actors/ingest/ingest_history.h"
#include "codec/errors.h"
#include "codec/job_post.h"
#include "codec/notification.h"
#include "sql/store.h"

struct shard;

enum { INGEST_ID_MAX = 48, INGEST_ENTRIES_MAX = 500 };

/* Why an entry cannot be stored: goes to the dead letters and to `reply`. */
struct ingest_fault {
    enum error_code reason; /* ERROR_NONE: none */
    const char *field; /* NULL: no single one */
};

struct ingest_entry {
    char id[INGEST_ID_MAX];
    struct notification_field *fields; /* with their texts behind */
    uint32_t field_count;
    struct notification_post post;
    bool parsed;
    struct ingest_fault fault;
    struct notification_fault named; /* what `fault.field` points into */
    bool told; /* the fault is in the dead letters */
    bool routed; /* it is in the streams of its partitions, or on its way there */
    bool again; /* it was dealt with before (ingest_history.h) */
    uint32_t first_row;
    uint32_t row_count; /* 0: an event, for an audience, or at fault; 1: a job, in jobs_of */
    bool is_job;
    struct job_post job;
    struct store_audience_post *audience; /* of a post that is for one; else NULL */
};

struct ingest_batch {
    union { /* of the run under way; all begin with the request */
        struct store_put put;
        struct store_audience_post audience; /* the run is one entry that is for an audience */
        struct store_job_add adding; /* the run is of jobs */
    };
    struct shard *shard;
    struct actor_ref owner;
    struct ingest_entry *entries;
    uint32_t count;
    uint32_t from; /* the run under way is [from, to) */
    uint32_t to;
    struct store_row *rows;
    uint32_t row_count;
    struct store_job_new *jobs_of; /* NULL: no entry is a job */
    uint32_t job_count;
    bool again; /* the first entry was dealt with before */
    char kept[INGEST_POSITION_MAX]; /* what the store is to keep, while a request is under way */
};

/* What a batch is read from. */
struct ingest_source {
    struct bytes stream; /* names the entries' default keys */
    bool rows; /* false: nothing is to be stored but the position */
    bool routed; /* a partition's: what is in it was added elsewhere, and may have waited there */
    struct stream_id repeats; /* entries up to here were dealt with before */
};

/*
 * Decode the entries of an XREAD reply, in order, until the rows of one transaction are full; the
 * rest is read again. NULL when there is none, the reply is not one of XREAD, or without memory.
 */
MUST_CHECK struct ingest_batch *ingest_batch_create(struct shard *shard, struct actor_ref owner,
    const struct ingest_source *source, const struct bus_reply *reply);

/* Whether a poster's answer may be added to `stream` (empty: there is none). */
bool ingest_may_answer(const struct shard *shard, struct bytes stream);

/* Free it; not while a request is under way. NULL is allowed. */
void ingest_batch_destroy(struct ingest_batch *batch);

/* The id of the last entry of the batch, or of the run under way. */
struct bytes ingest_batch_last_id(const struct ingest_batch *batch);
struct bytes ingest_batch_run_id(const struct ingest_batch *batch);

/*
 * Submit the run [from, to), fenced with `token`; the store keeps `kept` as the position, which
 * lives as long as the batch (empty: as it was). `done` as in store.h.
 */
void ingest_batch_submit(struct ingest_batch *batch, uint32_t partition, uint64_t token,
    struct bytes kept, store_done_fn done);

/*
 * How many milliseconds to wait behind the run that was committed within `took_ms`: what is read
 * again, and was in the store, leaves half of the store's time to what is new. 0: go on.
 */
uint64_t ingest_batch_pause(const struct ingest_batch *batch, uint64_t took_ms);

/*
 * The database refused a value of the run: make the run smaller. When it cannot be smaller, its one
 * entry is at fault: it stores nothing, and the run goes on without it.
 */
void ingest_batch_narrow(struct ingest_batch *batch);

/* The store has answered: take what it tells into the entries. Rows keep what they refer to until
 * the batch is submitted again, or destroyed. */
void ingest_batch_take_in(struct ingest_batch *batch);

/* The run is committed: announce what it has stored. */
void ingest_batch_announce(struct ingest_batch *batch);

/* Somebody whom the run is for: a user, or the name of an audience. */
struct bytes ingest_batch_whom(const struct ingest_batch *batch);

/* The run is committed: take the next. False when the batch is done. */
bool ingest_batch_advance(struct ingest_batch *batch);

#endif
