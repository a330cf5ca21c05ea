/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vectors - reads the golden vectors of tests/data: inputs, and what they must decode to.
 *
 * The format is described in tests/data/README.md.
 */
#ifndef TESTS_SUPPORT_VECTORS_H
#define TESTS_SUPPORT_VECTORS_H

#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"

enum { VECTORS_TITLE_MAX = 128 };

struct vector {
    char title[VECTORS_TITLE_MAX]; /* the comment above, and the line */
    struct buf *input;
    struct buf *expected;
};

struct vectors {
    size_t count;
    struct vector *items;
};

/* Read a file; on any mistake in it, say where and abort. Freed with vectors_finish. */
void vectors_load(struct vectors *vectors, const char *path);

void vectors_finish(struct vectors *vectors);

/* Append `content` in the notation of the files: printable ASCII, other bytes escaped. */
void vectors_quote(struct builder *out, struct bytes content);

#endif
