/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of a shard with Redis, which the test plays: it sees each command, answers when and what
 * it likes, and announces what others change.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/assembly/shard_floors.h"
#include "actors/bus.h"
#include "actors/shard.h"
#include "actors/values/value_call.h"
#include "actors/values/value_drop.h"
#include "actors/values/value_link.h"
#include "actors/values/value_op.h"
#include "actors/values/value_scripts.h"
#include "actors/values/values.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "tests/support/one_shard.h"

TestSuite(values_bus, .timeout = 60);

enum { START_MS = 5000, SLOTS = 4, WORDS_MAX = 16, COMMANDS_MAX = 64, FILL_MS = 200 };

#define SHA "0123456789012345678901234567890123456789"

/* A command that the test has not answered. */
struct command {
    size_t argc;
    char *words[WORDS_MAX];
    bus_reply_fn fn;
    void *context;
};

struct bus_link {
    struct played *played;
    const struct bus_events *events;
    void *context;
    bool subscribes;
};

struct played {
    struct bus bus; /* first */
    struct bus_link links[2];
    unsigned opened;
    bool up;
    struct command commands[COMMANDS_MAX];
    size_t count;
    char probe_channel[128];
};

struct world {
    struct actor_system *system;
    struct actor_config config;
    struct shard shard;
    struct played played;
    uint64_t now_ms;
};

static struct world *world;

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

static void free_words(struct command *command)
{
    for (size_t i = 0; i < command->argc; i++) {
        free(command->words[i]);
    }
}

/* Take the command out that stands at `index`. */
static struct command take(size_t index)
{
    struct played *played = &world->played;
    cr_assert_lt(index, played->count);
    struct command command = played->commands[index];
    played->count--;
    for (size_t i = index; i < played->count; i++) {
        played->commands[i] = played->commands[i + 1];
    }
    return command;
}

static void close_link(struct bus_link *link)
{
    while (!link->subscribes && link->played->count > 0) {
        struct command command = take(0);
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
    cr_assert_lt(played->count, COMMANDS_MAX);
    cr_assert_leq(argc, WORDS_MAX);
    struct command *command = &played->commands[played->count++];
    *command = (struct command){.argc = argc, .fn = fn, .context = context};
    for (size_t i = 0; i < argc; i++) {
        command->words[i] = copy_text(argv[i]);
    }
}

static bool subscribe(struct bus_link *link, struct bytes channel)
{
    snprintf(link->played->probe_channel, sizeof(link->played->probe_channel), "%.*s",
        (int)channel.len, channel.at); /* that of the probe is the last one */
    return true;
}

static const struct bus_ops ops = {
    .open = open_link,
    .close = close_link,
    .is_up = is_up,
    .command = send_command,
    .subscribe = subscribe,
};

static struct bus_link *listener(void)
{
    return world->played.links[0].subscribes ? &world->played.links[0] : &world->played.links[1];
}

static struct bus_link *sender(void)
{
    return world->played.links[0].subscribes ? &world->played.links[1] : &world->played.links[0];
}

/* Turns. */

static void turn(void)
{
    for (unsigned i = 0; i < 4; i++) {
        one_shard_turn(&world->shard, world->now_ms);
    }
}

/* The index of the first command that has `text` as one of its first two words, or the text of
 * the script as its second; -1: none. */
static int find(const char *text)
{
    const struct played *played = &world->played;
    for (size_t i = 0; i < played->count; i++) {
        const struct command *command = &played->commands[i];
        if (strcmp(command->words[0], text) == 0 ||
            (command->argc > 1 && strcmp(command->words[1], text) == 0)) {
            return (int)i;
        }
    }
    return -1;
}

/* The index of the first read. */
static int find_read(void)
{
    for (size_t i = 0; i < world->played.count; i++) {
        const struct command *command = &world->played.commands[i];
        if (strcmp(command->words[0], "EVALSHA") == 0 && command->argc == 4) {
            return (int)i;
        }
    }
    return -1;
}

/* Answers. */

static struct bus_reply text_reply(const char *text)
{
    return (struct bus_reply){.type = BUS_STRING, .text = bytes_str(text)};
}

static void answer(int index, int status, const struct bus_reply *reply)
{
    cr_assert_geq(index, 0);
    struct command command = take((size_t)index);
    if (command.fn != NULL) {
        command.fn(command.context, status, reply);
    }
    free_words(&command);
    turn();
}

/* Answer with an array of texts. */
static void answer_texts(int index, size_t count, const char *const *texts)
{
    struct bus_reply items[8];
    struct bus_reply *list[8];
    for (size_t i = 0; i < count; i++) {
        items[i] = text_reply(texts[i]);
        list[i] = &items[i];
    }
    answer(index, 0, &(struct bus_reply){.type = BUS_ARRAY, .count = count, .items = list});
}

#define ANSWER(index, ...)                                                                         \
    answer_texts(index, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),              \
        (const char *[]){__VA_ARGS__})

