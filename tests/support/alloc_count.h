/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc_count - how many allocations Peal's own code has made, in a program that is linked with
 * --wrap for malloc, calloc and realloc. Those of a client that reads (client.h) are not counted.
 */
#ifndef TESTS_SUPPORT_ALLOC_COUNT_H
#define TESTS_SUPPORT_ALLOC_COUNT_H

#include <stdint.h>

/* Allocations of this thread so far. */
uint64_t alloc_count(void);

#endif
