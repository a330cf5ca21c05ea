/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_room - values that are shown in a room: the last value value:<key> of it.
 */
#ifndef ACTORS_VALUES_VALUE_ROOM_H
#define ACTORS_VALUES_VALUE_ROOM_H

#include <stdbool.h>

#include "actors/values/value_op.h"
#include "codec/base/bytes.h"

struct shard;

/* Why a value cannot be shown in a room. */
enum value_room_fault {
    VALUE_ROOM_FINE,
    VALUE_ROOM_TYPE, /* nothing is kept for rooms of its type, or anywhere */
    VALUE_ROOM_FULL, /* it has as many last values as it may, or all together are too large */
    VALUE_ROOM_LARGE, /* the value is larger than an event */
};

/* Whether `op`, which puts a value of `bytes`, may name its room. */
enum value_room_fault value_room_check(
    struct shard *shard, const struct value_op *op, size_t bytes);

/*
 * A write was carried out: the room of a value that was put is told, as is, of any other, the room
 * in which it is shown; a value that was put with another room or none is shown no more where it
 * was. On the shard of its key.
 */
void value_room_changed(struct shard *shard, const struct value_op *op);

/* The value called `name` was let go: it is shown no more. On any shard. */
void value_room_remove(struct shard *shard, struct bytes name);

#endif
