/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock - the two clocks of the machine. Actors never read them: they ask their scheduler,
 * whose time is set by the loop once per turn, or by a test.
 */
#ifndef CODEC_BASE_CLOCK_H
#define CODEC_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic time in nanoseconds; for deadlines and durations. Any thread. */
uint64_t clock_mono_ns(void);

/* Monotonic time in milliseconds. Any thread. */
uint64_t clock_mono_ms(void);

/* Wall clock in milliseconds since 1970-01-01 UTC; may jump. Any thread. */
uint64_t clock_wall_ms(void);

#endif
