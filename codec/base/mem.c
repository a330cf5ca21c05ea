/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base/mem.h"

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

static void *count_failure(void *ptr)
{
    if (ptr == NULL) {
        atomic_fetch_add_explicit(&failures, 1, memory_order_relaxed);
    }
    return ptr;
}

void *mem_alloc(size_t size)
{
    void *ptr = calloc(1, size ? size : 1);
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
    void *moved = realloc(ptr, total ? total : 1);
    CHECK(moved != NULL);
    return moved;
}

void *mem_try_alloc(size_t size)
{
    return count_failure(mem_torture_fails() ? NULL : malloc(size ? size : 1));
}

void *mem_try_calloc(size_t count, size_t size)
{
    return count_failure(mem_torture_fails() ? NULL : calloc(count ? count : 1, size ? size : 1));
}

void *mem_try_realloc(void *ptr, size_t size)
{
    return count_failure(mem_torture_fails() ? NULL : realloc(ptr, size ? size : 1));
}

uint64_t mem_failures(void)
{
    return atomic_load_explicit(&failures, memory_order_relaxed);
}

char *mem_dup(const void *at, size_t len)
{
    char *copy = malloc(len + 1);
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
