/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map by the pointer to a route and the class; without memory for a new one nothing is counted
 * here, which the sums by class (node_counts.h) do not need.
 */
#include "hub/node/route_counts.h"

#include "codec/base/mem.h"

static struct bytes key_of(const void *object)
{
    const struct route_count *count = object;
    return bytes_of(&count->key, sizeof(count->key));
}

void route_counts_init(struct route_counts *counts)
{
    map_init(&counts->entries, key_of);
}

void route_counts_finish(struct route_counts *counts)
{
    size_t cursor = 0;
    for (struct route_count *count; (count = map_next(&counts->entries, &cursor)) != NULL;) {
        series_cell_finish(&count->cell);
        mem_free(count);
    }
    map_finish(&counts->entries);
}

static struct route_count *find(
    struct route_counts *counts, const struct http_route *route, unsigned status)
{
    const struct route_count wanted = {.key = {route, status / 100}};
    struct route_count *count = map_get(&counts->entries, key_of(&wanted));
    if (count != NULL) {
        return count;
    }
    count = mem_try_calloc(1, sizeof(*count));
    if (count == NULL) {
        return NULL;
    }
    count->key = wanted.key;
    if (!map_put(&counts->entries, count)) {
        mem_free(count);
        return NULL;
    }
    return count;
}

void route_counts_add(struct route_counts *counts, const struct http_route *route, unsigned status,
    uint64_t took_ns, uint64_t now_ms)
{
    struct route_count *count = find(counts, route, status);
    if (count != NULL) {
        (void)!series_cell_add(&count->cell, SERIES_TIMER, (double)took_ns / 1e6, now_ms);
    }
}
