/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_draft - a struct config while it is being filled; seen only by hub/config*.c.
 */
#ifndef HUB_CONFIG_CONFIG_DRAFT_H
#define HUB_CONFIG_CONFIG_DRAFT_H

#include "codec/base/check.h"
#include "hub/config/config_table.h"

/* A configuration with every default and the built-in room types. */
MUST_CHECK struct config *config_draft_create(void);

/*
 * Set one value, said at `where` ("peal.conf:3", "PORT", "--port"). STATUS_INVALID: `error`
 * holds where, key and reason.
 */
MUST_CHECK int config_draft_set(struct config *config, const struct config_setting *row,
    const char *text, const char *where, struct config_error *error);

/*
 * Add a block of `kind` named `title`, said at `where`, with its defaults, or reset a built-in
 * one; returns it.
 */
void *config_draft_block(
    struct config *config, enum config_block kind, const char *title, const char *where);

/* Add the queues of webhooks, and of push where it has a key, that have no block of their own. */
void config_draft_add_own_queues(struct config *config);

/* Set one option of a block, as config_draft_set. */
MUST_CHECK int config_draft_set_option(struct config *config, void *block,
    const struct config_setting *row, const char *text, const char *where,
    struct config_error *error);

/* Add a sentence to config->warnings. */
void config_draft_warn(struct config *config, const char *format, ...) PRINTF_LIKE(2, 3);

/* The block of `kind` at `place`; below config_draft_block_count. */
const void *config_draft_block_at(
    const struct config *config, enum config_block kind, size_t place);
size_t config_draft_block_count(const struct config *config, enum config_block kind);

/* Write a formatted text to `error` and return STATUS_INVALID. */
int config_draft_refuse(struct config_error *error, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
