/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes rules by tenant of the settings, and tells how far behind the walk is.
 */
#include "hub/node/retention.h"

#include <string.h>

#include "actors/shard.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "hub/config/config.h"

enum { LATE_LEAST_MS = 60000 };

static const uint64_t keep_posts_ms = UINT64_C(400) * 86400000;

/* What holds for the tenant of a block. */
static struct store_retention_rule rule_of(
    const struct config *config, const struct config_tenant *tenant)
{
    return (struct store_retention_rule){
        .tenant = bytes_str(tenant->name),
        .age_ms = tenant->retention_age_ms == CONFIG_INHERIT ? config->inbox_retention_age_ms
                                                             : tenant->retention_age_ms,
        .rows = tenant->retention_rows == CONFIG_INHERIT_INT ? config->inbox_retention_rows
                                                             : tenant->retention_rows,
    };
}

bool retention_is_on(const struct config *config)
{
    bool on = config->inbox_retention_age_ms > 0 || config->inbox_retention_rows > 0;
    for (size_t i = 0; i < config->tenant_count && !on; i++) {
        struct store_retention_rule rule = rule_of(config, &config->tenants[i]);
        on = rule.age_ms > 0 || rule.rows > 0;
    }
    return on;
}

uint64_t retention_keep_posts_ms(const struct config *config)
{
    uint64_t longest = config->inbox_retention_age_ms;
    for (size_t i = 0; i < config->tenant_count; i++) {
        uint64_t age_ms = rule_of(config, &config->tenants[i]).age_ms;
        longest = age_ms > longest ? age_ms : longest;
    }
    return longest > keep_posts_ms ? longest : keep_posts_ms;
}

static void free_rules(struct retention_walk *walk)
{
    for (size_t i = 0; i < walk->request.rule_count; i++) {
        mem_free((char *)walk->rules[i].tenant.at);
    }
    mem_free(walk->rules);
    walk->rules = NULL;
    walk->request.rule_count = 0;
}

void retention_ask(struct retention_walk *walk, const struct config *config)
{
    free_rules(walk);
    walk->since_ms = walk->since_ms > 0 ? walk->since_ms : clock_mono_ms();
    walk->rules = mem_alloc_array(config->tenant_count, sizeof(*walk->rules));
    for (size_t i = 0; i < config->tenant_count; i++) {
        walk->rules[i] = rule_of(config, &config->tenants[i]);
        walk->rules[i].tenant =
            bytes_of(mem_dup(walk->rules[i].tenant.at, walk->rules[i].tenant.len),
                walk->rules[i].tenant.len);
    }
    walk->request.rules = walk->rules;
    walk->request.rule_count = config->tenant_count;
    walk->request.every_ms = config->inbox_retention_every_ms;
    walk->request.usual = (struct store_retention_rule){
        .age_ms = config->inbox_retention_age_ms, .rows = config->inbox_retention_rows};
}

/* The walk takes twice as long as it may: told once, and when it is over. */
static void watch_lag(struct retention_walk *walk, uint64_t late_ms)
{
    uint64_t most = walk->request.every_ms > LATE_LEAST_MS ? walk->request.every_ms : LATE_LEAST_MS;
    if (late_ms >= most && walk->late_ms == 0) {
        walk->late_ms = clock_mono_ms();
        log_warn("RETENTION-LATE",
            "what is not kept stays for longer than inbox.retention_every: the walk over all "
            "inboxes takes longer",
            "late_ms=%llu walk_ms=%llu", (unsigned long long)late_ms,
            (unsigned long long)walk->request.took_ms);
    } else if (late_ms == 0 && walk->late_ms != 0) {
        log_info("RETENTION-IN-TIME", "all inboxes are looked through in time again",
            "after_ms=%llu", (unsigned long long)(clock_mono_ms() - walk->late_ms));
        walk->late_ms = 0;
    }
}

void retention_tell(struct retention_walk *walk, struct shard_stats *stats)
{
    uint64_t here_ms = clock_mono_ms() - walk->since_ms; /* before it nobody may have walked */
    uint64_t late_ms = walk->request.sweep.late_ms;
    stats->retention_late_ms = late_ms < here_ms ? late_ms : here_ms;
    stats->retention_walk_ms = walk->request.took_ms;
    stats->retention_looked += walk->request.looked;
    watch_lag(walk, stats->retention_late_ms);
}

void retention_rest(struct retention_walk *walk, struct shard_stats *stats)
{
    walk->since_ms = 0;
    walk->late_ms = 0;
    stats->retention_late_ms = 0;
}

void retention_finish(struct retention_walk *walk)
{
    free_rules(walk);
}
