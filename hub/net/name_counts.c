/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of words that are changed by compare-and-swap: a fingerprint and a count in each.
 */
#include "hub/net/name_counts.h"

#include <stdatomic.h>

#include "codec/base/check.h"
#include "codec/base/mem.h"

enum {
    WINDOW = 16, /* places a name may be at */
    COUNT_BITS = 24, /* the rest of a word is the fingerprint */
    SLOTS_MIN = 1 << 10,
    SLOTS_MAX = 1 << 22,
    RELEASE_TRIES = 1 << 20,
};

struct name_counts {
    size_t mask;
    _Atomic uint64_t slots[]; /* 0: free. Relaxed: nothing but the word itself is told by it */
};

static uint32_t count_of(uint64_t word)
{
    return (uint32_t)(word & ((1u << COUNT_BITS) - 1));
}

struct name_counts *name_counts_create(size_t connections)
{
    size_t slots = SLOTS_MIN;
    while (slots < SLOTS_MAX && slots < connections * 2) {
        slots *= 2;
    }
    struct name_counts *counts =
        mem_alloc(sizeof(*counts) + (slots + WINDOW) * sizeof(counts->slots[0]));
    counts->mask = slots - 1;
    return counts;
}

void name_counts_destroy(struct name_counts *counts)
{
    mem_free(counts);
}

/* What a look at a name's window shows. */
struct view {
    uint32_t total;
    size_t own; /* its first place; WINDOW: none */
    size_t free; /* the first free place; WINDOW: none */
    uint64_t word; /* at `own` */
};

static struct view look(const _Atomic uint64_t *window, uint64_t print)
{
    struct view view = {.own = WINDOW, .free = WINDOW};
    for (size_t i = 0; i < WINDOW; i++) {
        uint64_t word = atomic_load_explicit(&window[i], memory_order_relaxed);
        if (word == 0) {
            view.free = view.free == WINDOW ? i : view.free;
        } else if (word >> COUNT_BITS == print) {
            view.total += count_of(word);
            view.word = view.own == WINDOW ? word : view.word;
            view.own = view.own == WINDOW ? i : view.own;
        }
    }
    return view;
}

uint32_t name_counts_get(const struct name_counts *counts, uint64_t name)
{
    return look(&counts->slots[name & counts->mask], name >> COUNT_BITS).total;
}

static bool swap(_Atomic uint64_t *at, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(
        at, &from, to, memory_order_relaxed, memory_order_relaxed);
}

bool name_counts_take(struct name_counts *counts, uint64_t name, uint32_t limit)
{
    uint64_t print = name >> COUNT_BITS;
    _Atomic uint64_t *window = &counts->slots[name & counts->mask];
    for (;;) {
        struct view view = look(window, print);
        if (view.total >= limit || (view.own == WINDOW && view.free == WINDOW)) {
            return false;
        }
        if (view.own < WINDOW ? swap(&window[view.own], view.word, view.word + 1)
                              : swap(&window[view.free], 0, print << COUNT_BITS | 1)) {
            return true;
        }
    }
}

void name_counts_release(struct name_counts *counts, uint64_t name)
{
    _Atomic uint64_t *window = &counts->slots[name & counts->mask];
    /* A look may miss a word that moves meanwhile, as others come and go: then look again. */
    for (unsigned i = 0; i < RELEASE_TRIES; i++) {
        struct view view = look(window, name >> COUNT_BITS);
        uint64_t less = count_of(view.word) > 1 ? view.word - 1 : 0;
        if (view.own < WINDOW && swap(&window[view.own], view.word, less)) {
            return;
        }
    }
    CHECK(false); /* released what was not taken */
}
