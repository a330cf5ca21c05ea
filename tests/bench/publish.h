/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish - the sending side: one or more connections that post events by a fixed schedule.
 *
 * The schedule does not wait for answers: what is due is stamped with the time it was due, however
 * late it leaves. With rate 0 each connection has one request under way instead.
 */
#ifndef TESTS_BENCH_PUBLISH_H
#define TESTS_BENCH_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/options.h"

struct publish;

struct publish_counts {
    uint64_t offered; /* events handed to the kernel */
    uint64_t accepted; /* answers that say so; those of Redis and marks are not counted */
    uint64_t refused; /* other answers */
    uint64_t late_us; /* the most that an event left behind its time */
    uint64_t expected; /* deliveries, given how many receivers each target has */
    bool broken; /* a connection ended */
};

/*
 * Connect to the server; `targets` rooms (or, with PUBLISHER_STORE, users), of which number n has
 * `receivers[n]` receivers (borrowed). NULL after a message on stderr.
 */
struct publish *publish_open(
    const struct options *options, int epoll, uint32_t targets, const uint32_t *receivers);

/* Begin the schedule now. */
void publish_start(struct publish *publish);

/* Send what is due; returns the time of the next event, UINT64_MAX when the schedule is over. */
uint64_t publish_run(struct publish *publish);

/* Handle `events` of epoll for the connection `tag`; false when it is none of these. */
bool publish_handle(struct publish *publish, void *tag);

/* Whether everything was handed to the kernel, and answered where answers come. */
bool publish_done(const struct publish *publish);

struct publish_counts publish_counts(const struct publish *publish);

void publish_close(struct publish *publish);

#endif
