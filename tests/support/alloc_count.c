/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the linker puts in the place of malloc and its kind (ld --wrap).
 */
#include "tests/support/alloc_count.h"

#include <stddef.h>

#include "tests/support/client.h"

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);

static _Thread_local uint64_t allocations;

static void count(void)
{
    allocations += !client_reads;
}

void *__wrap_malloc(size_t size)
{
    count();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t number, size_t size)
{
    count();
    return __real_calloc(number, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    count();
    return __real_realloc(ptr, size);
}

uint64_t alloc_count(void)
{
    return allocations;
}
