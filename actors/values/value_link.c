/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection with the channels of the slots that live here, and the one of the probe behind
 * them. Order of this file: asking and probing, what comes, life.
 */
#include "actors/values/value_link.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/bus.h"
#include "actors/shard.h"
#include "actors/values/value_home.h"
#include "actors/values/value_name.h"
#include "actors/values/value_redis.h"
#include "codec/base/mem.h"

enum { TEXT_MAX = 48 };

struct value_link {
    struct shard *shard;
    const struct value_names *names;
    struct value_redis *redis;
    const struct value_link_events *events;
    void *context;
    struct bus_link *link;
    struct timer timer;
    struct builder channel; /* of the probe: nobody else knows it */
    uint32_t asked; /* slots up to here have their channel, if they live here */
    uint32_t channels; /* of the slots */
    bool listens; /* also to the probe, behind all of them */
    uint32_t confirmed; /* of all, since the connection is up */
    uint32_t epoch; /* grows with each connection that is lost */
    uint64_t probed_ms; /* when the last one was sent */
    unsigned ways; /* servers that it was sent to */
    unsigned echoes; /* from which it has come back */
    bool heard; /* a probe of this connection came back from all */
    uint64_t known_ms; /* when the last one that came back was sent */
};

/* Asking and probing. */

static bool is_complete(const struct value_link *link)
{
    return link->listens && link->confirmed == link->channels + 1;
}

static void probe(struct value_link *link)
{
    char text[TEXT_MAX];
    uint64_t now = sched_now(link->shard->sched);
    if (is_complete(link) && value_redis_is_up(link->redis)) {
        snprintf(text, sizeof(text), "%" PRIu32 " %" PRIu64, link->epoch, now);
        const struct bytes argv[] = {
            BYTES("PUBLISH"), builder_bytes(&link->channel), bytes_str(text)};
        link->probed_ms = now;
        link->echoes = 0;
        link->ways = value_redis_ask_each(link->redis, argv, ARRAY_LEN(argv), NULL, NULL);
    }
    timer_set(sched_timers(link->shard->sched), &link->timer, now + VALUE_LINK_PROBE_MS);
}

/* Ask for the channels that have not been asked for; where there is no memory for one, later. */
static void subscribe_rest(struct value_link *link)
{
    const struct bus_ops *ops = link->shard->bus->ops;
    struct builder channel = {0};
    bool good = !link->listens;
    while (good && link->asked < link->names->slots) {
        if (value_home_lives_here(link->shard, link->asked)) {
            builder_clear(&channel);
            value_name_channel(link->names, link->asked, &channel);
            good = ops->subscribe(link->link, builder_bytes(&channel));
            link->channels += good;
        }
        link->asked += good;
    }
    builder_reset(&channel);
    link->listens |= good && ops->subscribe(link->link, builder_bytes(&link->channel));
}

static void on_timer(struct timer *timer)
{
    struct value_link *link = container_of(timer, struct value_link, timer);
    subscribe_rest(link);
    probe(link);
}

/* Cut the number in front of a blank off. */
static bool take_number(struct bytes *text, uint64_t *ret_number)
{
    const char *blank = text->len > 0 ? memchr(text->at, ' ', text->len) : NULL;
    size_t len = blank != NULL ? (size_t)(blank - text->at) : 0;
    if (blank == NULL || bytes_to_u64(bytes_of(text->at, len), UINT64_MAX, ret_number) != 0) {
        return false;
    }
    *text = bytes_skip(*text, len + 1);
    return true;
}

static void on_probe(struct value_link *link, struct bytes text)
{
    uint64_t epoch;
    uint64_t sent;
    if (take_number(&text, &epoch) && epoch == link->epoch &&
        bytes_to_u64(text, UINT64_MAX, &sent) == 0 && sent == link->probed_ms &&
        ++link->echoes == link->ways) {
        link->heard = true;
        link->known_ms = sent;
    }
}

/* What comes. */

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct value_link *link = context;
    uint64_t version;
    if (bytes_eq(channel, builder_bytes(&link->channel))) {
        on_probe(link, payload);
    } else if (take_number(&payload, &version)) {
        link->events->changed(link->context, payload, version);
    }
}

static void on_subscribed(void *context, struct bytes channel)
{
    struct value_link *link = context;
    (void)channel;
    link->confirmed++;
    if (is_complete(link)) {
        probe(link);
    }
}

static void on_up(void *context)
{
    ((struct value_link *)context)->confirmed = 0;
}

static void on_down(void *context)
{
    struct value_link *link = context;
    link->confirmed = 0;
    link->heard = false;
    link->epoch++;
    link->events->lost(link->context);
}

/* Life. */

static const struct bus_events bus_events = {
    .on_up = on_up, .on_down = on_down, .on_subscribed = on_subscribed, .on_message = on_message};

struct value_link *value_link_create(struct shard *shard, const struct value_names *names,
    struct value_redis *redis, const struct value_link_events *events, void *context)
{
    struct value_link *link = mem_alloc(sizeof(*link));
    uint64_t secret;
    link->shard = shard;
    link->names = names;
    link->redis = redis;
    link->events = events;
    link->context = context;
    rand_secret(&secret, sizeof(secret));
    builder_printf(&link->channel, "%s:%u:probe:{0}:%016" PRIx64, names->prefix, names->db, secret);
    timer_init(&link->timer, on_timer);
    link->link = shard->bus->ops->open(shard->bus, "values-listener", &bus_events, link);
    subscribe_rest(link);
    timer_set(
        sched_timers(shard->sched), &link->timer, sched_now(shard->sched) + VALUE_LINK_PROBE_MS);
    return link;
}

void value_link_destroy(struct value_link *link)
{
    if (link != NULL) {
        timer_cancel(sched_timers(link->shard->sched), &link->timer);
        link->shard->bus->ops->close(link->link);
        builder_reset(&link->channel);
        mem_free(link);
    }
}

bool value_link_is_good(const struct value_link *link)
{
    return link->heard && sched_now(link->shard->sched) < link->known_ms + VALUE_LINK_GOOD_MS;
}

bool value_link_hears(const struct value_link *link, uint32_t *ret_epoch)
{
    *ret_epoch = link->epoch;
    return is_complete(link);
}
