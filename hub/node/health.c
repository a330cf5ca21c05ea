/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers /healthz and /readyz from what the node knows already: nothing is asked for it.
 */
#include "hub/node/health.h"

#include "hub/node/hub_outboxes.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"

static void answer(struct http_request *request, unsigned status, const char *text)
{
    http_respond(
        request, status, "application/json", BYTES("Cache-Control: no-store\r\n"), bytes_str(text));
}

void health_alive(struct http_request *request, void *context)
{
    (void)context;
    answer(request, 200, "{\"status\":\"ok\"}");
}

/* Whether a link of any shard to the bus is down, or a part of a cluster has no server. */
static bool is_bus_away(const struct hub *hub)
{
    struct metrics_sums sums;
    metrics_sum(hub, &sums);
    return sums.links.bus_down != 0 || sums.links.bus_uncovered != 0;
}

/* Whether messages do not come back to a shard, though Redis answers. */
static bool is_bus_deaf(const struct hub *hub)
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct metrics_sums counts;
        metrics_read(&hub->shards[i], &counts);
        if (counts.shards.deaf != 0) {
            return true;
        }
    }
    return false;
}

/* Whether the store cannot be written or read, or only by luck (store_watch.h). */
static bool is_store_away(const struct hub *hub)
{
    return atomic_load_explicit(&hub->verdict.write_down, memory_order_relaxed) ||
           atomic_load_explicit(&hub->verdict.pooled, memory_order_relaxed) ||
           atomic_load_explicit(&hub->verdict.read_down, memory_order_relaxed);
}

/* Whether what was posted for later is late: of shard 0, which delivers it. */
static bool is_schedule_late(const struct hub *hub)
{
    enum { LATE_MS = 5000 };
    struct metrics_sums counts;
    metrics_read(&hub->shards[0], &counts);
    return counts.shards.schedule_late_ms >= LATE_MS;
}

/* Whether jobs of workers that are gone are not given again: of shard 0, which looks for them. */
static bool are_jobs_stuck(const struct hub *hub)
{
    enum { LATE_MS = 5000 };
    struct metrics_sums counts;
    metrics_read(&hub->shards[0], &counts);
    return counts.jobs.sweep_late_ms >= LATE_MS;
}

/* Whether values are slow or refused though Redis is there (values_stats.deaf). */
static bool are_values_degraded(const struct hub *hub)
{
    struct metrics_sums sums;
    metrics_sum(hub, &sums);
    return sums.values.deaf != 0 && sums.links.bus_down == 0;
}

/* Whether a hook failed last, and is not asked for a while or tried again. */
static bool is_hook_away(const struct hub *hub)
{
    struct metrics_sums sums;
    uint64_t away = 0;
    metrics_sum(hub, &sums);
    for (unsigned i = 0; i < HOOKS_MAX; i++) {
        away += sums.hooks.open[i] + sums.hooks.half_open[i];
    }
    return away > 0;
}

/* Whether a webhook failed last, or the store did not take what they are to be told. */
static bool are_webhooks_away(const struct hub *hub)
{
    struct metrics_sums sums;
    metrics_sum(hub, &sums);
    uint64_t away = sums.webhooks.stuck;
    for (unsigned i = 0; i < WEBHOOKS_MAX; i++) {
        away += sums.webhooks.open[i] + sums.webhooks.half_open[i];
    }
    return away > 0;
}

/* Whether the provider of a device refuses our credential. */
static bool is_push_refused(const struct hub *hub)
{
    return atomic_load_explicit(&hub->push_refused, memory_order_relaxed);
}

/* Whether other nodes are not told who is online here, though Redis is there. */
static bool is_presence_degraded(const struct hub *hub)
{
    struct metrics_sums sums;
    metrics_sum(hub, &sums);
    return sums.presence.stale != 0 && sums.links.bus_down == 0;
}

static void write_dependencies(
    const struct hub *hub, const struct hub_shard *shard, struct builder *out)
{
    const struct {
        const char *name;
        bool degraded;
    } dependencies[] = {
        {"store", is_store_away(hub)},
        {"bus", is_bus_away(hub)},
        {"schedule", is_schedule_late(hub)},
        {"jobs", are_jobs_stuck(hub)},
        {"values", are_values_degraded(hub)},
        {"hooks", is_hook_away(hub)},
        {"webhooks", are_webhooks_away(hub)},
        {"push", is_push_refused(hub)},
        {"outboxes", hub_outboxes_are_late(hub)},
        {"presence", is_presence_degraded(hub)},
        {"ingest", ingest_gauges_stand(&hub->streams, sched_now(shard->shard.sched))},
    };
    const char *comma = "";
    struct builder names = {0};
    for (size_t i = 0; i < ARRAY_LEN(dependencies); i++) {
        if (dependencies[i].degraded) {
            builder_printf(&names, "%s\"%s\"", comma, dependencies[i].name);
            comma = ",";
        }
    }
    bool ready = builder_bytes(&names).len == 0;
    builder_printf(out, "{\"status\":\"%s\"", ready ? "ready" : "degraded");
    if (!ready) {
        builder_str(out, ",\"degraded\":[");
        builder_add(out, builder_bytes(&names));
        builder_byte(out, ']');
    }
    builder_byte(out, '}');
    builder_reset(&names);
}

void health_ready(struct http_request *request, void *context)
{
    struct hub *hub = hub_shard_of_http(context)->hub;
    if (atomic_load_explicit(&hub->draining, memory_order_relaxed)) {
        answer(request, 503, "{\"status\":\"draining\"}");
        return;
    }
    if (!atomic_load_explicit(&hub->started, memory_order_acquire)) {
        answer(request, 503, "{\"status\":\"starting\"}");
        return;
    }
    if (is_bus_deaf(hub)) {
        answer(request, 503, "{\"status\":\"deaf\",\"failing\":[\"bus\"]}");
        return;
    }
    struct builder out = {0};
    write_dependencies(hub, hub_shard_of_http(context), &out);
    http_respond(request, 200, "application/json", BYTES("Cache-Control: no-store\r\n"),
        builder_bytes(&out));
    builder_reset(&out);
}
