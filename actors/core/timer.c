/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wheel's rule: a timer sits on the lowest level on whose block (64 of its slots) it agrees
 * with now_ms, so that on every level only slots behind the current one are in use, and levels
 * below hold what is due before anything above. Slot 0 of the top level is never behind the
 * current one and therefore free for what lies beyond the range: it is spread anew whenever the
 * top level begins a new round. Moving time forward enters one occupied slot after the other; an
 * upper slot is spread over the levels below as it is entered.
 */
#include "actors/core/timer.h"

#include "codec/base/check.h"

enum { SLOT_BITS = 6, RANGE_BITS = SLOT_BITS * TIMER_LEVELS, FAR_LEVEL = TIMER_LEVELS - 1 };

_Static_assert(sizeof(struct timer) <= 40, "an idle connection has several timers");
_Static_assert(TIMER_SLOTS == 1 << SLOT_BITS, "a slot number is cut out of the time");

struct place {
    unsigned level;
    unsigned slot;
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct timer_wheel){.now_ms = now_ms};
    list_init(&wheel->overdue);
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
}

void timer_init(struct timer *timer, timer_fn fn)
{
    *timer = (struct timer){.fn = fn};
    list_init(&timer->link);
}

bool timer_armed(const struct timer *timer)
{
    return !list_empty(&timer->link);
}

uint64_t timer_wheel_count(const struct timer_wheel *wheel)
{
    return wheel->count;
}

/* Where a timer due at `due_ms`, not before now, belongs. */
static struct place place_of(const struct timer_wheel *wheel, uint64_t due_ms)
{
    uint64_t differ = due_ms ^ wheel->now_ms;
    if (differ >> RANGE_BITS != 0) {
        return (struct place){.level = FAR_LEVEL, .slot = 0};
    }
    unsigned level = differ == 0 ? 0 : (63 - (unsigned)__builtin_clzll(differ)) / SLOT_BITS;
    return (struct place){
        .level = level,
        .slot = (unsigned)(due_ms >> (level * SLOT_BITS)) & (TIMER_SLOTS - 1),
    };
}

static void put(struct timer_wheel *wheel, struct timer *timer)
{
    struct place place = place_of(wheel, timer->due_ms);
    list_append(&wheel->slots[place.level][place.slot], &timer->link);
    wheel->occupied[place.level] |= UINT64_C(1) << place.slot;
}

void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t due_ms)
{
    timer_cancel(wheel, timer);
    timer->due_ms = due_ms;
    wheel->count++;
    if (due_ms <= wheel->now_ms) {
        list_append(&wheel->overdue, &timer->link);
    } else {
        put(wheel, timer);
    }
}

void timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
    if (!timer_armed(timer)) {
        return;
    }
    list_remove(&timer->link);
    wheel->count--;
    if (timer->due_ms > wheel->now_ms) { /* else it was overdue, or about to be called */
        struct place place = place_of(wheel, timer->due_ms);
        if (list_empty(&wheel->slots[place.level][place.slot])) {
            wheel->occupied[place.level] &= ~(UINT64_C(1) << place.slot);
        }
    }
}

/* When the first occupied slot is entered; UINT64_MAX when all are empty. */
static uint64_t next_entry(const struct timer_wheel *wheel)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        uint64_t slots = wheel->occupied[level];
        if (level == FAR_LEVEL) {
            slots &= ~UINT64_C(1);
        }
        if (slots != 0) {
            unsigned bits = level * SLOT_BITS;
            uint64_t block = wheel->now_ms >> (bits + SLOT_BITS) << (bits + SLOT_BITS);
            return block | (uint64_t)__builtin_ctzll(slots) << bits;
        }
    }
    if (wheel->occupied[FAR_LEVEL] != 0) {
        return ((wheel->now_ms >> RANGE_BITS) + 1) << RANGE_BITS;
    }
    return UINT64_MAX;
}

uint64_t timer_wheel_next(const struct timer_wheel *wheel)
{
    return list_empty(&wheel->overdue) ? next_entry(wheel) : wheel->now_ms;
}

static void take_slot(struct timer_wheel *wheel, unsigned level, unsigned slot, struct list *to)
{
    list_init(to);
    list_splice(to, &wheel->slots[level][slot]);
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
}

/* The beginning of the round of the top level in which the first far timer is due. */
static uint64_t far_entry(const struct timer_wheel *wheel)
{
    uint64_t first = UINT64_MAX;
    list_for_each (link, &wheel->slots[FAR_LEVEL][0]) {
        const struct timer *timer = container_of(link, struct timer, link);
        first = timer->due_ms < first ? timer->due_ms : first;
    }
    return first >> RANGE_BITS << RANGE_BITS;
}

/* Spread the upper slots that begin at now_ms over the levels below. */
static void cascade(struct timer_wheel *wheel)
{
    for (unsigned level = FAR_LEVEL; level > 0; level--) {
        unsigned bits = level * SLOT_BITS;
        if ((wheel->now_ms & ((UINT64_C(1) << bits) - 1)) != 0) {
            continue;
        }
        struct list entered;
        take_slot(wheel, level, (unsigned)(wheel->now_ms >> bits) & (TIMER_SLOTS - 1), &entered);
        struct list *link;
        while ((link = list_pop(&entered)) != NULL) {
            put(wheel, container_of(link, struct timer, link));
            wheel->moved++;
        }
    }
}

/* Call the timers in `due`; those not called yet may be cancelled or set anew meanwhile. */
static uint64_t call_all(struct timer_wheel *wheel, struct list *due)
{
    uint64_t called = 0;
    struct list *link;
    while ((link = list_pop(due)) != NULL) {
        struct timer *timer = container_of(link, struct timer, link);
        wheel->count--;
        called++;
        timer->fn(timer);
    }
    return called;
}

uint64_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
    if (now_ms < wheel->now_ms) {
        now_ms = wheel->now_ms;
    }
    struct list due;
    list_init(&due);
    list_splice(&due, &wheel->overdue);
    uint64_t called = call_all(wheel, &due);
    for (;;) {
        uint64_t entry = next_entry(wheel);
        if (entry == UINT64_MAX || entry > now_ms) {
            break;
        }
        if (entry >> RANGE_BITS != wheel->now_ms >> RANGE_BITS) {
            entry = far_entry(wheel); /* rounds in which nothing is due are skipped */
            if (entry > now_ms) {
                break;
            }
        }
        wheel->now_ms = entry;
        wheel->entered++;
        cascade(wheel);
        take_slot(wheel, 0, (unsigned)entry & (TIMER_SLOTS - 1), &due);
        called += call_all(wheel, &due);
    }
    wheel->now_ms = now_ms;
    return called;
}
