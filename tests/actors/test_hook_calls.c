/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backend is asked about, joins and events: answered late, with no, or not at all; what
 * sockets and users do meanwhile.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/deliver/fanout.h"
#include "actors/user/user.h"
#include "actors/user_proto.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(hook_calls, .timeout = 60);

enum {
    SHARDS = 3,
    PENDING_MAX = 64,
    HEARD_MAX = 64,
    SEEDS = 30,
    STORM_SEEDS = 60,
    STORM_STEPS = 300
};

struct person {
    struct client client; /* first */
    bool here;
    uint64_t asked; /* the id of the last request */
    unsigned answers;
    unsigned refusals;
    unsigned joined; /* room_joined */
    unsigned left; /* room_left */
    char last[256]; /* the last refusal */
    char ack[256]; /* the last answer */
    unsigned errors; /* error */
    unsigned heard;
    unsigned order[HEARD_MAX]; /* new_message: a number each */
};

/* The hook: what was asked and is not answered. */
static struct {
    struct hook_call *call;
    struct shard *shard;
} pending[PENDING_MAX];
static unsigned pending_count;
static unsigned warmed; /* users that it was told of */
static int known; /* what it says at once; STATUS_AGAIN: later */

struct world {
    struct nodes *nodes;
    struct person ann;
    struct person bob; /* a member, where he can */
};

static void check_question(const struct hook_question *question)
{
    bool join = question->kind == HOOK_JOIN;
    cr_assert_eq(question->hook, join ? 0 : 3);
    cr_assert(bytes_starts(question->name, join ? BYTES("asked:") : BYTES("order:")));
    cr_assert(bytes_eq(question->nsp, BYTES("/")));
    cr_assert(join || bytes_eq(question->args, BYTES("{\"id\":1},2")));
}

static int ask_hook(
    struct shard *shard, const struct hook_question *question, struct hook_call *call)
{
    if (question->kind == HOOK_WARM) {
        cr_assert_eq(question->hook, 4);
        cr_assert_eq(question->name.len, 0);
        warmed++;
    } else {
        check_question(question);
    }
    if (known != STATUS_AGAIN) {
        return known;
    }
    cr_assert_lt(pending_count, PENDING_MAX);
    pending[pending_count].call = call;
    pending[pending_count++].shard = shard;
    return STATUS_AGAIN;
}

static void answer(struct world *world, unsigned index, int status)
{
    struct hook_call *call = pending[index].call;
    nodes_on(world->nodes, 0, sched_shard(pending[index].shard->sched));
    memmove(&pending[index], &pending[index + 1], (--pending_count - index) * sizeof(pending[0]));
    call->status = status;
    call->done(call);
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct person *person = (struct person *)(void *)client;
    struct bytes value;
    if (packet->is_ack) {
        bool ok = false;
        person->answers++;
        snprintf(person->ack, sizeof(person->ack), "%.*s", (int)packet->args.len, packet->args.at);
        ok =
            json_scan_get(packet->args, "ok", &value) != 0 || json_scan_bool(value, &ok) != 0 || ok;
        person->refusals += !ok;
        if (!ok) {
            snprintf(
                person->last, sizeof(person->last), "%.*s", (int)packet->args.len, packet->args.at);
        }
    } else if (bytes_eq_str(packet->name, "new_message")) {
        char at[64];
        struct bytes text;
        uint64_t number;
        cr_assert_eq(json_scan_get(packet->args, "message", &value), 0);
        cr_assert_eq(json_scan_string(value, at, sizeof(at), &text), 0);
        cr_assert_eq(bytes_to_u64(text, 1000, &number), 0);
        cr_assert_lt(person->heard, HEARD_MAX);
        person->order[person->heard++] = (unsigned)number;
    }
    person->errors += bytes_eq_str(packet->name, "error");
    person->joined += bytes_eq_str(packet->name, "room_joined");
    person->left += bytes_eq_str(packet->name, "room_left");
}

