/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: names, what comes, what is announced late, life, what users ask for.
 */
#include "actors/inbox/cluster.h"

#include "actors/bus.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/positions.h"
#include "actors/order/bus_origin.h"
#include "actors/order/bus_probe.h"
#include "actors/shard.h"
#include "actors/user_proto.h"
#include "codec/announce.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { CHANNEL_MAX = 512, PUBLISH_TIMEOUT_MS = 5000 };

/*
 * A user whose announcement may not have reached Redis. One is enough, however many there were:
 * what is announced later is that the store has something.
 */
struct late {
    uint16_t len;
    char key[];
};

/* An announcement that Redis has not answered. */
struct sent {
    struct cluster *cluster;
    size_t len;
    char key[];
};

struct cluster {
    struct shard *shard;
    struct bus_link *listener;
    struct bus_link *sender;
    struct bus_probe *probe;
    struct map late; /* struct late by key, at most CLUSTER_LATE_MAX */
    bool all_late; /* there were more: everybody's positions are to be compared */
    char all[BUS_NAME_MAX]; /* the channel that says so */
};

static struct bytes late_key(const void *late)
{
    return bytes_of(((const struct late *)late)->key, ((const struct late *)late)->len);
}

static struct bytes channel_of(
    const struct cluster *cluster, struct bytes key, struct builder *channel)
{
    bus_name_user(&cluster->shard->config->names, key, channel);
    return builder_bytes(channel);
}

static struct bytes key_of(const struct cluster *cluster, struct bytes channel)
{
    return bus_name_user_key(&cluster->shard->config->names, channel);
}

static void tell_feed(struct shard *shard, struct bytes key, bool on)
{
    struct user_feed *msg = user_feed_new();
    msg->key = buf_new_name(key);
    msg->on = on;
    msg_send_named(shard->sched, sched_shard(shard->sched), msg);
}

static void on_down(void *context)
{
    struct cluster *cluster = context;
    list_for_each (link, &cluster->shard->users) {
        const struct inbox *inbox = container_of(link, struct inbox, shard_link);
        tell_feed(cluster->shard, owner_key(&inbox->owner), false);
    }
}

static void on_subscribed(void *context, struct bytes channel)
{
    struct cluster *cluster = context;
    struct bytes key = key_of(cluster, channel);
    if (key.len > 0) { /* else it is the probe's, or that for everybody */
        tell_feed(cluster->shard, key, true);
    }
}

/* That the user `key` is to be compared with the store; NULL without memory. */
static struct buf *write_check(const struct cluster *cluster, struct bytes key)
{
    const char *slash = memchr(key.at, '/', key.len);
    size_t tenant = slash != NULL ? (size_t)(slash - key.at) : 0;
    struct announce announce = {
        .version = bus_origin_version(cluster->shard),
        .epoch = bytes_str(cluster->shard->config->epoch),
        .kind = ANNOUNCE_CHECK,
        .tenant = bytes_of(key.at, tenant),
        .user = slash != NULL ? bytes_skip(key, tenant + 1) : key,
    };
    struct builder out = {0};
    announce_encode(&announce, &out);
    return builder_finish(&out);
}

static void tell_announced(struct shard *shard, struct bytes key, struct buf *payload)
{
    struct user_announce *msg = user_announce_new();
    msg->key = buf_new_name(key);
    msg->payload = payload;
    msg_send_named(shard->sched, sched_shard(shard->sched), msg);
}

/* Some node could not say for whom it had something. */
static void check_all(struct cluster *cluster)
{
    list_for_each (link, &cluster->shard->users) {
        struct bytes key = owner_key(&container_of(link, struct inbox, shard_link)->owner);
        struct buf *payload = write_check(cluster, key);
        if (payload != NULL) {
            tell_announced(cluster->shard, key, payload);
        }
    }
}

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct cluster *cluster = context;
    if (bus_probe_owns(cluster->probe, channel)) {
        bus_probe_heard(cluster->probe, payload);
        return;
    }
    if (bytes_eq_str(channel, cluster->all)) {
        if (bus_origin_of(cluster->shard, "announcement", payload) == BUS_ORIGIN_PEER) {
            check_all(cluster);
        }
        return;
    }
    struct buf *copied = buf_new(payload);
    if (copied == NULL) {
        return; /* the recheck finds it */
    }
    tell_announced(cluster->shard, key_of(cluster, channel), copied);
}

static const struct bus_events listener_events = {
    .on_down = on_down,
    .on_subscribed = on_subscribed,
    .on_message = on_message,
};

/* What is announced late. */

static void forget_late(struct cluster *cluster)
{
    size_t cursor = 0;
    for (struct late *late; (late = map_next(&cluster->late, &cursor)) != NULL;) {
        mem_free(late);
    }
    map_finish(&cluster->late);
    map_init(&cluster->late, late_key);
}

static void remember(struct cluster *cluster, struct bytes key)
{
    if (cluster->all_late || map_get(&cluster->late, key) != NULL) {
        return;
    }
    if (map_count(&cluster->late) >= CLUSTER_LATE_MAX) {
        cluster->all_late = true;
        forget_late(cluster);
        return;
    }
    struct late *late = mem_try_calloc(1, sizeof(*late) + key.len);
    if (late != NULL) {
        late->len = (uint16_t)key.len;
        memcpy(late->key, key.at, key.len);
    }
    if (late == NULL || !map_put(&cluster->late, late)) {
        mem_free(late);
        cluster->all_late = true; /* which needs no list */
        forget_late(cluster);
    }
}

