/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alert_hook - a backend is told of an alert: a POST that is signed as those of hooks are.
 *
 * Its `webhook-id` is made of the alert, of when it began to fire, and of what is told, so that a
 * backend knows one that comes again. Any answer of 2xx is enough.
 */
#ifndef HUB_ALERTS_ALERT_HOOK_H
#define HUB_ALERTS_ALERT_HOOK_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/alerts/alert_event.h"

struct alert_hooks;
struct hook_settings;
struct loop;

/* Make the client of a loop, on its thread. `settings` are borrowed until they are set anew. */
MUST_CHECK struct alert_hooks *alert_hooks_open(
    struct loop *loop, const struct hook_settings *settings);
void alert_hooks_set(struct alert_hooks *hooks, const struct hook_settings *settings);

/* End: what is under way is told as not good, before it returns. */
void alert_hooks_close(struct alert_hooks *hooks);

/* How much of it is open: 0 when it was closed and may be destroyed. */
uint64_t alert_hooks_count_open(const struct alert_hooks *hooks);
void alert_hooks_destroy(struct alert_hooks *hooks);

/* Tell the hook `name` of `event`, which is `text` as JSON. As alert_tell; `how` is copied. */
MUST_CHECK int alert_hooks_tell(struct alert_hooks *hooks, struct bytes name,
    const struct alert_event *event, struct bytes text, const struct alert_listener *how);

#endif