static void enter(struct world *world, struct person *person, const char *user)
{
    struct nodes *nodes = world->nodes;
    struct shard *shard = nodes_on(nodes, 0, nodes_user_shard(nodes, 0, user));
    memset(person, 0, sizeof(*person));
    person->client.received = on_received;
    client_init(&person->client, shard, "/", user, WIRE_SIO);
    cr_assert_eq(user_attach(shard, &person->client.socket), 0);
    person->here = true;
}

static void act_as(const struct world *world, const struct person *person)
{
    nodes_on(world->nodes, 0, sched_shard(person->client.socket.shard->sched));
}

static void go(struct world *world, struct person *person)
{
    act_as(world, person);
    client_finish(&person->client, CLOSE_NORMAL);
    person->here = false;
}

static struct world *begin(uint64_t seed)
{
    static struct world world;
    pending_count = 0;
    known = STATUS_AGAIN;
    warmed = 0;
    world.nodes = nodes_create(seed, &(struct nodes_options){.nodes = 1, .shards = SHARDS});
    for (unsigned i = 0; i < SHARDS; i++) {
        world.nodes->node[0].shards[i].shard.hook_ask = ask_hook;
    }
    enter(&world, &world.ann, "ann");
    enter(&world, &world.bob, "bob");
    nodes_settle(world.nodes);
    return &world;
}

static uint64_t users(const struct world *world)
{
    return nodes_stat(world->nodes, 0, offsetof(struct shard_stats, users));
}

static uint64_t rooms(const struct world *world)
{
    return nodes_stat(world->nodes, 0, offsetof(struct shard_stats, rooms));
}

static void end(struct world *world)
{
    struct person *people[] = {&world->ann, &world->bob};
    for (size_t i = 0; i < ARRAY_LEN(people); i++) {
        if (people[i]->here) {
            go(world, people[i]);
        }
    }
    nodes_settle(world->nodes);
    cr_assert_eq(pending_count, 0, "what is asked is answered");
    cr_assert_eq(users(world), 0);
    cr_assert_eq(rooms(world), 0);
    nodes_destroy(world->nodes);
}

static void ask(struct world *world, struct person *person, const char *event, const char *argument)
{
    char text[256];
    uint64_t id = ++person->asked;
    snprintf(text, sizeof(text), "[\"%s\",%s]", event, argument);
    act_as(world, person);
    user_event(&person->client.socket, bytes_str(text), &id, NULL, 0);
}

static void join(struct world *world, struct person *person)
{
    ask(world, person, "join_room", "\"asked:1\"");
}

static void say(struct world *world, struct person *person, unsigned number)
{
    char text[128];
    snprintf(text, sizeof(text), "{\"roomId\":\"asked:1\",\"message\":\"%u\"}", number);
    ask(world, person, "send_message", text);
}

static bool is_member(const struct person *person)
{
    const struct socket *socket = &person->client.socket;
    return fanout_membership(socket->fanout, socket, BYTES("asked:1")) != NULL;
}

/* Bob is in the room, and has nothing to do with the hook any more. */
static struct world *begin_with_bob(uint64_t seed)
{
    struct world *world = begin(seed);
    join(world, &world->bob);
    nodes_settle(world->nodes);
    cr_assert_eq(pending_count, 1);
    cr_assert_eq(world->bob.answers, 0, "nobody is in before there is an answer");
    answer(world, 0, 0);
    nodes_settle(world->nodes);
    cr_assert_eq(world->bob.refusals, 0);
    cr_assert(is_member(&world->bob));
    return world;
}

Test(hook_calls, what_is_said_behind_a_join_waits_for_the_answer)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *world = begin_with_bob(seed);
        join(world, &world->ann);
        for (unsigned i = 0; i < 5; i++) {
            say(world, &world->ann, i);
        }
        nodes_settle(world->nodes);
        nodes_advance(world->nodes, 1900);
        cr_assert_eq(world->ann.answers, 0);
        cr_assert_eq(world->bob.heard, 0);
        answer(world, 0, 0);
        nodes_settle(world->nodes);
        cr_assert_eq(world->ann.answers, 6);
        cr_assert_eq(world->ann.refusals, 0, "%s", world->ann.last);
        cr_assert_eq(world->bob.heard, 5);
        for (unsigned i = 0; i < 5; i++) {
            cr_assert_eq(world->bob.order[i], i);
        }
        end(world);
    }
}

