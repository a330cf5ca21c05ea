/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timing wheel beside a model that looks at all timers.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "actors/core/timer.h"
#include "codec/base/check.h"
#include "codec/base/rand.h"

TestSuite(timer, .timeout = 60);

/* --- against a model: an array of deadlines, searched for the smallest --- */

enum { MODEL_TIMERS = 200, MODEL_OPS = 100000 };

struct model_timer {
    struct timer timer;
    bool armed;
    bool overdue; /* set for a time the wheel had reached already */
    uint64_t due;
    uint64_t order; /* of arming: among the overdue, the first armed is called first */
};

static struct timer_wheel wheel;
static struct model_timer model[MODEL_TIMERS];
static struct rand dice;
static uint64_t armings;
static uint64_t reached; /* the time up to which timers were called, in the advance going on */
static uint64_t target; /* of the advance going on */
static uint64_t fired;
static bool calling_overdue;

static uint64_t random_delay(void)
{
    /* All magnitudes alike: from the same millisecond to three rounds of the top level. */
    unsigned bits = (unsigned)rand_below(&dice, 33);
    return rand_u64(&dice) & ((UINT64_C(1) << bits) - 1);
}

static void model_set(struct model_timer *timer, uint64_t due)
{
    timer_set(&wheel, &timer->timer, due);
    timer->armed = true;
    timer->due = due;
    timer->overdue = due <= wheel.now_ms;
    timer->order = armings++;
    cr_assert(timer_armed(&timer->timer));
}

static void model_cancel(struct model_timer *timer)
{
    timer_cancel(&wheel, &timer->timer);
    timer->armed = false;
    cr_assert_not(timer_armed(&timer->timer));
}

/* Set or cancel one at random, any: also those due in this very millisecond, and itself. */
static void change_one(uint64_t now)
{
    struct model_timer *other = &model[rand_below(&dice, MODEL_TIMERS)];
    switch (rand_below(&dice, 4)) {
    case 0:
        model_cancel(other);
        break;
    case 1:
        model_set(other, now - rand_below(&dice, now < 1000 ? now + 1 : 1000));
        break;
    default:
        model_set(other, now + random_delay());
        break;
    }
}

static void on_model_timer(struct timer *timer)
{
    struct model_timer *self = container_of(timer, struct model_timer, timer);
    cr_assert(self->armed, "called though not armed");
    cr_assert_not(timer_armed(timer));
    self->armed = false;
    fired++;
    if (self->overdue) {
        cr_assert(calling_overdue, "an overdue timer is called before all others");
    } else {
        calling_overdue = false;
        cr_assert_leq(self->due, target, "called too early");
        cr_assert_geq(self->due, reached, "called out of order");
        reached = self->due;
    }
    if (rand_below(&dice, 3) == 0) {
        change_one(wheel.now_ms);
    }
    if (rand_below(&dice, 8) == 0) {
        model_set(self, wheel.now_ms + random_delay());
    }
}

static uint64_t count_armed(uint64_t *ret_first)
{
    uint64_t armed = 0;
    *ret_first = UINT64_MAX;
    for (unsigned i = 0; i < MODEL_TIMERS; i++) {
        if (model[i].armed) {
            uint64_t due = model[i].overdue ? wheel.now_ms : model[i].due;
            *ret_first = due < *ret_first ? due : *ret_first;
            armed++;
        }
    }
    return armed;
}

static void model_advance(uint64_t now)
{
    uint64_t before = fired;
    uint64_t last_arming = armings;
    reached = 0;
    target = now;
    calling_overdue = true;
    uint64_t called = timer_wheel_advance(&wheel, now);
    cr_assert_eq(called, fired - before);
    for (unsigned i = 0; i < MODEL_TIMERS; i++) {
        const struct model_timer *timer = &model[i];
        if (timer->armed && timer->overdue) {
            cr_assert_geq(timer->order, last_arming, "%u is overdue and was not called", i);
        } else if (timer->armed) {
            cr_assert_gt(timer->due, now, "%u was due and not called", i);
        }
    }
}

