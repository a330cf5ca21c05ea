/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_push - push as the configuration states it, and the service of a shard that sends.
 */
#ifndef HUB_NODE_HUB_PUSH_H
#define HUB_NODE_HUB_PUSH_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"

struct config;
struct hook_settings;
struct hub_shard;
struct push_settings;

/*
 * Fill in the settings, which borrow from `config` and from `hooks`, whose guard is for all
 * requests of ours. STATUS_INVALID with a sentence appended to `error`.
 */
MUST_CHECK int hub_make_push(const struct config *config, const struct hook_settings *hooks,
    struct builder *error, struct push_settings *ret_settings);

/* The service of a shard: start, stop, how much is open; and what is left of it when it ended. */
void hub_push_start(struct hub_shard *shard);
void hub_push_stop(struct hub_shard *shard);
void hub_push_change(struct hub_shard *shard); /* to the settings that the shard has now */
uint64_t hub_push_count_open(const struct hub_shard *shard);
void hub_push_finish(struct hub_shard *shard);

#endif
