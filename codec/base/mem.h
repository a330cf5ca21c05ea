/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem - allocation: small fixed sizes abort on failure, sizes and numbers a peer decides do not.
 *
 * Small ones have a reserve (mem_keep_reserve). When it is used, memory is low: from then on all
 * that may fail does, so that nothing new is let in, until the reserve is there again.
 */
#ifndef CODEC_BASE_MEM_H
#define CODEC_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"

/* Allocate `size` zeroed bytes, aborting when there are none. Freed with mem_free. Any thread. */
MUST_CHECK void *mem_alloc(size_t size);

/* Like mem_alloc for an array of `count` items; aborts also when the product overflows. */
MUST_CHECK void *mem_alloc_array(size_t count, size_t size);

/*
 * Resize `ptr` (or NULL) to `count` items of `size` bytes, aborting on failure; new bytes are
 * not zeroed.
 */
MUST_CHECK void *mem_realloc_array(void *ptr, size_t count, size_t size);

/* Like mem_alloc, but not zeroed and NULL on failure: for sizes that a peer decides. */
MUST_CHECK void *mem_try_alloc(size_t size);

/* Like mem_alloc_array, NULL on failure or when the product overflows. */
MUST_CHECK void *mem_try_calloc(size_t count, size_t size);

/* Like mem_realloc_array in bytes, NULL on failure with `ptr` untouched. */
MUST_CHECK void *mem_try_realloc(void *ptr, size_t size);

/*
 * Keep `size` bytes for small allocations of the calling thread, in blocks that its heap has;
 * called again, once memory is low, to have them again: they are only when as much again is free.
 * Whether they are kept now. Threads that keep none have what the others keep, as far as it is the
 * main thread's.
 */
MUST_CHECK bool mem_keep_reserve(size_t size);

/* The calling thread needs none any more: before it ends. */
void mem_drop_reserve(void);

/* Whether a reserve is used, and not there again. Any thread. */
bool mem_is_low(void);

/*
 * Until it is called with false, let all that may fail fail, as while memory is low: for who sees
 * that the kernel is about to run out of it. Any thread.
 */
void mem_refuse(bool refuse);

/*
 * As malloc, calloc, realloc and free, with the reserve behind them: for a library that aborts when
 * a small allocation fails. Any thread.
 */
MUST_CHECK void *mem_lib_malloc(size_t size);
MUST_CHECK void *mem_lib_calloc(size_t count, size_t size);
MUST_CHECK void *mem_lib_realloc(void *ptr, size_t size);

/*
 * Ask for memory that its holders can do without (caches): mem_asked grows. A failed allocation
 * does so by itself; others call it when they pass a limit, or when a library finds none. Any
 * thread.
 */
void mem_ask_back(void);

/*
 * How many times it was asked for since the start. Who holds a cache empties it, on its own thread,
 * when this is not what it saw last. Any thread.
 */
uint64_t mem_asked(void);

/* How many calls of the mem_try_ functions have returned NULL since the start. Any thread. */
uint64_t mem_failures(void);

#ifdef MEM_TORTURE
/* Whether the allocation that is asked for is to fail; the test defines it (tests/torture). */
bool mem_torture_fails(void);
#endif

/* Copy `len` bytes to a new allocation that ends in a NUL not counted in `len`; aborts. */
MUST_CHECK char *mem_dup(const void *at, size_t len);

/* Free what the functions above returned; NULL is allowed. Any thread. */
void mem_free(void *ptr);

/* What an allocation of `size` bytes takes, its head included (malloc of glibc, 64 bits). */
static inline size_t mem_cost(size_t size)
{
    size_t cost = (size + 8 + 15) / 16 * 16;
    return cost < 32 ? 32 : cost;
}

#endif
