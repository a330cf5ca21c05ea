/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor - what `peal doctor` looks at: each part tells what is wrong, and what to do about it.
 */
#ifndef HUB_CLI_DOCTOR_H
#define HUB_CLI_DOCTOR_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"

struct config;

enum { DOCTOR_CLOCK_MS = 1000 }; /* clocks may differ by that much */

struct doctor {
    const struct config *config;
    unsigned found;
};

/* Print what is wrong, by an id that stays ("BUS-EVICTS"), and what to do. `what` is a format. */
void doctor_find(struct doctor *doctor, const char *id, const char *remedy, const char *what, ...)
    PRINTF_LIKE(4, 5);

/* Tell if the clock of `who` is not ours: it said `theirs_ms` when ours was between these two. */
void doctor_compare_clocks(struct doctor *doctor, const char *id, const char *who,
    uint64_t theirs_ms, uint64_t before_ms, uint64_t after_ms);

/* Look at this machine and what the kernel lets a node have; at Redis and the nodes that live
 * there; at the store. None of them changes anything. */
void doctor_look_at_machine(struct doctor *doctor);
void doctor_look_at_redis(struct doctor *doctor);
void doctor_look_at_store(struct doctor *doctor);

#endif
