/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes Peal's own figures from what the node counts. Order of this file: adding, what changed,
 * going around, life.
 *
 * A visit goes from shard to shard and takes along what each has counted by route; at home it is
 * added to the series, with how the node's sums have changed since the visit before.
 */
#include "hub/node/hub_series.h"

#include <string.h>

#include "codec/base/mem.h"
#include "hub/config/config.h"
#include "hub/net/http_types.h"
#include "hub/node/hub_settings.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"
#include "hub/series/series.h"
#include "hub/series/series_key.h"
#include "sql/store.h"

enum { STATEMENTS_MAX = 256 };

/* Goes around; one at a time. */
struct visit {
    struct hub *hub;
    unsigned next; /* shard */
    struct route_counts taken[];
};

struct hub_series {
    struct hub_shard *shard;
    struct visit *visit;
    struct series *series;
    struct metrics_sums seen; /* at the visit before */
    struct store_statement_stats statements[STATEMENTS_MAX];
    size_t statement_count;
};

/* --- adding --- */

static void add_cell(
    struct hub_series *own, struct series_parts *parts, const struct series_cell *cell, bool set)
{
    struct series_key key;
    const char *field;
    if (cell->count > 0 && series_key_make(parts, &key, &field) == NULL) {
        series_add_own(own->series, bytes_of(key.at, key.len), cell, set);
    }
}

static struct series_cell cell_of(double value, uint64_t count, uint64_t now)
{
    double each = count > 0 ? value / (double)count : value;
    return (struct series_cell){
        .count = count, .sum = value, .min = each, .max = each, .last = each, .last_ms = now};
}

static void add_counter(struct hub_series *own, const char *name, uint64_t now, uint64_t before)
{
    struct series_parts parts = {.type = SERIES_COUNTER, .name = bytes_str(name)};
    uint64_t more = now > before ? now - before : 0;
    struct series_cell cell = cell_of((double)more, 1, sched_wall(own->shard->shard.sched));
    if (more > 0) {
        add_cell(own, &parts, &cell, false);
    }
}

static void set_gauge(struct hub_series *own, const char *name, uint64_t value)
{
    struct series_parts parts = {.type = SERIES_GAUGE,
        .name = bytes_str(name),
        .tags = {{BYTES("node"), bytes_str(own->shard->hub->node)}},
        .tag_count = 1};
    struct series_cell cell = cell_of((double)value, 1, sched_wall(own->shard->shard.sched));
    add_cell(own, &parts, &cell, true);
}

/* --- what changed --- */

static void add_sums(struct hub_series *own)
{
    struct metrics_sums sums;
    metrics_publish(own->shard);
    metrics_sum(own->shard->hub, &sums);
    add_counter(own, "cache_hit", sums.cache.hits, own->seen.cache.hits);
    add_counter(own, "cache_miss", sums.cache.misses, own->seen.cache.misses);
    add_counter(own, "job", sums.jobs.completed, own->seen.jobs.completed);
    add_counter(own, "event", sums.shards.events_in, own->seen.shards.events_in);
    add_counter(own, "delivery", sums.shards.deliveries, own->seen.shards.deliveries);
    add_counter(own, "post", sums.shards.stored, own->seen.shards.stored);
    set_gauge(own, "connections", sums.shards.connections);
    set_gauge(own, "users", sums.shards.users);
    own->seen = sums;
}

static const struct store_statement_stats *find_seen(const struct hub_series *own, const char *name)
{
    for (size_t i = 0; i < own->statement_count; i++) {
        if (strcmp(own->statements[i].name, name) == 0) {
            return &own->statements[i];
        }
    }
    return NULL;
}

/* How the times are spread is not known of a part of a statement's runs, only their mean. */
static void add_statement(struct hub_series *own, const struct store_statement_stats *now)
{
    struct series_parts parts = {.type = SERIES_TIMER,
        .name = BYTES("query"),
        .tags = {{BYTES("statement"), bytes_str(now->name)}},
        .tag_count = 1};
    const struct store_statement_stats *seen = find_seen(own, now->name);
    uint64_t count = now->count - (seen != NULL ? seen->count : 0);
    uint64_t total_us = now->total_us - (seen != NULL ? seen->total_us : 0);
    struct series_cell cell =
        cell_of((double)total_us / 1e3, count, sched_wall(own->shard->shard.sched));
    add_cell(own, &parts, &cell, false);
}

