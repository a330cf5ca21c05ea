/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alert_tell - who is told that an alert fires, or no more: `log`, `room:NAME`, `user:NAME`.
 *
 * What is told twice is the same: a notification has a key of the alert and of when it began to
 * fire, and events carry both. With tenants, `room:TENANT/NAME` and `user:TENANT/NAME`.
 */
#ifndef HUB_ALERTS_ALERT_TELL_H
#define HUB_ALERTS_ALERT_TELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "hub/alerts/alert_state.h"

struct shard;

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

/*
 * Tell one target. 0: it knows; STATUS_AGAIN: `fn` is called once, in a later turn, with `context`,
 * which must be there then; else it could not be told, and may be tried again.
 */
MUST_CHECK int alert_tell(struct shard *shard, const struct alert_event *event, const char *target,
    unsigned place, alert_told_fn fn, void *context);

#endif
