/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_counts - how many connections each name has on this node, without a lock.
 *
 * One table for all shards, for tenants and for addresses. A name is given by its hash
 * (hash_bytes). Its place is one word, found within a window of a few: a fingerprint and the count,
 * changed together. Two shards that bring the same new name at the same moment may make two words
 * of it; they are added up, so that no connection is forgotten, and at such a moment a limit may be
 * passed by as many as there are shards.
 */
#ifndef HUB_NET_NAME_COUNTS_H
#define HUB_NET_NAME_COUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"

struct name_counts;

/* Make a table that `connections` names fit into with ease. */
MUST_CHECK struct name_counts *name_counts_create(size_t connections);

/* Free it; NULL is allowed. */
void name_counts_destroy(struct name_counts *counts);

/* The connections of `name` now. Any thread. */
uint32_t name_counts_get(const struct name_counts *counts, uint64_t name);

/* Count one more, unless there are `limit`; false then, or when the table is full. Any thread. */
MUST_CHECK bool name_counts_take(struct name_counts *counts, uint64_t name, uint32_t limit);

/* Give back what name_counts_take has counted. Any thread. */
void name_counts_release(struct name_counts *counts, uint64_t name);

#endif
