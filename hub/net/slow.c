/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long peers may not read, and one line of log for those that do not, at a limited rate.
 */
#include "hub/net/slow.h"

#include "actors/shard.h"
#include "codec/base/log.h"

enum { SLOW_CONSUMER_MS = 30000 }; /* when the configuration has none */

void slow_report(const struct slow_peer *peer)
{
    static _Thread_local struct log_limit limit;
    unsigned suppressed;
    if (!log_allow(&limit, &suppressed)) {
        return;
    }
    log_info("SLOW-CLOSED", "a peer that does not take what waits for it is closed",
        "user=%s transport=%s remote=%s bytes=%u ms=%llu suppressed=%u", log_quote(peer->user),
        peer->transport, log_quote(bytes_str(peer->remote)), peer->bytes,
        (unsigned long long)peer->ms, suppressed);
}

uint32_t slow_patience_ms(const struct shard *shard)
{
    const struct actor_config *config = shard->config;
    return config != NULL && config->slow_consumer_ms > 0 ? config->slow_consumer_ms
                                                          : SLOW_CONSUMER_MS;
}

uint64_t slow_full_ms(const struct shard *shard, uint64_t due_ms)
{
    uint64_t now = sched_now(shard->sched);
    uint64_t left = due_ms > now ? due_ms - now : 0;
    uint64_t most = slow_patience_ms(shard);
    return due_ms != 0 && left < most ? most - left : 0;
}