static void answer_number(int index, int64_t number)
{
    answer(index, 0, &(struct bus_reply){.type = BUS_INTEGER, .integer = number});
}

static void announce(const char *payload)
{
    listener()->events->on_message(
        listener()->context, BYTES("v:0:changed:{0}"), bytes_str(payload));
    turn();
}

/* Let the probes that were sent come back. */
static void bring_probes(void)
{
    for (int index; (index = find("PUBLISH")) >= 0;) {
        char payload[64];
        snprintf(payload, sizeof(payload), "%s", world->played.commands[index].words[2]);
        answer(index, 0, &(struct bus_reply){.type = BUS_INTEGER});
        listener()->events->on_message(
            listener()->context, bytes_str(world->played.probe_channel), bytes_str(payload));
    }
    turn();
}

/* Life. */

static void come_up(void)
{
    const struct bus_reply sha = {.type = BUS_STRING, .text = BYTES(SHA)};
    world->played.up = true;
    sender()->events->on_up(sender()->context);
    listener()->events->on_up(listener()->context);
    for (int index; (index = find("SCRIPT")) >= 0;) {
        answer(index, 0, &sha);
    }
    ANSWER(find("TIME"), "7", "250000"); /* START_MS on this node */
    for (unsigned i = 0; i <= SLOTS; i++) {
        listener()->events->on_subscribed(listener()->context, BYTES("any"));
    }
    turn();
    bring_probes();
}

static void set_up(void)
{
    world = mem_alloc(sizeof(*world));
    world->now_ms = START_MS;
    world->played.bus.ops = &ops;
    world->config = (struct actor_config){.node = "n",
        .epoch = "e",
        .names = {.prefix = "peal", .slots = SLOTS},
        .adapter_key = "socket.io",
        .values = {.wanted = true,
            .prefix = "v",
            .bytes = 1 << 20,
            .stale_ms = 500,
            .fill_ms = FILL_MS,
            .waiting = 100,
            .drops = 2}};
    world->system = actor_system_create(1);
    struct sched *sched = actor_system_sched(world->system, 0);
    sched_bind(sched, one_shard_wake, NULL, &world->shard);
    shard_init(&world->shard, sched, &world->config);
    turn();
    world->shard.bus = &world->played.bus;
    world->shard.values = values_create(&world->shard);
    turn();
}

static void tear_down(void)
{
    values_close(world->shard.values);
    turn();
    cr_assert_eq(values_get_stats(world->shard.values)->calls, 0);
    values_destroy(world->shard.values);
    world->shard.values = NULL;
    actor_system_destroy(world->system);
    world->shard.bus = NULL;
    shard_finish(&world->shard);
    mem_free(world);
}

static void move(uint64_t ms)
{
    world->now_ms += ms;
    turn();
}

/* Asking. */

struct one {
    struct value_call call; /* first */
    struct value_op op;
    bool done;
};

static void on_done(struct value_call *call)
{
    container_of(call, struct one, call)->done = true;
}

