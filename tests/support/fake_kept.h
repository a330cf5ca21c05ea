/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_kept - what the server behind fake_bus keeps of events: the hash beside the replay stream,
 * and the part of the scripts on it (actors/order/sequencer_kept.c) that is not the stream's.
 */
#ifndef TESTS_SUPPORT_FAKE_KEPT_H
#define TESTS_SUPPORT_FAKE_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "codec/base/bytes.h"

struct fake_kept_item;

struct fake_kept {
    struct fake_kept_item *items; /* by age */
    size_t count;
    uint64_t serial;
    uint64_t gone_ms; /* of the key */
};

/* Whether a command adds to the stream and keeps: an EVAL of both keys. */
bool fake_kept_adds(const struct bytes *argv, size_t argc);

/* Whether a command is about the hash, alone or not. */
bool fake_kept_takes(const struct bytes *argv, size_t argc);

/* Keep what such an EVAL says, now that its entry is in the stream as `id`. */
void fake_kept_put(struct fake_kept *kept, const struct bytes *argv, size_t argc, struct bytes id,
    uint64_t now_ms);

/* Carry out a command on the hash. */
struct bus_reply *fake_kept_carry_out(
    struct fake_kept *kept, const struct bytes *argv, size_t argc, uint64_t now_ms);

/* Lose all, as FLUSHALL would. */
void fake_kept_lose(struct fake_kept *kept);

#endif
