/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where other nodes are: asked once, remembered, and bounded against guesses.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/bus.h"
#include "actors/core/sched.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "hub/cluster/node_directory.h"

TestSuite(node_directory, .timeout = 60);

enum { ASKED_MAX = 1024 };

/* A Redis that answers when the test says so. */
struct script {
    struct bus bus;
    struct actor_system *system;
    struct sched *sched;
    struct node_directory *directory;
    struct {
        char key[96];
        bus_reply_fn fn;
        void *context;
    } asked[ASKED_MAX];
    size_t count;
    size_t answered;
    uint64_t now;
};

/* What one question was answered. */
struct answer {
    struct node_question question;
    unsigned count;
    int status;
    char address[64];
};

static struct bus_link *open_link(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    return (struct bus_link *)(void *)bus;
}

static void close_link(struct bus_link *link)
{
    struct script *script = container_of((struct bus *)(void *)link, struct script, bus);
    while (script->answered < script->count) {
        size_t i = script->answered++;
        script->asked[i].fn(script->asked[i].context, STATUS_CANCELLED, NULL);
    }
}

static void command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    struct script *script = container_of((struct bus *)(void *)link, struct script, bus);
    cr_assert_lt(script->count, ASKED_MAX);
    cr_assert((argc == 2 && bytes_eq_str(argv[0], "GET")) ||
              (argc == 4 && bytes_eq_str(argv[0], "ZRANGE")));
    size_t i = script->count++;
    snprintf(
        script->asked[i].key, sizeof(script->asked[i].key), "%.*s", (int)argv[1].len, argv[1].at);
    script->asked[i].fn = fn;
    script->asked[i].context = context;
}

static const struct bus_ops bus_ops = {.open = open_link, .close = close_link, .command = command};

static void advance(struct script *script, uint64_t ms)
{
    script->now += ms;
    sched_set_time(script->sched, script->now, script->now);
}

static const struct bus_names names = {.prefix = "p", .slots = 1024};

static struct script *start(void)
{
    struct script *script = mem_alloc(sizeof(*script));
    script->bus.ops = &bus_ops;
    script->system = actor_system_create(1);
    script->sched = actor_system_sched(script->system, 0);
    advance(script, 1000);
    script->directory = node_directory_open(&script->bus, script->sched, &names);
    return script;
}

static void stop(struct script *script)
{
    node_directory_close(script->directory);
    actor_system_destroy(script->system);
    mem_free(script);
}

static void on_answer(struct node_question *question, int status, const char *address)
{
    struct answer *answer = container_of(question, struct answer, question);
    answer->count++;
    answer->status = status;
    snprintf(answer->address, sizeof(answer->address), "%s", address ? address : "");
}

static void ask(struct script *script, uint16_t tag, struct answer *answer)
{
    *answer = (struct answer){.question.fn = on_answer};
    node_directory_ask(script->directory, tag, &answer->question);
}

/* Answer the oldest command: with a text, with nil (NULL), or with a status. */
static void reply(struct script *script, int status, const char *text)
{
    struct bus_reply reply = {.type = text ? BUS_STRING : BUS_NIL, .text = bytes_str(text)};
    size_t i = script->answered++;
    cr_assert_lt(i, script->count);
    script->asked[i].fn(script->asked[i].context, status, status == 0 ? &reply : NULL);
}

static void expect(const struct answer *answer, int status, const char *address)
{
    cr_expect_eq(answer->count, 1);
    cr_expect_eq(answer->status, status);
    cr_expect_str_eq(answer->address, address);
}

Test(node_directory, asks_once_for_all_and_remembers)
{
    struct script *script = start();
    struct answer answers[3];
    ask(script, 0xab, &answers[0]);
    ask(script, 0xab, &answers[1]);
    cr_assert_eq(script->count, 1);
    cr_expect_str_eq(script->asked[0].key, "p:node:{171}:00ab");
    cr_expect_eq(answers[0].count, 0);
    reply(script, 0, "name 10.0.0.1:77");
    ask(script, 0xab, &answers[2]);
    for (size_t i = 0; i < 3; i++) {
        expect(&answers[i], 0, "10.0.0.1:77");
    }
    advance(script, NODE_KNOWN_MS + 1);
    ask(script, 0xab, &answers[0]);
    cr_expect_eq(script->count, 2, "it may be somewhere else by now");
    stop(script);
}

