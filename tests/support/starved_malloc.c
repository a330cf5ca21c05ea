/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The malloc of the program stands before that of the C library, whose own names lead to it.
 */
#include "tests/support/starved_malloc.h"

static size_t seen;
static size_t refused; /* 0: none */
static bool rests;

void starved_malloc_arm(size_t nth)
{
    seen = 0;
    refused = nth;
}

void starved_malloc_pause(bool paused)
{
    rests = paused;
}

size_t starved_malloc_disarm(void)
{
    refused = 0;
    return seen;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

bool starved_malloc_works(void)
{
    return false;
}

#else

bool starved_malloc_works(void)
{
    return true;
}

/* Names of glibc's. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *at, size_t size);

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *at, size_t size);

static bool fails(void)
{
    return refused > 0 && !rests && ++seen == refused;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    return fails() ? NULL : __libc_realloc(at, size);
}

#endif
