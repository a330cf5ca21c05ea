/* SPDX-License-Identifier: Apache-2.0 */
/*
 * starved_malloc - lets one allocation of the whole process fail, those of libraries too. For one
 * thread at a time; under a sanitizer malloc is not ours, and none fails.
 */
#ifndef TESTS_SUPPORT_STARVED_MALLOC_H
#define TESTS_SUPPORT_STARVED_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* Whether it can. */
bool starved_malloc_works(void);

/* Let the `nth` allocation from now on fail; the next one is the first. */
void starved_malloc_arm(size_t nth);

/* Let none fail, and count none, until told otherwise. */
void starved_malloc_pause(bool paused);

/* Let none fail; returns how many there were since it was armed. */
size_t starved_malloc_disarm(void);

#endif
