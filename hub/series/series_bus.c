/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two scripts with one key each, and HGETALL, on one link. Order of this file: names, series,
 * writing, reading, life.
 */
#include "hub/series/series_bus.h"

#include <stdio.h>
#include <string.h>

#include "actors/bus.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "codec/bus_version.h"

enum { NUMBER_MAX = 24, HEAD_ARGS = 5 };

/* KEYS[1] gets the members ARGV[3…] if it has no more than ARGV[1] then; else which of them is the
 * first that is too many. What was not heard of for ARGV[2] ms is forgotten. */
#define ADMIT_SCRIPT                                                                               \
    "local t=redis.call('time') local now=t[1]*1000+math.floor(t[2]/1000) "                        \
    "redis.call('zremrangebyscore',KEYS[1],'-inf',string.format('%.0f',now-ARGV[2])) "             \
    "local free=ARGV[1]-redis.call('zcard',KEYS[1]) "                                              \
    "for i=3,#ARGV do if not redis.call('zscore',KEYS[1],ARGV[i]) then free=free-1 "               \
    "if free<0 then return i-2 end end end "                                                       \
    "for i=3,#ARGV do redis.call('zadd',KEYS[1],string.format('%.0f',now),ARGV[i]) end "           \
    "redis.call('pexpire',KEYS[1],ARGV[2]) return 0"

/* Field ARGV[1] of KEYS[1] is ARGV[2], for ARGV[3] ms. */
#define WRITE_SCRIPT                                                                               \
    "redis.call('hset',KEYS[1],ARGV[1],ARGV[2]) redis.call('pexpire',KEYS[1],ARGV[3]) return 0"

struct series_bus {
    struct shard *shard;
    const char *node;
    struct bus_link *link;
    void (*up)(void *context);
    void *context;
    struct log_limit refused;
};

/* Whom to tell of an answer. */
struct ask {
    struct series_bus *bus;
    series_bus_fn fn;
    void *context;
};

/* --- names --- */

static void write_name(const struct series_bus *bus, struct bytes tenant, struct builder *out)
{
    bus_name_series(&bus->shard->config->names, bytes_str(bus->shard->config->epoch), tenant, out);
}

static void command(
    struct series_bus *bus, const struct bytes *argv, size_t argc, bus_reply_fn fn, void *context)
{
    bus->shard->bus->ops->command(bus->link, argv, argc, 0, fn, context);
}

static void tell_refused(struct series_bus *bus, struct bytes text)
{
    unsigned suppressed;
    if (log_allow(&bus->refused, &suppressed)) {
        log_warn("METRICS-REFUSED", "Redis refuses what metrics of applications need",
            "error=%s suppressed=%u", log_quote(text), suppressed);
    }
}

static void on_reply(void *context, int status, const struct bus_reply *reply)
{
    struct ask ask = *(struct ask *)context;
    mem_free(context);
    uint64_t place = 0;
    if (status == 0 && reply->type == BUS_INTEGER && reply->integer >= 0) {
        place = (uint64_t)reply->integer;
    } else if (status == 0) {
        tell_refused(ask.bus, reply->text);
        status = STATUS_UNAVAILABLE;
    }
    ask.fn(ask.context, status, place);
}

static struct ask *make_ask(struct series_bus *bus, series_bus_fn fn, void *context)
{
    struct ask *ask = mem_alloc(sizeof(*ask));
    *ask = (struct ask){.bus = bus, .fn = fn, .context = context};
    return ask;
}

/* --- series --- */

void series_bus_admit(
    struct series_bus *bus, const struct series_admit *admit, series_bus_fn fn, void *context)
{
    struct builder name = {0};
    char most[NUMBER_MAX];
    char age[NUMBER_MAX];
    struct bytes *argv = mem_try_calloc(HEAD_ARGS + 1 + admit->count, sizeof(*argv));
    struct ask *ask = make_ask(bus, fn, context);
    if (argv == NULL) {
        const struct bytes ping[] = {
            BYTES("EVAL"), BYTES("return redis.error_reply('memory')"), BYTES("0")};
        command(bus, ping, ARRAY_LEN(ping), on_reply, ask);
        return;
    }
    write_name(bus, admit->tenant, &name);
    (void)snprintf(most, sizeof(most), "%llu", (unsigned long long)admit->limit);
    (void)snprintf(age, sizeof(age), "%u", (unsigned)SERIES_KEPT_MS);
    argv[0] = BYTES("EVAL");
    argv[1] = BYTES(ADMIT_SCRIPT);
    argv[2] = BYTES("1");
    argv[3] = builder_bytes(&name);
    argv[4] = bytes_str(most);
    argv[HEAD_ARGS] = bytes_str(age);
    memcpy(&argv[HEAD_ARGS + 1], admit->keys, admit->count * sizeof(*argv));
    command(bus, argv, HEAD_ARGS + 1 + admit->count, on_reply, ask);
    builder_reset(&name);
    mem_free(argv);
}