static void add_statements(struct hub_series *own)
{
    struct store_statement_stats stats[STATEMENTS_MAX];
    size_t count = store_statements(own->shard->hub->store, stats, STATEMENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        add_statement(own, &stats[i]);
    }
    memcpy(own->statements, stats, count * sizeof(stats[0]));
    own->statement_count = count;
}

static void add_routes(struct hub_series *own, const struct route_counts *counts)
{
    static const char *const classes[] = {"", "1xx", "2xx", "3xx", "4xx", "5xx"};
    size_t cursor = 0;
    for (const struct route_count *count; (count = map_next(&counts->entries, &cursor)) != NULL;) {
        const struct http_route *route = count->key.route;
        uint64_t status_class = count->key.status_class;
        struct series_parts parts = {.type = SERIES_TIMER,
            .name = BYTES("request"),
            .tags = {{BYTES("class"),
                         bytes_str(status_class < ARRAY_LEN(classes) ? classes[status_class] : "")},
                {BYTES("method"), bytes_str(route != NULL ? route->method : "")},
                {BYTES("route"), bytes_str(route != NULL ? route->path : "")}},
            .tag_count = 3};
        add_cell(own, &parts, &count->cell, false);
    }
}

/* --- going around --- */

static void empty_visit(struct visit *visit)
{
    for (unsigned i = 0; i < visit->next; i++) {
        route_counts_finish(&visit->taken[i]);
    }
    visit->next = 0;
}

static void come_home(struct visit *visit)
{
    struct hub_series *own = visit->hub->shards[0].series;
    for (unsigned i = 0; i < visit->next; i++) {
        add_routes(own, &visit->taken[i]);
    }
    add_sums(own);
    add_statements(own);
    empty_visit(visit);
    series_collected(own->series);
}

static void on_visit(void *arg, bool cancelled)
{
    struct visit *visit = arg;
    if (cancelled) { /* the visit may be gone */
        return;
    }
    if (visit->next == visit->hub->shard_count) {
        come_home(visit);
        return;
    }
    struct hub_shard *shard = &visit->hub->shards[visit->next];
    visit->taken[visit->next++] = shard->routes;
    route_counts_init(&shard->routes);
    metrics_publish(shard);
    unsigned to = visit->next == visit->hub->shard_count ? 0 : visit->next;
    sched_post(visit->hub->system, to, on_visit, visit);
}

static void collect(void *context)
{
    struct hub_series *own = context;
    sched_post(own->shard->hub->system, 0, on_visit, own->visit);
}

/* --- life --- */

static struct series_limits limits(void *context)
{
    const struct config *config = ((struct hub_series *)context)->shard->settings->config;
    return (struct series_limits){.series = config->metrics_series, .bytes = config->metrics_bytes};
}

void hub_series_start(struct hub_shard *shard)
{
    struct hub_series *own = mem_alloc(sizeof(*own));
    const struct series_options options = {.shard = &shard->shard,
        .node = shard->hub->node,
        .flush_ms = (uint32_t)shard->hub->config->metrics_flush_ms,
        .context = own,
        .limits = limits,
        .collect = collect};
    own->shard = shard;
    own->visit =
        mem_alloc(sizeof(*own->visit) + shard->hub->shard_count * sizeof(own->visit->taken[0]));
    own->visit->hub = shard->hub;
    own->series = series_start(&options);
    shard->series = own;
    shard->hub->api.series = own->series;
}

void hub_series_stop(struct hub_shard *shard)
{
    series_stop(shard->series->series);
}

uint64_t hub_series_count_open(const struct hub_shard *shard)
{
    return shard->series != NULL ? series_count_open(shard->series->series) : 0;
}

void hub_series_finish(struct hub_shard *shard)
{
    if (shard->series != NULL) {
        series_destroy(shard->series->series);
        empty_visit(shard->series->visit);
        mem_free(shard->series->visit);
        mem_free(shard->series);
        shard->series = NULL;
        shard->hub->api.series = NULL;
    }
}
