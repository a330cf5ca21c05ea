/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two scripts and a lease on one link; all keys have slot 0. Order of this file: the lease,
 * reporting, keeping, life.
 */
#include "hub/alerts/alerts_bus.h"

#include <stdio.h>
#include <string.h>

#include "actors/bus.h"
#include "actors/lease.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/bus_name.h"
#include "codec/bus_version.h"

enum { LEASE_LEAST_MS = 1500, LOOKS = 3, NUMBER_MAX = 24 };

/* Field ARGV[1] of KEYS[1] is ARGV[2] for ARGV[3] ms; returns the state KEYS[2] and all values that
 * have not ended. */
#define REPORT_SCRIPT                                                                              \
    "local t=redis.call('time') local now=t[1]*1000+math.floor(t[2]/1000) "                        \
    "redis.call('hset',KEYS[1],ARGV[1],string.format('%.0f',now+ARGV[3])..' '..ARGV[2]) "          \
    "redis.call('pexpire',KEYS[1],ARGV[3]) "                                                       \
    "local out={redis.call('get',KEYS[2]) or ''} local all=redis.call('hgetall',KEYS[1]) "         \
    "for i=1,#all,2 do local ends,rest=string.match(all[i+1],'^(%d+) (.*)$') "                     \
    "if ends and tonumber(ends)>=now then out[#out+1]=rest "                                       \
    "else redis.call('hdel',KEYS[1],all[i]) end end return out"

/* KEYS[2] is ARGV[2], if the lease KEYS[1] is of ARGV[1]. */
#define SAVE_SCRIPT                                                                                \
    "if redis.call('get',KEYS[1])~=ARGV[1] then return 0 end "                                     \
    "redis.call('set',KEYS[2],ARGV[2]) return 1"

struct alerts_bus {
    struct shard *shard;
    const char *node;
    uint32_t every_ms;
    const struct alerts_bus_events *events;
    void *context;
    struct bus_link *link;
    struct lease lease;
    struct log_limit refused;
    bool closed;
    void (*ended)(void *context);
    char lease_key[BUS_NAME_MAX];
    char figures_key[BUS_NAME_MAX];
    char state_key[BUS_NAME_MAX];
};

/* --- the lease --- */

static void on_lost(void *context, enum lease_end why)
{
    struct alerts_bus *bus = context;
    (void)why;
    bus->events->lost(bus->context);
}

static void tell_refused(struct alerts_bus *bus, struct bytes text)
{
    unsigned suppressed;
    if (log_allow(&bus->refused, &suppressed)) {
        log_warn("ALERTS-REFUSED", "Redis refuses what alerts need, they may not be evaluated",
            "error=%s suppressed=%u", log_quote(text), suppressed);
    }
}

static void on_refused(void *context, struct bytes text)
{
    tell_refused(context, text);
}

static const struct lease_events lease_events = {.on_lost = on_lost, .on_refused = on_refused};

bool alerts_bus_is_ours(const struct alerts_bus *bus)
{
    return lease_is_held(&bus->lease);
}

/* --- reporting --- */

static void write_head(const struct alerts_bus *bus, struct builder *out)
{
    builder_printf(out, "%u %s ", bus_origin_version(bus->shard), bus->shard->config->epoch);
}

/*
 * What follows `<version> <epoch> `; empty: it is not of our nodes, or of a newer one that was
 * alone when it wrote them. Those it writes anew within a look, for us.
 */
static struct bytes read_head(const struct alerts_bus *bus, struct bytes text)
{
    uint64_t version;
    const char *first = text.len > 0 ? memchr(text.at, ' ', text.len) : NULL;
    size_t len = first != NULL ? (size_t)(first - text.at) : 0;
    if (first == NULL || bytes_to_u64(bytes_of(text.at, len), UINT32_MAX, &version) != 0) {
        return bytes_of(NULL, 0);
    }
    struct bytes rest = bytes_skip(text, len + 1);
    const char *second = rest.len > 0 ? memchr(rest.at, ' ', rest.len) : NULL;
    size_t epoch = second != NULL ? (size_t)(second - rest.at) : 0;
    if (second == NULL || version > bus_version ||
        !bus_origin_is_ours(bus->shard, "figures", bytes_of(rest.at, epoch), version)) {
        return bytes_of(NULL, 0);
    }
    return bytes_skip(rest, epoch + 1);
}