static struct one *ask(enum value_verb verb, const char *tags, const char *token, uint64_t wait_ms)
{
    struct one *one = mem_alloc(sizeof(*one));
    one->call = (struct value_call){.ops = &one->op, .count = 1, .done = on_done};
    one->op.verb = verb;
    one->op.ttl_ms = 10000;
    one->op.wait_ms = wait_ms;
    one->op.name_len = value_name_write(BYTES(""), BYTES("a"), one->op.name).len;
    one->op.body.bytes = verb == VALUE_PUT ? buf_new(BYTES("9")) : NULL;
    one->op.tags = tags != NULL ? buf_new(bytes_str(tags)) : NULL;
    strcpy(one->op.token, token);
    cr_assert(value_call_begin(&one->call, &world->shard));
    turn();
    return one;
}

static struct one *get(void)
{
    return ask(VALUE_GET, NULL, "", 0);
}

/* What came of it; it is gone then. */
static enum value_outcome end(struct one *one)
{
    cr_assert(one->done);
    enum value_outcome outcome = one->op.result.outcome;
    value_op_finish(&one->op);
    mem_free(one);
    return outcome;
}

static void read_from_redis(const char *version)
{
    struct one *one = get();
    cr_assert_not(one->done);
    ANSWER(find_read(), "V", "1", "0", version, "99", "5000");
    cr_assert_eq(end(one), VALUE_HIT);
}

/* Whether a read is answered without Redis. */
static bool is_here(void)
{
    struct one *one = get();
    bool here = one->done;
    if (!here) {
        ANSWER(find_read(), "M");
    }
    (void)end(one);
    return here;
}

Test(values_bus, memory_serves_only_while_changes_are_heard)
{
    set_up();
    come_up();
    read_from_redis("7");
    cr_assert(is_here());
    move(VALUE_LINK_GOOD_MS - 1); /* probes are sent, and do not come back */
    cr_assert(is_here());
    move(1);
    cr_assert_not(is_here());
    bring_probes();
    read_from_redis("7");
    cr_assert(is_here());
    move(5000);
    bring_probes();
    cr_assert_not(is_here()); /* it has ended */
    tear_down();
}

Test(values_bus, what_others_change_is_asked_for_again)
{
    set_up();
    come_up();
    read_from_redis("7");
    announce("7 /a"); /* that is what it has */
    cr_assert(is_here());
    announce("8 /b");
    announce("nonsense");
    announce("");
    cr_assert(is_here());
    announce("8 /a");
    cr_assert_not(is_here());
    tear_down();
}

Test(values_bus, an_answer_that_was_overtaken_is_not_kept)
{
    set_up();
    come_up();
    struct one *one = get();
    announce("8 /a");
    ANSWER(find("EVALSHA"), "V", "1", "0", "7", "99", "5000");
    cr_assert_eq(end(one), VALUE_HIT);
    cr_assert_not(is_here());
    one = get();
    announce("9 /a");
    ANSWER(find("EVALSHA"), "V", "2", "0", "9", "99", "5000"); /* it shows what was announced */
    cr_assert_eq(end(one), VALUE_HIT);
    cr_assert(is_here());
    tear_down();
}

Test(values_bus, a_connection_that_is_lost_forgets_all)
{
    set_up();
    come_up();
    read_from_redis("7");
    struct one *under_way = ask(VALUE_PUT, NULL, "", 0);
    listener()->events->on_down(listener()->context);
    cr_assert_not(is_here());
    listener()->events->on_up(listener()->context);
    for (unsigned i = 0; i <= SLOTS; i++) {
        listener()->events->on_subscribed(listener()->context, BYTES("any"));
    }
    turn();
    bring_probes();
    ANSWER(find("EVALSHA"), "D", "8", "99"); /* asked while the connection of before was there */
    cr_assert_eq(end(under_way), VALUE_DONE);
    cr_assert_not(is_here());
    tear_down();
}