Test(hook_calls, who_is_refused_is_told_and_so_is_what_waited)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *world = begin_with_bob(seed);
        join(world, &world->ann);
        say(world, &world->ann, 1);
        nodes_settle(world->nodes);
        answer(world, 0, STATUS_DENIED);
        nodes_settle(world->nodes);
        cr_assert_eq(world->ann.answers, 2);
        cr_assert_eq(world->ann.refusals, 2);
        cr_assert_eq(world->ann.joined, 0);
        cr_assert_eq(world->bob.heard, 0);
        cr_assert(!is_member(&world->ann));
        end(world);
    }
}

Test(hook_calls, without_an_answer_nobody_is_let_in)
{
    struct world *world = begin(1);
    join(world, &world->ann);
    nodes_settle(world->nodes);
    answer(world, 0, STATUS_UNAVAILABLE);
    nodes_settle(world->nodes);
    cr_expect_eq(world->ann.refusals, 1);
    cr_expect(strstr(world->ann.last, "\"error\":\"unavailable\"") != NULL, "%s", world->ann.last);
    cr_expect(strstr(world->ann.last, "\"retryAfter\":") != NULL, "%s", world->ann.last);
    cr_expect(!is_member(&world->ann));
    join(world, &world->ann); /* the refused one took no place of its rooms */
    nodes_settle(world->nodes);
    answer(world, 0, 0);
    nodes_settle(world->nodes);
    cr_expect(is_member(&world->ann));
    end(world);
}

Test(hook_calls, who_has_too_many_open_is_told_so)
{
    struct world *world = begin(1);
    known = STATUS_RATE_LIMITED;
    join(world, &world->ann);
    nodes_settle(world->nodes);
    cr_expect_eq(world->ann.refusals, 1);
    cr_expect(strstr(world->ann.last, "\"error\":\"rate_limited\"") != NULL, "%s", world->ann.last);
    cr_expect(strstr(world->ann.last, "\"retryAfter\":") != NULL, "%s", world->ann.last);
    cr_expect(!is_member(&world->ann));
    ask(world, &world->ann, "order:new", "{\"id\":1},2");
    nodes_settle(world->nodes);
    cr_expect_eq(world->ann.refusals, 2);
    cr_expect(strstr(world->ann.last, "Too many of your questions") != NULL, "%s", world->ann.last);
    known = STATUS_AGAIN;
    join(world, &world->ann);
    nodes_settle(world->nodes);
    answer(world, 0, 0);
    nodes_settle(world->nodes);
    cr_expect(is_member(&world->ann), "the refused one took no place of its rooms");
    end(world);
}

Test(hook_calls, what_is_known_is_said_at_once)
{
    static const int statuses[] = {0, STATUS_DENIED, STATUS_UNAVAILABLE};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct world *world = begin(i + 1);
        known = statuses[i];
        join(world, &world->ann);
        say(world, &world->ann, 1);
        nodes_settle(world->nodes);
        cr_expect_eq(world->ann.answers, 2);
        cr_expect_eq(world->ann.refusals, known == 0 ? 0 : 2);
        cr_expect_eq(is_member(&world->ann), known == 0);
        end(world);
    }
}

Test(hook_calls, a_node_without_hooks_lets_nobody_in)
{
    struct world *world = begin(1);
    for (unsigned i = 0; i < SHARDS; i++) {
        world->nodes->node[0].shards[i].shard.hook_ask = NULL;
    }
    join(world, &world->ann);
    nodes_settle(world->nodes);
    cr_expect_eq(world->ann.refusals, 1);
    cr_expect(!is_member(&world->ann));
    end(world);
}

