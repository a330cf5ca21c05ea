/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trimmer - a thread that gives what is free in the heap back to the kernel (malloc_trim), so that
 * no loop does it for all heaps, and none waits for who does.
 *
 * malloc holds the lock of each heap while it goes through that: the loop it belongs to waits for
 * its own part all the same. So it is done only when memory is short, and rests behind it: eight
 * times as long as it took; where it gave back too little for its time, a second, and twice as long
 * each time, a minute at most (README.md, "Decisions").
 */
#ifndef HUB_NODE_TRIMMER_H
#define HUB_NODE_TRIMMER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"

struct memory_limits;

enum {
    TRIMMER_PATIENCE_MS = 100, /* for so long what it gives back is waited for */
    TRIMMER_REST = 8, /* times what it took */
    TRIMMER_REST_MIN_MS = 1000, /* behind one that was of little use */
    TRIMMER_REST_MAX_MS = 60000,
    TRIMMER_WORTH = 64 << 10, /* bytes given back in a millisecond that are of use */
};

struct trimmer {
    /* private */
    const struct memory_limits *limits;
    int (*trim)(size_t pad); /* malloc_trim, or a test's */
    pthread_t thread;
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t changed;
    uint64_t asked_ms; /* when what is wanted or under way was; monotonic */
    uint64_t rest_ms; /* behind the last that was of little use */
    uint64_t rests_until_ms;
    bool runs; /* the thread does */
    bool wanted;
    bool busy;
    bool ending;
};

/* Begin without a thread, in memory that is zeroed; `limits` tell how much is used. */
void trimmer_init(struct trimmer *trimmer, const struct memory_limits *limits);

/* Start the thread; without it (no memory for one) nothing is ever trimmed. */
MUST_CHECK bool trimmer_start(struct trimmer *trimmer);

/* Wait for the thread to end, and free all. */
void trimmer_finish(struct trimmer *trimmer);

/*
 * Have it trim, unless it rests. Returns whether what it gives back is worth waiting for: it was
 * asked less than TRIMMER_PATIENCE_MS ago, and is not done. Any thread.
 */
bool trimmer_ask(struct trimmer *trimmer);

#endif
