/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the numbers of each room at each receiver, and notes gaps, repeats and delays.
 */
#include "tests/bench/track.h"

#include "codec/base/mem.h"

enum { SEEN_BITS = 64, FIRST_MARKERS = 64 };

static void count_late(struct track *track, uint64_t due_ns, uint64_t now_ns)
{
    track->received++;
    track->last_ns = now_ns;
    histogram_add(&track->latency, now_ns > due_ns ? (now_ns - due_ns) / 1000 : 0, 1);
}

void track_event(struct track *track, struct track_receiver *receiver, const struct marker *marker,
    uint64_t now_ns)
{
    if (receiver->next == 0) {
        receiver->next = marker->number;
    }
    int64_t ahead = (int64_t)marker->number - (int64_t)receiver->next;
    if (ahead >= 0) {
        uint64_t shift = (uint64_t)ahead + 1;
        receiver->seen = (shift < SEEN_BITS ? receiver->seen << shift : 0) | 1;
        receiver->next = marker->number + 1;
    } else {
        uint64_t bit = -ahead <= SEEN_BITS ? UINT64_C(1) << (-ahead - 1) : 0;
        if (bit == 0 || (receiver->seen & bit)) {
            track->doubled++;
            return;
        }
        receiver->seen |= bit;
        track->reordered++;
    }
    receiver->received++;
    count_late(track, marker->due_ns, now_ns);
}

unsigned track_message(
    struct track *track, struct track_receiver *receiver, struct bytes message, uint64_t now_ns)
{
    unsigned count = 0;
    for (size_t at; (at = marker_find(message)) < message.len;) {
        struct marker marker;
        if (marker_read(message.at + at, &marker)) {
            track_event(track, receiver, &marker, now_ns);
            count++;
        }
        message = bytes_skip(message, at + MARKER_LEN);
    }
    track->messages += count > 0;
    return count;
}

bool track_batch_matches(struct track *track, struct track_batch *batch,
    struct track_receiver *receiver, struct bytes bytes, uint64_t now_ns)
{
    if (batch->len == 0 || !bytes_starts(bytes, bytes_of(batch->raw, batch->len))) {
        return false;
    }
    track->messages += batch->messages;
    if (!batch->in_sequence || receiver->next != batch->markers[0].number) {
        for (uint32_t i = 0; i < batch->count; i++) {
            track_event(track, receiver, &batch->markers[i], now_ns);
        }
        return true;
    }
    receiver->next += batch->count;
    receiver->received += batch->count;
    receiver->seen = batch->count < SEEN_BITS
                         ? receiver->seen << batch->count | ((UINT64_C(1) << batch->count) - 1)
                         : UINT64_MAX;
    for (uint32_t i = 0; i < batch->count; i++) {
        count_late(track, batch->markers[i].due_ns, now_ns);
    }
    return true;
}

void track_batch_begin(struct track_batch *batch)
{
    batch->len = 0;
    batch->count = 0;
}

void track_batch_add(struct track_batch *batch, struct bytes message)
{
    for (size_t at; (at = marker_find(message)) < message.len;) {
        if (batch->count == batch->marker_cap) {
            batch->marker_cap = batch->marker_cap ? batch->marker_cap * 2 : FIRST_MARKERS;
            batch->markers =
                mem_realloc_array(batch->markers, batch->marker_cap, sizeof(*batch->markers));
        }
        if (marker_read(message.at + at, &batch->markers[batch->count])) {
            batch->count++;
        }
        message = bytes_skip(message, at + MARKER_LEN);
    }
}

void track_batch_keep(struct track_batch *batch, struct bytes raw, uint32_t messages)
{
    if (batch->count == 0) {
        return;
    }
    if (raw.len > batch->cap) {
        batch->raw = mem_realloc_array(batch->raw, raw.len, 1);
        batch->cap = raw.len;
    }
    memcpy(batch->raw, raw.at, raw.len);
    batch->len = raw.len;
    batch->messages = messages;
    batch->in_sequence = true;
    for (uint32_t i = 1; i < batch->count; i++) {
        batch->in_sequence =
            batch->in_sequence && batch->markers[i].number == batch->markers[i - 1].number + 1;
    }
}
