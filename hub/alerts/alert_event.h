/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alert_event - what is told of an alert, and how it is known that somebody was told.
 */
#ifndef HUB_ALERTS_ALERT_EVENT_H
#define HUB_ALERTS_ALERT_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "hub/alerts/alert_state.h"

enum { ALERT_VALUE_MAX = 40 };

/* What there is to tell; borrowed. */
struct alert_event {
    const char *name;
    const char *when; /* the rule; empty: there is none any more */
    const char *value; /* as it was looked at last, with its unit; empty: not known */
    const char *node;
    uint64_t since_ms; /* wall clock */
    uint64_t at_ms;
    bool resolved;
};

/* How it ended, where it takes a turn: of which event and target, by its place. */
struct alert_told {
    char name[ALERT_NAME_MAX + 1];
    uint64_t since_ms;
    bool resolved;
    unsigned place;
    bool good;
};
typedef void (*alert_told_fn)(void *context, const struct alert_told *told);

/* Whom to tell that, and what of it is known before. */
struct alert_listener {
    alert_told_fn fn;
    void *context;
    struct alert_told told;
};

#endif
