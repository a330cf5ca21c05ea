/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base/mem.h"

#include <stdlib.h>
#include <string.h>

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
    return malloc(size ? size : 1);
}

void *mem_try_realloc(void *ptr, size_t size)
{
    return realloc(ptr, size ? size : 1);
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
