/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A breaker, rule by rule, and against a model of it that keeps the whole history.
 */
#include <criterion/criterion.h>

#include "codec/base/breaker.h"
#include "codec/base/rand.h"

TestSuite(breaker, .timeout = 60);

static const struct breaker_limits limits = {.failures = 5, .rest_ms = 1000, .rest_max_ms = 3000};

static uint32_t take(struct breaker *breaker, uint64_t now)
{
    uint32_t round;
    cr_assert(breaker_take(breaker, now, &round));
    return round;
}

static void open_it(struct breaker *breaker, uint64_t now)
{
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(breaker_get_state(breaker), BREAKER_CLOSED);
        bool changed = breaker_note_failure(breaker, &limits, now, take(breaker, now));
        cr_assert_eq(changed, i == 4);
    }
    cr_assert_eq(breaker_get_state(breaker), BREAKER_OPEN);
}

Test(breaker, opens_after_failures_in_a_row_alone)
{
    struct breaker breaker = {0};
    for (unsigned i = 0; i < 20; i++) {
        bool success = i % 5 == 4;
        uint32_t round = take(&breaker, 0);
        cr_expect(!(success ? breaker_note_success(&breaker, round)
                            : breaker_note_failure(&breaker, &limits, 0, round)));
    }
    open_it(&breaker, 0);
}

Test(breaker, lets_one_probe_through_after_its_rest)
{
    struct breaker breaker = {0};
    uint32_t round;
    open_it(&breaker, 500);
    cr_expect(!breaker_take(&breaker, 1499, &round));
    uint32_t probe = take(&breaker, 1500);
    cr_expect_eq(breaker_get_state(&breaker), BREAKER_HALF_OPEN);
    cr_expect(!breaker_take(&breaker, 1500, &round), "one at a time");
    cr_expect(breaker_note_success(&breaker, probe));
    cr_expect_eq(breaker_get_state(&breaker), BREAKER_CLOSED);
    open_it(&breaker, 2000);
}

Test(breaker, rests_for_longer_each_time_up_to_its_longest)
{
    struct breaker breaker = {0};
    uint32_t round;
    uint64_t now = 0;
    static const uint64_t rests[] = {1000, 2000, 3000, 3000};
    open_it(&breaker, now);
    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        cr_expect(!breaker_take(&breaker, now + rests[i] - 1, &round));
        now += rests[i];
        cr_expect(breaker_note_failure(&breaker, &limits, now, take(&breaker, now)));
    }
    now += 3000;
    cr_expect(breaker_note_success(&breaker, take(&breaker, now)));
    open_it(&breaker, now);
    cr_expect(!breaker_take(&breaker, now + 999, &round));
    (void)take(&breaker, now + 1000);
}

Test(breaker, tells_for_how_long_it_rests)
{
    struct breaker breaker = {0};
    cr_expect_eq(breaker_get_rest(&breaker, 500), 0);
    open_it(&breaker, 500);
    cr_expect_eq(breaker_get_rest(&breaker, 500), 1000);
    cr_expect_eq(breaker_get_rest(&breaker, 1499), 1);
    cr_expect_eq(breaker_get_rest(&breaker, 1500), 0);
    (void)take(&breaker, 1500);
    cr_expect_eq(breaker_get_rest(&breaker, 1500), 0, "half open: it is being tried");
}

Test(breaker, forgets_what_failed_when_nobody_asks_any_more)
{
    struct breaker breaker = {0};
    cr_expect_not(breaker_forget(&breaker, 1000000, 60000), "it is closed");
    open_it(&breaker, 0);
    cr_expect_not(breaker_forget(&breaker, 60999, 60000));
    uint32_t probe = take(&breaker, 60999);
    cr_expect_not(breaker_forget(&breaker, 1000000, 60000), "it is being tried");
    breaker_release(&breaker, probe);
    cr_expect_eq(breaker_get_state(&breaker), BREAKER_HALF_OPEN);
    cr_expect(breaker_forget(&breaker, 1000000, 60000));
    cr_expect_eq(breaker_get_state(&breaker), BREAKER_CLOSED);
    open_it(&breaker, 1000000);
    cr_expect_eq(breaker_get_rest(&breaker, 1000000), 1000, "its rest is the first one again");
    cr_expect(breaker_forget(&breaker, 1061000, 60000));
}

