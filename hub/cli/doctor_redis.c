/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_redis - Redis as Peal needs it, and the nodes that are entered there. Order of this file:
 * what INFO and CONFIG say, the clock, what is allowed, nodes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/bus_name.h"
#include "codec/bus_version.h"
#include "codec/redis_info.h"
#include "hub/cli/doctor.h"
#include "hub/config/config.h"
#include "hub/redis/redis.h"
#include "hub/redis/redis_sync.h"
#include "hub/redis/redis_target.h"

enum { WAIT_MS = 5000, WORDS_MAX = 8, STORE_MAX = 300 };

/* What is told once, of however many servers. */
enum told { TOLD_EVICTS, TOLD_FULL, TOLD_CLIENTS, TOLD_TIMEOUT, TOLD_FORGETS };

/* A look at one server, or at the masters of a cluster. */
struct look {
    unsigned told; /* a bit for each enum told */
    struct doctor *doctor;
    struct redis_sync *redis;
    uint64_t asked_ms;
    char store[STORE_MAX]; /* of the first node */
};

static void ask(struct look *look, const struct bytes *argv, size_t argc, bus_reply_fn fn)
{
    look->asked_ms = clock_wall_ms();
    redis_sync_send(look->redis, argv, argc, fn, look);
    redis_sync_wait(look->redis, 0);
}

/* The same, of each server. */
static void ask_each(struct look *look, const struct bytes *argv, size_t argc, bus_reply_fn fn)
{
    look->asked_ms = clock_wall_ms();
    redis_sync_send_each(look->redis, argv, argc, fn, look);
    redis_sync_wait(look->redis, 0);
}

static bool is_first(struct look *look, enum told told)
{
    bool first = (look->told & 1u << told) == 0;
    look->told |= 1u << told;
    return first;
}

#define ASK_EACH(look, fn, ...)                                                                    \
    do {                                                                                           \
        const struct bytes words[] = {__VA_ARGS__};                                                \
        ask_each(look, words, ARRAY_LEN(words), fn);                                               \
    } while (0)

#define ASK(look, fn, ...)                                                                         \
    do {                                                                                           \
        const struct bytes words[] = {__VA_ARGS__};                                                \
        ask(look, words, ARRAY_LEN(words), fn);                                                    \
    } while (0)

/* --- what INFO and CONFIG say --- */

static uint64_t number_of(struct bytes info, const char *field)
{
    uint64_t number = 0;
    struct bytes text = redis_info_field(info, field);
    return bytes_to_u64(text, UINT64_MAX, &number) == 0 ? number : 0;
}

static void on_info(void *context, int status, const struct bus_reply *reply)
{
    struct look *look = context;
    if (status != 0 || reply->type != BUS_STRING) {
        return; /* redis_check has told */
    }
    struct bytes info = reply->text;
    struct bytes policy = redis_info_field(info, "maxmemory_policy");
    uint64_t most = number_of(info, "maxmemory");
    uint64_t clients = number_of(info, "maxclients");
    if (!bytes_eq(policy, BYTES("noeviction")) && is_first(look, TOLD_EVICTS)) {
        doctor_find(look->doctor, "BUS-EVICTS", "CONFIG SET maxmemory-policy noeviction",
            "maxmemory-policy is %.*s: Redis takes leases and answers away when its memory is full",
            (int)policy.len, policy.len > 0 ? policy.at : "");
    }
    if (most > 0 && number_of(info, "used_memory") > most / 10 * 9 && is_first(look, TOLD_FULL)) {
        doctor_find(look->doctor, "BUS-FULL",
            "raise maxmemory, or find what fills it (MEMORY DOCTOR)",
            "Redis uses more than 90 %% of its maxmemory, and refuses entries beyond");
    }
    if (clients > 0 && number_of(info, "connected_clients") > clients / 10 * 9 &&
        is_first(look, TOLD_CLIENTS)) {
        doctor_find(look->doctor, "BUS-CLIENTS", "raise maxclients",
            "more than 90 %% of the %llu connections of Redis are taken",
            (unsigned long long)clients);
    }
}

/* A value of CONFIG GET, or empty: many servers do not let one ask. */
static struct bytes value_of(int status, const struct bus_reply *reply)
{
    bool is_pair = status == 0 && reply->type == BUS_ARRAY && reply->count == 2 &&
                   reply->items[1]->type == BUS_STRING;
    return is_pair ? reply->items[1]->text : bytes_of(NULL, 0);
}

static void on_timeout(void *context, int status, const struct bus_reply *reply)
{
    struct look *look = context;
    struct bytes text = value_of(status, reply);
    if (text.len > 0 && !bytes_eq(text, BYTES("0")) && is_first(look, TOLD_TIMEOUT)) {
        doctor_find(look->doctor, "BUS-TIMEOUT", "CONFIG SET timeout 0",
            "Redis closes connections that say nothing for %.*s s: subscriptions among them",
            (int)text.len, text.at);
    }
}

static void on_append(void *context, int status, const struct bus_reply *reply)
{
    struct look *look = context;
    if (bytes_eq(value_of(status, reply), BYTES("no")) && is_first(look, TOLD_FORGETS)) {
        doctor_find(look->doctor, "BUS-FORGETS", "CONFIG SET appendonly yes",
            "Redis writes no append-only file: entries of streams that are not stored yet are gone "
            "with its process");
    }
}

/* --- the clock --- */

