/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allocations to come are counted down to the first that fails.
 */
#include "tests/support/failing.h"

#include "codec/base/mem.h"
#include "tests/support/client.h"

static int64_t left; /* until the first one */
static int64_t failing; /* how many from then on */
static unsigned failed;
static bool pausing;

bool mem_torture_fails(void)
{
    if (failing <= 0 || pausing || client_reads) {
        return false;
    }
    if (left > 1) {
        left--;
        return false;
    }
    failing--;
    failed++;
    return true;
}

void failing_arm(int64_t nth, int64_t count)
{
    left = nth;
    failing = count;
    failed = 0;
}

unsigned failing_count(void)
{
    return failed;
}

void failing_pause(bool paused)
{
    pausing = paused;
}