Test(breaker, a_probe_that_was_given_up_makes_place_for_another)
{
    struct breaker breaker = {0};
    open_it(&breaker, 0);
    breaker_release(&breaker, take(&breaker, 1000));
    uint32_t probe = take(&breaker, 1000);
    cr_expect(breaker_note_success(&breaker, probe));
}

Test(breaker, what_began_before_a_change_says_nothing)
{
    struct breaker breaker = {0};
    uint32_t round;
    uint32_t early = take(&breaker, 0);
    open_it(&breaker, 0);
    cr_expect(!breaker_note_success(&breaker, early));
    cr_expect_eq(breaker_get_state(&breaker), BREAKER_OPEN);
    uint32_t probe = take(&breaker, 1000);
    cr_expect(!breaker_note_failure(&breaker, &limits, 1000, early));
    breaker_release(&breaker, early);
    cr_expect(!breaker_take(&breaker, 1000, &round), "the probe is still under way");
    cr_expect(breaker_note_success(&breaker, probe));
}

/* What the model knows: which calls are out, begun in which round, and since when it rests. */
enum { CALLS_MAX = 16, STEPS = 4000, SEEDS = 50 };

struct model {
    enum breaker_state state;
    unsigned rounds;
    unsigned in_a_row;
    uint64_t rest;
    uint64_t until;
    bool probe_out;
};

struct call {
    uint32_t round; /* the breaker's */
    unsigned model_round;
};

static void model_change(struct model *model, enum breaker_state state)
{
    model->state = state;
    model->rounds++;
    model->in_a_row = 0;
    model->probe_out = false;
}

static void model_fail(struct model *model, uint64_t now)
{
    model->in_a_row++;
    if (model->state == BREAKER_HALF_OPEN || model->in_a_row == limits.failures) {
        model->rest = model->rest == 0 ? limits.rest_ms : model->rest * 2;
        model->rest = model->rest > limits.rest_max_ms ? limits.rest_max_ms : model->rest;
        model->until = now + model->rest;
        model_change(model, BREAKER_OPEN);
    }
}

static void model_succeed(struct model *model)
{
    model->in_a_row = 0;
    if (model->state == BREAKER_HALF_OPEN) {
        model->rest = 0;
        model_change(model, BREAKER_CLOSED);
    }
}

static bool model_take(struct model *model, uint64_t now)
{
    if (model->state == BREAKER_OPEN && now >= model->until) {
        model_change(model, BREAKER_HALF_OPEN);
    }
    if (model->state == BREAKER_OPEN || model->probe_out) {
        return false;
    }
    model->probe_out = model->state == BREAKER_HALF_OPEN;
    return true;
}

static void end_call(struct breaker *breaker, struct model *model, const struct call *call,
    unsigned how, uint64_t now)
{
    enum breaker_state before = model->state;
    bool counts = call->model_round == model->rounds;
    bool changed = false;
    if (how < 6) {
        changed = breaker_note_failure(breaker, &limits, now, call->round);
    } else if (how < 9) {
        changed = breaker_note_success(breaker, call->round);
    } else {
        breaker_release(breaker, call->round);
    }
    if (counts && how < 6) {
        model_fail(model, now);
    } else if (counts && how < 9) {
        model_succeed(model);
    } else if (counts) {
        model->probe_out = false;
    }
    cr_assert_eq(changed, how < 9 && model->state != before);
}

Test(breaker, does_what_its_model_does)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rand dice;
        struct breaker breaker = {0};
        struct model model = {0};
        struct call calls[CALLS_MAX];
        unsigned out = 0;
        uint64_t now = 0;
        rand_init(&dice, seed);
        for (unsigned step = 0; step < STEPS; step++) {
            now += rand_below(&dice, 3) == 0 ? rand_below(&dice, 1500) : 0;
            if (out < CALLS_MAX && rand_below(&dice, 2) == 0) {
                uint32_t round;
                bool taken = breaker_take(&breaker, now, &round);
                cr_assert_eq(taken, model_take(&model, now), "seed %u", (unsigned)seed);
                if (taken) {
                    calls[out++] = (struct call){.round = round, .model_round = model.rounds};
                }
            } else if (out > 0) {
                unsigned which = (unsigned)rand_below(&dice, out);
                struct call call = calls[which];
                calls[which] = calls[--out];
                end_call(&breaker, &model, &call, (unsigned)rand_below(&dice, 10), now);
            }
            cr_assert_eq(breaker_get_state(&breaker), model.state, "seed %u", (unsigned)seed);
        }
    }
}