Test(values_bus, one_read_serves_those_who_read_meanwhile_and_none_behind_a_write)
{
    set_up();
    come_up();
    struct one *first = get();
    struct one *second = get();
    cr_assert_eq(world->played.count, 1);
    struct one *put = ask(VALUE_PUT, NULL, "", 0);
    cr_assert_eq(world->played.count, 2);
    ANSWER(1, "D", "8", "99");
    cr_assert_eq(end(put), VALUE_DONE);
    announce("8 /a");
    cr_assert(is_here());
    announce("9 /a");
    struct one *third = get(); /* behind the answer to a write: it asks for itself */
    cr_assert_eq(world->played.count, 2);
    ANSWER(0, "V", "1", "0", "7", "99", "5000");
    cr_assert(first->done && second->done && !third->done);
    cr_assert_eq(end(first), VALUE_HIT);
    cr_assert_eq(end(second), VALUE_HIT);
    ANSWER(0, "M");
    cr_assert_eq(end(third), VALUE_MISS);
    tear_down();
}

Test(values_bus, redis_that_is_away_is_a_miss_for_reads_and_told_to_writes)
{
    set_up();
    cr_assert_eq(end(get()), VALUE_MISS);
    cr_assert_eq(end(ask(VALUE_PUT, NULL, "", 0)), VALUE_UNAVAILABLE);
    cr_assert_eq(end(ask(VALUE_LEASE, NULL, "", 100)), VALUE_MISS);
    come_up();
    struct one *read = get();
    struct one *put = ask(VALUE_PUT, NULL, "", 0);
    struct one *lease = ask(VALUE_LEASE, NULL, "", 100);
    for (unsigned i = 0; i < 3; i++) {
        answer(0, STATUS_UNAVAILABLE, NULL);
    }
    cr_assert_eq(end(read), VALUE_MISS);
    cr_assert_eq(end(put), VALUE_UNKNOWN);
    cr_assert_eq(end(lease), VALUE_MISS);
    put = ask(VALUE_PUT, NULL, "", 0);
    answer(0, 0, &(struct bus_reply){.type = BUS_ERROR, .text = BYTES("OOM command not allowed")});
    cr_assert_eq(end(put), VALUE_UNAVAILABLE);
    cr_assert_eq(values_get_stats(world->shard.values)->deaf, 1);
    tear_down();
}

Test(values_bus, a_script_that_redis_has_forgotten_is_told_again)
{
    set_up();
    come_up();
    struct one *one = get();
    answer(find("EVALSHA"), 0, &(struct bus_reply){.type = BUS_ERROR, .text = BYTES("NOSCRIPT x")});
    cr_assert_not(one->done);
    int index = find("EVAL");
    cr_assert_str_eq(world->played.commands[index].words[1], value_scripts[VALUE_SCRIPT_READ]);
    ANSWER(index, "M");
    cr_assert_eq(end(one), VALUE_MISS);
    cr_assert_geq(find("SCRIPT"), 0);
    tear_down();
}

Test(values_bus, what_redis_should_not_answer_is_borne)
{
    static const char *const letters[] = {"V", "S", "D", "F", "H", "C", "X", "", "VV"};
    set_up();
    come_up();
    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        struct one *one = get();
        ANSWER(0, letters[i]);
        cr_assert_eq(end(one), VALUE_MISS);
        one = ask(VALUE_PUT, NULL, "", 0);
        ANSWER(0, letters[i], "-1", "text");
        cr_assert_eq(end(one), VALUE_UNKNOWN);
        one = ask(VALUE_INCREMENT, NULL, "", 0);
        answer(0, 0, &(struct bus_reply){.type = BUS_NIL});
        cr_assert_eq(end(one), VALUE_UNKNOWN);
    }
    tear_down();
}

Test(values_bus, a_value_is_added_to_its_tags_before_it_is_written)
{
    set_up();
    come_up();
    struct one *one = ask(VALUE_PUT, "\nx\ny\n", "", 0);
    cr_assert_eq(world->played.count, 2); /* one for each tag */
    answer_number(0, 1);
    cr_assert_eq(world->played.count, 1);
    answer_number(0, 1);
    cr_assert_eq(world->played.count, 1);
    cr_assert_str_eq(world->played.commands[0].words[8], "\nx\ny\n"); /* the value itself */
    ANSWER(0, "D", "8", "99");
    cr_assert_eq(end(one), VALUE_DONE);
    one = ask(VALUE_PUT, "\nx\ny\n", "0:123", 0);
    answer_number(0, 0); /* let go since then */
    answer_number(0, 1);
    cr_assert_eq(world->played.count, 0);
    cr_assert_eq(end(one), VALUE_LEASE_LOST);
    tear_down();
}

