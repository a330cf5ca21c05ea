/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wheel - 10,000 turns of a loop in which no deadline is due, with as many deadlines armed as the
 * argument says: to be counted by callgrind (README.md). Prints what the wheel had to do.
 */
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/timer.h"
#include "codec/base/mem.h"

enum { TURNS = 10000, DUE_FROM_MS = 20000, DUE_WITHIN_MS = 40000 };

static void on_due(struct timer *timer)
{
    (void)timer;
}

/* What hub/net/loop.c does with the wheel in a turn; by itself, so that callgrind can count it
 * alone.
 */
__attribute__((noinline)) static uint64_t turn(struct timer_wheel *wheel, uint64_t now_ms)
{
    return timer_wheel_advance(wheel, now_ms) + (timer_wheel_next(wheel) <= now_ms ? 1 : 0);
}

int main(int argc, char **argv)
{
    static struct timer_wheel wheel;
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    struct timer *timers = mem_alloc_array(count, sizeof(*timers));
    timer_wheel_init(&wheel, 0);
    for (uint64_t i = 0; i < count; i++) {
        timer_init(&timers[i], on_due);
        timer_set(&wheel, &timers[i], DUE_FROM_MS + i * DUE_WITHIN_MS / count);
    }
    uint64_t due = 0;
    for (uint64_t now_ms = 1; now_ms <= TURNS; now_ms++) {
        due += turn(&wheel, now_ms);
    }
    printf("armed %llu, turns %d, due %llu, slots entered %llu, timers moved %llu\n",
        (unsigned long long)timer_wheel_count(&wheel), TURNS, (unsigned long long)due,
        (unsigned long long)wheel.entered, (unsigned long long)wheel.moved);
    mem_free(timers);
    return due == 0 ? 0 : 1;
}
