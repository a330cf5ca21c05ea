/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges the uid of a message: ours, a node's of our store and version, a stranger's, or a stock
 * server's.
 */
#include "actors/order/bus_origin.h"

#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/bus_uid.h"
#include "codec/bus_version.h"

enum { LOG_EVERY_MS = 60000 };

static void refuse(struct shard *shard, const char *what, struct bytes epoch, uint64_t version)
{
    uint64_t now = sched_now(shard->sched);
    bool other_store = !bytes_eq_str(epoch, shard->config->epoch);
    shard->stats.strange_store += other_store;
    shard->stats.strange_version += !other_store;
    if (shard->strange_logged_ms != 0 && now - shard->strange_logged_ms < LOG_EVERY_MS) {
        return;
    }
    shard->strange_logged_ms = now;
    if (other_store) {
        log_error("BUS-STRANGE-STORE",
            "messages of nodes with another store are dropped: give each environment its own "
            "bus.prefix and bus.socketio_key",
            "what=%s epoch=%s ours=%s dropped=%llu", what, log_quote(epoch), shard->config->epoch,
            (unsigned long long)shard->stats.strange_store);
    } else {
        log_error("BUS-STRANGE-VERSION",
            "messages of nodes with a version too far from ours are dropped",
            "what=%s version=%llu ours=%u dropped=%llu", what, (unsigned long long)version,
            bus_version, (unsigned long long)shard->stats.strange_version);
    }
}

bool bus_origin_is_ours(struct shard *shard, const char *what, struct bytes epoch, uint64_t version)
{
    if (bytes_eq_str(epoch, shard->config->epoch) && version <= bus_version &&
        version + 1 >= bus_version) {
        return true;
    }
    refuse(shard, what, epoch, version);
    return false;
}

enum bus_origin bus_origin_of(struct shard *shard, const char *what, struct bytes text)
{
    struct bus_uid uid;
    if (!bus_uid_read(text, &uid)) {
        return BUS_ORIGIN_STOCK;
    }
    if (bytes_eq_str(uid.node, shard->config->node)) {
        return BUS_ORIGIN_SELF;
    }
    bool ours = bus_origin_is_ours(shard, what, uid.epoch, uid.version);
    return ours ? BUS_ORIGIN_PEER : BUS_ORIGIN_STRANGE;
}

unsigned bus_origin_version(const struct shard *shard)
{
    unsigned lowest = shard->peers_version != NULL
                          ? atomic_load_explicit(shard->peers_version, memory_order_relaxed)
                          : bus_version;
    return lowest < bus_version ? lowest : bus_version;
}

void bus_origin_write_uid(const struct shard *shard, struct builder *out)
{
    bus_uid_write(
        &(struct bus_uid){
            .epoch = bytes_str(shard->config->epoch),
            .version = bus_origin_version(shard),
            .node = bytes_str(shard->config->node),
        },
        out);
}
