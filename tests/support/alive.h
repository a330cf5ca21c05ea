/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alive - how many allocations of this program are not freed. One thread; for programs linked with
 * --wrap of malloc, calloc, realloc, aligned_alloc and free, whose own calls are counted, not those
 * of libraries.
 */
#ifndef TESTS_SUPPORT_ALIVE_H
#define TESTS_SUPPORT_ALIVE_H

/* The number now; only differences mean something. */
long alive_count(void);

#endif
