/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifndef MEM_TORTURE
static bool mem_torture_fails(void)
{
    return false;
}
#endif

static atomic_ullong failures;

enum {
    RESERVE_BLOCK = 120 << 10, /* below what malloc maps for itself: free parts of the heap serve */
    RESERVE_MAX = 64,
};

static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;
static void *reserve[RESERVE_MAX];
static unsigned reserve_count; /* blocks; 0: none, or it is used */
static atomic_bool low; /* relaxed: who does not see it yet fails a little later */

static void free_blocks(void **blocks, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        free(blocks[i]);
    }
}

/* Take `count` blocks into the reserve, and see whether there are as many again. */
static bool fill_reserve(unsigned count)
{
    void *more[RESERVE_MAX];
    unsigned got = 0;
    while (got < 2 * count) {
        void **place = got < count ? &reserve[got] : &more[got - count];
        *place = malloc(RESERVE_BLOCK);
        if (*place == NULL) {
            break;
        }
        got++;
    }
    free_blocks(more, got > count ? got - count : 0);
    if (got < 2 * count) {
        free_blocks(reserve, got < count ? got : count);
        return false;
    }
    reserve_count = count;
    return true;
}

bool mem_keep_reserve(size_t size)
{
    size_t count = size / RESERVE_BLOCK + 1;
    CHECK(count <= RESERVE_MAX);
    pthread_mutex_lock(&reserve_lock);
    if (reserve_count == 0 && fill_reserve((unsigned)count)) {
        atomic_store_explicit(&low, false, memory_order_relaxed);
    }
    bool kept = reserve_count > 0;
    pthread_mutex_unlock(&reserve_lock);
    return kept;
}

bool mem_is_low(void)
{
    return atomic_load_explicit(&low, memory_order_relaxed);
}

/* An allocation that must not fail has failed: whoever comes second finds what the first let go. */
static void use_reserve(void)
{
    pthread_mutex_lock(&reserve_lock);
    if (reserve_count > 0) {
        free_blocks(reserve, reserve_count);
        reserve_count = 0;
        atomic_store_explicit(&low, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&reserve_lock);
}

void *mem_lib_malloc(size_t size)
{
    void *ptr = malloc(size);
    if (ptr == NULL) {
        use_reserve();
        ptr = malloc(size);
    }
    return ptr;
}

void *mem_lib_calloc(size_t count, size_t size)
{
    void *ptr = calloc(count, size);
    if (ptr == NULL) {
        use_reserve();
        ptr = calloc(count, size);
    }
    return ptr;
}

void *mem_lib_realloc(void *ptr, size_t size)
{
    void *moved = realloc(ptr, size);
    if (moved == NULL && size > 0) {
        use_reserve();
        moved = realloc(ptr, size);
    }
    return moved;
}

static bool fails(void)
{
    return mem_is_low() || mem_torture_fails();
}

static void *count_failure(void *ptr)
{
    if (ptr == NULL) {
        atomic_fetch_add_explicit(&failures, 1, memory_order_relaxed);
    }
    return ptr;
}

void *mem_alloc(size_t size)
{
    void *ptr = mem_lib_calloc(1, size ? size : 1);
    CHECK(ptr != NULL);
    return ptr;
}

void *mem_alloc_array(size_t count, size_t size)
{
    size_t total;
    CHECK(!__builtin_mul_overflow(count, size, &total));
    return mem_alloc(total);
}

void *mem_realloc_array(void *ptr, size_t count, size_t size)
{
    size_t total;
    CHECK(!__builtin_mul_overflow(count, size, &total));
    void *moved = mem_lib_realloc(ptr, total ? total : 1);
    CHECK(moved != NULL);
    return moved;
}

void *mem_try_alloc(size_t size)
{
    return count_failure(fails() ? NULL : malloc(size ? size : 1));
}

void *mem_try_calloc(size_t count, size_t size)
{
    return count_failure(fails() ? NULL : calloc(count ? count : 1, size ? size : 1));
}

void *mem_try_realloc(void *ptr, size_t size)
{
    return count_failure(fails() ? NULL : realloc(ptr, size ? size : 1));
}

uint64_t mem_failures(void)
{
    return atomic_load_explicit(&failures, memory_order_relaxed);
}

char *mem_dup(const void *at, size_t len)
{
    char *copy = mem_lib_malloc(len + 1);
    CHECK(copy != NULL);
    if (len > 0) {
        memcpy(copy, at, len);
    }
    copy[len] = '\0';
    return copy;
}

void mem_free(void *ptr)
{
    free(ptr);
}
