/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_values - what the server behind fake_bus keeps of values, and the scripts on them
 * (actors/values/value_scripts.h), written a second time.
 */
#ifndef TESTS_SUPPORT_FAKE_VALUES_H
#define TESTS_SUPPORT_FAKE_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "codec/base/bytes.h"

struct fake_value;
struct fake_tagging;

/* What the server does on behalf of scripts, and what tests look at. */
struct fake_values_host {
    /* Tell all who have subscribed `channel`. */
    void (*publish)(void *context, struct bytes channel, struct bytes payload);
    void *context;
    /* The value called `name` is these bytes until `end_ms`, or gone (`at` NULL); NULL: nobody
     * asks. */
    void (*changed)(void *watcher, struct bytes name, struct bytes value, uint64_t end_ms);
    void *watcher;
};

struct fake_values {
    struct fake_values_host host;
    struct fake_value *items; /* in no order, as those below */
    size_t count;
    struct fake_tagging *taggings; /* entries of tags, and marks */
    size_t tagging_count;
    bool forgotten; /* the scripts, as by SCRIPT FLUSH, until they are told again */
    unsigned forgot; /* how often that was answered */
    uint64_t clock_us; /* no two scripts run in one µs */
};

/* Whether a command is about values. */
bool fake_values_takes(const struct bytes *argv, size_t argc);

/* Carry it out at `now_ms`. */
struct bus_reply *fake_values_carry_out(
    struct fake_values *values, const struct bytes *argv, size_t argc, uint64_t now_ms);

/* How many values have the tag at `now_ms`, ended or not. */
size_t fake_values_tagged(const struct fake_values *values, struct bytes tag, uint64_t now_ms);

/* Free everything. */
void fake_values_finish(struct fake_values *values);

#endif