/* --- writing --- */

static void write_bucket_name(
    const struct series_bus *bus, struct bytes tenant, uint64_t start_ms, struct builder *out)
{
    write_name(bus, tenant, out);
    builder_byte(out, '/');
    builder_u64(out, start_ms / 1000);
}

void series_bus_write(struct series_bus *bus, struct bytes tenant,
    const struct series_bucket *bucket, uint64_t now_ms, series_bus_fn fn, void *context)
{
    struct builder name = {0};
    struct builder value = {0};
    char ms[NUMBER_MAX];
    uint64_t ends = bucket->start_ms + SERIES_KEPT_MS + SERIES_LATE_MS;
    (void)snprintf(ms, sizeof(ms), "%llu", (unsigned long long)(ends > now_ms ? ends - now_ms : 1));
    write_bucket_name(bus, tenant, bucket->start_ms, &name);
    builder_printf(&value, "%u ", bus_origin_version(bus->shard));
    series_bucket_write(bucket, &value);
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(WRITE_SCRIPT), BYTES("1"),
        builder_bytes(&name), bytes_str(bus->node), builder_bytes(&value), bytes_str(ms)};
    const struct bytes none[] = {
        BYTES("EVAL"), BYTES("return redis.error_reply('memory')"), BYTES("0")};
    bool good = !builder_failed(&value) && !builder_failed(&name);
    command(bus, good ? argv : none, good ? ARRAY_LEN(argv) : ARRAY_LEN(none), on_reply,
        make_ask(bus, fn, context));
    builder_reset(&name);
    builder_reset(&value);
}

/* --- reading --- */

/* What a node of ours wrote that is not newer than this one. */
static void take_field(struct series_read *read, struct bytes node, struct bytes value)
{
    uint64_t version;
    const struct series_bus *bus = read->bus;
    const char *blank = value.len > 0 ? memchr(value.at, ' ', value.len) : NULL;
    size_t len = blank != NULL ? (size_t)(blank - value.at) : 0;
    if (blank == NULL || bytes_to_u64(bytes_of(value.at, len), bus_version, &version) != 0 ||
        !bus_origin_is_ours(bus->shard, "metrics", bytes_str(bus->shard->config->epoch), version)) {
        return;
    }
    read->text(read->context, bytes_eq_str(node, bus->node), bytes_skip(value, len + 1));
}

static void on_read(void *context, int status, const struct bus_reply *reply)
{
    struct series_read *read = context;
    if (status == 0 && reply->type == BUS_ARRAY) {
        for (size_t i = 0; i + 1 < reply->count; i += 2) {
            bool texts =
                reply->items[i]->type == BUS_STRING && reply->items[i + 1]->type == BUS_STRING;
            if (texts) {
                take_field(read, reply->items[i]->text, reply->items[i + 1]->text);
            }
        }
    } else if (status == 0) {
        tell_refused(read->bus, reply->text);
        status = STATUS_UNAVAILABLE;
    }
    read->done(read->context, status, 0);
}

void series_bus_read(struct series_bus *bus, struct bytes tenant, struct series_read *read)
{
    struct builder name = {0};
    read->bus = bus;
    write_bucket_name(bus, tenant, read->start_ms, &name);
    const struct bytes argv[] = {BYTES("HGETALL"), builder_bytes(&name)};
    command(bus, argv, ARRAY_LEN(argv), on_read, read);
    builder_reset(&name);
}

/* --- life --- */

static void on_up(void *context)
{
    struct series_bus *bus = context;
    bus->up(bus->context);
}

static const struct bus_events bus_events = {.on_up = on_up};

struct series_bus *series_bus_open(
    struct shard *shard, const char *node, void (*up)(void *context), void *context)
{
    struct series_bus *bus = mem_alloc(sizeof(*bus));
    bus->shard = shard;
    bus->node = node;
    bus->up = up;
    bus->context = context;
    bus->link = shard->bus->ops->open(shard->bus, "metrics", &bus_events, bus);
    return bus;
}

void series_bus_close(struct series_bus *bus)
{
    bus->shard->bus->ops->close(bus->link);
    mem_free(bus);
}

bool series_bus_is_up(const struct series_bus *bus)
{
    return bus->shard->bus->ops->is_up(bus->link);
}