Test(hook_calls, a_member_is_not_asked_for_again)
{
    struct world *world = begin_with_bob(1);
    join(world, &world->bob);
    nodes_settle(world->nodes);
    cr_expect_eq(pending_count, 0);
    cr_expect_eq(world->bob.answers, 2);
    cr_expect_eq(world->bob.refusals, 0);
    end(world);
}

/* Neither of its sockets is there when the answer comes: the user goes with it. */
Test(hook_calls, an_answer_for_who_has_gone_leaves_nothing)
{
    static const int statuses[] = {0, STATUS_DENIED, STATUS_UNAVAILABLE};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
            struct world *world = begin(seed);
            join(world, &world->ann);
            say(world, &world->ann, 1);
            nodes_settle(world->nodes);
            go(world, &world->ann);
            nodes_settle(world->nodes);
            answer(world, 0, statuses[i]);
            nodes_settle(world->nodes);
            cr_assert_eq(users(world), 1, "bob");
            cr_assert_eq(rooms(world), 0);
            end(world);
        }
    }
}

/* One device waits, another of the same user lives on. */
Test(hook_calls, an_answer_for_a_socket_that_has_gone_leaves_its_user)
{
    struct world *world = begin(1);
    struct person other;
    enter(world, &other, "ann");
    join(world, &world->ann);
    nodes_settle(world->nodes);
    go(world, &world->ann);
    nodes_settle(world->nodes);
    answer(world, 0, 0);
    nodes_settle(world->nodes);
    cr_expect_eq(users(world), 2);
    cr_expect_eq(rooms(world), 0);
    join(world, &other);
    nodes_settle(world->nodes);
    answer(world, 0, 0);
    nodes_settle(world->nodes);
    cr_expect(is_member(&other));
    go(world, &other);
    end(world);
}

Test(hook_calls, leaving_meanwhile_is_done_behind_the_answer)
{
    static const int statuses[] = {0, STATUS_DENIED, STATUS_UNAVAILABLE};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct world *world = begin_with_bob(i + 1);
        join(world, &world->ann);
        ask(world, &world->ann, "leave_room", "\"asked:1\"");
        say(world, &world->ann, 1);
        nodes_settle(world->nodes);
        cr_expect_eq(world->ann.refusals, 1, "it is meant for a room that was left");
        answer(world, 0, statuses[i]);
        nodes_settle(world->nodes);
        cr_expect_eq(world->ann.answers, 3);
        cr_expect_eq(world->ann.refusals, statuses[i] == 0 ? 1 : 2);
        cr_expect_eq(world->ann.left, 1);
        cr_expect(!is_member(&world->ann));
        cr_expect_eq(world->bob.heard, 0);
        end(world);
    }
}

/* Each is a question of its own, and has its own answer, whichever comes first. */
Test(hook_calls, joining_twice_is_answered_twice)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *world = begin_with_bob(seed);
        unsigned first = (unsigned)(seed % 3);
        for (unsigned i = 0; i < 3; i++) {
            join(world, &world->ann);
            say(world, &world->ann, i);
        }
        nodes_settle(world->nodes);
        cr_assert_eq(pending_count, 3);
        answer(world, first, 0);
        nodes_settle(world->nodes);
        say(world, &world->ann, 3);
        nodes_settle(world->nodes);
        cr_assert_eq(world->ann.answers, 5, "a join, and all that was said");
        cr_assert_eq(world->bob.heard, 4);
        for (unsigned i = 0; i < 4; i++) {
            cr_assert_eq(world->bob.order[i], i, "as it was said");
        }
        answer(world, 1, STATUS_DENIED);
        answer(world, 0, 0);
        nodes_settle(world->nodes);
        cr_assert_eq(world->ann.answers, 7);
        cr_assert_eq(world->ann.refusals, 1);
        cr_assert(is_member(&world->ann));
        end(world);
    }
}

