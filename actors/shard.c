/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/shard.h"

#include "actors/fanout.h"
#include "actors/outbox.h"
#include "actors/positions.h"
#include "actors/recovery.h"
#include "actors/socket.h"
#include "actors/user_actor.h"
#include "codec/base/log.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"

static struct bytes sid_of(const void *socket)
{
    return bytes_of(((const struct socket *)socket)->sid, SOCKET_SID_LEN);
}

void shard_init(struct shard *shard, struct sched *sched, const struct actor_config *config)
{
    *shard = (struct shard){.sched = sched, .config = config};
    list_init(&shard->dirty_outboxes);
    list_init(&shard->fanouts);
    list_init(&shard->users);
    list_init(&shard->unread_dirty);
    map_init(&shard->sockets, sid_of);
    uint64_t seed;
    rand_secret(&seed, sizeof(seed));
    rand_init(&shard->rand, seed);
}

void shard_finish(struct shard *shard)
{
    map_finish(&shard->sockets);
}

struct event *shard_event(
    struct shard *shard, const char *name, struct bytes argument, unsigned flags)
{
    struct event *event = NULL;
    int status = event_from_own(bytes_str(name), argument, flags, &event);
    if (status != 0) {
        shard_count_unencoded(shard, bytes_str(name), WIRE_FORMAT_COUNT, status);
    }
    return event;
}

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
            "event=%.*s format=%s why=%s suppressed=%u", (int)event.len,
            event.len > 0 ? event.at : "", formats[format], status_name(status), suppressed);
    }
}

void shard_flush(struct shard *shard)
{
    if (shard->positions != NULL) {
        positions_flush(shard->positions);
    }
    for (struct list *link; (link = list_pop(&shard->unread_dirty)) != NULL;) {
        user_feed_tell_unread(container_of(link, struct user, unread_link));
    }
    list_for_each (link, &shard->fanouts) {
        struct fanout *fanout = container_of(link, struct fanout, shard_link);
        fanout_flush(fanout);
        recovery_flush(fanout->recovery);
    }
    outbox_flush_all(&shard->dirty_outboxes);
}
