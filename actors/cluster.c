/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/cluster.h"

#include "actors/bus.h"
#include "actors/bus_probe.h"
#include "actors/positions.h"
#include "actors/shard.h"
#include "actors/user_actor.h"
#include "actors/user_proto.h"
#include "codec/base/mem.h"

enum { CHANNEL_MAX = 512, PUBLISH_TIMEOUT_MS = 5000 };

struct cluster {
    struct shard *shard;
    struct bus_link *listener;
    struct bus_link *sender;
    struct bus_probe *probe;
};

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

static struct buf *copy(struct bytes text)
{
    struct buf *buf = buf_new(text);
    CHECK(buf != NULL);
    return buf;
}

static void tell_feed(struct shard *shard, struct bytes key, bool on)
{
    struct user_feed *msg = user_feed_new();
    msg->key = copy(key);
    msg->on = on;
    msg_send_named(shard->sched, sched_shard(shard->sched), msg);
}

static void on_down(void *context)
{
    struct cluster *cluster = context;
    list_for_each (link, &cluster->shard->users) {
        struct user *user = container_of(link, struct user, shard_link);
        tell_feed(cluster->shard, user_key(user), false);
    }
}

static void on_subscribed(void *context, struct bytes channel)
{
    struct cluster *cluster = context;
    if (!bus_probe_owns(cluster->probe, channel)) {
        tell_feed(cluster->shard, key_of(cluster, channel), true);
    }
}

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct cluster *cluster = context;
    if (bus_probe_owns(cluster->probe, channel)) {
        bus_probe_heard(cluster->probe, payload);
        return;
    }
    struct buf *copied = buf_new(payload);
    if (copied == NULL) {
        return; /* the recheck finds it */
    }
    struct user_announce *msg = user_announce_new();
    msg->key = copy(key_of(cluster, channel));
    msg->payload = copied;
    msg_send_named(cluster->shard->sched, sched_shard(cluster->shard->sched), msg);
}

static const struct bus_events listener_events = {
    .on_down = on_down,
    .on_subscribed = on_subscribed,
    .on_message = on_message,
};

static const struct bus_events sender_events = {0};

struct cluster *cluster_create(struct shard *shard)
{
    struct cluster *cluster = mem_alloc(sizeof(*cluster));
    const struct bus_ops *ops = shard->bus->ops;
    cluster->shard = shard;
    cluster->listener = ops->open(shard->bus, "inbox-listener", &listener_events, cluster);
    cluster->sender = ops->open(shard->bus, "inbox-sender", &sender_events, cluster);
    cluster->probe = bus_probe_create(shard, cluster->listener, cluster->sender);
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
    mem_free(cluster);
}

bool cluster_is_up(const struct cluster *cluster)
{
    return cluster->shard->bus->ops->is_up(cluster->listener);
}

void cluster_watch(struct cluster *cluster, struct bytes key, bool on)
{
    const struct bus_ops *ops = cluster->shard->bus->ops;
    struct builder channel = {.max = CHANNEL_MAX};
    channel_of(cluster, key, &channel);
    if (on) {
        ops->subscribe(cluster->listener, builder_bytes(&channel));
    } else {
        ops->unsubscribe(cluster->listener, builder_bytes(&channel));
    }
    builder_reset(&channel);
}

void cluster_announce(struct cluster *cluster, struct bytes key, struct buf *payload)
{
    struct builder channel = {.max = CHANNEL_MAX};
    channel_of(cluster, key, &channel);
    const struct bytes argv[] = {BYTES("PUBLISH"), builder_bytes(&channel), buf_bytes(payload)};
    cluster->shard->bus->ops->command(
        cluster->sender, argv, ARRAY_LEN(argv), PUBLISH_TIMEOUT_MS, NULL, NULL);
    builder_reset(&channel);
}
