/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of words that are changed by compare-and-swap: a fingerprint and a packed bucket in each.
 */
#include "hub/net/name_rates.h"

#include <stdatomic.h>
#include <stddef.h>

#include "codec/base/mem.h"

enum { SLOTS = 1 << 15, WINDOW = 16 /* places a name may be at */ };

struct name_rates {
    _Atomic uint64_t slots[SLOTS + WINDOW]; /* 0: free. Relaxed, as no other memory is told of */
};

struct name_rates *name_rates_create(void)
{
    return mem_alloc(sizeof(struct name_rates));
}

void name_rates_destroy(struct name_rates *rates)
{
    mem_free(rates);
}

static uint64_t bucket_of(uint64_t word)
{
    return word & ((UINT64_C(1) << RATE_PACKED_BITS) - 1);
}

/* The place of the name, `*ret_word` being what is there; a free one, or that of the bucket which
 * remembers least, with the word to replace. */
static size_t find_place(
    const _Atomic uint64_t *window, uint64_t print, bool *ret_known, uint64_t *ret_word)
{
    size_t place = 0;
    *ret_known = false;
    *ret_word = UINT64_MAX;
    for (size_t i = 0; i < WINDOW; i++) {
        uint64_t word = atomic_load_explicit(&window[i], memory_order_relaxed);
        if (word != 0 && word >> RATE_PACKED_BITS == print) {
            *ret_known = true;
            *ret_word = word;
            return i;
        }
        if (bucket_of(word) < bucket_of(*ret_word)) {
            *ret_word = word;
            place = i;
        }
    }
    return place;
}

bool name_rates_take(struct name_rates *rates, uint64_t name, const struct rate *rate,
    uint64_t now_ms, uint64_t *ret_retry_ms)
{
    uint64_t print = name >> RATE_PACKED_BITS;
    _Atomic uint64_t *window = &rates->slots[name % SLOTS];
    bool known;
    uint64_t word;
    for (;;) {
        size_t place = find_place(window, print, &known, &word);
        struct rate_bucket bucket = {0};
        if (known) {
            bucket = rate_unpack(bucket_of(word));
        }
        if (!rate_take(&bucket, rate, now_ms, ret_retry_ms)) {
            return false;
        }
        if (atomic_compare_exchange_strong_explicit(&window[place], &word,
                print << RATE_PACKED_BITS | rate_pack(bucket), memory_order_relaxed,
                memory_order_relaxed)) {
            return true;
        }
    }
}
