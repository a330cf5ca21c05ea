/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health - what a store last achieved, and the engine's own words for what failed; private to sql/.
 *
 * Requests tell it by how they end (store.c), engines by what they hear. Any thread.
 */
#ifndef SQL_HEALTH_H
#define SQL_HEALTH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sql/store_types.h"

enum { HEALTH_REASON_MAX = 320 };

/* What a request says about the database by how it ended. */
enum health_of { HEALTH_OF_NOTHING, HEALTH_OF_WRITES, HEALTH_OF_READS };

struct health {
    _Atomic(uint64_t) write_failed_ms; /* 0: the last put was carried out */
    _Atomic(uint64_t) read_failed_ms; /* 0: the last read was answered */
    _Atomic(uint64_t) failures;
    _Atomic(uint64_t) pooled_ms; /* when a pooler that changes sessions was met last; 0: never */
    _Atomic(uint64_t) sessions; /* for writing, begun after one was lost */
    _Atomic(bool) unwritable; /* the verdict of who watches */
    pthread_mutex_t lock;
    /* Under `lock`: */
    char reason[HEALTH_REASON_MAX];
    uint64_t explained_ms; /* when it was given */
    struct store_loss loss;
};

/* Set up and finish. */
void health_init(struct health *health);
void health_finish(struct health *health);

/*
 * A request ended with `status`. Only what says that the database cannot do such a thing now counts
 * as a failure: no refused value, no fence, and no lock of another transaction that was waited for
 * in vain.
 */
void health_note(struct health *health, enum health_of of, int status);

/* A pooler that changes sessions was met: the store is in doubt for some seconds. Any thread. */
void health_met_pooler(struct health *health);

/* Keep the first line of why something failed, with a remedy behind it where one is known. */
void health_explain(struct health *health, const char *text, const char *remedy);

#endif