/* Whether Redis took it is all that can be known; where it is not, it may or may not have. */
static void on_sent(void *context, int status, const struct bus_reply *reply)
{
    struct sent *sent = context;
    bool taken = status == 0 && reply->type == BUS_INTEGER;
    if (!taken && status != STATUS_CANCELLED) {
        remember(sent->cluster, bytes_of(sent->key, sent->len));
    }
    mem_free(sent);
}

static void on_all_sent(void *context, int status, const struct bus_reply *reply)
{
    struct cluster *cluster = context;
    bool taken = status == 0 && reply->type == BUS_INTEGER;
    cluster->all_late = cluster->all_late || (!taken && status != STATUS_CANCELLED);
}

static void announce_all(struct cluster *cluster)
{
    struct builder uid = {0};
    bus_origin_write_uid(cluster->shard, &uid);
    const struct bytes argv[] = {BYTES("PUBLISH"), bytes_str(cluster->all), builder_bytes(&uid)};
    cluster->all_late = false;
    cluster->shard->bus->ops->command(
        cluster->sender, argv, ARRAY_LEN(argv), PUBLISH_TIMEOUT_MS, on_all_sent, cluster);
    builder_reset(&uid);
}

/* Have the other nodes compare the position of the user `key` with the store. */
static void announce_check(struct cluster *cluster, struct bytes key)
{
    struct buf *payload = write_check(cluster, key);
    if (payload != NULL) {
        cluster_announce(cluster, key, payload);
        buf_unref(payload);
    }
}

/* Who was not subscribed yet reads the store when it is: no announcement is lost in between. */
static void on_sender_up(void *context)
{
    struct cluster *cluster = context;
    size_t count = map_count(&cluster->late);
    if (cluster->all_late || count > 0) {
        log_info("ANNOUNCE-LATE", "announcing what was not while Redis was away", "users=%s%zu",
            cluster->all_late ? "all, more than " : "",
            cluster->all_late ? (size_t)CLUSTER_LATE_MAX : count);
    }
    if (cluster->all_late) {
        announce_all(cluster);
    }
    size_t cursor = 0;
    for (struct late *late; (late = map_next(&cluster->late, &cursor)) != NULL;) {
        cluster->shard->stats.announced_late++;
        announce_check(cluster, late_key(late));
    }
    forget_late(cluster);
}

static const struct bus_events sender_events = {.on_up = on_sender_up};

/* Life. */

struct cluster *cluster_create(struct shard *shard)
{
    struct cluster *cluster = mem_alloc(sizeof(*cluster));
    const struct bus_ops *ops = shard->bus->ops;
    cluster->shard = shard;
    cluster->listener = ops->open(shard->bus, "inbox-listener", &listener_events, cluster);
    cluster->sender = ops->open(shard->bus, "inbox-sender", &sender_events, cluster);
    cluster->probe = bus_probe_create(shard, cluster->listener, cluster->sender);
    map_init(&cluster->late, late_key);
    bus_name_all(&shard->config->names, cluster->all);
    CHECK(ops->subscribe(cluster->listener, bytes_str(cluster->all))); /* as the node starts */
    return cluster;
}

void cluster_destroy(struct cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    const struct bus_ops *ops = cluster->shard->bus->ops;
    ops->close(cluster->listener);
    ops->close(cluster->sender);
    bus_probe_destroy(cluster->probe);
    forget_late(cluster);
    map_finish(&cluster->late);
    mem_free(cluster);
}

/* What users ask for. */

bool cluster_is_up(const struct cluster *cluster)
{
    return cluster->shard->bus->ops->is_up(cluster->listener);
}

bool cluster_watch(struct cluster *cluster, struct bytes key)
{
    struct builder channel = {.max = CHANNEL_MAX};
    channel_of(cluster, key, &channel);
    bool good = cluster->shard->bus->ops->subscribe(cluster->listener, builder_bytes(&channel));
    builder_reset(&channel);
    return good;
}

void cluster_unwatch(struct cluster *cluster, struct bytes key)
{
    struct builder channel = {.max = CHANNEL_MAX};
    channel_of(cluster, key, &channel);
    cluster->shard->bus->ops->unsubscribe(cluster->listener, builder_bytes(&channel));
    builder_reset(&channel);
}

void cluster_announce(struct cluster *cluster, struct bytes key, struct buf *payload)
{
    struct builder channel = {.max = CHANNEL_MAX};
    channel_of(cluster, key, &channel);
    const struct bytes argv[] = {BYTES("PUBLISH"), builder_bytes(&channel), buf_bytes(payload)};
    struct sent *sent = mem_alloc(sizeof(*sent) + key.len);
    sent->cluster = cluster;
    sent->len = key.len;
    memcpy(sent->key, key.at, key.len);
    cluster->shard->bus->ops->command(
        cluster->sender, argv, ARRAY_LEN(argv), PUBLISH_TIMEOUT_MS, on_sent, sent);
    builder_reset(&channel);
}
