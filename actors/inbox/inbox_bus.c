/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announcements between nodes: a channel for each user that is here, and what could not be told
 * while Redis was away.
 *
 * Order of this file: names, what comes, what is announced late, life, what users ask for, posts
 * to many.
 */
#include "actors/inbox/inbox_bus.h"

#include "actors/bus.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/teller.h"
#include "actors/inbox/walk.h"
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
    struct inbox_bus *bus;
    size_t len;
    char key[];
};

struct inbox_bus {
    struct shard *shard;
    struct bus_link *listener;
    struct bus_link *sender;
    struct bus_probe *probe;
    struct walk deaf; /* everybody: the listener went down */
    struct map late; /* struct late by key, at most INBOX_BUS_LATE_MAX */
    struct map saying; /* likewise: those that are announced now, as many of them as are left */
    size_t said; /* cursor into them */
    struct telling telling; /* of `saying` */
    bool say_again; /* the sender was down meanwhile: `late` comes next */
    bool all_late; /* there were more: everybody's positions are to be compared */
    char all[BUS_NAME_MAX]; /* the channel that says so */
    char posts[BUS_NAME_MAX]; /* the channel of posts to many */
    bool posts_late; /* one of them was not told */
    const struct inbox_bus_posts *heard; /* who hears of them; NULL: nobody */
    void *heard_context;
};

static struct bytes late_key(const void *late)
{
    return bytes_of(((const struct late *)late)->key, ((const struct late *)late)->len);
}

static struct bytes channel_of(
    const struct inbox_bus *bus, struct bytes key, struct builder *channel)
{
    bus_name_user(&bus->shard->config->names, key, channel);
    return builder_bytes(channel);
}

static struct bytes key_of(const struct inbox_bus *bus, struct bytes channel)
{
    return bus_name_user_key(&bus->shard->config->names, channel);
}

static void tell_feed(struct shard *shard, struct bytes key, bool on)
{
    struct user_feed *msg = user_feed_new();
    msg->key = buf_new_name(key);
    msg->on = on;
    msg_send_named(shard->sched, sched_shard(shard->sched), msg);
}

/* Who waits for a channel need not any more. */
static void give_up_waiting(struct walk *walk, struct list *link)
{
    struct inbox_bus *bus = container_of(walk, struct inbox_bus, deaf);
    const struct inbox *inbox = container_of(link, struct inbox, shard_link);
    if (inbox->phase == INBOX_WAITS_FEED) {
        tell_feed(bus->shard, owner_key(&inbox->owner), false);
    }
}

static void on_down(void *context)
{
    struct inbox_bus *bus = context;
    walk_everybody(bus->shard, &bus->deaf);
}

static void on_subscribed(void *context, struct bytes channel)
{
    struct inbox_bus *bus = context;
    struct bytes key = key_of(bus, channel);
    if (bytes_eq_str(channel, bus->posts) && bus->heard != NULL) {
        bus->heard->resumed(bus->heard_context);
    }
    if (key.len > 0) { /* else it is the probe's, or that for everybody */
        tell_feed(bus->shard, key, true);
    }
}

