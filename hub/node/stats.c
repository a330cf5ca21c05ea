/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators ask about Peal's own work. Order of this file: connections and rooms, answers,
 * statements, alerts.
 *
 * Rooms and event names belong to their shards: a stats_call visits one shard after the other and
 * comes back.
 */
#include "hub/node/stats.h"

#include <stdio.h>

#include "actors/deliver/fanout.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "hub/node/hub_settings.h"
#include "hub/node/memory_guard.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"
#include "sql/store.h"

enum { ROOMS_MAX = 100, STATEMENTS_MAX = 128, SLOW_MAX = 100, SLOWEST = 10 };

/* The statistics are of the node: false, and the request was answered, for who may not see them. */
static bool authorize(struct http_request *request)
{
    const struct apikey *key = api_auth_key(request, APIKEY_READ);
    if (key != NULL && key->tenant.len > 0 && api_shard(request)->settings->config->auth_tenants) {
        api_refuse(request, &(struct api_error){.code = ERROR_FORBIDDEN,
                                .message = "Statistics are of all tenants, the key is of one"});
        return false;
    }
    return key != NULL;
}

/* Connections and rooms. */

struct stats_call {
    struct api_call api; /* first */
    struct hub *hub;
    unsigned asker;
    unsigned next; /* shard */
    struct builder rooms; /* JSON texts, with commas */
    uint32_t room_count; /* in `rooms` */
    struct buf *names[ROOMS_MAX];
    struct event_counts events;
};

static void free_call(struct stats_call *call)
{
    for (uint32_t i = 0; i < call->room_count; i++) {
        buf_unref(call->names[i]);
    }
    builder_reset(&call->rooms);
    event_counts_finish(&call->events);
    mem_free(call);
}

static void add_room(struct stats_call *call, struct bytes name)
{
    for (uint32_t i = 0; i < call->room_count; i++) {
        if (bytes_eq(buf_bytes(call->names[i]), name)) {
            return;
        }
    }
    struct buf *copy = buf_new(name);
    if (copy == NULL) {
        return;
    }
    builder_str(&call->rooms, call->room_count > 0 ? "," : "");
    json_scan_write_string(&call->rooms, name);
    call->names[call->room_count++] = copy;
}

/* On the thread of `shard`. */
static void collect(struct stats_call *call, const struct hub_shard *shard)
{
    list_for_each (link, &shard->shard.fanouts) {
        const struct fanout *fanout = container_of(link, struct fanout, shard_link);
        size_t cursor = 0;
        for (const struct leaf *leaf; call->room_count < ROOMS_MAX &&
                                      (leaf = map_next(&fanout->leaves.map, &cursor)) != NULL;) {
            add_room(call, leaf_name(leaf));
        }
    }
    size_t cursor = 0;
    for (const struct event_count *count;
         (count = map_next(&shard->events.names, &cursor)) != NULL;) {
        event_counts_add(&call->events, bytes_of(count->name, count->name_len), count->count);
    }
    call->events.other += shard->events.other;
}

