/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation over malloc with a reserve behind it, which is let go when something that must not
 * fail would.
 */
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

/*
 * The reserve is a list of blocks, as large as the heap has them: that of a program that was full
 * has holes, more than enough of them, and none is large.
 */
enum {
    BLOCK_MOST = 120 << 10, /* below what malloc maps for itself: free parts of the heap serve */
    BLOCK_LEAST = 1 << 10, /* what small allocations fit into */
    BLOCK_PART = 4, /* of a size that there is no more of */
};

struct block {
    struct block *next;
};

static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *reserve; /* NULL: there is none, or it is used */
static atomic_bool low; /* relaxed, as the next: who does not see it yet fails a little later */
static atomic_bool refusing;

static void free_blocks(struct block *blocks)
{
    while (blocks != NULL) {
        struct block *next = blocks->next;
        free(blocks);
        blocks = next;
    }
}

/* Take blocks of `size` bytes together from what is free; NULL: there is less. `block` is how large
 * they are at most, and then were. */
static struct block *take_blocks(size_t size, size_t *block)
{
    struct block *blocks = NULL;
    for (size_t got = 0; got < size;) {
        struct block *taken = malloc(*block);
        if (taken != NULL) {
            taken->next = blocks;
            blocks = taken;
            got += *block;
        } else if (*block / BLOCK_PART >= BLOCK_LEAST) {
            *block /= BLOCK_PART;
        } else {
            free_blocks(blocks);
            return NULL;
        }
    }
    return blocks;
}

/* Take the reserve, and see whether there is as much again. */
static bool fill_reserve(size_t size)
{
    size_t block = BLOCK_MOST;
    struct block *kept = take_blocks(size, &block);
    struct block *more = kept != NULL ? take_blocks(size, &block) : NULL;
    free_blocks(more);
    if (more == NULL) {
        free_blocks(kept);
        return false;
    }
    reserve = kept;
    return true;
}

bool mem_keep_reserve(size_t size)
{
    pthread_mutex_lock(&reserve_lock);
    if (reserve == NULL && fill_reserve(size)) {
        atomic_store_explicit(&low, false, memory_order_relaxed);
    }
    bool kept = reserve != NULL;
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
    if (reserve != NULL) {
        free_blocks(reserve);
        reserve = NULL;
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

void mem_refuse(bool refuse)
{
    atomic_store_explicit(&refusing, refuse, memory_order_relaxed);
}

static bool fails(void)
{
    return mem_is_low() || atomic_load_explicit(&refusing, memory_order_relaxed) ||
           mem_torture_fails();
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
