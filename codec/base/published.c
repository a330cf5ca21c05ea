/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies a struct word by word into atomics, and out of them.
 */
#include "codec/base/published.h"

#include <string.h>

/* Relaxed: each word stands alone. */
static inline void write_word(_Atomic(uint64_t) *copy, const unsigned char *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof(word));
    atomic_store_explicit(copy, word, memory_order_relaxed);
}

static inline void write_two(_Atomic(uint64_t) *copy, const unsigned char *from)
{
    write_word(copy, from);
    write_word(copy + 1, from + sizeof(uint64_t));
}

static inline void write_four(_Atomic(uint64_t) *copy, const unsigned char *from)
{
    write_two(copy, from);
    write_two(copy + 2, from + 2 * sizeof(uint64_t));
}

/* Every shard does this several times a turn: a loop by words would cost three times as much. */
void published_write(_Atomic(uint64_t) *copy, const void *words, size_t count)
{
    const unsigned char *from = words;
    size_t at = 0;
    for (; at + 8 <= count; at += 8) {
        write_four(copy + at, from + at * sizeof(uint64_t));
        write_four(copy + at + 4, from + (at + 4) * sizeof(uint64_t));
    }
    if (count & 4) {
        write_four(copy + at, from + at * sizeof(uint64_t));
        at += 4;
    }
    if (count & 2) {
        write_two(copy + at, from + at * sizeof(uint64_t));
        at += 2;
    }
    if (count & 1) {
        write_word(copy + at, from + at * sizeof(uint64_t));
    }
}

void published_read(const _Atomic(uint64_t) *copy, size_t count, void *ret_words)
{
    unsigned char *to = ret_words;
    for (size_t i = 0; i < count; i++) {
        /* Relaxed: partner of published_write. */
        uint64_t word = atomic_load_explicit(&copy[i], memory_order_relaxed);
        memcpy(to + i * sizeof(word), &word, sizeof(word));
    }
}