static void answer_stats(struct stats_call *call)
{
    struct metrics_sums sums;
    struct builder out = {0};
    metrics_publish(&call->hub->shards[call->asker]);
    metrics_sum(call->hub, &sums);
    builder_printf(&out, "{\"success\":true,\"stats\":{\"activeConnections\":%llu,\"rooms\":[",
        (unsigned long long)sums.shards.sockets);
    builder_add(&out, builder_bytes(&call->rooms));
    builder_printf(
        &out, "],\"roomCount\":%llu,\"events\":{", (unsigned long long)sums.shards.rooms);
    const char *comma = "";
    size_t cursor = 0;
    for (const struct event_count *count;
         (count = map_next(&call->events.names, &cursor)) != NULL;) {
        builder_str(&out, comma);
        json_scan_write_string(&out, bytes_of(count->name, count->name_len));
        builder_printf(&out, ":%llu", (unsigned long long)count->count);
        comma = ",";
    }
    if (call->events.other > 0) {
        builder_printf(&out, "%s\"(other)\":%llu", comma, (unsigned long long)call->events.other);
    }
    builder_printf(&out, "},\"uptime\":%llu}}",
        (unsigned long long)((clock_mono_ms() - call->hub->started_ms) / 1000));
    api_answer(call->api.request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

static void on_visit(void *arg, bool cancelled)
{
    struct stats_call *call = arg;
    if (cancelled) {
        free_call(call);
        return;
    }
    if (call->next == call->hub->shard_count) {
        if (call->api.request != NULL) {
            answer_stats(call);
        }
        free_call(call);
        return;
    }
    collect(call, &call->hub->shards[call->next++]);
    unsigned to = call->next == call->hub->shard_count ? call->asker : call->next;
    sched_post(call->hub->system, to, on_visit, call);
}

static void show_connections(struct http_request *request, void *context)
{
    if (!authorize(request)) {
        return;
    }
    struct stats_call *call = mem_alloc(sizeof(*call));
    call->hub = hub_shard_of_http(context)->hub;
    call->asker = sched_shard(api_shard(request)->shard->sched);
    event_counts_init(&call->events);
    api_call_hold(&call->api, request);
    sched_post(call->hub->system, 0, on_visit, call);
}

/* Answers. */

static void show_performance(struct http_request *request, void *context)
{
    struct hub_shard *shard = hub_shard_of_http(context);
    const struct hub *hub = shard->hub;
    if (!authorize(request)) {
        return;
    }
    struct metrics_sums sums;
    struct builder out = {0};
    metrics_publish(shard);
    metrics_sum(hub, &sums);
    uint64_t answers = 0;
    for (unsigned i = 0; i < API_CLASS_COUNT; i++) {
        answers += sums.api.classes[i];
    }
    double count = answers > 0 ? (double)answers : 1.0;
    builder_printf(&out, "{\"status\":\"%s\",\"metrics\":{\"averageResponseTime\":%.3f,",
        atomic_load_explicit(&hub->verdict.write_down, memory_order_relaxed) ? "degraded"
                                                                             : "healthy",
        (double)sums.api.total_us / 1000.0 / count);
    uint64_t reads = sums.cache.hits + sums.cache.misses;
    builder_printf(&out, "\"cacheHitRate\":%.3f,\"errorRate\":%.3f,\"activeConnections\":%llu,",
        (double)sums.cache.hits * 100.0 / (reads > 0 ? (double)reads : 1.0),
        (double)sums.api.classes[5] * 100.0 / count, (unsigned long long)sums.shards.sockets);
    builder_printf(&out, "\"activeUsers\":%llu,\"requests\":%llu,\"memoryBytes\":%llu,",
        (unsigned long long)sums.shards.users, (unsigned long long)answers,
        (unsigned long long)memory_guard_resident(&hub->memory));
    builder_printf(&out, "\"uptime\":%llu}}",
        (unsigned long long)((clock_mono_ms() - hub->started_ms) / 1000));
    api_answer(request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

/* Statements. */

static void write_ms(struct builder *out, const char *name, uint64_t us)
{
    builder_printf(out, "\"%s\":%.3f", name, (double)us / 1000.0);
}

static void write_statement(const struct store_statement_stats *stats, struct builder *out)
{
    json_scan_write_string(out, bytes_str(stats->name));
    builder_printf(out, ":{\"count\":%llu,", (unsigned long long)stats->count);
    write_ms(out, "avgTime", stats->count > 0 ? stats->total_us / stats->count : 0);
    builder_byte(out, ',');
    write_ms(out, "minTime", stats->min_us);
    builder_byte(out, ',');
    write_ms(out, "maxTime", stats->max_us);
    builder_byte(out, ',');
    write_ms(out, "p50", stats->p50_us);
    builder_byte(out, ',');
    write_ms(out, "p95", stats->p95_us);
    builder_byte(out, ',');
    write_ms(out, "p99", stats->p99_us);
    builder_byte(out, '}');
}

/* `[…]` of the first `max` of the slow log. */
static void write_slow(const struct hub_shard *shard, size_t max, struct builder *out)
{
    struct store_slow slow[SLOW_MAX];
    size_t count = store_slow_log(shard->hub->store, slow, max < SLOW_MAX ? max : SLOW_MAX);
    builder_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        builder_str(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        json_scan_write_string(out, bytes_str(slow[i].name));
        builder_byte(out, ',');
        write_ms(out, "executionTime", slow[i].took_us);
        builder_printf(out, ",\"threshold\":%llu,\"timestamp\":\"",
            (unsigned long long)shard->settings->config->store_slow_query_ms);
        (void)!iso_time_write((int64_t)slow[i].at, out);
        builder_str(out, "\"}");
    }
    builder_byte(out, ']');
}

static void show_queries(struct http_request *request, void *context)
{
    const struct hub_shard *shard = hub_shard_of_http(context);
    if (!authorize(request)) {
        return;
    }
    struct store_statement_stats stats[STATEMENTS_MAX];
    size_t count = store_statements(shard->hub->store, stats, STATEMENTS_MAX);
    struct builder rows = {0};
    struct builder out = {0};
    uint64_t queries = 0;
    uint64_t slow = 0;
    uint64_t total_us = 0;
    for (size_t i = 0; i < count; i++) {
        queries += stats[i].count;
        slow += stats[i].slow;
        total_us += stats[i].total_us;
        builder_str(&rows, i > 0 ? "," : "");
        write_statement(&stats[i], &rows);
    }
    builder_printf(&out, "{\"success\":true,\"stats\":{\"totalQueries\":%llu,\"slowQueries\":%llu,",
        (unsigned long long)queries, (unsigned long long)slow);
    write_ms(&out, "averageExecutionTime", queries > 0 ? total_us / queries : 0);
    builder_str(&out, ",\"queryBreakdown\":{");
    builder_add(&out, builder_bytes(&rows));
    builder_str(&out, "},\"slowestQueries\":");
    write_slow(shard, SLOWEST, &out);
    builder_str(&out, "}}");
    builder_reset(&rows);
    api_answer(request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

static void show_slow(struct http_request *request, void *context)
{
    char at[24];
    struct bytes text;
    uint64_t limit = SLOWEST;
    if (!authorize(request)) {
        return;
    }
    int status = query_get(request->query, "limit", at, sizeof(at), &text);
    if (status == 0) {
        status = bytes_to_u64(text, SLOW_MAX, &limit);
    }
    if ((status != 0 && status != STATUS_NOT_FOUND) || limit == 0) {
        api_refuse(request, &(struct api_error){.code = ERROR_INVALID_FIELD,
                                .message = "A number from 1 to 100",
                                .field = "limit"});
        return;
    }
    struct builder out = {0};
    builder_str(&out, "{\"success\":true,\"slowQueries\":");
    write_slow(hub_shard_of_http(context), (size_t)limit, &out);
    builder_byte(&out, '}');
    api_answer(request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

/* Alerts. */

static void write_alert(
    const struct config_alert *alert, const struct alert_gauges *gauges, struct builder *out)
{
    uint64_t since = alert_gauges_since(gauges, alert->name);
    json_write_open(out, '{');
    json_write_text(out, "name", bytes_str(alert->name));
    json_write_text(out, "when", bytes_str(alert->when));
    json_write_key(out, "to");
    json_write_open(out, '[');
    for (size_t i = 0; i < alert->to.count; i++) {
        json_write_next(out);
        json_scan_write_string(out, bytes_str(alert->to.items[i]));
    }
    json_write_close(out, ']');
    json_write_text(out, "state",
        !alert->on  ? BYTES("off")
        : since > 0 ? BYTES("firing")
                    : BYTES("ok"));
    json_write_time(out, "since", since);
    json_write_close(out, '}');
}

static void show_alerts(struct http_request *request, void *context)
{
    const struct hub_shard *shard = hub_shard_of_http(context);
    const struct config *config = shard->settings->config;
    struct builder out = {0};
    if (!authorize(request)) {
        return;
    }
    json_write_open(&out, '{');
    json_write_key(&out, "alerts");
    json_write_open(&out, '[');
    for (size_t i = 0; i < config->alert_count; i++) {
        json_write_next(&out);
        write_alert(&config->alerts[i], &shard->hub->alerts, &out);
    }
    json_write_close(&out, ']');
    json_write_close(&out, '}');
    api_answer(request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

/* The table. */

const struct http_route stats_routes[] = {
    {"GET", "/api/diagnostics/query-stats", show_queries, NULL, 0, NULL, NULL, false, ""},
    {"GET", "/api/diagnostics/slow-queries", show_slow, NULL, 0, NULL, NULL, false, "limit"},
    {"GET", "/api/v1/alerts", show_alerts, NULL, 0, NULL, NULL, false, ""},
    {"GET", "/api/v1/health/performance", show_performance, NULL, 0, NULL, NULL, false, ""},
    {"GET", "/api/ws/stats", show_connections, NULL, 0, NULL, NULL, false, ""},
};
const size_t stats_route_count = ARRAY_LEN(stats_routes);