static void check_against_model(uint64_t seed, uint64_t start)
{
    rand_init(&dice, seed);
    timer_wheel_init(&wheel, start);
    for (unsigned i = 0; i < MODEL_TIMERS; i++) {
        model[i] = (struct model_timer){0};
        timer_init(&model[i].timer, on_model_timer);
    }
    uint64_t now = start;
    for (unsigned op = 0; op < MODEL_OPS; op++) {
        if (rand_below(&dice, 4) != 0) {
            change_one(now);
        } else {
            now += rand_below(&dice, 2) == 0 ? rand_below(&dice, 5) : random_delay() / 4;
            model_advance(now);
        }
        uint64_t first;
        uint64_t armed = count_armed(&first);
        cr_assert_eq(timer_wheel_count(&wheel), armed, "seed %lu op %u", (unsigned long)seed, op);
        uint64_t next = timer_wheel_next(&wheel);
        cr_assert_leq(next, first, "seed %lu op %u", (unsigned long)seed, op);
        cr_assert(armed == 0 ? next == UINT64_MAX : next >= now);
    }
    cr_assert_gt(fired, MODEL_OPS / 20, "the test must see timers fire");
}

Test(timer, agrees_with_a_model)
{
    check_against_model(1, 0);
}

Test(timer, agrees_with_a_model_across_the_end_of_the_range)
{
    check_against_model(2, (UINT64_C(1) << 30) - 3000);
    check_against_model(3, UINT64_C(0x123456789abc));
}

/* --- what the model does not show --- */

struct probe {
    struct timer timer;
    unsigned calls;
    uint64_t at;
    struct probe *other;
};

static void on_probe(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    probe->calls++;
    probe->at = wheel.now_ms;
}

Test(timer, fires_on_the_millisecond_at_every_level)
{
    for (unsigned bits = 0; bits < 36; bits++) {
        for (int around = -1; around <= 1; around++) {
            struct probe probe = {0};
            uint64_t start = 12345;
            uint64_t due = start + (UINT64_C(1) << bits) + (uint64_t)around;
            timer_wheel_init(&wheel, start);
            timer_init(&probe.timer, on_probe);
            timer_set(&wheel, &probe.timer, due);
            if (due > start) {
                timer_wheel_advance(&wheel, due - 1);
                cr_assert_eq(probe.calls, 0, "bits %u around %d", bits, around);
            }
            cr_assert_eq(timer_wheel_advance(&wheel, due), 1, "bits %u around %d", bits, around);
            cr_assert_eq(probe.at, due);
            cr_assert_eq(timer_wheel_next(&wheel), UINT64_MAX);
        }
    }
}

Test(timer, next_leads_to_the_deadline_in_few_steps)
{
    struct probe probe = {0};
    uint64_t start = 999;
    timer_wheel_init(&wheel, start);
    timer_init(&probe.timer, on_probe);
    timer_set(&wheel, &probe.timer, start + 5 * (UINT64_C(1) << 30) + 77777);
    unsigned steps = 0;
    while (probe.calls == 0) {
        uint64_t next = timer_wheel_next(&wheel);
        cr_assert_lt(next, UINT64_MAX);
        timer_wheel_advance(&wheel, next);
        steps++;
    }
    cr_assert_eq(probe.at, start + 5 * (UINT64_C(1) << 30) + 77777);
    cr_assert_leq(steps, 6 + TIMER_LEVELS, "%u steps", steps);
}

static void on_rearm(struct timer *timer)
{
    on_probe(timer);
    timer_set(&wheel, timer, wheel.now_ms);
}

Test(timer, set_for_the_past_by_itself_waits_for_the_next_advance)
{
    struct probe probe = {0};
    timer_wheel_init(&wheel, 100);
    timer_init(&probe.timer, on_rearm);
    timer_set(&wheel, &probe.timer, 50);
    cr_assert_eq(timer_wheel_next(&wheel), 100);
    cr_assert_eq(timer_wheel_advance(&wheel, 100), 1);
    cr_assert_eq(timer_wheel_advance(&wheel, 100), 1);
    cr_assert_eq(timer_wheel_advance(&wheel, 5000), 1);
    timer_cancel(&wheel, &probe.timer);
    cr_assert_eq(timer_wheel_count(&wheel), 0);
    cr_assert_eq(timer_wheel_next(&wheel), UINT64_MAX);
}

