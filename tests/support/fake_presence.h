/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_presence - what the server behind fake_bus keeps of who is online, and the scripts on it
 * (actors/presence/presence_scripts.h), written a second time.
 */
#ifndef TESTS_SUPPORT_FAKE_PRESENCE_H
#define TESTS_SUPPORT_FAKE_PRESENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "codec/base/bytes.h"

struct fake_part;

struct fake_presence {
    struct fake_part *parts; /* in no order */
    size_t count;
    bool forgotten; /* the scripts, as by SCRIPT FLUSH, until they are told again */
    unsigned forgot; /* how often that was answered */
    void (*publish)(void *context, struct bytes channel, struct bytes payload);
    void *context;
    unsigned refuse; /* so many scripts are refused from now on, as without memory */
};

/* Whether a command is about presence. */
bool fake_presence_takes(const struct bytes *argv, size_t argc);

/* Carry it out at `now_ms`. */
struct bus_reply *fake_presence_carry_out(
    struct fake_presence *presence, const struct bytes *argv, size_t argc, uint64_t now_ms);

/* Forget everything, as by FLUSHALL. */
void fake_presence_clear(struct fake_presence *presence);

/* A copy of what there is, and back to it; the copy is gone then. */
struct fake_presence fake_presence_copy(const struct fake_presence *presence);
void fake_presence_restore(struct fake_presence *presence, struct fake_presence *copy);

/* How many users are named at `now_ms`, whoever holds them; and how many keys there are. */
size_t fake_presence_users(struct fake_presence *presence, uint64_t now_ms);
size_t fake_presence_keys(struct fake_presence *presence, uint64_t now_ms);

/* Free everything. */
void fake_presence_finish(struct fake_presence *presence);

#endif
