/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what was found, and counts it.
 */
#include "hub/cli/doctor.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

void doctor_find(struct doctor *doctor, const char *id, const char *remedy, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    printf("%s: ", id);
    vprintf(what, args);
    printf("\n    do: %s\n", remedy);
    va_end(args);
    doctor->found++;
}

void doctor_compare_clocks(struct doctor *doctor, const char *id, const char *who,
    uint64_t theirs_ms, uint64_t before_ms, uint64_t after_ms)
{
    bool behind = theirs_ms + DOCTOR_CLOCK_MS < before_ms;
    bool ahead = theirs_ms > after_ms + DOCTOR_CLOCK_MS;
    if (behind || ahead) {
        doctor_find(doctor, id, "have all machines keep time by NTP (chrony, systemd-timesyncd)",
            "the clock of %s is %.1f s %s this one's: what is for later, expires or ends is so too "
            "early or too late",
            who, (double)(behind ? before_ms - theirs_ms : theirs_ms - after_ms) / 1e3,
            behind ? "behind" : "ahead of");
    }
}