static void on_cancel_other(struct timer *timer)
{
    on_probe(timer);
    timer_cancel(&wheel, &container_of(timer, struct probe, timer)->other->timer);
}

Test(timer, one_of_two_due_together_cancels_the_other)
{
    struct probe a = {0};
    struct probe b = {.other = &a};
    a.other = &b;
    for (uint64_t delay = 0; delay < 10000; delay += 333) {
        timer_wheel_init(&wheel, 1);
        timer_init(&a.timer, on_cancel_other);
        timer_init(&b.timer, on_cancel_other);
        a.calls = b.calls = 0;
        timer_set(&wheel, &a.timer, 1 + delay);
        timer_set(&wheel, &b.timer, 1 + delay);
        cr_assert_eq(timer_wheel_advance(&wheel, 20000), 1);
        cr_assert_eq(a.calls, 1);
        cr_assert_eq(b.calls, 0);
        cr_assert_eq(timer_wheel_count(&wheel), 0);
        cr_assert_eq(timer_wheel_next(&wheel), UINT64_MAX);
    }
}

static void on_free_owner(struct timer *timer)
{
    fired++;
    free(container_of(timer, struct probe, timer));
}

Test(timer, may_free_its_owner)
{
    timer_wheel_init(&wheel, 0);
    for (uint64_t i = 0; i < 1000; i++) {
        struct probe *probe = calloc(1, sizeof(*probe));
        timer_init(&probe->timer, on_free_owner);
        timer_set(&wheel, &probe->timer, i / 3);
    }
    cr_assert_eq(timer_wheel_advance(&wheel, 400), 1000);
    cr_assert_eq(fired, 1000);
}

Test(timer, never_moves_back_and_reaches_the_largest_time)
{
    struct probe probe = {0};
    timer_wheel_init(&wheel, 1000);
    timer_init(&probe.timer, on_probe);
    timer_set(&wheel, &probe.timer, 1500);
    timer_wheel_advance(&wheel, 10);
    cr_assert_eq(wheel.now_ms, 1000);
    timer_set(&wheel, &probe.timer, UINT64_MAX - 1);
    timer_wheel_advance(&wheel, UINT64_MAX - 70);
    cr_assert_eq(probe.calls, 0);
    timer_wheel_advance(&wheel, UINT64_MAX);
    cr_assert_eq(probe.calls, 1);
}

/* --- what a turn costs --- */

enum { MANY = 1000000 };

static uint64_t many_called;

static void on_one_of_many(struct timer *timer)
{
    (void)timer;
    many_called++;
}

Test(timer, a_million_deadlines_cost_a_turn_nothing)
{
    /* Heartbeats of a million clients: due between 20 and 60 seconds from now. */
    struct timer *many = calloc(MANY, sizeof(*many));
    cr_assert_not_null(many);
    timer_wheel_init(&wheel, 0);
    for (uint64_t i = 0; i < MANY; i++) {
        timer_init(&many[i], on_one_of_many);
        timer_set(&wheel, &many[i], 20000 + i * 40000 / MANY);
    }
    /* Turns in which nothing is due, one each millisecond: not a slot is looked into. */
    uint64_t now = 0;
    for (; now < 16000; now++) {
        cr_assert_eq(timer_wheel_advance(&wheel, now), 0);
        cr_assert_gt(timer_wheel_next(&wheel), now);
    }
    cr_expect_eq(wheel.entered, 0);
    cr_expect_eq(wheel.moved, 0);
    /* All of it: each timer is moved twice at most, a slot entered only because something is in it.
     */
    for (; now < 60000; now++) {
        (void)timer_wheel_advance(&wheel, now);
    }
    cr_expect_eq(many_called, MANY);
    cr_expect_leq(wheel.moved, 2 * MANY);
    cr_expect_leq(wheel.entered, 40000 + 40000 / 64 + 40000 / 4096 + 3);
    free(many);
}
