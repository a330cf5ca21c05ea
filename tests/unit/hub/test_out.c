/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of clients in a stream: what is added, what answers come to, who waits in vain. The test
 * is the Redis.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/bus.h"
#include "actors/identity.h"
#include "codec/base/status.h"
#include "codec/claims.h"
#include "hub/hooks/out.h"
#include "tests/support/net_rig.h"

TestSuite(out, .timeout = 60);

enum { COMMANDS_MAX = 32, COMMAND_TEXT = 1024, CALLS_MAX = 8 };

struct call {
    struct hook_call call; /* first */
    int at_once;
    int status;
    unsigned done;
    char result[64];
};

static struct {
    struct rig rig;
    struct out *out;
    struct out_settings settings;
    struct identity *ann;
    struct identity *bob;
    struct call calls[CALLS_MAX];
    unsigned count;
    struct bus bus;
    bool up;
    unsigned links;
    struct {
        char text[COMMAND_TEXT]; /* words and blanks, without the script */
        bus_reply_fn fn; /* NULL: answered, or nobody asks */
        void *context;
    } commands[COMMANDS_MAX];
    unsigned command_count;
} world;

static struct bus_link *line_open(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    (void)events;
    (void)context;
    cr_assert(strncmp(name, "out", 3) == 0);
    world.links++;
    return (struct bus_link *)(void *)bus;
}

static bool line_is_up(const struct bus_link *link)
{
    (void)link;
    return world.up;
}

static void line_command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    (void)link;
    (void)timeout_ms;
    cr_assert_lt(world.command_count, COMMANDS_MAX);
    char *at = world.commands[world.command_count].text;
    at[0] = '\0';
    for (size_t i = 0; i < argc; i++) {
        size_t len = strlen(at);
        bool script = argv[i].len > 100;
        snprintf(at + len, COMMAND_TEXT - len, "%s%.*s", i > 0 ? " " : "",
            script ? 1 : (int)argv[i].len, script ? "-" : argv[i].at);
    }
    world.commands[world.command_count].fn = fn;
    world.commands[world.command_count++].context = context;
}

/* The last link that is closed answers all. */
static void line_close(struct bus_link *link)
{
    (void)link;
    world.links--;
    for (unsigned i = 0; world.links == 0 && i < world.command_count; i++) {
        bus_reply_fn fn = world.commands[i].fn;
        world.commands[i].fn = NULL;
        if (fn != NULL) {
            fn(world.commands[i].context, STATUS_CANCELLED, NULL);
        }
    }
}

static const struct bus_ops line_ops = {
    .open = line_open, .close = line_close, .is_up = line_is_up, .command = line_command};

static void open_here(void *arg)
{
    (void)arg;
    world.rig.shards[0].bus = &world.bus;
    world.out = out_open(&world.rig.shards[0], &world.settings);
}

static struct identity *make_identity(const char *user)
{
    const struct claims_fields fields = {.user = bytes_str(user), .tenant = BYTES("acme")};
    return identity_new(claims_new(&fields), true);
}

static void begin(uint32_t timeout_ms)
{
    memset(&world, 0, sizeof(world));
    world.bus.ops = &line_ops;
    world.up = true;
    world.settings =
        (struct out_settings){.wanted = true, .timeout_ms = timeout_ms, .maxlen = 7, .per_user = 2};
    world.ann = make_identity("ann");
    world.bob = make_identity("bob");
    world.rig.config.node = "n1";
    world.rig.config.names = (struct bus_names){.prefix = "peal", .slots = 1024};
    rig_start(&world.rig, 1, NULL, NULL);
    rig_call(&world.rig, 0, open_here, NULL);
}

static void close_here(void *arg)
{
    (void)arg;
    out_close(world.out);
    world.rig.shards[0].bus = NULL;
}

static void end(void)
{
    rig_call(&world.rig, 0, close_here, NULL);
    cr_expect_eq(world.links, 0);
    for (unsigned i = 0; i < world.count; i++) {
        cr_expect_eq(world.calls[i].done, world.calls[i].at_once == STATUS_AGAIN, "call %u", i);
    }
    rig_stop(&world.rig);
    out_destroy(world.out);
    identity_unref(world.ann);
    identity_unref(world.bob);
}

static void on_done(struct hook_call *hook_call)
{
    struct call *call = (struct call *)(void *)hook_call;
    call->done++;
    call->status = hook_call->status;
    snprintf(call->result, sizeof(call->result), "%.*s", (int)hook_call->result.len,
        hook_call->result.len > 0 ? hook_call->result.at : "");
}

