/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tenant_counts - how many connections each tenant has on this node, without a lock.
 *
 * One table for all shards. A tenant's place is one word, found by hash within a window of a few:
 * a fingerprint of its name and its count, changed together. Two shards that bring the same new
 * tenant at the same moment may make two words of it; they are added up, so that no connection is
 * forgotten, and at such a moment a limit may be passed by as many as there are shards.
 */
#ifndef HUB_AUTH_TENANT_COUNTS_H
#define HUB_AUTH_TENANT_COUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct tenant_counts;

/* Make a table that `connections` tenants fit into with ease. */
MUST_CHECK struct tenant_counts *tenant_counts_create(size_t connections);

/* Free it; NULL is allowed. */
void tenant_counts_destroy(struct tenant_counts *counts);

/* The connections of `tenant` now. Any thread. */
uint32_t tenant_counts_get(const struct tenant_counts *counts, struct bytes tenant);

/* Count one more, unless there are `limit`; false then, or when the table is full. Any thread. */
MUST_CHECK bool tenant_counts_take(
    struct tenant_counts *counts, struct bytes tenant, uint32_t limit);

/* Give back what tenant_counts_take has counted. Any thread. */
void tenant_counts_release(struct tenant_counts *counts, struct bytes tenant);

#endif
