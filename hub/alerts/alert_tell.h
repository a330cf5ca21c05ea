/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alert_tell - who is told that an alert fires, or no more: `log`, `room:NAME`, `user:NAME`,
 * `hook:NAME`.
 *
 * What is told twice is the same: a notification has a key of the alert and of when it began to
 * fire, and events carry both. With tenants, `room:TENANT/NAME` and `user:TENANT/NAME`.
 */
#ifndef HUB_ALERTS_ALERT_TELL_H
#define HUB_ALERTS_ALERT_TELL_H

#include "codec/base/check.h"
#include "hub/alerts/alert_event.h"

struct alert_hooks;
struct shard;

/* What it takes to tell. */
struct alert_teller {
    struct shard *shard;
    struct alert_hooks *hooks;
    alert_told_fn fn;
    void *context; /* of it: there until all is told */
};

/*
 * Tell one target. 0: it knows; STATUS_AGAIN: `fn` is called once, in a later turn, or when hooks
 * are closed; else it could not be told, and may be tried again.
 */
MUST_CHECK int alert_tell(const struct alert_teller *teller, const struct alert_event *event,
    const char *target, unsigned place);

#endif