static void ask_here(void *arg)
{
    struct call *call = &world.calls[world.count++];
    const struct hook_question question = {.kind = HOOK_EVENT,
        .hook = HOOK_OUT,
        .who = arg,
        .nsp = BYTES("/"),
        .name = BYTES("order:new"),
        .args = BYTES("{\"a\":1},2"),
        .socket = BYTES("sid")};
    call->call.done = on_done;
    call->at_once = out_ask(world.out, &question, &call->call);
}

static struct call *ask(struct identity *who)
{
    cr_assert_lt(world.count, CALLS_MAX);
    rig_call(&world.rig, 0, ask_here, who);
    return &world.calls[world.count - 1];
}

/* What Redis answers to a command. */
struct said {
    unsigned command;
    int status;
    const struct bus_reply *reply;
};

static void say_here(void *arg)
{
    const struct said *said = arg;
    bus_reply_fn fn = world.commands[said->command].fn;
    world.commands[said->command].fn = NULL;
    fn(world.commands[said->command].context, said->status, said->reply);
}

static void say(unsigned command, int status, const struct bus_reply *reply)
{
    struct said said = {command, status, reply};
    rig_call(&world.rig, 0, say_here, &said);
}

static void say_text(unsigned command, const char *text)
{
    const struct bus_reply reply = {.type = BUS_STRING, .text = bytes_str(text)};
    say(command, 0, &reply);
}

/* An entry of the answers: `id`, and `result` unless that is NULL. */
static void say_answer(unsigned command, const char *entry, const char *id, const char *result)
{
    struct bus_reply texts[] = {{.type = BUS_STRING, .text = BYTES("id")},
        {.type = BUS_STRING, .text = bytes_str(id)}, {.type = BUS_STRING, .text = BYTES("result")},
        {.type = BUS_STRING, .text = bytes_str(result != NULL ? result : "")}};
    struct bus_reply *fields[] = {&texts[0], &texts[1], &texts[2], &texts[3]};
    struct bus_reply list = {.type = BUS_ARRAY, .items = fields, .count = result != NULL ? 4 : 2};
    struct bus_reply name = {.type = BUS_STRING, .text = bytes_str(entry)};
    struct bus_reply *pair[] = {&name, &list};
    struct bus_reply item = {.type = BUS_ARRAY, .items = pair, .count = 2};
    struct bus_reply *items[] = {&item};
    struct bus_reply entries = {.type = BUS_ARRAY, .items = items, .count = 1};
    struct bus_reply stream = {.type = BUS_STRING, .text = BYTES("peal:out:reply:n1-0")};
    struct bus_reply *of_stream[] = {&stream, &entries};
    struct bus_reply one = {.type = BUS_ARRAY, .items = of_stream, .count = 2};
    struct bus_reply *all[] = {&one};
    const struct bus_reply reply = {.type = BUS_ARRAY, .items = all, .count = 1};
    say(command, 0, &reply);
}

/* The id of the event that command `number` has added. */
static const char *id_of(unsigned number)
{
    static char id[33];
    const char *at = strstr(world.commands[number].text, " id ");
    cr_assert_not_null(at);
    snprintf(id, sizeof(id), "%s", at + 4);
    return id;
}

static void expect_command(const char *text)
{
    for (unsigned i = 0; i < world.command_count; i++) {
        if (strcmp(world.commands[i].text, text) == 0) {
            return;
        }
    }
    cr_assert_fail("no command %s", text);
}

static struct out_stats last;

static void read_stats(void *arg)
{
    (void)arg;
    last = *out_get_stats(world.out);
}

static struct out_stats stats(void)
{
    rig_call(&world.rig, 0, read_stats, NULL);
    return last;
}

Test(out, an_event_is_added_and_its_answer_is_the_result)
{
    begin(60000);
    const struct call *call = ask(world.ann);
    cr_assert_eq(call->at_once, STATUS_AGAIN);
    cr_assert_eq(world.command_count, 2);
    const char *text = world.commands[0].text;
    cr_expect(strncmp(text, "EVAL - 1 peal:out ", 18) == 0, "%s", text);
    cr_expect_not_null(strstr(text,
        " 7 event order:new args [{\"a\":1},2] user ann tenant acme socket sid node n1-0 id "));
    cr_expect_str_eq(
        world.commands[1].text, "XREAD COUNT 100 BLOCK 5000 STREAMS peal:out:reply:n1-0 0-0");
    say_text(0, "5-1");
    cr_expect_eq(stats().sent, 1);
    say_answer(1, "9-1", id_of(0), "{\"ok\":1}");
    cr_expect_eq(call->done, 1);
    cr_expect_eq(call->status, 0);
    cr_expect_str_eq(call->result, "{\"ok\":1}");
    expect_command("XDEL peal:out 5-1");
    expect_command("XDEL peal:out:reply:n1-0 9-1");
    expect_command("EXPIRE peal:out:reply:n1-0 3600");
    unsigned count = world.command_count;
    (void)ask(world.ann);
    cr_assert_eq(world.command_count, count + 2, "it reads again");
    cr_expect_str_eq(world.commands[count + 1].text,
        "XREAD COUNT 100 BLOCK 5000 STREAMS peal:out:reply:n1-0 9-1");
    say_answer(count + 1, "9-2", id_of(0), "2");
    cr_expect_eq(stats().late, 1, "the second answer to the first one");
    cr_expect_eq(stats().waiting, 1);
    end();
}

