/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps commands in the order in which they came until the test answers them.
 */
#include "tests/support/played_redis.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/assembly/shard_floors.h"
#include "actors/values/values.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "tests/support/one_shard.h"

#define SHA "0123456789012345678901234567890123456789"

struct played *played_redis;
bool played_refuses_channels;

/* The bus. */

static struct bus_link *open_link(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    struct played *played = container_of(bus, struct played, bus);
    struct bus_link *link = &played->links[played->opened++];
    *link = (struct bus_link){.played = played,
        .events = events,
        .context = context,
        .subscribes = strcmp(name, "values-listener") == 0};
    return link;
}

static void free_words(struct played_command *command)
{
    for (size_t i = 0; i < command->argc; i++) {
        free(command->words[i]);
    }
}

/* Take the command out that stands at `index`. */
static struct played_command take(size_t index)
{
    struct played *played = played_redis;
    cr_assert_lt(index, played->count);
    struct played_command command = played->commands[index];
    played->count--;
    for (size_t i = index; i < played->count; i++) {
        played->commands[i] = played->commands[i + 1];
    }
    return command;
}

static void close_link(struct bus_link *link)
{
    while (!link->subscribes && link->played->count > 0) {
        struct played_command command = take(0);
        if (command.fn != NULL) {
            command.fn(command.context, STATUS_CANCELLED, NULL);
        }
        free_words(&command);
    }
}

static bool is_up(const struct bus_link *link)
{
    return link->played->up;
}

static char *copy_text(struct bytes text)
{
    char *copy = calloc(1, text.len + 1);
    if (text.len > 0) {
        memcpy(copy, text.at, text.len);
    }
    return copy;
}

static void send_command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    struct played *played = link->played;
    (void)timeout_ms;
    cr_assert_lt(played->count, PLAYED_COMMANDS_MAX);
    cr_assert_leq(argc, PLAYED_WORDS_MAX);
    struct played_command *command = &played->commands[played->count++];
    *command = (struct played_command){.argc = argc, .fn = fn, .context = context};
    for (size_t i = 0; i < argc; i++) {
        command->words[i] = copy_text(argv[i]);
    }
}

static bool subscribe(struct bus_link *link, struct bytes channel)
{
    if (played_refuses_channels) {
        return false;
    }
    snprintf(link->played->probe_channel, sizeof(link->played->probe_channel), "%.*s",
        (int)channel.len, channel.at); /* that of the probe is the last one */
    link->played->channels++;
    return true;
}

static const struct bus_ops ops = {
    .open = open_link,
    .close = close_link,
    .is_up = is_up,
    .command = send_command,
    .subscribe = subscribe,
};

struct bus_link *played_listener(void)
{
    return played_redis->links[0].subscribes ? &played_redis->links[0] : &played_redis->links[1];
}

static struct bus_link *sender(void)
{
    return played_redis->links[0].subscribes ? &played_redis->links[1] : &played_redis->links[0];
}

/* Turns. */

void played_turn(void)
{
    for (unsigned i = 0; i < 4; i++) {
        one_shard_turn(&played_redis->shard, played_redis->now_ms);
    }
}

int played_find(const char *text)
{
    const struct played *played = played_redis;
    for (size_t i = 0; i < played->count; i++) {
        const struct played_command *command = &played->commands[i];
        if (strcmp(command->words[0], text) == 0 ||
            (command->argc > 1 && strcmp(command->words[1], text) == 0)) {
            return (int)i;
        }
    }
    return -1;
}

int played_find_read(void)
{
    for (size_t i = 0; i < played_redis->count; i++) {
        const struct played_command *command = &played_redis->commands[i];
        if (strcmp(command->words[0], "EVALSHA") == 0 && command->argc == 4) {
            return (int)i;
        }
    }
    return -1;
}

/* Answers. */

struct bus_reply played_text(const char *text)
{
    return (struct bus_reply){.type = BUS_STRING, .text = bytes_str(text)};
}

void played_answer(int index, int status, const struct bus_reply *reply)
{
    cr_assert_geq(index, 0);
    struct played_command command = take((size_t)index);
    if (command.fn != NULL) {
        command.fn(command.context, status, reply);
    }
    free_words(&command);
    played_turn();
}

void played_answer_texts(int index, size_t count, const char *const *texts)
{
    struct bus_reply items[8];
    struct bus_reply *list[8];
    for (size_t i = 0; i < count; i++) {
        items[i] = played_text(texts[i]);
        list[i] = &items[i];
    }
    played_answer(index, 0, &(struct bus_reply){.type = BUS_ARRAY, .count = count, .items = list});
}

void played_answer_number(int index, int64_t number)
{
    played_answer(index, 0, &(struct bus_reply){.type = BUS_INTEGER, .integer = number});
}