Test(values_bus, entries_of_tags_end_by_the_clock_of_redis)
{
    enum { REDIS_MS = 7250, LIFE_MS = 10000 + 500 + 60000, TIE_BITS = 10 };
    set_up();
    come_up();
    struct one *one = ask(VALUE_PUT, "\nt\n", "x:1", 0);
    int index = find("EVALSHA");
    cr_assert_geq(index, 0);
    char *const *words = world->played.commands[index].words;
    cr_expect_eq(strtoull(words[6], NULL, 10) >> TIE_BITS, REDIS_MS + LIFE_MS, "%s", words[6]);
    cr_expect_eq(strtoull(words[9], NULL, 10) >> TIE_BITS, REDIS_MS, "%s", words[9]);
    answer_number(index, 0);
    cr_expect_eq(end(one), VALUE_LEASE_LOST);
    tear_down();
}

Test(values_bus, a_token_that_nobody_made_is_a_number_for_redis)
{
    static const char *const tokens[][2] = {{"", ""}, {"nobodys", "0"}, {"x:y", "0"}, {"x:", "0"},
        {"x:-1", "0"}, {"x:1e9", "0"}, {"x:99999999999999999999", "0"}, {"x:17", "17"}};
    set_up();
    come_up();
    for (size_t i = 0; i < sizeof(tokens) / sizeof(*tokens); i++) {
        struct one *one = ask(VALUE_PUT, "\nt\n", tokens[i][0], 0);
        int index = find("EVALSHA");
        cr_assert_geq(index, 0);
        /* EVALSHA digest 2 set mark name stamp since life floor */
        cr_expect_str_eq(world->played.commands[index].words[7], tokens[i][1], "%s", tokens[i][0]);
        answer_number(index, 0);
        cr_expect_eq(end(one), VALUE_LEASE_LOST);
    }
    tear_down();
}

Test(values_bus, who_waits_asks_again_when_something_changes)
{
    set_up();
    come_up();
    struct one *one = ask(VALUE_LEASE, NULL, "", 1000);
    ANSWER(0, "H", "200");
    struct one *two = ask(VALUE_LEASE, NULL, "", 1000);
    cr_assert_eq(world->played.count, 0); /* it waits with the other one */
    announce("8 /a");
    cr_assert_eq(world->played.count, 1);
    ANSWER(0, "V", "1", "0", "8", "99", "5000");
    cr_assert_eq(end(one), VALUE_HIT);
    cr_assert_eq(end(two), VALUE_HIT);
    cr_assert_eq(values_get_stats(world->shard.values)->waiting, 0);
    tear_down();
}

Test(values_bus, who_fills_and_cannot_says_so_and_redis_tells_who_waits)
{
    set_up();
    come_up();
    struct one *one = ask(VALUE_RELEASE, NULL, "0123:45", 0);
    cr_assert_str_eq(world->played.commands[0].words[4], "0123:45");
    ANSWER(0, "M");
    cr_assert_eq(end(one), VALUE_MISS);
    one = ask(VALUE_RELEASE, NULL, "0123:45", 0);
    ANSWER(0, "V", "1", "0", "8", "99", "5000"); /* no answer to that */
    cr_assert_eq(end(one), VALUE_UNKNOWN);
    world->played.up = false;
    cr_assert_eq(end(ask(VALUE_RELEASE, NULL, "0123:45", 0)), VALUE_UNAVAILABLE);
    world->played.up = true;
    tear_down();
}

Test(values_bus, of_those_who_wait_one_fills_when_the_time_of_the_first_is_over)
{
    set_up();
    come_up();
    struct one *one = ask(VALUE_LEASE, NULL, "", 1000);
    ANSWER(0, "H", "200");
    struct one *two = ask(VALUE_LEASE, NULL, "", 1000);
    move(200);
    bring_probes();
    cr_assert_eq(world->played.count, 1);
    ANSWER(0, "F", "0123:45");
    cr_assert(one->done && !two->done);
    cr_assert_str_eq(one->op.result.token, "0123:45");
    cr_assert_eq(end(one), VALUE_FILL);
    move(FILL_MS);
    bring_probes();
    cr_assert_eq(world->played.count, 1);
    ANSWER(0, "S", "1", "0", "8", "99");
    cr_assert_eq(end(two), VALUE_STALE);
    tear_down();
}

