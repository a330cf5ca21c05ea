/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts, over all shards, the buses that have a link down: the first outage is logged, and its end
 * with the last of them.
 */
#include "hub/redis/redis_trouble.h"

#include "codec/base/log.h"
#include "codec/base/status.h"
#include "hub/redis/redis_bus.h"

static void log_outage(const struct redis_bus *bus, const char *link, const char *why)
{
    struct builder where = {.max = 512};
    redis_url_show(&bus->target.url, &where);
    log_warn("BUS-DOWN", "connections to Redis are down, reconnecting", "link=%s url=%s why=%s",
        link, log_quote(builder_bytes(&where)), log_quote(bytes_str(why)));
    builder_reset(&where);
}

void redis_trouble_tell(struct redis_bus *bus, const char *link, int status, const char *why)
{
    struct redis_outage *outage = bus->options.outage;
    bool refused = status == STATUS_UNAUTHORIZED || status == STATUS_PROTO;
    bool news = false;
    if (bus->outage_since == 0) {
        bus->outage_since = uv_now(bus->loop) + 1;
        news = atomic_fetch_add_explicit(&outage->buses, 1, memory_order_relaxed) == 0;
    }
    if (refused) {
        int told = atomic_exchange_explicit(&outage->status, status, memory_order_relaxed);
        news = news || told != status;
    }
    if (news && !bus->options.quiet) {
        log_outage(bus, link, why);
    }
}

void redis_trouble_settle(struct redis_bus *bus)
{
    struct redis_outage *outage = bus->options.outage;
    if (bus->outage_since == 0 || bus->stats.links_up < bus->stats.links) {
        return;
    }
    uint64_t ms = uv_now(bus->loop) + 1 - bus->outage_since;
    bus->outage_since = 0;
    if (atomic_fetch_sub_explicit(&outage->buses, 1, memory_order_relaxed) > 1) {
        return;
    }
    atomic_store_explicit(&outage->status, 0, memory_order_relaxed);
    if (!bus->options.quiet && bus->stats.links > 0) {
        log_info("BUS-UP", "all connections to Redis are up again", "after_ms=%llu",
            (unsigned long long)ms);
    }
}

bool redis_trouble_waits(const struct redis_bus *bus, const struct bus_link *link)
{
    return bus->probe != NULL && bus->probe != link && bus->stats.links_up == 0;
}
