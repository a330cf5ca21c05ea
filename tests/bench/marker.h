/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marker - what stands at the beginning of every benchmark event: when it was due and its number.
 *
 * Text that any encoding carries as it is: `pb:`, 16 hexadecimal digits of the monotonic clock in
 * nanoseconds, 8 of the number of the event in its room, `:`.
 */
#ifndef TESTS_BENCH_MARKER_H
#define TESTS_BENCH_MARKER_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"

enum { MARKER_LEN = 28 };

struct marker {
    uint64_t due_ns;
    uint32_t number; /* 1, 2, 3 … */
};

/* Write a marker to `at` (MARKER_LEN bytes). */
void marker_write(const struct marker *marker, char *at);

/* Read the marker at `at` (MARKER_LEN bytes); false when there is none. */
bool marker_read(const char *at, struct marker *ret_marker);

/* Where the first marker in `text` begins; text.len when there is none. */
size_t marker_find(struct bytes text);

#endif
