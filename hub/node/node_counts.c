/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adds to counters of answers and events, with a bound on the number of names.
 */
#include "hub/node/node_counts.h"

#include "codec/base/mem.h"

const uint64_t api_bucket_us[API_BUCKET_COUNT] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 5000000};

void api_counts_add(struct api_counts *counts, unsigned status, uint64_t took_ns)
{
    uint64_t took_us = took_ns / 1000;
    unsigned class = status / 100;
    unsigned bucket = 0;
    while (bucket < API_BUCKET_COUNT && took_us > api_bucket_us[bucket]) {
        bucket++;
    }
    counts->classes[class < API_CLASS_COUNT ? class : 0]++;
    counts->buckets[bucket]++;
    counts->total_us += took_us;
}

static struct bytes name_of(const void *object)
{
    const struct event_count *count = object;
    return bytes_of(count->name, count->name_len);
}

void event_counts_init(struct event_counts *counts)
{
    *counts = (struct event_counts){0};
    map_init(&counts->names, name_of);
}

void event_counts_finish(struct event_counts *counts)
{
    size_t cursor = 0;
    for (struct event_count *count; (count = map_next(&counts->names, &cursor)) != NULL;) {
        mem_free(count);
    }
    map_finish(&counts->names);
}

void event_counts_add(struct event_counts *counts, struct bytes name, uint64_t count)
{
    struct event_count *found = map_get(&counts->names, name);
    if (found != NULL) {
        found->count += count;
        return;
    }
    if (name.len > EVENT_COUNT_NAME_MAX || map_count(&counts->names) >= EVENT_COUNTS_MAX) {
        counts->other += count;
        return;
    }
    found = mem_try_calloc(1, sizeof(*found));
    if (found == NULL) {
        counts->other += count;
        return;
    }
    found->count = count;
    found->name_len = (uint32_t)name.len;
    if (name.len > 0) {
        memcpy(found->name, name.at, name.len);
    }
    if (!map_put(&counts->names, found)) {
        mem_free(found);
        counts->other += count;
    }
}
