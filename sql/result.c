/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that double in size, in a list; all are freed together.
 */
#include "sql/result.h"

#include <stdalign.h>
#include <stdint.h>

#include "codec/base/mem.h"

enum { CHUNK_MIN = 2048, GROW_MIN = 8 };

struct result_chunk {
    struct result_chunk *older;
    size_t used;
    size_t cap;
    alignas(max_align_t) char at[];
};

void result_reset(struct result *result)
{
    struct result_chunk *chunk = result->newest;
    while (chunk) {
        struct result_chunk *older = chunk->older;
        mem_free(chunk);
        chunk = older;
    }
    *result = (struct result){0};
}

static struct result_chunk *add_chunk(struct result *result, size_t size)
{
    size_t cap = result->newest ? 2 * result->newest->cap : CHUNK_MIN;
    if (cap > 64 * CHUNK_MIN) {
        cap = 64 * CHUNK_MIN;
    }
    if (cap < size) {
        cap = size;
    }
    struct result_chunk *chunk = mem_try_alloc(sizeof(*chunk) + cap);
    if (!chunk) {
        result->failed = true;
        return NULL;
    }
    *chunk = (struct result_chunk){.older = result->newest, .cap = cap};
    result->newest = chunk;
    return chunk;
}

void *result_alloc(struct result *result, size_t size)
{
    if (size > SIZE_MAX / 2) {
        result->failed = true;
        return NULL;
    }
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct result_chunk *chunk = result->newest;
    if (!chunk || chunk->cap - chunk->used < size) {
        chunk = add_chunk(result, size);
    }
    if (!chunk) {
        return NULL;
    }
    void *at = chunk->at + chunk->used;
    chunk->used += size;
    memset(at, 0, size);
    return at;
}

struct bytes result_copy(struct result *result, struct bytes content)
{
    if (content.len == 0) {
        return (struct bytes){0};
    }
    char *at = result_alloc(result, content.len);
    if (!at) {
        return (struct bytes){0};
    }
    memcpy(at, content.at, content.len);
    return bytes_of(at, content.len);
}

void *result_grow(struct result *result, void *array, size_t count, size_t item_size)
{
    bool full = count == 0 || (count >= GROW_MIN && (count & (count - 1)) == 0);
    if (!full) {
        return array;
    }
    size_t cap = count < GROW_MIN ? GROW_MIN : 2 * count;
    size_t size;
    if (__builtin_mul_overflow(cap, item_size, &size)) {
        result->failed = true;
        return NULL;
    }
    void *moved = result_alloc(result, size);
    if (moved && count > 0) {
        memcpy(moved, array, count * item_size);
    }
    return moved;
}

bool result_failed(const struct result *result)
{
    return result->failed;
}