/* Letting go. */

struct going {
    struct value_drop drop; /* first */
    bool done;
};

static void on_gone(struct value_drop *drop)
{
    container_of(drop, struct going, drop)->done = true;
}

static void answer_scan(const char *cursor, size_t count, const char *const *texts)
{
    struct bus_reply items[4];
    struct bus_reply *list[4];
    struct bus_reply head = text_reply(cursor);
    for (size_t i = 0; i < count; i++) {
        items[i] = text_reply(texts[i]);
        list[i] = &items[i];
    }
    struct bus_reply found = {.type = BUS_ARRAY, .count = count, .items = list};
    struct bus_reply *both[] = {&head, &found};
    answer(0, 0, &(struct bus_reply){.type = BUS_ARRAY, .count = 2, .items = both});
}

static void answer_dropped(int64_t count, int64_t same)
{
    struct bus_reply numbers[] = {
        {.type = BUS_INTEGER, .integer = count}, {.type = BUS_INTEGER, .integer = same}};
    struct bus_reply *list[] = {&numbers[0], &numbers[1]};
    answer(0, 0, &(struct bus_reply){.type = BUS_ARRAY, .count = 2, .items = list});
}

Test(values_bus, a_tag_is_marked_and_its_values_go_step_by_step)
{
    struct going going = {.drop = {.done = on_gone}};
    set_up();
    come_up();
    going.drop.tags = buf_new(BYTES("\nx\n"));
    cr_assert_eq(value_drop_begin(&going.drop, &world->shard), VALUE_DROP_BEGUN);
    answer_number(0, 1000); /* the mark */
    cr_assert_str_eq(world->played.commands[0].words[0], "ZSCAN");
    answer_scan("5", 4, (const char *[]){"/a", "11", "/b", "12"});
    cr_assert_eq(world->played.count, 2);
    answer_dropped(1, 1);
    answer_dropped(1, 0); /* another put of it has the tag, too: its entry stays */
    cr_assert_eq(world->played.count, 1);
    cr_assert_eq(world->played.commands[0].argc, 6);
    cr_assert_str_eq(world->played.commands[0].words[4], "/a");
    cr_assert_str_eq(world->played.commands[0].words[5], "11");
    answer_number(0, 1);
    cr_assert_str_eq(world->played.commands[0].words[2], "5"); /* the next step */
    answer_scan("0", 0, NULL);
    cr_assert(going.done);
    cr_assert_eq(going.drop.outcome, VALUE_DONE);
    cr_assert_eq(going.drop.count, 2);
    tear_down();
}

Test(values_bus, a_prefix_goes_through_the_keys_and_stops_when_redis_goes)
{
    struct going going = {.drop = {.done = on_gone}};
    set_up();
    come_up();
    memcpy(going.drop.prefix, "a:", 2);
    going.drop.prefix_len = 2;
    cr_assert_eq(value_drop_begin(&going.drop, &world->shard), VALUE_DROP_BEGUN);
    cr_assert_str_eq(world->played.commands[0].words[3], "v:{*}:v:/a:*");
    answer_scan("7", 3, (const char *[]){"v:{1}:v:/a:1", "foreign", "v:{2}:v:/a:2"});
    cr_assert_eq(world->played.count, 2);
    answer_dropped(1, 0);
    answer(0, STATUS_UNAVAILABLE, NULL);
    cr_assert(going.done);
    cr_assert_eq(going.drop.outcome, VALUE_UNKNOWN);
    going.done = false;
    cr_assert_eq(value_drop_begin(&going.drop, &world->shard), VALUE_DROP_BEGUN);
    tear_down(); /* under way: it is told by that */
    cr_assert(going.done);
}