Test(node_directory, remembers_that_there_is_no_such_node)
{
    struct script *script = start();
    struct answer answer;
    ask(script, 1, &answer);
    reply(script, 0, NULL);
    expect(&answer, STATUS_NOT_FOUND, "");
    for (unsigned i = 0; i < 1000; i++) {
        ask(script, 1, &answer);
        expect(&answer, STATUS_NOT_FOUND, "");
    }
    cr_expect_eq(script->count, 1);
    advance(script, NODE_ABSENT_MS + 1);
    ask(script, 1, &answer);
    reply(script, 0, "name 1.2.3.4:5");
    expect(&answer, 0, "1.2.3.4:5");
    stop(script);
}

Test(node_directory, a_lease_that_says_nothing_is_none)
{
    static const char *const leases[] = {"", "name", "name ",
        "name 123456789012345678901234567890123456789012345678901234567890123456789:1"};
    struct script *script = start();
    for (uint16_t i = 0; i < ARRAY_LEN(leases); i++) {
        struct answer answer;
        ask(script, i, &answer);
        reply(script, 0, leases[i]);
        expect(&answer, STATUS_NOT_FOUND, "");
    }
    stop(script);
}

Test(node_directory, guesses_are_bounded_and_known_nodes_stay)
{
    struct script *script = start();
    struct answer known;
    struct answer answer;
    ask(script, 0xffff, &known);
    reply(script, 0, "name 1.2.3.4:5");
    for (uint16_t tag = 0; tag < 2 * NODE_DIRECTORY_MAX; tag++) {
        ask(script, tag, &answer);
        if (tag < NODE_DIRECTORY_MAX - 1) {
            reply(script, 0, NULL);
            expect(&answer, STATUS_NOT_FOUND, "");
        } else {
            expect(&answer, STATUS_UNAVAILABLE, "");
        }
    }
    cr_expect_eq(script->count, NODE_DIRECTORY_MAX);
    ask(script, 0xffff, &answer);
    expect(&answer, 0, "1.2.3.4:5");
    advance(script, NODE_ABSENT_MS + 1);
    ask(script, 0x7000, &answer);
    cr_expect_eq(script->count, NODE_DIRECTORY_MAX + 1, "what was guessed is forgotten");
    reply(script, 0, NULL);
    expect(&answer, STATUS_NOT_FOUND, "");
    stop(script);
}

Test(node_directory, without_redis_the_last_address_is_good_enough)
{
    struct script *script = start();
    struct answer answer;
    ask(script, 1, &answer);
    reply(script, STATUS_UNAVAILABLE, NULL);
    expect(&answer, STATUS_UNAVAILABLE, "");
    ask(script, 1, &answer);
    reply(script, 0, "name 1.2.3.4:5");
    node_directory_doubt(script->directory, 1);
    ask(script, 1, &answer);
    cr_expect_eq(answer.count, 0, "it was doubted");
    reply(script, STATUS_UNAVAILABLE, NULL);
    expect(&answer, 0, "1.2.3.4:5");
    stop(script);
}

Test(node_directory, a_question_taken_back_is_not_answered)
{
    struct script *script = start();
    struct answer gone;
    struct answer stays;
    ask(script, 1, &gone);
    ask(script, 1, &stays);
    node_directory_take_back(&gone.question);
    reply(script, 0, "name 1.2.3.4:5");
    cr_expect_eq(gone.count, 0);
    expect(&stays, 0, "1.2.3.4:5");
    ask(script, 2, &gone);
    node_directory_take_back(&gone.question);
    advance(script, 60000);
    for (uint16_t tag = 0x100; tag < 0x100 + NODE_DIRECTORY_MAX; tag++) {
        ask(script, tag, &stays); /* the node that Redis is asked about is not forgotten */
        node_directory_take_back(&stays.question);
    }
    reply(script, 0, "name 1.2.3.4:5");
    cr_expect_eq(gone.count, 0);
    stop(script);
}

Test(node_directory, what_is_under_way_is_cancelled_at_the_end)
{
    struct script *script = start();
    struct answer answer;
    ask(script, 1, &answer);
    stop(script);
    expect(&answer, STATUS_CANCELLED, "");
}
