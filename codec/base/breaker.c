/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A round begins with each change of the state; what was let through in another one is not counted.
 */
#include "codec/base/breaker.h"

static void change(struct breaker *breaker, enum breaker_state state)
{
    breaker->state = state;
    breaker->round++;
    breaker->failures = 0;
    breaker->probing = false;
}

enum breaker_state breaker_get_state(const struct breaker *breaker)
{
    return breaker->state;
}

uint64_t breaker_get_rest(const struct breaker *breaker, uint64_t now_ms)
{
    bool rests = breaker->state == BREAKER_OPEN && now_ms < breaker->until_ms;
    return rests ? breaker->until_ms - now_ms : 0;
}

bool breaker_forget(struct breaker *breaker, uint64_t now_ms, uint32_t after_ms)
{
    bool over = breaker->state != BREAKER_CLOSED && !breaker->probing &&
                now_ms >= breaker->until_ms + after_ms;
    if (over) {
        breaker->rest_ms = 0;
        change(breaker, BREAKER_CLOSED);
    }
    return over;
}

bool breaker_take(struct breaker *breaker, uint64_t now_ms, uint32_t *ret_round)
{
    if (breaker->state == BREAKER_OPEN && now_ms >= breaker->until_ms) {
        change(breaker, BREAKER_HALF_OPEN);
    }
    if (breaker->state == BREAKER_OPEN || breaker->probing) {
        return false;
    }
    breaker->probing = breaker->state == BREAKER_HALF_OPEN;
    *ret_round = breaker->round;
    return true;
}

bool breaker_note_success(struct breaker *breaker, uint32_t round)
{
    if (round != breaker->round) {
        return false;
    }
    bool was_closed = breaker->state == BREAKER_CLOSED;
    breaker->failures = 0;
    if (!was_closed) {
        breaker->rest_ms = 0;
        change(breaker, BREAKER_CLOSED);
    }
    return !was_closed;
}

static void open_again(
    struct breaker *breaker, const struct breaker_limits *limits, uint64_t now_ms)
{
    uint64_t rest = breaker->rest_ms > 0 ? UINT64_C(2) * breaker->rest_ms : limits->rest_ms;
    breaker->rest_ms = rest < limits->rest_max_ms ? (uint32_t)rest : limits->rest_max_ms;
    breaker->until_ms = now_ms + breaker->rest_ms;
    change(breaker, BREAKER_OPEN);
}

bool breaker_note_failure(
    struct breaker *breaker, const struct breaker_limits *limits, uint64_t now_ms, uint32_t round)
{
    if (round != breaker->round) {
        return false;
    }
    breaker->failures++;
    if (breaker->state == BREAKER_CLOSED && breaker->failures < limits->failures) {
        return false;
    }
    open_again(breaker, limits, now_ms);
    return true;
}

void breaker_release(struct breaker *breaker, uint32_t round)
{
    if (round == breaker->round) {
        breaker->probing = false;
    }
}