static void on_time(void *context, int status, const struct bus_reply *reply)
{
    struct look *look = context;
    uint64_t seconds;
    uint64_t micros;
    if (status == 0 && reply->type == BUS_ARRAY && reply->count == 2 &&
        bytes_to_u64(reply->items[0]->text, UINT32_MAX, &seconds) == 0 &&
        bytes_to_u64(reply->items[1]->text, 999999, &micros) == 0) {
        doctor_compare_clocks(look->doctor, "CLOCK-BUS", "Redis", seconds * 1000 + micros / 1000,
            look->asked_ms, clock_wall_ms());
    }
}

/* --- what is allowed --- */

static void on_tried(void *context, int status, const struct bus_reply *reply)
{
    struct look *look = context;
    if (status == 0 && reply->type == BUS_ERROR && bytes_starts(reply->text, BYTES("NOPERM"))) {
        doctor_find(look->doctor, "BUS-DENIED",
            "ACL SETUSER the user of bus.url: ~* or the keys of bus.prefix, &* , +@all -@dangerous "
            "+info",
            "Redis refuses what Peal needs: %.*s",
            (int)(reply->text.len < 200 ? reply->text.len : 200), reply->text.at);
    }
}

/* Commands of each kind that a node uses, which change nothing. */
static void try_commands(struct look *look)
{
    char stream[BUS_NAME_MAX];
    const struct bus_names names = {.prefix = look->doctor->config->bus_prefix, .slots = 1};
    bus_name_in(&names, 0, stream);
    ASK(look, on_tried, BYTES("EVAL"), BYTES("return 1"), BYTES("0"));
    ASK(look, on_tried, BYTES("XLEN"), bytes_str(stream));
    ASK(look, on_tried, BYTES("PUBSUB"), BYTES("NUMSUB"), BYTES("peal"));
    ASK(look, on_tried, BYTES("PUBLISH"), bytes_str(stream), BYTES(""));
}

/* --- nodes --- */

/* The next word of a member: `<tag> <version> <store> <epoch>`. */
static struct bytes take_word(struct bytes *text)
{
    const char *blank = text->len > 0 ? memchr(text->at, ' ', text->len) : NULL;
    size_t len = blank != NULL ? (size_t)(blank - text->at) : text->len;
    struct bytes word = bytes_of(text->at, len);
    *text = bytes_skip(*text, blank != NULL ? len + 1 : len);
    return word;
}

static void look_at_node(struct look *look, struct bytes member)
{
    struct bytes tag = take_word(&member);
    uint64_t version;
    if (bytes_to_u64(take_word(&member), UINT32_MAX, &version) != 0) {
        return;
    }
    struct bytes store = take_word(&member);
    if (version > bus_version + 1 || version + 1 < bus_version) {
        doctor_find(look->doctor, "CLUSTER-VERSION",
            "bring all nodes to the same version, one step at a time",
            "node %.*s speaks version %llu of the cluster, this program %u: they do not work "
            "together",
            (int)tag.len, tag.at, (unsigned long long)version, bus_version);
    }
    if (look->store[0] == '\0') {
        (void)snprintf(look->store, sizeof(look->store), "%.*s", (int)store.len, store.at);
    } else if (!bytes_eq_str(store, look->store)) {
        doctor_find(look->doctor, "CLUSTER-STORES",
            "give each environment a bus.prefix of its own; a copy of a database: peal migrate "
            "--new-epoch",
            "nodes with different stores live under bus.prefix %s: %s and %.*s",
            look->doctor->config->bus_prefix, look->store, (int)store.len, store.at);
    }
}

static void on_nodes(void *context, int status, const struct bus_reply *reply)
{
    struct look *look = context;
    for (size_t i = 0; status == 0 && reply->type == BUS_ARRAY && i < reply->count; i++) {
        if (reply->items[i]->type == BUS_STRING) {
            look_at_node(look, reply->items[i]->text);
        }
    }
}

static void look_at_nodes(struct look *look)
{
    char key[BUS_NAME_MAX];
    char now[24];
    const struct bus_names names = {.prefix = look->doctor->config->bus_prefix, .slots = 1};
    bus_name_roster(&names, key);
    (void)snprintf(now, sizeof(now), "%llu", (unsigned long long)clock_wall_ms());
    ASK(look, on_nodes, BYTES("ZRANGEBYSCORE"), bytes_str(key), bytes_str(now), BYTES("+inf"));
}

void doctor_look_at_redis(struct doctor *doctor)
{
    struct builder error = {0};
    struct redis_report report;
    struct redis_target target = {0};
    const struct redis_options options = {.target = &target};
    struct look look = {.doctor = doctor};
    if (redis_target_init(doctor->config, NULL, &error, &target) != 0 ||
        redis_check(&options, WAIT_MS, &error, &report) != 0 ||
        redis_sync_open(&target, &error, &look.redis) != 0) {
        struct bytes text = builder_bytes(&error);
        doctor_find(doctor, "BUS",
            "look at bus.url (REDIS_URL), and at the server: a node does not start with it", "%.*s",
            (int)text.len, text.len > 0 ? text.at : "");
        redis_target_finish(&target);
        builder_reset(&error);
        return;
    }
    ASK_EACH(&look, on_info, BYTES("INFO"));
    ASK_EACH(&look, on_timeout, BYTES("CONFIG"), BYTES("GET"), BYTES("timeout"));
    ASK_EACH(&look, on_append, BYTES("CONFIG"), BYTES("GET"), BYTES("appendonly"));
    ASK(&look, on_time, BYTES("TIME"));
    try_commands(&look);
    look_at_nodes(&look);
    redis_sync_close(look.redis);
    redis_target_finish(&target);
    builder_reset(&error);
}