Test(out, an_answer_may_come_before_it_is_known_that_it_was_added)
{
    begin(60000);
    const struct call *call = ask(world.ann);
    say_answer(1, "9-1", id_of(0), NULL);
    cr_expect_eq(call->status, 0);
    cr_expect_str_eq(call->result, "");
    say_text(0, "5-1");
    expect_command("XDEL peal:out 5-1");
    end();
}

static bool is_done(void *arg)
{
    return ((const struct call *)arg)->done > 0;
}

Test(out, who_is_not_answered_is_told_in_time)
{
    begin(50);
    struct call *call = ask(world.ann);
    say_text(0, "5-1");
    cr_assert(rig_wait(&world.rig, 0, is_done, call));
    cr_expect_eq(call->status, STATUS_TIMEOUT);
    cr_expect_eq(stats().timeouts, 1);
    for (unsigned i = 0; i < world.command_count; i++) {
        cr_expect_null(strstr(world.commands[i].text, "XDEL"), "a backend may still want it");
    }
    say_answer(1, "9-1", id_of(0), "1");
    cr_expect_eq(stats().late, 1);
    end();
}

/* What Redis may say, and what that comes to. */
Test(out, what_cannot_be_added_is_refused)
{
    begin(60000);
    const struct bus_reply nil = {.type = BUS_NIL};
    const struct bus_reply error = {.type = BUS_ERROR, .text = BYTES("OOM")};
    struct call *call = ask(world.ann);
    say(0, 0, &nil);
    cr_expect_eq(call->status, STATUS_UNAVAILABLE);
    cr_expect_eq(stats().full, 1);
    call = ask(world.ann);
    say(2, 0, &error);
    cr_expect_eq(call->status, STATUS_UNAVAILABLE);
    call = ask(world.ann);
    say(3, STATUS_UNAVAILABLE, NULL);
    cr_expect_eq(call->status, STATUS_UNAVAILABLE);
    cr_expect_eq(stats().failed, 2);
    world.up = false;
    cr_expect_eq(ask(world.ann)->at_once, STATUS_UNAVAILABLE);
    cr_expect_eq(stats().waiting, 0);
    end();
}

Test(out, a_result_that_is_no_json_is_none)
{
    begin(60000);
    const struct call *call = ask(world.ann);
    say_text(0, "5-1");
    say_answer(1, "9-1", id_of(0), "well");
    cr_expect_eq(call->status, STATUS_UNAVAILABLE);
    cr_expect_eq(stats().failed, 1);
    cr_expect_eq(stats().answered, 0);
    end();
}

Test(out, what_redis_says_may_be_nothing)
{
    begin(60000);
    struct call *call = ask(world.ann);
    const struct bus_reply number = {.type = BUS_INTEGER, .integer = 1};
    struct bus_reply *items[] = {(struct bus_reply *)(uintptr_t)&number};
    const struct bus_reply list = {.type = BUS_ARRAY, .items = items, .count = 1};
    say(1, 0, &list);
    cr_assert_eq(world.command_count, 3, "it reads on");
    say(2, 0, &(const struct bus_reply){.type = BUS_NIL});
    cr_assert_eq(world.command_count, 4);
    cr_expect_eq(call->done, 0);
    end();
    cr_expect_eq(call->status, STATUS_UNAVAILABLE, "it ends with the node");
}

Test(out, a_user_has_so_many_open_and_no_more)
{
    begin(60000);
    cr_expect_eq(ask(world.ann)->at_once, STATUS_AGAIN);
    cr_expect_eq(ask(world.ann)->at_once, STATUS_AGAIN);
    cr_expect_eq(ask(world.ann)->at_once, STATUS_RATE_LIMITED);
    cr_expect_eq(ask(world.bob)->at_once, STATUS_AGAIN);
    cr_expect_eq(stats().bounded, 1);
    say_answer(1, "9-1", id_of(0), "1");
    cr_expect_eq(ask(world.ann)->at_once, STATUS_AGAIN);
    end();
}
