/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buckets of times for each statement and a ring of slow ones, under one lock.
 */
#include "sql/stats.h"

#include <pthread.h>
#include <stdlib.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"

/* Buckets: exact up to 16 us, then 16 to each power of two up to 2^32 us (over an hour). */
enum { SUB_BITS = 4, SUB = 1 << SUB_BITS, TOP_BIT = 32, BUCKETS = (TOP_BIT - SUB_BITS + 1) * SUB };
enum { SLOW_KEPT = 128 };

struct statement {
    uint64_t count;
    uint64_t slow;
    uint64_t total_us;
    uint64_t min_us;
    uint64_t max_us;
    uint32_t buckets[BUCKETS];
};

struct stats {
    const char *const *names;
    size_t count;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t slow_us;
    struct statement *statements;
    struct store_slow slow[SLOW_KEPT]; /* a ring */
    size_t slow_count; /* ever noted */
};

struct stats *stats_create(const char *const *names, size_t count, uint32_t slow_ms)
{
    struct stats *stats = mem_alloc(sizeof(*stats));
    stats->names = names;
    stats->count = count;
    stats->slow_us = slow_ms > 0 ? (uint64_t)slow_ms * 1000 : UINT64_MAX;
    stats->statements = mem_alloc_array(count, sizeof(*stats->statements));
    CHECK(pthread_mutex_init(&stats->lock, NULL) == 0);
    return stats;
}

void stats_set_slow(struct stats *stats, uint32_t slow_ms)
{
    CHECK(pthread_mutex_lock(&stats->lock) == 0);
    stats->slow_us = slow_ms > 0 ? (uint64_t)slow_ms * 1000 : UINT64_MAX;
    CHECK(pthread_mutex_unlock(&stats->lock) == 0);
}

void stats_destroy(struct stats *stats)
{
    if (!stats) {
        return;
    }
    CHECK(pthread_mutex_destroy(&stats->lock) == 0);
    mem_free(stats->statements);
    mem_free(stats);
}

static size_t bucket_of(uint64_t us)
{
    if (us < SUB) {
        return (size_t)us;
    }
    unsigned top = 63u - (unsigned)__builtin_clzll(us);
    if (top >= TOP_BIT) {
        return BUCKETS - 1;
    }
    return (size_t)(top - SUB_BITS + 1) * SUB + (size_t)((us >> (top - SUB_BITS)) & (SUB - 1));
}

/* The largest value that falls into `bucket`. */
static uint64_t bucket_end(size_t bucket)
{
    if (bucket < SUB) {
        return bucket;
    }
    unsigned shift = (unsigned)(bucket / SUB) - 1;
    return ((uint64_t)(SUB + bucket % SUB + 1) << shift) - 1;
}

void stats_note(struct stats *stats, size_t index, uint64_t took_ns)
{
    CHECK(index < stats->count);
    uint64_t us = took_ns / 1000;
    struct statement *statement = &stats->statements[index];
    CHECK(pthread_mutex_lock(&stats->lock) == 0);
    if (statement->count == 0 || us < statement->min_us) {
        statement->min_us = us;
    }
    if (us > statement->max_us) {
        statement->max_us = us;
    }
    statement->count++;
    statement->total_us += us;
    statement->buckets[bucket_of(us)]++;
    if (us >= stats->slow_us) {
        statement->slow++;
        stats->slow[stats->slow_count++ % SLOW_KEPT] = (struct store_slow){
            .name = stats->names[index],
            .took_us = us,
            .at = clock_wall_ms(),
        };
    }
    CHECK(pthread_mutex_unlock(&stats->lock) == 0);
}

static uint64_t percentile(const struct statement *statement, unsigned percent)
{
    uint64_t rank = (statement->count * percent + 99) / 100;
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += statement->buckets[i];
        if (seen >= rank) {
            uint64_t end = bucket_end(i);
            return end < statement->max_us ? end : statement->max_us;
        }
    }
    return statement->max_us;
}

size_t stats_statements(struct stats *stats, struct store_statement_stats *ret_stats, size_t max)
{
    size_t filled = 0;
    CHECK(pthread_mutex_lock(&stats->lock) == 0);
    for (size_t i = 0; i < stats->count && filled < max; i++) {
        const struct statement *statement = &stats->statements[i];
        if (statement->count == 0) {
            continue;
        }
        ret_stats[filled++] = (struct store_statement_stats){
            .name = stats->names[i],
            .count = statement->count,
            .slow = statement->slow,
            .total_us = statement->total_us,
            .min_us = statement->min_us,
            .max_us = statement->max_us,
            .p50_us = percentile(statement, 50),
            .p95_us = percentile(statement, 95),
            .p99_us = percentile(statement, 99),
        };
    }
    CHECK(pthread_mutex_unlock(&stats->lock) == 0);
    return filled;
}

static int compare_slow(const void *a, const void *b)
{
    const struct store_slow *left = a;
    const struct store_slow *right = b;
    return (left->took_us < right->took_us) - (left->took_us > right->took_us);
}

size_t stats_slow_log(struct stats *stats, struct store_slow *ret_slow, size_t max)
{
    struct store_slow kept[SLOW_KEPT];
    CHECK(pthread_mutex_lock(&stats->lock) == 0);
    size_t count = stats->slow_count < SLOW_KEPT ? stats->slow_count : SLOW_KEPT;
    memcpy(kept, stats->slow, count * sizeof(kept[0]));
    CHECK(pthread_mutex_unlock(&stats->lock) == 0);
    qsort(kept, count, sizeof(kept[0]), compare_slow);
    if (count > max) {
        count = max;
    }
    memcpy(ret_slow, kept, count * sizeof(kept[0]));
    return count;
}
