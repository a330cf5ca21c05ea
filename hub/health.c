/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health - whether the process lives, and whether the node is ready for clients.
 */
#include "hub/api_answer.h"
#include "hub/api_handlers.h"
#include "hub/hub.h"
#include "hub/redis.h"
#include "sql/store.h"

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

/* Whether a link of this shard to the bus is down. */
static bool is_bus_away(const struct hub_shard *shard)
{
    if (shard->shard.bus == NULL) {
        return false;
    }
    struct redis_stats stats = redis_get_stats(shard->shard.bus);
    return stats.links_up < stats.links;
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

void health_ready(struct http_request *request, void *context)
{
    struct hub *hub = context;
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
    bool store = !store_healthy(hub->store);
    bool bus = is_bus_away(api_shard(request));
    struct builder out = {0};
    builder_printf(&out, "{\"status\":\"%s\"", store || bus ? "degraded" : "ready");
    if (store || bus) {
        builder_printf(&out, ",\"degraded\":[%s%s%s]", store ? "\"store\"" : "",
            store && bus ? "," : "", bus ? "\"bus\"" : "");
    }
    builder_byte(&out, '}');
    http_respond(request, 200, "application/json", BYTES("Cache-Control: no-store\r\n"),
        builder_bytes(&out));
    builder_reset(&out);
}
