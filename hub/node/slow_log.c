/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the store's own list of slow statements, which threads of the store write: a second is
 * enough for one that has ended to stand there.
 */
#include "hub/node/slow_log.h"

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "hub/config/config.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"
#include "sql/store.h"

enum { SLOW_MAX = 128, SETTLED_MS = 1000 };

static void tell(const struct store_slow *slow, uint64_t threshold_ms)
{
    static _Thread_local struct log_limit limit;
    unsigned suppressed;
    if (log_allow(&limit, &suppressed)) {
        log_warn("SLOW-QUERY", "a statement took longer than store.slow_query",
            "name=%s ms=%.1f threshold=%llu suppressed=%u", slow->name, (double)slow->took_us / 1e3,
            (unsigned long long)threshold_ms, suppressed);
    }
}

void slow_log_look(struct hub_shard *shard)
{
    struct store_slow slow[SLOW_MAX];
    uint64_t from = shard->slow_ms;
    uint64_t to = clock_wall_ms() - SETTLED_MS;
    if (to <= from) {
        return; /* the clock was set back: from when it is there again */
    }
    shard->slow_ms = to;
    size_t count = from > 0 ? store_slow_log(shard->hub->store, slow, SLOW_MAX) : 0;
    for (size_t i = 0; i < count; i++) {
        if (slow[i].at >= from && slow[i].at < to) {
            tell(&slow[i], shard->settings->config->store_slow_query_ms);
        }
    }
}
