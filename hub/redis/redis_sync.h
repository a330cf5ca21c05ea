/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_sync - Redis for commands of the command line: they wait for answers, on a loop of their
 * own.
 *
 * The main thread only. Nothing reconnects silently: a call that is lost is told.
 */
#ifndef HUB_REDIS_REDIS_SYNC_H
#define HUB_REDIS_REDIS_SYNC_H

#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct config;
struct redis_sync;
struct redis_target;

/* Connect, and wait for at most 5 s. On failure a sentence is appended to `error`. */
MUST_CHECK int redis_sync_open(
    const struct redis_target *target, struct builder *error, struct redis_sync **ret_sync);

/* As redis_sync_open, of what `config` says, or `url` unless NULL: see redis_target_init. */
MUST_CHECK int redis_sync_reach(const struct config *config, const char *url, struct builder *error,
    struct redis_sync **ret_sync);

/* Close the connection; answers under way are told as cancelled. NULL is allowed. */
void redis_sync_close(struct redis_sync *sync);

/* Send a command; `fn` is called with its answer from within redis_sync_wait. */
void redis_sync_send(
    struct redis_sync *sync, const struct bytes *argv, size_t argc, bus_reply_fn fn, void *context);

/* The same for a command without keys, of each server that can have some: `fn` is called for each.
 */
void redis_sync_send_each(
    struct redis_sync *sync, const struct bytes *argv, size_t argc, bus_reply_fn fn, void *context);

/* Why there is no answer: what Redis said instead, or that the connection was lost; nothing when
 * there is one. */
void redis_sync_write_fault(int status, const struct bus_reply *reply, struct builder *out);

/* Wait for `ms`; a connection that was lost is made again meanwhile, as far as that is possible. */
void redis_sync_pause(struct redis_sync *sync, uint32_t ms);

/* Wait until at most `max_pending` commands are without an answer. */
void redis_sync_wait(struct redis_sync *sync, size_t max_pending);

#endif