void played_announce(const char *payload)
{
    played_listener()->events->on_message(
        played_listener()->context, BYTES("v:0:changed:{0}"), bytes_str(payload));
    played_turn();
}

void played_bring_probes(void)
{
    for (int index; (index = played_find("PUBLISH")) >= 0;) {
        char payload[64];
        snprintf(payload, sizeof(payload), "%s", played_redis->commands[index].words[2]);
        played_answer(index, 0, &(struct bus_reply){.type = BUS_INTEGER});
        played_listener()->events->on_message(
            played_listener()->context, bytes_str(played_redis->probe_channel), bytes_str(payload));
    }
    played_turn();
}

/* Life. */

void played_confirm(void)
{
    for (; played_redis->channels > 0; played_redis->channels--) {
        played_listener()->events->on_subscribed(played_listener()->context, BYTES("any"));
    }
    played_turn();
    played_bring_probes();
}

void played_come_up(void)
{
    const struct bus_reply sha = {.type = BUS_STRING, .text = BYTES(SHA)};
    played_redis->up = true;
    sender()->events->on_up(sender()->context);
    played_listener()->events->on_up(played_listener()->context);
    for (int index; (index = played_find("SCRIPT")) >= 0;) {
        played_answer(index, 0, &sha);
    }
    PLAYED_ANSWER(played_find("TIME"), "7", "250000"); /* PLAYED_START_MS on this node */
    played_confirm();
}

void played_set_up(void)
{
    played_redis = mem_alloc(sizeof(*played_redis));
    played_redis->now_ms = PLAYED_START_MS;
    played_redis->bus.ops = &ops;
    played_redis->config = (struct actor_config){.node = "n",
        .epoch = "e",
        .names = {.prefix = "peal", .slots = PLAYED_SLOTS},
        .adapter_key = "socket.io",
        .values = {.wanted = true,
            .prefix = "v",
            .bytes = 1 << 20,
            .stale_ms = PLAYED_STALE_MS,
            .fill_ms = PLAYED_FILL_MS,
            .waiting = 100,
            .drops = 2}};
    played_redis->system = actor_system_create(1);
    struct sched *sched = actor_system_sched(played_redis->system, 0);
    sched_bind(sched, one_shard_wake, NULL, &played_redis->shard);
    shard_init(&played_redis->shard, sched, &played_redis->config);
    played_turn();
    played_redis->shard.bus = &played_redis->bus;
    played_redis->shard.values = values_create(&played_redis->shard);
    played_turn();
}

void played_tear_down(void)
{
    values_close(played_redis->shard.values);
    played_turn();
    cr_assert_eq(values_get_stats(played_redis->shard.values)->calls, 0);
    values_destroy(played_redis->shard.values);
    played_redis->shard.values = NULL;
    actor_system_destroy(played_redis->system);
    played_redis->shard.bus = NULL;
    shard_finish(&played_redis->shard);
    mem_free(played_redis);
}

void played_move(uint64_t ms)
{
    played_redis->now_ms += ms;
    played_turn();
}

/* Asking. */

static void on_done(struct value_call *call)
{
    container_of(call, struct played_ask, call)->done = true;
}

struct played_ask *played_ask(
    enum value_verb verb, const char *tags, const char *token, uint64_t wait_ms)
{
    struct played_ask *one = mem_alloc(sizeof(*one));
    one->call = (struct value_call){.ops = &one->op, .count = 1, .done = on_done};
    one->op.verb = verb;
    one->op.ttl_ms = PLAYED_TTL_MS;
    one->op.wait_ms = wait_ms;
    one->op.name_len = value_name_write(BYTES(""), BYTES("a"), one->op.name).len;
    one->op.body.bytes = verb == VALUE_PUT ? buf_new(BYTES("9")) : NULL;
    one->op.tags = tags != NULL ? buf_new(bytes_str(tags)) : NULL;
    strcpy(one->op.token, token);
    cr_assert(value_call_begin(&one->call, &played_redis->shard));
    played_turn();
    return one;
}

struct played_ask *played_get(void)
{
    return played_ask(VALUE_GET, NULL, "", 0);
}

enum value_outcome played_end(struct played_ask *one)
{
    cr_assert(one->done);
    enum value_outcome outcome = one->op.result.outcome;
    value_op_finish(&one->op);
    mem_free(one);
    return outcome;
}

void played_read(const char *version)
{
    struct played_ask *one = played_get();
    cr_assert_not(one->done);
    PLAYED_ANSWER(played_find_read(), "V", "1", "0", version, "99", "5000");
    cr_assert_eq(played_end(one), VALUE_HIT);
}

bool played_is_here(void)
{
    struct played_ask *one = played_get();
    bool here = one->done;
    if (!here) {
        PLAYED_ANSWER(played_find_read(), "M");
    }
    (void)played_end(one);
    return here;
}
