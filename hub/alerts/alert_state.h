/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alert_state - which alerts fire, and who has been told: what outlives the node that evaluates.
 *
 * As text it has a number, which every change raises, and a line for each alert that fires or whose
 * end has not been told everywhere yet. Where two texts differ the higher number holds.
 */
#ifndef HUB_ALERTS_ALERT_STATE_H
#define HUB_ALERTS_ALERT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { ALERTS_MAX = 64, ALERT_NAME_MAX = 64 };

/* One alert that is not at rest. */
struct alert_entry {
    char name[ALERT_NAME_MAX + 1];
    uint64_t since_ms; /* wall clock: when it began to fire; names this time of firing */
    bool resolved; /* it fires no more, and somebody has not been told so */
    uint32_t told; /* set of the places of its targets that know of `resolved` as it is */
};

struct alert_state {
    uint64_t number;
    unsigned count;
    struct alert_entry entries[ALERTS_MAX];
};

/* The entry of `name`, or NULL. */
struct alert_entry *alert_state_find(struct alert_state *state, const char *name);

/* Add one that fires since `since_ms`; NULL: there is no room. `name` as the settings allow it. */
struct alert_entry *alert_state_add(struct alert_state *state, const char *name, uint64_t since_ms);

/* Take one out. */
void alert_state_remove(struct alert_state *state, struct alert_entry *entry);

/* Append it as text, STORE_NOTE_MAX bytes at most, and read that. STATUS_INVALID. */
void alert_state_write(const struct alert_state *state, struct builder *out);
MUST_CHECK int alert_state_read(struct bytes text, struct alert_state *ret_state);

/*
 * How long a rule has held, for one alert; all zero at first. Tell `alert_watch_step` with each
 * look whether it holds; it says whether the alert is to fire now.
 */
struct alert_watch {
    uint64_t held_ms; /* monotonic: since when; 0: it does not hold */
};
bool alert_watch_step(struct alert_watch *watch, bool holds, uint64_t now_ms, uint64_t for_ms);

#endif
