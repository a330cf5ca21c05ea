/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens links of a bus, and forwards what actors ask to them.
 */
#include "hub/redis/redis_plain.h"

#include "codec/base/mem.h"
#include "hub/redis/redis_bus.h"

static struct redis_bus *as_redis(struct bus *bus)
{
    return container_of(bus, struct redis_bus, bus);
}

static struct bus_link *open_link(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    struct redis_bus *redis = as_redis(bus);
    CHECK(!redis->closing);
    return redis_link_open(redis, name, events, context);
}

static bool subscribe(struct bus_link *link, struct bytes channel)
{
    return redis_link_subscribe(link, channel, false);
}

static bool subscribe_quietly(struct bus_link *link, struct bytes channel)
{
    return redis_link_subscribe(link, channel, true);
}

static const struct bus_ops operations = {
    .open = open_link,
    .close = redis_link_close,
    .is_up = redis_link_is_up,
    .command = redis_link_command,
    .subscribe = subscribe,
    .subscribe_quietly = subscribe_quietly,
    .unsubscribe = redis_link_unsubscribe,
};

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static struct redis_options with_defaults(const struct redis_options *given)
{
    struct redis_options options = {
        .connect_timeout_ms = or_default(given->connect_timeout_ms, 5000),
        .ping_ms = or_default(given->ping_ms, 5000),
        .silence_ms = or_default(given->silence_ms, 10000),
        .backoff_min_ms = or_default(given->backoff_min_ms, 100),
        .backoff_max_ms = or_default(given->backoff_max_ms, 5000),
        .reply_max = given->reply_max != 0 ? given->reply_max : 64u << 20,
        .send_max = given->send_max != 0 ? given->send_max : 64u << 20,
        .outage = given->outage,
        .quiet = given->quiet,
    };
    if (options.silence_ms <= options.ping_ms) {
        options.silence_ms = options.ping_ms + 1;
    }
    if (options.backoff_max_ms < options.backoff_min_ms) {
        options.backoff_max_ms = options.backoff_min_ms;
    }
    return options;
}

struct redis_bus *redis_plain_create(uv_loop_t *loop, const struct redis_options *options)
{
    struct redis_bus *bus = mem_alloc(sizeof(*bus));
    bus->bus.ops = &operations;
    bus->loop = loop;
    redis_target_copy(options->target, &bus->target);
    bus->options = with_defaults(options);
    bus->places = bus->target.url.places;
    bus->place_count = bus->target.url.count;
    if (options->input == NULL) {
        bus->own_input = mem_alloc(sizeof(*bus->own_input));
    }
    bus->input = options->input != NULL ? options->input : bus->own_input;
    bus->options.outage = options->outage != NULL ? options->outage : &bus->own_outage;
    list_init(&bus->links);
    list_init(&bus->work);
    uint64_t seed;
    rand_secret(&seed, sizeof(seed));
    rand_init(&bus->rand, seed);
    uv_idle_init(loop, &bus->idle);
    bus->idle.data = bus;
    bus->handles = 1;
    return bus;
}

static void on_idle_closed(uv_handle_t *handle)
{
    redis_bus_release(handle->data);
}

void redis_plain_close(struct redis_bus *bus, redis_closed_fn fn, void *context)
{
    CHECK(bus->stats.links == 0 && !bus->closing);
    bus->closing = true;
    bus->on_closed = fn;
    bus->closed_context = context;
    uv_close((uv_handle_t *)&bus->idle, on_idle_closed);
}
