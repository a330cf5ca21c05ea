/* SPDX-License-Identifier: Apache-2.0 */
/*
 * breaker - calls to something that is away are not made: closed, open, half open.
 *
 * It opens after so many failures in a row. Open, it lets nothing through for a rest; then one call
 * is let through as a probe, whose success closes it and whose failure opens it again, for twice as
 * long. What was let through before it opened says nothing any more when it ends. Time is passed
 * in. One thread; all zero is a closed one.
 */
#ifndef CODEC_BASE_BREAKER_H
#define CODEC_BASE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN };

struct breaker_limits {
    uint32_t failures; /* in a row, 1 or more */
    uint32_t rest_ms; /* the first one, 1 or more */
    uint32_t rest_max_ms; /* the longest, as the one before or more */
};

struct breaker {
    /* private */
    enum breaker_state state;
    uint32_t round; /* raised with each change: whose calls count */
    uint32_t failures; /* in a row, while it is closed */
    uint32_t rest_ms; /* the last one; 0: none yet */
    uint64_t until_ms; /* open: the end of the rest */
    bool probing; /* half open: the probe is under way */
};

/* Where it stands. Open stays open until something is to be let through. */
enum breaker_state breaker_get_state(const struct breaker *breaker);

/* For how long nothing is let through from `now_ms` on: a rest, in ms; 0: a call may be. */
uint64_t breaker_get_rest(const struct breaker *breaker, uint64_t now_ms);

/*
 * One that failed, and has had nothing to let through for `after_ms` since its rest ended, is
 * closed: nobody knows any more. Whether the state has changed.
 */
bool breaker_forget(struct breaker *breaker, uint64_t now_ms, uint32_t after_ms);

/*
 * Whether a call may be made at `now_ms`: what it comes to is said with `*ret_round`, exactly once,
 * by one of the three functions behind this one. False: it is not to be made.
 */
MUST_CHECK bool breaker_take(struct breaker *breaker, uint64_t now_ms, uint32_t *ret_round);

/* The call was answered. Whether the state has changed, to closed. */
bool breaker_note_success(struct breaker *breaker, uint32_t round);

/* The call failed. Whether the state has changed, to open. */
bool breaker_note_failure(
    struct breaker *breaker, const struct breaker_limits *limits, uint64_t now_ms, uint32_t round);

/* The call was given up by its caller, and says nothing. */
void breaker_release(struct breaker *breaker, uint32_t round);

#endif
