/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_name - how values, tags and channels are called, here and in Redis.
 *
 * A name is `tenant/key`, `/key` where tenants are off; a tag's is made the same way. Any thread.
 */
#ifndef ACTORS_VALUES_VALUE_NAME_H
#define ACTORS_VALUES_VALUE_NAME_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/names.h"

enum {
    VALUE_KEY_MAX = NAMES_ROOM_MAX, /* bytes of a key, and of a tag: the rules of rooms */
    VALUE_NAME_MAX = NAMES_TENANT_MAX + 1 + VALUE_KEY_MAX,
};

/* What the names of all values have in common; immutable. */
struct value_names {
    const char *prefix; /* at most 64 bytes, without '{' and '}' */
    uint32_t slots; /* as slot_divides accepts it */
    uint32_t db; /* of the URL: channels know none */
};

/* What a key of Redis is of. */
enum value_kind {
    VALUE_KIND_VALUE = 'v',
    VALUE_KIND_TAG = 't', /* who has the tag */
    VALUE_KIND_MARK = 'm', /* when it was let go */
};

/* Write the name of `key`, which has at most VALUE_KEY_MAX bytes, to `at` (VALUE_NAME_MAX bytes).
 */
struct bytes value_name_write(struct bytes tenant, struct bytes key, char *at);

/* The parts of a name. */
struct bytes value_name_tenant(struct bytes name);
struct bytes value_name_key(struct bytes name);

/* The slot that a name is in: 0 to slots - 1. */
uint32_t value_name_slot(const struct value_names *names, struct bytes name);

/* Append the key in Redis of what is called `name`. */
void value_name_redis(
    const struct value_names *names, enum value_kind kind, struct bytes name, struct builder *out);

/* Append the pattern (SCAN) of all values of `tenant` whose key begins with `prefix`. */
void value_name_pattern(
    const struct value_names *names, struct bytes tenant, struct bytes prefix, struct builder *out);

/* The name of the value with that key in Redis; points into it. False: it is no value's. */
bool value_name_read(const struct value_names *names, struct bytes key, struct bytes *ret_name);

/* Append the channel of a slot. */
void value_name_channel(const struct value_names *names, uint32_t slot, struct builder *out);

#endif
