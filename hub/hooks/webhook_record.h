/* SPDX-License-Identifier: Apache-2.0 */
/*
 * webhook_record - what webhooks are told becomes jobs of the store, from where it is delivered.
 *
 * What happens within WEBHOOK_GATHER_MS becomes one call, of at most WEBHOOK_CALL_EVENTS events;
 * its body and its id stay as they are from then on, however often it is tried. A store that is
 * away is waited for, with at most WEBHOOK_WAITING_BYTES of a shard: what comes beyond is lost, and
 * counted.
 */
#ifndef HUB_HOOKS_WEBHOOK_RECORD_H
#define HUB_HOOKS_WEBHOOK_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "codec/base/bytes.h"
#include "codec/base/list.h"
#include "codec/base/log.h"
#include "sql/store.h"

struct shard;
struct webhook_batch;
struct webhook_note;
struct webhook_settling;

enum {
    WEBHOOKS_MAX = 16,
    WEBHOOK_GATHER_MS = 10,
    WEBHOOK_CALL_EVENTS = 100,
    WEBHOOK_CALL_BYTES = 262144, /* of a call no event is added to any more */
    WEBHOOK_ADD_CALLS = 32, /* in one request to the store */
    WEBHOOK_WAITING_BYTES = 16777216,
};

/* Embedded by who records; one of a shard. */
struct webhook_record {
    uint64_t recorded; /* events that are in the store */
    uint64_t lost; /* events that are not, and will not be */
    uint64_t waiting; /* events that are to be, now */
    uint64_t stuck; /* 1: the store did not take them when it was asked last */
    /* private */
    struct shard *shard;
    struct list batches; /* webhook_batch.link, the oldest first */
    struct list sent; /* those of `add` */
    struct webhook_batch *gathering[WEBHOOKS_MAX]; /* of `batches`: they may take more */
    size_t bytes; /* of all batches */
    struct list settling; /* webhook_settling.link, the oldest first */
    bool busy; /* `add` is under way */
    bool closed;
    struct timer timer;
    struct log_limit lost_log;
    struct store_job_add add;
    struct store_job_new jobs[WEBHOOK_ADD_CALLS];
};

void webhook_record_init(struct webhook_record *record, struct shard *shard);

/* Take in what has happened for the webhook `index`, whose jobs are in `queue` (copied). */
void webhook_record_note(struct webhook_record *record, unsigned index, struct bytes queue,
    const struct webhook_note *note);

/* As webhook_settle_fn: the store is asked in the next turn. */
MUST_CHECK bool webhook_record_settle(
    struct webhook_record *record, struct webhook_settling *settling);

/* The webhooks have other numbers from now on. */
void webhook_record_renumber(struct webhook_record *record);

/* Begin to end: what waits goes to the store at once, and is lost where that fails. */
void webhook_record_close(struct webhook_record *record);

/* Whether anything is left of it; where nothing is after webhook_record_close, it holds nothing. */
bool webhook_record_is_open(const struct webhook_record *record);

#endif
