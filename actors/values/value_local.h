/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_local - the rules of values where the memory of the node is all there is, as the scripts of
 * value_scripts.c have them in Redis. Those of the values that live on one shard.
 */
#ifndef ACTORS_VALUES_VALUE_LOCAL_H
#define ACTORS_VALUES_VALUE_LOCAL_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct shard;
struct value_item;
struct value_local;
struct value_memory;
struct value_op;

/* Make the rules; `memory` is the caller's and lives as long. */
MUST_CHECK struct value_local *value_local_create(struct shard *shard, struct value_memory *memory);

/* Free them; NULL is allowed. */
void value_local_destroy(struct value_local *local);

/* Do what `op` asks and fill in its result, in this turn. */
void value_local_ask(struct value_local *local, struct value_op *op);

/* The tag (as a name) is let go now: who fills since before may not bring it. */
void value_local_mark(struct value_local *local, struct bytes tag);

/* Whether the value is there now, and who put it gave it `tag` (without the tenant). */
bool value_local_is_fresh(const struct value_local *local, const struct value_item *item);
bool value_local_has_tag(const struct value_item *item, struct bytes tag);

#endif
