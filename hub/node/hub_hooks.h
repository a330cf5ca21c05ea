/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_hooks - hooks and webhooks as the configuration states them, and the services of a shard that
 * asks and tells them.
 */
#ifndef HUB_NODE_HUB_HOOKS_H
#define HUB_NODE_HUB_HOOKS_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"

struct config;
struct hook_settings;
struct hook_stats;
struct hub_shard;
struct out_settings;
struct outgoing_guard;
struct webhook_settings;
struct webhook_stats;

/* Fill in the hooks, which borrow from `config`, and the guard, which the caller destroys also on
 * failure. STATUS_INVALID with a sentence appended to `error`. */
MUST_CHECK int hub_make_hooks(
    const struct config *config, struct builder *error, struct hook_settings *ret_settings);

/* Fill in the webhooks, which borrow from `config` and `guard`. The same. */
MUST_CHECK int hub_make_webhooks(const struct config *config, const struct outgoing_guard *guard,
    struct builder *error, struct webhook_settings *ret_settings);

/* Fill in where events of clients go that no hook is asked about. */
void hub_make_out(const struct config *config, struct out_settings *ret_settings);

/* The service of a shard: start, stop, how much is open; and what is left of it when it ended. */
void hub_hooks_start(struct hub_shard *shard);
void hub_hooks_stop(struct hub_shard *shard);
uint64_t hub_hooks_count_open(const struct hub_shard *shard);
void hub_hooks_finish(struct hub_shard *shard);

/* Append where the breakers stand, as lines of metrics without their head: the worst shard's. */
void hub_hooks_write(
    const struct hook_settings *settings, const struct hook_stats *stats, struct builder *out);

/* The same for webhooks; `change`: the shard has other settings. */
void hub_webhooks_start(struct hub_shard *shard);
void hub_webhooks_change(struct hub_shard *shard);
void hub_webhooks_stop(struct hub_shard *shard);
uint64_t hub_webhooks_count_open(const struct hub_shard *shard);
void hub_webhooks_finish(struct hub_shard *shard);
void hub_webhooks_write(const struct webhook_settings *settings, const struct webhook_stats *stats,
    struct builder *out);

#endif
