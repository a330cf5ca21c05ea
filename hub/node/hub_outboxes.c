/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each outbox is on one shard, by its place in the settings, which do not change while a node runs.
 */
#include "hub/node/hub_outboxes.h"

#include "codec/base/buf.h"
#include "codec/base/clock.h"
#include "hub/config/config.h"
#include "hub/config/config_outboxes.h"
#include "hub/net/loop.h"
#include "hub/node/node.h"
#include "hub/outbox/outbox.h"

_Static_assert((int)CONFIG_OUTBOXES_MAX == (int)OUTBOXES_MAX, "room for all");

void hub_outboxes_start(struct hub_shard *shard)
{
    struct hub *hub = shard->hub;
    const struct config *config = hub->config;
    size_t own = (size_t)(shard - hub->shards);
    for (size_t i = own; i < config->outbox_count; i += hub->shard_count) {
        const struct config_outbox *from = &config->outboxes[i];
        const struct outbox_options options = {.shard = &shard->shard,
            .loop = loop_uv(shard->loop),
            .name = from->name,
            .url = config_outbox_url(config, from),
            .node = hub->node,
            .wakes = from->wake,
            .gauge = &hub->outboxes[i]};
        if (from->on) {
            shard->outboxes[i] = outbox_start(&options);
        }
    }
}

void hub_outboxes_stop(struct hub_shard *shard)
{
    for (size_t i = 0; i < OUTBOXES_MAX; i++) {
        if (shard->outboxes[i] != NULL) {
            outbox_stop(shard->outboxes[i]);
        }
    }
}

uint64_t hub_outboxes_count_open(const struct hub_shard *shard)
{
    uint64_t count = 0;
    for (size_t i = 0; i < OUTBOXES_MAX; i++) {
        count += shard->outboxes[i] != NULL ? outbox_count_open(shard->outboxes[i]) : 0;
    }
    return count;
}

void hub_outboxes_finish(struct hub_shard *shard)
{
    for (size_t i = 0; i < OUTBOXES_MAX; i++) {
        if (shard->outboxes[i] != NULL) {
            outbox_destroy(shard->outboxes[i]);
            shard->outboxes[i] = NULL;
        }
    }
}

bool hub_outboxes_are_late(const struct hub *hub)
{
    bool late = false;
    for (size_t i = 0; i < OUTBOXES_MAX; i++) {
        late |= outbox_is_late(&hub->outboxes[i], clock_mono_ms());
    }
    return late;
}

static void begin(struct builder *out, const char *name, const char *kind, const char *help)
{
    builder_printf(out, "# HELP peal_%s %s\n# TYPE peal_%s %s\n", name, help, name, kind);
}

/* A line of a metric for each that is on. */
static void write_each(
    const struct hub *hub, const char *line, size_t member, double unit, struct builder *out)
{
    for (size_t i = 0; i < hub->config->outbox_count; i++) {
        const char *gauge = (const char *)&hub->outboxes[i];
        const _Atomic(uint64_t) *number = (const _Atomic(uint64_t) *)(const void *)(gauge + member);
        if (hub->config->outboxes[i].on) {
            builder_printf(out, "peal_%s%s\"} %.15g\n", line, hub->config->outboxes[i].name,
                (double)atomic_load_explicit(number, memory_order_relaxed) / unit);
        }
    }
}

#define EACH(line, member, unit)                                                                   \
    write_each(hub, line, offsetof(struct outbox_gauge, member), unit, out)

void hub_outboxes_write(const struct hub *hub, struct builder *out)
{
    begin(out, "sql_outbox_owner", "gauge", "Whether this node reads the outbox.");
    EACH("sql_outbox_owner{outbox=\"", owner, 1);
    begin(out, "sql_outbox_down", "gauge",
        "Whether the database of an outbox that this node should read does not answer.");
    EACH("sql_outbox_down{outbox=\"", down, 1);
    begin(out, "sql_outbox_lag_seconds", "gauge",
        "How long what was committed first, and is not taken yet, had waited at the last look.");
    EACH("sql_outbox_lag_seconds{outbox=\"", lag_ms, 1e3);
    begin(out, "sql_outbox_waiting", "gauge",
        "Transactions whose posts are not taken yet, about; where this node reads the outbox.");
    EACH("sql_outbox_waiting{outbox=\"", waiting, 1);
    begin(out, "sql_outbox_posts_total", "counter",
        "Posts of applications' transactions that were stored, repeats included.");
    EACH("sql_outbox_posts_total{outbox=\"", posts, 1);
    begin(out, "sql_outbox_events_total", "counter",
        "Events of applications' transactions that were published.");
    EACH("sql_outbox_events_total{outbox=\"", events, 1);
    begin(out, "sql_outbox_dead_total", "counter",
        "Posts and events of applications' transactions that went to peal.outbox_dead.");
    EACH("sql_outbox_dead_total{outbox=\"", dead, 1);
    begin(out, "sql_outbox_looks_total", "counter",
        "Times that the outbox was asked for what is there.");
    EACH("sql_outbox_looks_total{outbox=\"", looks, 1);
}
