/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link that hears and one that tells.
 */
#include "actors/jobs/jobs_bus.h"

#include <string.h>

#include "actors/bus.h"
#include "actors/jobs/jobs_state.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "codec/base/mem.h"

enum { TELL_MS = 5000 };

struct jobs_bus {
    struct jobs *jobs;
    void (*heard)(struct jobs *jobs, struct bytes tenant, struct bytes queue);
    struct bus_link *listener;
    struct bus_link *sender;
    char channel[BUS_NAME_MAX];
    bool listens; /* the channel was asked for: there was memory for that */
    bool missed; /* something was not told */
};

/* Cut `text` before its next blank. */
static bool take_word(struct bytes *text, struct bytes *ret_word)
{
    const char *blank = text->len > 0 ? memchr(text->at, ' ', text->len) : NULL;
    if (blank == NULL) {
        return false;
    }
    *ret_word = bytes_of(text->at, (size_t)(blank - text->at));
    *text = bytes_skip(*text, ret_word->len + 1);
    return true;
}

/* A tenant may hold blanks: the queue, behind the last one, may not. */
static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct jobs_bus *bus = context;
    struct bytes uid;
    (void)channel;
    if (!take_word(&payload, &uid) ||
        bus_origin_of(bus->jobs->shard, "jobs", uid) != BUS_ORIGIN_PEER) {
        return;
    }
    const char *blank = payload.len > 0 ? memrchr(payload.at, ' ', payload.len) : NULL;
    if (blank != NULL) {
        size_t len = (size_t)(blank - payload.at);
        bus->heard(bus->jobs, bytes_of(payload.at, len), bytes_skip(payload, len + 1));
    }
}

/* What was told before this moment may be lost. */
static void on_subscribed(void *context, struct bytes channel)
{
    struct jobs_bus *bus = context;
    (void)channel;
    bus->heard(bus->jobs, bytes_of(NULL, 0), bytes_of(NULL, 0));
}

static void on_told(void *context, int status, const struct bus_reply *reply)
{
    struct jobs_bus *bus = context;
    if (status != 0 || reply->type == BUS_ERROR) {
        bus->missed = true;
        bus->jobs->stats.untold++;
    }
}

static void on_sender_up(void *context)
{
    struct jobs_bus *bus = context;
    if (bus->missed) {
        bus->missed = false;
        jobs_bus_tell(bus, bytes_of(NULL, 0), bytes_of(NULL, 0));
    }
}

static const struct bus_events listener_events = {
    .on_subscribed = on_subscribed, .on_message = on_message};
static const struct bus_events sender_events = {.on_up = on_sender_up};

/* Ask for the channel, unless that is done: without memory again later. Until then workers here
 * find what was told elsewhere when they ask again by themselves (jobs.c). */
static void listen(struct jobs_bus *bus)
{
    if (!bus->listens) {
        const struct bus_ops *ops = bus->jobs->shard->bus->ops;
        bus->listens = ops->subscribe(bus->listener, bytes_str(bus->channel));
    }
}

void jobs_bus_listen(struct jobs_bus *bus)
{
    if (bus != NULL) {
        listen(bus);
    }
}

struct jobs_bus *jobs_bus_create(
    struct jobs *jobs, void (*heard)(struct jobs *jobs, struct bytes tenant, struct bytes queue))
{
    struct bus *root = jobs->shard->bus;
    struct jobs_bus *bus = mem_alloc(sizeof(*bus));
    bus->jobs = jobs;
    bus->heard = heard;
    bus_name_jobs(&jobs->shard->config->names, bus->channel);
    bus->listener = root->ops->open(root, "jobs-listener", &listener_events, bus);
    bus->sender = root->ops->open(root, "jobs", &sender_events, bus);
    listen(bus);
    return bus;
}

void jobs_bus_destroy(struct jobs_bus *bus)
{
    if (bus != NULL) {
        const struct bus_ops *ops = bus->jobs->shard->bus->ops;
        ops->close(bus->listener);
        ops->close(bus->sender);
        mem_free(bus);
    }
}

void jobs_bus_tell(struct jobs_bus *bus, struct bytes tenant, struct bytes queue)
{
    if (bus == NULL) {
        return;
    }
    listen(bus);
    struct builder message = {0};
    bus_origin_write_uid(bus->jobs->shard, &message);
    builder_byte(&message, ' ');
    builder_add(&message, tenant);
    builder_byte(&message, ' ');
    builder_add(&message, queue);
    if (builder_failed(&message)) {
        bus->missed = true;
        bus->jobs->stats.untold++;
    } else {
        const struct bytes argv[] = {
            BYTES("PUBLISH"), bytes_str(bus->channel), builder_bytes(&message)};
        bus->jobs->shard->bus->ops->command(
            bus->sender, argv, ARRAY_LEN(argv), TELL_MS, on_told, bus);
    }
    builder_reset(&message);
}
