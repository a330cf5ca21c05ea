/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border between sessions and their transports: which phase may follow which.
 */
#include <criterion/criterion.h>

#include "hub/session/session_life.h"

Test(transport, phases_follow_one_another_only_as_drawn)
{
    static const char *const drawn[SESSION_PHASE_COUNT] = {
        /*                     NEW OPEN MOVING ENDING GONE */
        [SESSION_NEW] = "-x--x",
        [SESSION_OPEN] = "--xxx",
        [SESSION_MOVING] = "-x--x",
        [SESSION_ENDING] = "----x",
        [SESSION_GONE] = "-----",
    };
    for (unsigned phase = 0; phase < SESSION_PHASE_COUNT; phase++) {
        for (unsigned next = 0; next < SESSION_PHASE_COUNT; next++) {
            cr_expect_eq(session_may_become(phase, next), drawn[phase][next] == 'x',
                "from %u to %u", phase, next);
        }
    }
}
