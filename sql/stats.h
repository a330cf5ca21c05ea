/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats - how long each named statement took, and the slow ones: shared by both engines.
 *
 * Times go into log-linear buckets (16 to an octave), so percentiles are right to about 6 %.
 */
#ifndef SQL_STATS_H
#define SQL_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "sql/store_types.h"

struct stats;

/* Make statistics of `count` statements; `names` must outlive it. `slow_ms` 0: none is slow. */
MUST_CHECK struct stats *stats_create(const char *const *names, size_t count, uint32_t slow_ms);

/* Free; NULL is allowed. */
void stats_destroy(struct stats *stats);

/* Count one run of statement `index` that took `took_ns`. Any thread. */
void stats_note(struct stats *stats, size_t index, uint64_t took_ns);

/* Set from how many ms on a statement is slow; 0: none is. Any thread. */
void stats_set_slow(struct stats *stats, uint32_t slow_ms);

/* As store_statements and store_slow_log. Any thread. */
size_t stats_statements(struct stats *stats, struct store_statement_stats *ret_stats, size_t max);
size_t stats_slow_log(struct stats *stats, struct store_slow *ret_slow, size_t max);

#endif
