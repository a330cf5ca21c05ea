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
static atomic_ullong asked;

/*
 * A reserve is a list of blocks, as large as the heap has them: that of a program that was full has
 * holes, more than enough of them, and none is large. malloc has a heap for each thread: one that
 * finds nothing in its own looks into that of the main thread, and nowhere else. So each thread
 * keeps a reserve in its own heap, and lets it go for itself.
 */
enum {
    BLOCK_MOST = 120 << 10, /* below what malloc maps for itself: free parts of the heap serve */
    BLOCK_LEAST = 1 << 10, /* what small allocations fit into */
    BLOCK_PART = 4, /* of a size that there is no more of */
    KEEPERS_MAX = 80, /* threads with a reserve: shards, and the main thread */
};

struct block {
    struct block *next;
};

struct keeper {
    struct block *reserve; /* NULL: there is none, or it is used */
    bool used;
    bool taken; /* by a thread that lives */
};

static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;
static struct keeper keepers[KEEPERS_MAX];
static _Thread_local struct keeper *mine; /* NULL: this thread has never kept one */
static atomic_uint lacking; /* keepers whose reserve is used; relaxed, as the next: who does not see
                               it yet fails a little later */
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
static bool fill_reserve(struct keeper *keeper, size_t size)
{
    size_t block = BLOCK_MOST;
    struct block *kept = take_blocks(size, &block);
    struct block *more = kept != NULL ? take_blocks(size, &block) : NULL;
    free_blocks(more);
    if (more == NULL) {
        free_blocks(kept);
        return false;
    }
    keeper->reserve = kept;
    atomic_fetch_sub_explicit(&lacking, keeper->used, memory_order_relaxed);
    keeper->used = false;
    return true;
}

/* NULL: there are too many threads. */
static struct keeper *take_keeper(void)
{
    for (unsigned i = 0; i < KEEPERS_MAX; i++) {
        if (!keepers[i].taken) {
            keepers[i].taken = true;
            return &keepers[i];
        }
    }
    return NULL;
}

bool mem_keep_reserve(size_t size)
{
    pthread_mutex_lock(&reserve_lock);
    if (mine == NULL) {
        mine = take_keeper();
    }
    bool kept = mine != NULL && (mine->reserve != NULL || fill_reserve(mine, size));
    pthread_mutex_unlock(&reserve_lock);
    return kept;
}

void mem_drop_reserve(void)
{
    pthread_mutex_lock(&reserve_lock);
    if (mine != NULL) {
        free_blocks(mine->reserve);
        atomic_fetch_sub_explicit(&lacking, mine->used, memory_order_relaxed);
        *mine = (struct keeper){0};
        mine = NULL;
    }
    pthread_mutex_unlock(&reserve_lock);
}

bool mem_is_low(void)
{
    return atomic_load_explicit(&lacking, memory_order_relaxed) > 0;
}

/* False: it has none. */
static bool let_go(struct keeper *keeper)
{
    if (keeper->reserve == NULL) {
        return false;
    }
    free_blocks(keeper->reserve);
    keeper->reserve = NULL;
    keeper->used = true;
    atomic_fetch_add_explicit(&lacking, 1, memory_order_relaxed);
    return true;
}

/* An allocation that must not fail has failed. Who has nothing to let go takes what others have:
 * that of the main thread is for all. */
static void use_reserve(void)
{
    mem_ask_back();
    pthread_mutex_lock(&reserve_lock);
    if (mine == NULL || !let_go(mine)) {
        for (unsigned i = 0; i < KEEPERS_MAX; i++) {
            (void)let_go(&keepers[i]);
        }
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

void mem_ask_back(void)
{
    atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed);
}

uint64_t mem_asked(void)
{
    return atomic_load_explicit(&asked, memory_order_relaxed);
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
        mem_ask_back();
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