static void take_report(struct alerts_bus *bus, const struct bus_reply *reply)
{
    struct figures_sum sum = {0};
    struct alert_state state = {0};
    for (size_t i = 0; i < reply->count; i++) {
        struct figures figures;
        bool is_text = reply->items[i]->type == BUS_STRING && reply->items[i]->text.len > 0;
        struct bytes text = is_text ? read_head(bus, reply->items[i]->text) : bytes_of(NULL, 0);
        if (i == 0) {
            if (text.len > 0 && alert_state_read(text, &state) != 0) {
                state = (struct alert_state){0};
            }
        } else if (text.len > 0 && figures_read(text, &figures) == 0) {
            figures_add(&sum, &figures);
        }
    }
    bus->events->reported(bus->context, true, &sum, &state);
}

static void on_report(void *context, int status, const struct bus_reply *reply)
{
    static const struct figures_sum no_sum;
    static const struct alert_state no_state;
    struct alerts_bus *bus = context;
    if (bus->closed) {
        return;
    }
    if (status == 0 && reply->type == BUS_ARRAY && reply->count > 0) {
        take_report(bus, reply);
        return;
    }
    if (status == 0 && reply->type == BUS_ERROR) {
        tell_refused(bus, reply->text);
    }
    bus->events->reported(bus->context, false, &no_sum, &no_state);
}

void alerts_bus_report(struct alerts_bus *bus, const struct figures *figures)
{
    struct builder value = {0};
    char ms[NUMBER_MAX];
    write_head(bus, &value);
    figures_write(figures, &value);
    (void)snprintf(ms, sizeof(ms), "%u", (LOOKS + 1) * (unsigned)bus->every_ms);
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(REPORT_SCRIPT), BYTES("2"),
        bytes_str(bus->figures_key), bytes_str(bus->state_key), bytes_str(bus->node),
        builder_bytes(&value), bytes_str(ms)};
    bus->shard->bus->ops->command(bus->link, argv, ARRAY_LEN(argv), 0, on_report, bus);
    builder_reset(&value);
}

/* --- keeping --- */

static void on_saved(void *context, int status, const struct bus_reply *reply)
{
    struct alerts_bus *bus = context;
    if (!bus->closed) {
        bool denied = status == 0 && reply->type == BUS_INTEGER && reply->integer == 0;
        bus->events->saved(bus->context, !denied);
    }
}

void alerts_bus_save(struct alerts_bus *bus, const struct alert_state *state)
{
    struct builder value = {0};
    write_head(bus, &value);
    alert_state_write(state, &value);
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(SAVE_SCRIPT), BYTES("2"),
        bytes_str(bus->lease_key), bytes_str(bus->state_key), bytes_str(bus->node),
        builder_bytes(&value)};
    bus->shard->bus->ops->command(bus->link, argv, ARRAY_LEN(argv), 0, on_saved, bus);
    builder_reset(&value);
}

/* --- life --- */

static const struct bus_events no_events = {.on_up = NULL};

struct alerts_bus *alerts_bus_open(struct shard *shard, const char *node, uint32_t every_ms,
    const struct alerts_bus_events *events, void *context)
{
    const struct bus_names *names = &shard->config->names;
    struct alerts_bus *bus = mem_alloc(sizeof(*bus));
    uint32_t ttl_ms = LOOKS * every_ms;
    bus->shard = shard;
    bus->node = node;
    bus->every_ms = every_ms;
    bus->events = events;
    bus->context = context;
    bus_name_alerts(names, "lease", bus->lease_key);
    bus_name_alerts(names, "figures", bus->figures_key);
    bus_name_alerts(names, "state", bus->state_key);
    bus->link = shard->bus->ops->open(shard->bus, "alerts", &no_events, bus);
    const struct lease_config config = {.key = bus->lease_key,
        .holder = node,
        .ttl_ms = ttl_ms > LEASE_LEAST_MS ? ttl_ms : LEASE_LEAST_MS,
        .renew_ms = every_ms < LEASE_LEAST_MS / LOOKS ? LEASE_LEAST_MS / LOOKS : every_ms,
        .claim_ms = every_ms,
        .lasting = true};
    lease_start(&bus->lease, shard, bus->link, &config, &lease_events, bus);
    return bus;
}

static void end(struct alerts_bus *bus)
{
    bus->shard->bus->ops->close(bus->link);
    bus->ended(bus->context);
    mem_free(bus);
}

static void on_released(void *context, int status, const struct bus_reply *reply)
{
    (void)status;
    (void)reply;
    end(context);
}

void alerts_bus_close(struct alerts_bus *bus, void (*ended)(void *context))
{
    bus->closed = true;
    bus->ended = ended;
    lease_stop(&bus->lease);
    if (lease_is_held(&bus->lease)) {
        lease_release(&bus->lease, on_released, bus);
    } else {
        end(bus);
    }
}
