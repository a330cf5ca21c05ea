/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_counts - what a shard could not tell or take: counted, and logged at a limited rate.
 *
 * Apart from shard.c, because everybody below calls it.
 */
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/status.h"

void shard_count_unencoded(
    struct shard *shard, struct bytes event, enum wire_format format, int status)
{
    static const char *const formats[] = {[WIRE_SIO] = "socket.io",
        [WIRE_SIO_BATCH] = "socket.io batch",
        [WIRE_JSON] = "json",
        [WIRE_SIO_MSGPACK] = "socket.io msgpack",
        [WIRE_MSGPACK] = "msgpack",
        [WIRE_FORMAT_COUNT] = "any"};
    unsigned suppressed;
    shard->stats.unencoded++;
    if (log_allow(&shard->unencoded_log, &suppressed)) {
        log_warn("UNENCODED", "an event or answer cannot be written, clients miss it",
            "event=%s format=%s why=%s suppressed=%u", log_quote(event), formats[format],
            status_name(status), suppressed);
    }
}

void shard_count_bus_refused(struct shard *shard, struct bytes uid, int status)
{
    unsigned suppressed;
    shard->stats.bus_refused++;
    if (log_allow(&shard->bus_refused_log, &suppressed)) {
        log_warn("BUS-EVENT-REFUSED", "an event that came over the bus was dropped",
            "from=%s why=%s suppressed=%u", log_quote(uid),
            status == STATUS_DENIED ? "reserved name" : status_name(status), suppressed);
    }
}
