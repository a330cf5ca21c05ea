/* SPDX-License-Identifier: Apache-2.0 */
/*
 * track - what receivers got: events by number and room, lost, doubled, out of order, and how late.
 *
 * Every room has numbers of its own. A receiver remembers the next number it expects and which of
 * the 64 before it came, so that a late one and a double one are told apart. Latency counts from
 * when an event was due, so that a stalled sender is seen and not left out.
 */
#ifndef TESTS_BENCH_TRACK_H
#define TESTS_BENCH_TRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "tests/bench/histogram.h"
#include "tests/bench/marker.h"

/* One receiver's part. */
struct track_receiver {
    uint32_t next; /* 0: the first event sets it */
    uint32_t room;
    uint64_t seen; /* bit n: number next - 1 - n came */
    uint64_t received; /* different events */
};

/* All receivers together. */
struct track {
    uint64_t received; /* doubles not counted */
    uint64_t doubled;
    uint64_t reordered; /* came behind a later one */
    uint64_t messages; /* WebSocket messages that carried events */
    uint64_t last_ns; /* when the last event came */
    struct histogram latency;
};

/* Count one event that `receiver` got at `now_ns`. */
void track_event(struct track *track, struct track_receiver *receiver, const struct marker *marker,
    uint64_t now_ns);

/* Count all events in one message. Returns how many. */
unsigned track_message(
    struct track *track, struct track_receiver *receiver, struct bytes message, uint64_t now_ns);

/*
 * Members of a room get the same bytes. A track_batch remembers the events of the bytes that were
 * decoded last; a receiver that gets them too is counted without decoding them again.
 */
struct track_batch {
    char *raw;
    size_t len; /* 0: nothing is remembered */
    size_t cap;
    uint32_t count;
    uint32_t marker_cap;
    uint32_t messages;
    struct marker *markers;
    bool in_sequence;
};

/* Whether `bytes` begin with the remembered ones; then all their events are counted. */
bool track_batch_matches(struct track *track, struct track_batch *batch,
    struct track_receiver *receiver, struct bytes bytes, uint64_t now_ns);

/* Remember `raw`, complete messages, whose events are the `count` markers. */
void track_batch_keep(struct track_batch *batch, struct bytes raw, uint32_t messages);

/* Begin to collect the markers of the next bytes. */
void track_batch_begin(struct track_batch *batch);

/* Add the events of one message to what is being collected. */
void track_batch_add(struct track_batch *batch, struct bytes message);

#endif
