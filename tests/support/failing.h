/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failing - which allocations of those that may fail do so, in a program that is built with
 * MEM_TORTURE and its own codec/base/mem.c. None does while a client reads (client.h).
 */
#ifndef TESTS_SUPPORT_FAILING_H
#define TESTS_SUPPORT_FAILING_H

#include <stdbool.h>
#include <stdint.h>

enum { FAILING_FOR_GOOD = 1 << 30 };

/* Let `count` allocations fail from the `nth` on, the next one being the first; 0, 0: none. */
void failing_arm(int64_t nth, int64_t count);

/* How many have failed since then. */
unsigned failing_count(void);

/* Let none fail, and count none, until told otherwise. */
void failing_pause(bool paused);

#endif