/* As a backend that is asked does it: it puts the user in by itself, and then answers. */
Test(hook_calls, who_is_put_in_meanwhile_stays)
{
    static const int statuses[] = {0, STATUS_DENIED, STATUS_UNAVAILABLE};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct world *world = begin(i + 1);
        join(world, &world->ann);
        nodes_settle(world->nodes);
        act_as(world, &world->ann);
        struct user_admin *msg = user_admin_new();
        msg->key = buf_new_name(BYTES("ann"));
        msg->room = buf_new_name(BYTES("asked:1"));
        msg->what = USER_ADMIN_JOIN;
        msg_send_home(world->ann.client.socket.shard->sched, msg);
        nodes_settle(world->nodes);
        cr_expect(is_member(&world->ann));
        answer(world, 0, statuses[i]);
        nodes_settle(world->nodes);
        cr_expect_eq(world->ann.answers, 1);
        cr_expect(is_member(&world->ann));
        const struct socket *socket = &world->ann.client.socket;
        cr_expect(fanout_membership(socket->fanout, socket, BYTES("asked:1"))->chosen);
        end(world);
    }
}

static void order(struct world *world, struct person *person, bool ack)
{
    uint64_t id = ++person->asked;
    act_as(world, person);
    user_event(
        &person->client.socket, BYTES("[\"order:new\",{\"id\":1},2]"), ack ? &id : NULL, NULL, 0);
}

static void answer_event(struct world *world, int status, const char *result)
{
    pending[0].call->result = bytes_str(result);
    answer(world, 0, status);
    nodes_settle(world->nodes);
}

Test(hook_calls, what_the_backend_says_of_an_event_is_its_ack)
{
    static const struct {
        int status;
        const char *result;
        const char *ack;
    } rows[] = {
        {0, "{\"order\":[1]}", "{\"order\":[1]}"},
        {0, "17", "17"},
        {0, "", "{\"ok\":true}"},
        {STATUS_DENIED, "", "{\"ok\":false,\"error\":\"forbidden\","},
        {STATUS_UNAVAILABLE, "", "{\"ok\":false,\"error\":\"unavailable\","},
        {STATUS_TIMEOUT, "", "{\"ok\":false,\"error\":\"timeout\","},
    };
    struct world *world = begin(1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        order(world, &world->ann, true);
        nodes_settle(world->nodes);
        cr_assert_eq(pending_count, 1);
        cr_assert_eq(world->ann.answers, i);
        answer_event(world, rows[i].status, rows[i].result);
        cr_expect_eq(world->ann.answers, i + 1);
        cr_expect(
            strncmp(world->ann.ack, rows[i].ack, strlen(rows[i].ack)) == 0, "%s", world->ann.ack);
    }
    end(world);
}

/* Who asked for no ack hears of refusals alone; who has gone hears of nothing. */
Test(hook_calls, an_event_without_an_ack_has_none)
{
    struct world *world = begin(1);
    order(world, &world->ann, false);
    nodes_settle(world->nodes);
    answer_event(world, 0, "1");
    cr_expect_eq(world->ann.errors, 0);
    order(world, &world->ann, false);
    nodes_settle(world->nodes);
    answer_event(world, STATUS_DENIED, "");
    cr_expect_eq(world->ann.errors, 1);
    cr_expect_eq(world->ann.answers, 0);
    order(world, &world->ann, true);
    nodes_settle(world->nodes);
    go(world, &world->ann);
    nodes_settle(world->nodes);
    cr_expect_eq(users(world), 1, "nobody waits for an ack");
    answer_event(world, 0, "1");
    end(world);
}

Test(hook_calls, an_event_that_cannot_be_asked_about_is_refused)
{
    struct world *world = begin(1);
    known = STATUS_UNAVAILABLE;
    order(world, &world->ann, true);
    nodes_settle(world->nodes);
    cr_expect(strstr(world->ann.ack, "\"unavailable\"") != NULL, "%s", world->ann.ack);
    ask(world, &world->ann, "orders", "1");
    nodes_settle(world->nodes);
    cr_expect(strstr(world->ann.ack, "\"bad_request\"") != NULL, "%s", world->ann.ack);
    struct buf *piece = buf_new_name(BYTES("x"));
    uint64_t id = ++world->ann.asked;
    act_as(world, &world->ann);
    user_event(&world->ann.client.socket,
        BYTES("[\"order:new\",{\"_placeholder\":true,\"num\":0}]"), &id, &piece, 1);
    buf_unref(piece);
    nodes_settle(world->nodes);
    cr_expect(strstr(world->ann.ack, "attachments") != NULL, "%s", world->ann.ack);
    end(world);
}

