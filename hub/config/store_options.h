/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_options - the settings of the store as its interface takes them; for a node and for
 * commands.
 */
#ifndef HUB_CONFIG_STORE_OPTIONS_H
#define HUB_CONFIG_STORE_OPTIONS_H

#include "codec/base/buf.h"
#include "sql/store.h"

struct config;

enum { STORE_OPTIONS_SHARED = 2 };

struct store_options {
    struct store_config config; /* port_count and post are the caller's to fill in */
    /* private */
    struct builder url;
    struct store_shared shared[STORE_OPTIONS_SHARED];
};

/*
 * Fill in what store_open needs; `options` must stay in place until then. What nodes share over
 * Redis is checked against the store only where there is a bus.
 */
void store_options_init(struct store_options *options, const struct config *config);

/* Free them; the store has its own copies. */
void store_options_finish(struct store_options *options);

#endif
