/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes a number to itself now and then, by each server there is; one that Redis took and that
 * does not come back counts as deafness.
 */
#include "actors/order/bus_probe.h"

#include <stdio.h>

#include "actors/bus.h"
#include "actors/core/timer.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"

enum { NUMBER_MAX = 24 };

struct bus_probe {
    struct shard *shard;
    struct bus_link *listener;
    struct bus_link *sender;
    struct timer timer;
    char channel[BUS_NAME_MAX];
    char number[NUMBER_MAX]; /* of the last one that was sent */
    uint64_t sent;
    unsigned ways; /* servers that it was sent to */
    unsigned answered; /* that have taken it */
    unsigned heard; /* from which it has come back */
    uint32_t misses; /* in a row */
};

static void on_published(void *context, int status, const struct bus_reply *reply)
{
    struct bus_probe *probe = context;
    (void)reply; /* a refusal is an answer too */
    probe->answered += status == 0;
}

static void set_deaf(struct bus_probe *probe, bool deaf)
{
    uint64_t *now = &probe->shard->stats.deaf;
    if (deaf && *now == 0) {
        log_error("BUS-DEAF", "Redis answers, but messages do not come back",
            "channel=%s misses=%u", probe->channel, probe->misses);
    } else if (!deaf && *now != 0) {
        log_info("BUS-HEARS", "messages come back again", "channel=%s", probe->channel);
    }
    *now = deaf;
}

static void judge(struct bus_probe *probe)
{
    const struct bus_ops *ops = probe->shard->bus->ops;
    bool taken = probe->answered >= probe->ways;
    bool missed = taken && probe->heard < probe->ways && ops->is_up(probe->listener);
    probe->misses = missed ? probe->misses + 1 : 0;
    set_deaf(probe, probe->misses >= BUS_PROBE_MISSES);
}

static void on_timer(struct timer *timer)
{
    struct bus_probe *probe = container_of(timer, struct bus_probe, timer);
    struct sched *sched = probe->shard->sched;
    if (probe->sent > 0) {
        judge(probe);
    }
    snprintf(probe->number, sizeof(probe->number), "%llu", (unsigned long long)++probe->sent);
    probe->answered = 0;
    probe->heard = 0;
    const struct bytes argv[] = {
        BYTES("PUBLISH"), bytes_str(probe->channel), bytes_str(probe->number)};
    probe->ways = bus_command_each(
        probe->shard->bus, probe->sender, argv, ARRAY_LEN(argv), on_published, probe);
    timer_set(sched_timers(sched), timer, sched_now(sched) + probe->shard->config->probe_ms);
}

struct bus_probe *bus_probe_create(
    struct shard *shard, struct bus_link *listener, struct bus_link *sender)
{
    struct bus_probe *probe = mem_alloc(sizeof(*probe));
    probe->shard = shard;
    probe->listener = listener;
    probe->sender = sender;
    bus_name_probe(
        &shard->config->names, shard->config->node, sched_shard(shard->sched), probe->channel);
    CHECK(shard->bus->ops->subscribe(listener, bytes_str(probe->channel))); /* as the node starts */
    timer_init(&probe->timer, on_timer);
    timer_set(sched_timers(shard->sched), &probe->timer,
        sched_now(shard->sched) + shard->config->probe_ms);
    return probe;
}

void bus_probe_destroy(struct bus_probe *probe)
{
    timer_cancel(sched_timers(probe->shard->sched), &probe->timer);
    mem_free(probe);
}

bool bus_probe_owns(const struct bus_probe *probe, struct bytes channel)
{
    return bytes_eq_str(channel, probe->channel);
}

void bus_probe_heard(struct bus_probe *probe, struct bytes payload)
{
    if (bytes_eq_str(payload, probe->number)) {
        probe->heard++;
    }
    if (probe->heard == probe->ways && probe->ways > 0) {
        probe->misses = 0;
        set_deaf(probe, false);
    }
}
