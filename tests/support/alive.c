/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts by wrapping the allocator's functions.
 */
#include "tests/support/alive.h"

#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *ptr);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *ptr);

static long alive;

static void *count(void *made)
{
    alive += made != NULL;
    return made;
}

void *__wrap_malloc(size_t size)
{
    return count(__real_malloc(size));
}

void *__wrap_calloc(size_t count_of, size_t size)
{
    return count(__real_calloc(count_of, size));
}

void *__wrap_realloc(void *ptr, size_t size)
{
    void *made = __real_realloc(ptr, size);
    return ptr == NULL ? count(made) : made;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return count(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *ptr)
{
    alive -= ptr != NULL;
    __real_free(ptr);
}

long alive_count(void)
{
    return alive;
}