/* That the user `key` is to be compared with the store; NULL without memory. */
static struct buf *write_check(const struct inbox_bus *bus, struct bytes key)
{
    const char *slash = memchr(key.at, '/', key.len);
    size_t tenant = slash != NULL ? (size_t)(slash - key.at) : 0;
    struct announce announce = {
        .version = bus_origin_version(bus->shard),
        .epoch = bytes_str(bus->shard->config->epoch),
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

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct inbox_bus *bus = context;
    if (bus_probe_owns(bus->probe, channel)) {
        bus_probe_heard(bus->probe, payload);
        return;
    }
    if (bytes_eq_str(channel, bus->all)) {
        if (bus_origin_of(bus->shard, "announcement", payload) == BUS_ORIGIN_PEER &&
            bus->heard != NULL) {
            bus->heard->unsure(bus->heard_context);
        }
        return;
    }
    if (bytes_eq_str(channel, bus->posts)) {
        if (bus->heard != NULL) {
            bus->heard->told(bus->heard_context, payload);
        }
        return;
    }
    struct buf *copied = buf_new(payload);
    if (copied == NULL) {
        return; /* the recheck finds it */
    }
    tell_announced(bus->shard, key_of(bus, channel), copied);
}

static const struct bus_events listener_events = {
    .on_down = on_down,
    .on_subscribed = on_subscribed,
    .on_message = on_message,
};

/* What is announced late. */

static void forget(struct map *late_users)
{
    size_t cursor = 0;
    for (struct late *late; (late = map_next(late_users, &cursor)) != NULL;) {
        mem_free(late);
    }
    map_finish(late_users);
    map_init(late_users, late_key);
}

static void remember(struct inbox_bus *bus, struct bytes key)
{
    if (bus->all_late || map_get(&bus->late, key) != NULL) {
        return;
    }
    if (map_count(&bus->late) >= INBOX_BUS_LATE_MAX) {
        bus->all_late = true;
        forget(&bus->late);
        return;
    }
    struct late *late = mem_try_calloc(1, sizeof(*late) + key.len);
    if (late != NULL) {
        late->len = (uint16_t)key.len;
        memcpy(late->key, key.at, key.len);
    }
    if (late == NULL || !map_put(&bus->late, late)) {
        mem_free(late);
        bus->all_late = true; /* which needs no list */
        forget(&bus->late);
    }
}

/* Whether Redis took it is all that can be known; where it is not, it may or may not have. */
static void on_sent(void *context, int status, const struct bus_reply *reply)
{
    struct sent *sent = context;
    bool taken = status == 0 && reply->type == BUS_INTEGER;
    if (!taken && status != STATUS_CANCELLED) {
        remember(sent->bus, bytes_of(sent->key, sent->len));
    }
    mem_free(sent);
}

static void on_all_sent(void *context, int status, const struct bus_reply *reply)
{
    struct inbox_bus *bus = context;
    bool taken = status == 0 && reply->type == BUS_INTEGER;
    bus->all_late = bus->all_late || (!taken && status != STATUS_CANCELLED);
}

static void announce_all(struct inbox_bus *bus)
{
    struct builder uid = {0};
    bus_origin_write_uid(bus->shard, &uid);
    const struct bytes argv[] = {BYTES("PUBLISH"), bytes_str(bus->all), builder_bytes(&uid)};
    bus->all_late = false;
    bus->shard->bus->ops->command(
        bus->sender, argv, ARRAY_LEN(argv), PUBLISH_TIMEOUT_MS, on_all_sent, bus);
    builder_reset(&uid);
}

/* Have the other nodes compare the position of the user `key` with the store. */
static void announce_check(struct inbox_bus *bus, struct bytes key)
{
    struct buf *payload = write_check(bus, key);
    if (payload != NULL) {
        inbox_bus_announce(bus, key, payload);
        buf_unref(payload);
    }
}

static bool say_some(struct telling *telling, unsigned most);

/* What is late is announced from now on, each user once; what becomes late meanwhile is not. */
static void say_late(struct inbox_bus *bus)
{
    bus->say_again = false;
    if (map_count(&bus->late) == 0) {
        return;
    }
    forget(&bus->saying);
    bus->saying = bus->late;
    map_init(&bus->late, late_key);
    bus->said = 0;
    teller_tell(bus->shard, &bus->telling);
}

static bool say_some(struct telling *telling, unsigned most)
{
    struct inbox_bus *bus = container_of(telling, struct inbox_bus, telling);
    struct late *late = NULL;
    while (most-- > 0 && (late = map_next(&bus->saying, &bus->said)) != NULL) {
        bus->shard->stats.announced_late++;
        announce_check(bus, late_key(late));
    }
    if (late != NULL) {
        return true;
    }
    forget(&bus->saying);
    if (bus->say_again) {
        say_late(bus);
    }
    return false;
}

/* The bus is there as long as there is anything to tell. */
static void drop_saying(struct telling *telling)
{
    (void)telling;
}

/* Who was not subscribed yet reads the store when it is: no announcement is lost in between. */
static void on_sender_up(void *context)
{
    struct inbox_bus *bus = context;
    size_t count = map_count(&bus->late);
    if (bus->all_late || count > 0) {
        log_info("ANNOUNCE-LATE", "announcing what was not while Redis was away", "users=%s%zu",
            bus->all_late ? "all, more than " : "",
            bus->all_late ? (size_t)INBOX_BUS_LATE_MAX : count);
    }
    if (bus->all_late) {
        announce_all(bus);
    }
    if (bus->posts_late && bus->heard != NULL) {
        bus->posts_late = false;
        bus->heard->late(bus->heard_context);
    }
    if (map_count(&bus->saying) > 0) {
        bus->say_again = true;
    } else {
        say_late(bus);
    }
}

static const struct bus_events sender_events = {.on_up = on_sender_up};

/* Life. */

struct inbox_bus *inbox_bus_create(struct shard *shard)
{
    struct inbox_bus *bus = mem_alloc(sizeof(*bus));
    const struct bus_ops *ops = shard->bus->ops;
    bus->shard = shard;
    bus->listener = ops->open(shard->bus, "inbox-listener", &listener_events, bus);
    bus->sender = ops->open(shard->bus, "inbox-sender", &sender_events, bus);
    bus->probe = bus_probe_create(shard, bus->listener, bus->sender);
    walk_init_everybody(&bus->deaf, shard, give_up_waiting);
    map_init(&bus->late, late_key);
    map_init(&bus->saying, late_key);
    bus->telling = (struct telling){.tell = say_some, .drop = drop_saying};
    list_init(&bus->telling.link);
    bus_name_all(&shard->config->names, bus->all);
    bus_name_audience(&shard->config->names, bus->posts);
    CHECK(ops->subscribe(bus->listener, bytes_str(bus->all))); /* as the node starts */
    CHECK(ops->subscribe(bus->listener, bytes_str(bus->posts)));
    return bus;
}

void inbox_bus_destroy(struct inbox_bus *bus)
{
    if (bus == NULL) {
        return;
    }
    const struct bus_ops *ops = bus->shard->bus->ops;
    ops->close(bus->listener);
    ops->close(bus->sender);
    bus_probe_destroy(bus->probe);
    walk_finish(&bus->deaf);
    list_remove(&bus->telling.link);
    forget(&bus->late);
    forget(&bus->saying);
    mem_free(bus);
}

/* What users ask for. */

bool inbox_bus_is_up(const struct inbox_bus *bus)
{
    return bus->shard->bus->ops->is_up(bus->listener);
}

bool inbox_bus_watch(struct inbox_bus *bus, struct bytes key)
{
    struct builder channel = {.max = CHANNEL_MAX};
    channel_of(bus, key, &channel);
    bool good = bus->shard->bus->ops->subscribe(bus->listener, builder_bytes(&channel));
    builder_reset(&channel);
    return good;
}

void inbox_bus_unwatch(struct inbox_bus *bus, struct bytes key)
{
    struct builder channel = {.max = CHANNEL_MAX};
    channel_of(bus, key, &channel);
    bus->shard->bus->ops->unsubscribe(bus->listener, builder_bytes(&channel));
    builder_reset(&channel);
}

void inbox_bus_announce(struct inbox_bus *bus, struct bytes key, struct buf *payload)
{
    struct builder channel = {.max = CHANNEL_MAX};
    channel_of(bus, key, &channel);
    const struct bytes argv[] = {BYTES("PUBLISH"), builder_bytes(&channel), buf_bytes(payload)};
    struct sent *sent = mem_try_alloc(sizeof(*sent) + key.len);
    if (sent != NULL) { /* without memory nobody remembers what Redis did not take */
        sent->bus = bus;
        sent->len = key.len;
        memcpy(sent->key, key.at, key.len);
    }
    bus->shard->bus->ops->command(bus->sender, argv, ARRAY_LEN(argv), PUBLISH_TIMEOUT_MS,
        sent != NULL ? on_sent : NULL, sent);
    builder_reset(&channel);
}

/* Posts to many. */

void inbox_bus_hear_posts(struct inbox_bus *bus, const struct inbox_bus_posts *heard, void *context)
{
    bus->heard = heard;
    bus->heard_context = context;
}

static void on_post_sent(void *context, int status, const struct bus_reply *reply)
{
    struct inbox_bus *bus = context;
    bool taken = status == 0 && reply->type == BUS_INTEGER;
    bus->posts_late = bus->posts_late || (!taken && status != STATUS_CANCELLED);
}

void inbox_bus_tell_post(struct inbox_bus *bus, struct bytes payload)
{
    const struct bytes argv[] = {BYTES("PUBLISH"), bytes_str(bus->posts), payload};
    bus->shard->bus->ops->command(
        bus->sender, argv, ARRAY_LEN(argv), PUBLISH_TIMEOUT_MS, on_post_sent, bus);
}
