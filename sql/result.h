/* SPDX-License-Identifier: Apache-2.0 */
/*
 * result - the memory of a request's outputs: an arena that is freed as a whole.
 *
 * Failure to allocate is sticky, so that it is asked for once, at the end.
 */
#ifndef SQL_RESULT_H
#define SQL_RESULT_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct result_chunk;

struct result {
    /* private */
    struct result_chunk *newest;
    bool failed;
};

/* Free everything; the arena is empty again. */
void result_reset(struct result *result);

/* Return `size` zeroed bytes aligned for any type, or NULL. */
MUST_CHECK void *result_alloc(struct result *result, size_t size);

/* Return a copy of `content`; empty when there was no memory. */
struct bytes result_copy(struct result *result, struct bytes content);

/*
 * Return `array` of `count` items with room for one more, moved when count is 0 or a power of two
 * from 8; NULL (and `array` still valid) when there was no memory.
 */
MUST_CHECK void *result_grow(struct result *result, void *array, size_t count, size_t item_size);

/* Whether an allocation failed. */
bool result_failed(const struct result *result);

#endif
