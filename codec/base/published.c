/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies a struct word by word into atomics, and out of them.
 */
#include "codec/base/published.h"

#include <string.h>

void published_write(_Atomic(uint64_t) *copy, const void *words, size_t count)
{
    const unsigned char *from = words;
    for (size_t i = 0; i < count; i++) {
        uint64_t word;
        memcpy(&word, from + i * sizeof(word), sizeof(word));
        /* Relaxed: each word stands alone. */
        atomic_store_explicit(&copy[i], word, memory_order_relaxed);
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
