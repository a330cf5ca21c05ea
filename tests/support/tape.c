/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives out the bytes of the tape one after the other, and zeros behind its end.
 */
#include "tests/support/tape.h"

static struct bytes the_tape;

void tape_set(struct bytes tape)
{
    the_tape = tape;
}

uint64_t tape_below(struct rand *dice, uint64_t bound)
{
    size_t len = bound <= 256 ? 1 : 2;
    uint64_t number = 0;
    if (bound < 2 || the_tape.len < len) {
        return rand_below(dice, bound);
    }
    for (size_t i = 0; i < len; i++) {
        number = number << 8 | (uint8_t)the_tape.at[i];
    }
    the_tape = bytes_skip(the_tape, len);
    return number % bound;
}