/* An answer that finds no room does not end the connection. */
Test(hook_calls, an_ack_that_is_too_large_is_refused)
{
    static char large[8 << 20];
    struct world *world = begin(1);
    memset(large, '1', sizeof(large) - 1);
    world->nodes->node[0].config.outbox_max = 4 << 20;
    order(world, &world->ann, true);
    nodes_settle(world->nodes);
    answer_event(world, 0, large);
    cr_expect(strstr(world->ann.ack, "\"too_large\"") != NULL, "%s", world->ann.ack);
    cr_expect(!world->ann.client.overflowed);
    end(world);
}

/* With the first device, whatever becomes of it; nobody waits. */
Test(hook_calls, who_comes_is_told_once)
{
    struct world *world = begin(1);
    struct person other;
    cr_expect_eq(warmed, 0, "without the setting");
    world->nodes->node[0].config.values.warm = 5;
    go(world, &world->ann);
    nodes_settle(world->nodes);
    enter(world, &world->ann, "ann");
    enter(world, &other, "ann");
    nodes_settle(world->nodes);
    cr_expect_eq(warmed, 1);
    cr_expect_eq(pending_count, 1);
    go(world, &other);
    go(world, &world->ann);
    nodes_settle(world->nodes);
    cr_expect_eq(users(world), 1, "bob");
    answer(world, 0, 0);
    known = STATUS_UNAVAILABLE;
    enter(world, &world->ann, "ann");
    nodes_settle(world->nodes);
    cr_expect_eq(warmed, 2);
    end(world);
}

static void act(struct world *world, struct person *person, const char *user)
{
    struct nodes *nodes = world->nodes;
    static const int statuses[] = {0, STATUS_DENIED, STATUS_UNAVAILABLE};
    if (!person->here) {
        enter(world, person, user);
        return;
    }
    switch (nodes_dice(nodes, 8)) {
    case 0:
    case 1:
        if (pending_count < PENDING_MAX / 2) {
            join(world, person);
        }
        break;
    case 2:
        ask(world, person, "leave_room", "\"asked:1\"");
        break;
    case 3:
        ask(world, person, "send_message", "{\"roomId\":\"asked:1\",\"message\":\"1\"}");
        break;
    case 4:
        if (nodes_dice(nodes, 4) == 0) {
            go(world, person);
        }
        break;
    default:
        if (pending_count > 0) {
            answer(world, (unsigned)nodes_dice(nodes, pending_count),
                statuses[nodes_dice(nodes, ARRAY_LEN(statuses))]);
        }
    }
    person->heard = 0; /* it is not looked at */
}

Test(hook_calls, whatever_happens_each_call_is_answered_and_nothing_is_left)
{
    for (uint64_t seed = 1; seed <= STORM_SEEDS; seed++) {
        struct world *world = begin(seed);
        for (unsigned i = 0; i < STORM_STEPS; i++) {
            bool ann = nodes_dice(world->nodes, 2) == 0;
            act(world, ann ? &world->ann : &world->bob, ann ? "ann" : "bob");
            for (uint64_t steps = nodes_dice(world->nodes, 6); steps > 0; steps--) {
                (void)nodes_step(world->nodes);
            }
            world->ann.heard = world->bob.heard = 0;
        }
        nodes_settle(world->nodes);
        while (pending_count > 0) {
            answer(world, 0, 0);
            nodes_settle(world->nodes);
        }
        const struct person *people[] = {&world->ann, &world->bob};
        for (size_t i = 0; i < ARRAY_LEN(people); i++) {
            if (people[i]->here) {
                cr_assert_eq(people[i]->answers, people[i]->asked, "seed %u", (unsigned)seed);
            }
        }
        end(world);
    }
}
