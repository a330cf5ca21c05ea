/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_outboxes - what must hold of the blocks `outbox`.
 */
#ifndef HUB_CONFIG_CONFIG_OUTBOXES_H
#define HUB_CONFIG_CONFIG_OUTBOXES_H

#include "codec/base/check.h"
#include "hub/config/config.h"

enum { CONFIG_OUTBOXES_MAX = 16, CONFIG_OUTBOX_NAME_MAX = 48 };

/*
 * Add that of the store, where this is Postgres and the file has no block for it, and check them.
 * STATUS_INVALID: `error` says which, and what is allowed.
 */
MUST_CHECK int config_outboxes_check(struct config *config, struct config_error *error);

/* The address of its database: its own, or the store's. */
const char *config_outbox_url(const struct config *config, const struct config_outbox *outbox);

/* Whether both have the same ones. */
bool config_outboxes_eq(const struct config *a, const struct config *b);

#endif
