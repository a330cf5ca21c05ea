/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_redis - a shard's connection for values: scripts, and what they answer to a value_op.
 */
#ifndef ACTORS_VALUES_VALUE_REDIS_H
#define ACTORS_VALUES_VALUE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "actors/values/value_scripts.h"
#include "codec/base/buf.h"
#include "codec/base/check.h"

struct shard;
struct value_names;
struct value_op;
struct value_redis;

/* Redis has answered `op`; never before the call that asked it has returned. */
typedef void (*value_answered_fn)(void *context, struct value_op *op);

/* Open the connection; `names` lives as long. */
MUST_CHECK struct value_redis *value_redis_create(struct shard *shard,
    const struct value_names *names, value_answered_fn answered, void *context);

/* Close it: what is under way is answered before this returns. NULL is allowed. */
void value_redis_destroy(struct value_redis *redis);

/* Whether Redis can be asked now. */
bool value_redis_is_up(const struct value_redis *redis);

/* Whether it has refused something in the last seconds: no memory, no right. */
bool value_redis_refuses(const struct value_redis *redis);

/* Ask for `op`, and answer it later. */
void value_redis_ask(struct value_redis *redis, struct value_op *op);

/* Keys and arguments that a script takes without asking for memory. */
enum { VALUE_ARGS_FEW = 24 };

/*
 * Run a script with its keys and arguments (value_scripts.h). `fn` as for bus_ops.command; a Redis
 * that does not know the script gets it. False: no memory, `fn` is not called; never with at most
 * VALUE_ARGS_FEW arguments.
 */
bool value_redis_run(struct value_redis *redis, enum value_script script, const struct bytes *argv,
    size_t argc, bus_reply_fn fn, void *context);

/* Ask Redis what time it is, now and then: stamps of tags go by its clock. */
void value_redis_read_clock(struct value_redis *redis);

/* Whether an answer says that Redis has forgotten the scripts: it is told them again. */
bool value_redis_forgot(struct value_redis *redis, const struct bus_reply *reply);

/* Send another command, without keys, to each server there is: to how many. */
unsigned value_redis_ask_each(struct value_redis *redis, const struct bytes *argv, size_t argc,
    bus_reply_fn fn, void *context);

/* Send another command on the same connection. */
void value_redis_command(struct value_redis *redis, const struct bytes *argv, size_t argc,
    bus_reply_fn fn, void *context);

/* Append the arguments that every script which changes a value ends with: channel and name. */
void value_redis_channel(
    const struct value_names *names, struct bytes name, struct builder *ret_channel);

#endif
