/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus - what actors see of Redis: connections of their own, commands, subscriptions.
 *
 * The implementation (hub/redis/redis.c) is handed to each shard as a `struct bus`; without Redis
 * the shard has none (NULL). A link is one connection that keeps itself alive: it reconnects with
 * jittered backoff (100 ms to 1 s, after a minute 5 s), authenticates, and re-subscribes every
 * channel it had. A link serves either commands or subscriptions: its first use decides, the other
 * is a programming error (Redis refuses commands on a subscribed connection). Where Redis is a
 * cluster, a link of commands is several connections: answers come in the order in which they were
 * asked for among those whose keys lie in one slot, and among those without keys. All calls and
 * callbacks are on the shard's thread; no callback is called before the call that caused it
 * returned (but see close).
 */
#ifndef ACTORS_BUS_H
#define ACTORS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct bus;
struct bus_link;

enum bus_reply_type {
    BUS_NIL,
    BUS_STATUS, /* simple string, in `text` */
    BUS_ERROR, /* error reply, in `text`: "NOAUTH …", "MOVED …" */
    BUS_INTEGER, /* in `integer` */
    BUS_STRING, /* in `text`, binary safe */
    BUS_ARRAY, /* in `items` */
};

/* A reply; borrowed for the callback. */
struct bus_reply {
    enum bus_reply_type type;
    int64_t integer;
    struct bytes text;
    size_t count;
    struct bus_reply **items;
};

/*
 * Receives the reply to one command, exactly once. `status` is 0 with a reply (which may be a
 * BUS_ERROR), or STATUS_UNAVAILABLE with NULL: the link was down or went down, and it is not known
 * whether the command was carried out; STATUS_CANCELLED: the link was closed.
 */
typedef void (*bus_reply_fn)(void *context, int status, const struct bus_reply *reply);

/* What a link tells its owner. Members may be NULL. */
struct bus_events {
    /* The link is up: authenticated, server checked; subscriptions follow. Also after every
     * reconnect. */
    void (*on_up)(void *context);
    /* The link is down; commands under way were answered before. Messages may be missed from now
     * on. */
    void (*on_down)(void *context);
    /* The server has confirmed the subscription to `channel`; again after every reconnect. */
    void (*on_subscribed)(void *context, struct bytes channel);
    /* A message on a subscribed channel, in the order of the connection. */
    void (*on_message)(void *context, struct bytes channel, struct bytes payload);
};

struct bus_ops {
    /* Open a link. `name` is shown by CLIENT LIST (no blanks). Never fails; it may stay down. */
    struct bus_link *(*open)(
        struct bus *bus, const char *name, const struct bus_events *events, void *context);
    /* Close a link: pending replies get STATUS_CANCELLED before this returns; no callback
     * afterwards. */
    void (*close)(struct bus_link *link);
    /* Whether the link is up now. */
    bool (*is_up)(const struct bus_link *link);
    /*
     * Send a command; `fn` may be NULL (reply ignored). Arguments are copied. While the link is
     * down, or more than 64 MiB wait to be sent, `fn` gets STATUS_UNAVAILABLE (in a later turn).
     * Commands sent in one turn leave in one write. `timeout_ms` 0 = 5,000; a reply that is later
     * than that closes and reopens the connection (blocking commands pass what they need).
     */
    void (*command)(struct bus_link *link, const struct bytes *argv, size_t argc,
        uint32_t timeout_ms, bus_reply_fn fn, void *context);
    /* Subscribe to or unsubscribe from one channel; counted neither way: one subscribe, one
     * unsubscribe. False: no memory, nothing will come. */
    bool (*subscribe)(struct bus_link *link, struct bytes channel);
    void (*unsubscribe)(struct bus_link *link, struct bytes channel);
    /*
     * Subscribe, and not be counted by who asks for the channel's subscribers (PUBSUB NUMSUB).
     * Costs Redis a comparison for each message of any channel: for few channels.
     */
    bool (*subscribe_quietly)(struct bus_link *link, struct bytes channel);
    /*
     * Where Redis is several servers, else both are NULL: see bus_command_near, bus_command_each.
     */
    void (*command_near)(struct bus_link *link, struct bytes key, const struct bytes *argv,
        size_t argc, bus_reply_fn fn, void *context);
    unsigned (*command_each)(struct bus_link *link, const struct bytes *argv, size_t argc,
        bus_reply_fn fn, void *context);
};

/* A shard's access to Redis; implementations embed it first. */
struct bus {
    const struct bus_ops *ops;
};

/* A command, and who gets its reply. */
struct bus_command {
    const struct bytes *argv;
    size_t argc;
    bus_reply_fn fn;
    void *context;
};

/* Send a command without keys to the server that has `key`, as bus_ops.command with its default of
 * time; where both go on the same link, their answers come in order. */
static inline void bus_command_near(
    struct bus *bus, struct bus_link *link, struct bytes key, const struct bus_command *command)
{
    if (bus->ops->command_near != NULL) {
        bus->ops->command_near(
            link, key, command->argv, command->argc, command->fn, command->context);
    } else {
        bus->ops->command(link, command->argv, command->argc, 0, command->fn, command->context);
    }
}

/* Send a command without keys to each server that can have some: how many, at least 1. `fn` is
 * called once for each. */
static inline unsigned bus_command_each(struct bus *bus, struct bus_link *link,
    const struct bytes *argv, size_t argc, bus_reply_fn fn, void *context)
{
    if (bus->ops->command_each != NULL) {
        return bus->ops->command_each(link, argv, argc, fn, context);
    }
    bus->ops->command(link, argv, argc, 0, fn, context);
    return 1;
}

#endif
