/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tape - what decides instead of dice: bytes that a fuzz program was given.
 *
 * While a tape is set, every choice of det_sched, nodes, fake_bus and fake_store takes its next
 * bytes, so that an input is a schedule; behind its end, and without one, the dice decide. One tape
 * at a time.
 */
#ifndef TESTS_SUPPORT_TAPE_H
#define TESTS_SUPPORT_TAPE_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/rand.h"

/* Take choices from `tape` (borrowed) from now on; empty: from the dice. */
void tape_set(struct bytes tape);

/* A number below `bound`, which is not 0. */
uint64_t tape_below(struct rand *dice, uint64_t bound);

#endif
