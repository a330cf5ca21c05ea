/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks: what is asked and answered, what is kept, what failure comes to.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/bus.h"
#include "actors/identity.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/bus_version.h"
#include "codec/claims.h"
#include "hub/hooks/hook_share.h"
#include "hub/hooks/hook_text.h"
#include "hub/hooks/hooks.h"
#include "hub/net/outgoing_guard.h"
#include "tests/support/http_backend.h"
#include "tests/support/net_rig.h"

TestSuite(hooks, .timeout = 120);

enum { CALLS_MAX = 64 };

struct world;

struct call {
    struct hook_call call; /* first */
    struct world *world;
    const char *room;
    enum hook_kind kind;
    unsigned hook;
    int at_once; /* of hooks_ask */
    int status;
    unsigned done;
    char result[128];
};

struct world {
    struct rig rig;
    uint16_t port;
    struct hooks *hooks;
    struct hook_settings settings[2];
    char urls[2][64];
    struct identity *who;
    struct call calls[CALLS_MAX];
    unsigned count;
};

static struct identity *make_identity(const char *user)
{
    const struct claims_fields fields = {.user = bytes_str(user),
        .role = BYTES("staff"),
        .tenant = BYTES("acme"),
        .name = BYTES("Ann \"A\"")};
    return identity_new(claims_new(&fields), true);
}

/* The hooks "access" and "orders" at `path`. */
static void fill(struct world *world, unsigned which, const char *path, uint32_t cache_ms)
{
    struct hook_settings *settings = &world->settings[which];
    struct builder error = {0};
    const struct bytes allowed = BYTES("127.0.0.1");
    snprintf(
        world->urls[which], sizeof(world->urls[0]), "http://127.0.0.1:%u%s", world->port, path);
    cr_assert_eq(outgoing_guard_create(&allowed, 1, &error, &settings->guard), 0);
    settings->ca = "";
    settings->count = 2;
    for (unsigned i = 0; i < 2; i++) {
        settings->items[i] = (struct hook_options){.name = i == 0 ? "access" : "orders",
            .url = world->urls[which],
            .secret_count = 1,
            .timeout_ms = 15000,
            .cache_ms = cache_ms,
            .under_way = 4,
            .waiting = 4};
    }
    settings->per_user = 9;
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(signature_read_secret(
                         "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &settings->items[i].secrets[0]),
            0);
    }
}

/* A bus of which the test gives the answers. */

enum { COMMANDS_MAX = 16, COMMAND_TEXT = 256 };

static struct {
    struct bus bus;
    bool up;
    unsigned links;
    struct {
        char text[COMMAND_TEXT]; /* words and blanks */
        bus_reply_fn fn;
        void *context;
    } commands[COMMANDS_MAX];
    unsigned count; /* so far */
    unsigned answered;
} line;

static struct bus_link *line_open(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    (void)events;
    (void)context;
    cr_assert_str_eq(name, "hooks");
    line.links++;
    return (struct bus_link *)(void *)bus;
}

static bool line_is_up(const struct bus_link *link)
{
    (void)link;
    return line.up;
}

static void line_command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    (void)link;
    cr_assert_eq(timeout_ms, HOOK_SHARE_MS);
    cr_assert_lt(line.count, COMMANDS_MAX);
    char *at = line.commands[line.count].text;
    at[0] = '\0';
    for (size_t i = 0; i < argc; i++) {
        size_t len = strlen(at);
        snprintf(
            at + len, COMMAND_TEXT - len, "%s%.*s", i > 0 ? " " : "", (int)argv[i].len, argv[i].at);
    }
    line.commands[line.count].fn = fn;
    line.commands[line.count++].context = context;
}

/* Answer the next command. */
static void line_answer(int status, const struct bus_reply *reply)
{
    bus_reply_fn fn = line.commands[line.answered].fn;
    void *context = line.commands[line.answered++].context;
    if (fn != NULL) {
        fn(context, status, reply);
    }
}

static void line_close(struct bus_link *link)
{
    (void)link;
    line.links--;
    while (line.answered < line.count) {
        line_answer(STATUS_CANCELLED, NULL);
    }
}

static const struct bus_ops line_ops = {
    .open = line_open, .close = line_close, .is_up = line_is_up, .command = line_command};

static void open_hooks(void *arg)
{
    struct world *world = arg;
    world->rig.shards[0].bus = line.bus.ops != NULL ? &line.bus : NULL;
    world->hooks = hooks_open(world->rig.loops[0], &world->settings[0]);
}

static struct world *begin(const char *path, const char *answer)
{
    static struct world world;
    world.port = http_backend_start();
    http_backend_say(answer);
    fill(&world, 0, path, 60000);
    world.who = make_identity("ann");
    world.rig.config.epoch = "epoch-1";
    world.rig.config.names = (struct bus_names){.prefix = "peal", .slots = 1024};
    rig_start(&world.rig, 1, NULL, NULL);
    rig_call(&world.rig, 0, open_hooks, &world);
    return &world;
}

static void close_hooks(void *arg)
{
    struct world *world = arg;
    hooks_close(world->hooks);
    world->rig.shards[0].bus = NULL;
}

static bool is_closed(void *arg)
{
    return hooks_count_open(((struct world *)arg)->hooks) == 0;
}

static void end(struct world *world)
{
    rig_call(&world->rig, 0, close_hooks, world);
    cr_assert(rig_wait(&world->rig, 0, is_closed, world));
    for (unsigned i = 0; i < world->count; i++) {
        cr_expect_eq(world->calls[i].done, world->calls[i].at_once == STATUS_AGAIN);
    }
    rig_stop(&world->rig);
    hooks_destroy(world->hooks);
    identity_unref(world->who);
    for (unsigned i = 0; i < 2; i++) {
        outgoing_guard_destroy(world->settings[i].guard);
    }
    http_backend_stop();
}

static void on_done(struct hook_call *hook_call)
{
    struct call *call = (struct call *)(void *)hook_call;
    struct bytes result = hook_call->result;
    call->done++;
    call->status = hook_call->status;
    snprintf(call->result, sizeof(call->result), "%.*s", (int)result.len,
        result.len > 0 ? result.at : "");
}

static void begin_call(void *arg)
{
    struct call *call = arg;
    const struct hook_question question = {.kind = call->kind,
        .hook = call->hook,
        .who = call->world->who,
        .nsp = BYTES("/"),
        .name = bytes_str(call->room),
        .args = call->kind == HOOK_EVENT ? BYTES("{\"id\":1},[2]") : bytes_of(NULL, 0)};
    call->call.done = on_done;
    call->at_once = hooks_ask(call->world->hooks, &question, &call->call);
    call->status = call->at_once;
}

static struct call *ask_of(
    struct world *world, unsigned hook, enum hook_kind kind, const char *room)
{
    cr_assert_lt(world->count, CALLS_MAX);
    struct call *call = &world->calls[world->count++];
    *call = (struct call){.world = world, .room = room, .kind = kind, .hook = hook};
    rig_call(&world->rig, 0, begin_call, call);
    return call;
}

static bool is_done(void *arg)
{
    return ((struct call *)arg)->done > 0;
}

static struct call *ask(struct world *world, const char *room)
{
    struct call *call = ask_of(world, 0, HOOK_JOIN, room);
    if (call->at_once == STATUS_AGAIN) {
        cr_assert(rig_wait(&world->rig, 0, is_done, call));
    }
    return call;
}

static void read_stats(void *arg)
{
    struct world *world = arg;
    (void)hooks_get_stats(world->hooks);
}

static struct hook_stats stats_of(struct world *world)
{
    rig_call(&world->rig, 0, read_stats, world);
    return *hooks_get_stats(world->hooks);
}

Test(hooks, a_question_is_a_signed_post)
{
    struct world *world = begin("/answer", "{\"allow\":true}");
    cr_expect_eq(ask(world, "project:1")->status, 0);
    char *last = http_backend_last();
    const char *id = strstr(last, "\r\nwebhook-id: msg_");
    const char *at = strstr(last, "\r\nwebhook-timestamp: ");
    const char *signature = strstr(last, "\r\nwebhook-signature: v1,");
    char *body = strstr(last, "\r\n\r\n") + 4;
    cr_assert(id != NULL && at != NULL && signature != NULL, "%s", last);
    struct builder expected = {0};
    struct signature_secret *secrets = world->settings[0].items[0].secrets;
    signature_write(
        secrets, 1, bytes_of(id + 14, 36), strtoull(at + 21, NULL, 10), bytes_str(body), &expected);
    cr_expect_eq(memcmp(signature + 21, builder_bytes(&expected).at, builder_bytes(&expected).len),
        0, "%s", last);
    cr_expect(strncmp(body, "{\"type\":\"hook.join\",\"timestamp\":\"20", 35) == 0, "%s", body);
    cr_expect(strstr(body, "\"data\":{\"room\":\"project:1\",\"user\":\"ann\",\"name\":\"Ann "
                           "\\\"A\\\"\",\"role\":\"staff\",\"tenant\":\"acme\",\"namespace\":\"/"
                           "\"}}") != NULL,
        "%s", body);
    builder_reset(&expected);
    mem_free(last);
    end(world);
}

Test(hooks, an_answer_is_kept_for_as_long_as_it_says)
{
    static const struct {
        const char *answer;
        int status;
        bool kept;
    } rows[] = {
        {"{\"allow\":true}", 0, true},
        {"{\"allow\":false}", STATUS_DENIED, true},
        {"{\"allow\":true,\"ttl\":60}", 0, true},
        {"{\"allow\":true,\"ttl\":0}", 0, false},
        {"{\"allow\":false,\"ttl\":0}", STATUS_DENIED, false},
        {" {\"more\":[1],\"allow\":true} ", 0, true},
    };
    struct world *world = begin("/answer", NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char room[16];
        unsigned before = http_backend_requests();
        snprintf(room, sizeof(room), "room:%zu", i);
        http_backend_say(rows[i].answer);
        cr_expect_eq(ask(world, room)->status, rows[i].status, "%s", rows[i].answer);
        const struct call *again = ask(world, room);
        cr_expect_eq(again->status, rows[i].status);
        cr_expect_eq(again->at_once != STATUS_AGAIN, rows[i].kept, "%s", rows[i].answer);
        cr_expect_eq(http_backend_requests(), before + (rows[i].kept ? 1 : 2));
    }
    end(world);
}

/* Another room, user or hook is another question. */
Test(hooks, an_answer_is_kept_for_its_question)
{
    struct world *world = begin("/answer", "{\"allow\":true}");
    (void)ask(world, "room:1");
    (void)ask(world, "room:2");
    struct call *other = ask_of(world, 1, HOOK_JOIN, "room:1");
    cr_assert(rig_wait(&world->rig, 0, is_done, other));
    struct identity *ann = world->who;
    world->who = make_identity("bob");
    (void)ask(world, "room:1");
    identity_unref(ann);
    cr_expect_eq(http_backend_requests(), 4);
    cr_expect_eq(stats_of(world).known, 0);
    end(world);
}

static bool holds_one(void *arg)
{
    (void)arg;
    return http_backend_held() == 1;
}

Test(hooks, one_question_of_many_is_sent_once)
{
    struct world *world = begin("/held", NULL);
    struct call *calls[8];
    for (unsigned i = 0; i < 8; i++) {
        calls[i] = ask_of(world, 0, HOOK_JOIN, "room:1");
        cr_expect_eq(calls[i]->at_once, STATUS_AGAIN);
    }
    cr_assert(rig_wait(&world->rig, 0, holds_one, NULL));
    cr_expect_eq(http_backend_requests(), 1);
    cr_expect_eq(stats_of(world).joined, 7);
    http_backend_release();
    for (unsigned i = 0; i < 8; i++) { /* what came is no answer: it has no allow */
        cr_assert(rig_wait(&world->rig, 0, is_done, calls[i]));
        cr_expect_eq(calls[i]->status, STATUS_UNAVAILABLE);
    }
    cr_expect_eq(stats_of(world).failed, 1);
    cr_expect_eq(stats_of(world).under_way, 0);
    end(world);
}

Test(hooks, an_event_is_asked_each_time_and_has_its_result)
{
    struct world *world = begin("/answer", "{\"allow\":true,\"result\":{\"order\":[1,\"x\"]}}");
    for (unsigned i = 0; i < 2; i++) {
        struct call *call = ask_of(world, 1, HOOK_EVENT, "order:new");
        cr_assert(rig_wait(&world->rig, 0, is_done, call));
        cr_expect_eq(call->status, 0);
        cr_expect_str_eq(call->result, "{\"order\":[1,\"x\"]}");
    }
    cr_expect_eq(http_backend_requests(), 2);
    char *last = http_backend_last();
    cr_expect(strstr(last, "{\"type\":\"hook.event\",") != NULL, "%s", last);
    cr_expect(strstr(last,
                  "\"data\":{\"event\":\"order:new\",\"args\":[{\"id\":1},[2]],\"user\":") != NULL,
        "%s", last);
    mem_free(last);
    end(world);
}

/* Whatever is no answer is unavailable, and counts towards the breaker. */
Test(hooks, what_is_no_answer_lets_nobody_in)
{
    static const char *const answers[] = {"", "true", "[]", "{}", "{\"allow\":1}",
        "{\"allow\":\"true\"}", "{\"allow\":null}", "{\"allow\":true", "{\"allow\":true}}",
        "{\"allow\":true,\"ttl\":-1}", "{\"allow\":true,\"ttl\":\"1\"}",
        "{\"allow\":true,\"ttl\":1.5}", "{\"allow\":true,\"ttl\":86401}",
        "{\"allow\":true,\"x\":\"\xff\"}"};
    struct hook_answer answer;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        cr_expect(hook_text_read(bytes_str(answers[i]), &answer) != NULL, "%s", answers[i]);
    }
    cr_expect(hook_text_read(BYTES("{\"allow\":true}"), &answer) == NULL);
    struct world *world = begin("/status/403_No", NULL);
    cr_expect_eq(ask(world, "room:1")->status, STATUS_UNAVAILABLE);
    cr_expect_eq(stats_of(world).failed, 1);
    end(world);
}

static void change(void *arg)
{
    struct world *world = arg;
    hooks_set(world->hooks, &world->settings[1]);
}

static void change_back(void *arg)
{
    struct world *world = arg;
    hooks_set(world->hooks, &world->settings[0]);
}

/* Failures in a row open it; it is not asked then, but answers that are known still hold; another
 * URL is another hook, and the same keeps its breaker. */
Test(hooks, one_that_fails_is_not_asked_for_a_while)
{
    struct world *world = begin("/answer", "{\"allow\":true}");
    cr_expect_eq(ask(world, "room:known")->status, 0);
    http_backend_say("no");
    for (unsigned i = 0; i < HOOKS_FAILURES; i++) {
        char room[16];
        cr_expect_eq(stats_of(world).open[0], 0);
        snprintf(room, sizeof(room), "room:%u", i);
        cr_expect_eq(ask(world, room)->status, STATUS_UNAVAILABLE);
    }
    cr_expect_eq(stats_of(world).open[0], 1);
    cr_expect_eq(stats_of(world).open[1], 0, "the other hook is another");
    unsigned before = http_backend_requests();
    const struct call *refused = ask(world, "room:x");
    cr_expect_eq(refused->at_once, STATUS_UNAVAILABLE, "at once");
    cr_expect_eq(http_backend_requests(), before);
    cr_expect_eq(stats_of(world).refused, 1);
    cr_expect_eq(ask(world, "room:known")->at_once, 0);
    http_backend_say("{\"allow\":true}");
    fill(world, 1, "/answer", 1000);
    rig_call(&world->rig, 0, change, world);
    cr_expect_eq(stats_of(world).open[0], 1, "the same hook");
    outgoing_guard_destroy(world->settings[0].guard);
    fill(world, 0, "/answer?other", 1000);
    rig_call(&world->rig, 0, change_back, world);
    cr_expect_eq(stats_of(world).open[0], 0, "another one");
    cr_expect_eq(ask(world, "room:x")->status, 0);
    end(world);
}

static bool asks_again(void *arg)
{
    struct world *world = arg;
    return hooks_get_stats(world->hooks)->open[0] == 0;
}

/* After its rest one question is let through, and its answer closes it. */
Test(hooks, one_that_answers_again_is_asked_again)
{
    struct world *world = begin("/answer", "no");
    for (unsigned i = 0; i < HOOKS_FAILURES; i++) {
        char room[16];
        snprintf(room, sizeof(room), "room:%u", i);
        (void)ask(world, room);
    }
    cr_expect_eq(stats_of(world).open[0], 1);
    http_backend_say("{\"allow\":true}");
    const struct call *call;
    do {
        call = ask(world, "room:x");
        world->count--;
    } while (call->status == STATUS_UNAVAILABLE && call->done == 0);
    cr_expect_eq(call->status, 0);
    cr_assert(rig_wait(&world->rig, 0, asks_again, world));
    end(world);
}

/* By what it is answered: 4xx is of the question, but for a wrong secret and too much of all. */
Test(hooks, a_question_that_is_refused_keeps_nobody_from_asking)
{
    static const struct {
        const char *path;
        bool opens;
    } rows[] = {{"/status/400", false}, {"/status/403", false}, {"/status/404", false},
        {"/status/422", false}, {"/status/401", true}, {"/status/408", true}, {"/status/429", true},
        {"/status/500", true}, {"/redirect", true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world *world = begin(rows[i].path, NULL);
        world->count = 0;
        for (unsigned j = 0; j < HOOKS_FAILURES; j++) {
            char room[16];
            snprintf(room, sizeof(room), "room:%u", j);
            cr_expect_eq(ask(world, room)->status, STATUS_UNAVAILABLE);
        }
        cr_expect_eq(stats_of(world).failed, HOOKS_FAILURES, "%s", rows[i].path);
        cr_expect_eq(stats_of(world).open[0], rows[i].opens, "%s", rows[i].path);
        end(world);
        memset(world, 0, sizeof(*world));
    }
}

static bool are_all_done(void *arg)
{
    const struct world *world = arg;
    unsigned done = 0;
    for (unsigned i = 0; i < world->count; i++) {
        done += world->calls[i].done;
    }
    return done == world->count;
}

/* The backend answers none of four in time; four more have but waited for these. */
Test(hooks, what_has_only_waited_says_nothing_of_the_backend)
{
    static const char *const rooms[] = {"r:0", "r:1", "r:2", "r:3", "r:4", "r:5", "r:6", "r:7"};
    struct world *world = begin("/silent", NULL);
    world->settings[0].items[0].timeout_ms = 300;
    for (unsigned i = 0; i < ARRAY_LEN(rooms); i++) {
        cr_expect_eq(ask_of(world, 0, HOOK_JOIN, rooms[i])->at_once, STATUS_AGAIN);
    }
    cr_assert(rig_wait(&world->rig, 0, are_all_done, world));
    cr_expect_eq(stats_of(world).failed, 4);
    cr_expect_eq(stats_of(world).refused, 4);
    cr_expect_eq(stats_of(world).open[0], 0, "five would open it");
    end(world);
}

Test(hooks, a_user_has_so_many_questions_open_and_no_more)
{
    struct world *world = begin("/held", NULL);
    struct identity *ann = world->who;
    struct identity *bob = make_identity("bob");
    world->settings[0].per_user = 2;
    cr_expect_eq(ask_of(world, 0, HOOK_JOIN, "r:0")->at_once, STATUS_AGAIN);
    cr_expect_eq(ask_of(world, 0, HOOK_JOIN, "r:0")->at_once, STATUS_AGAIN, "also the same again");
    cr_expect_eq(ask_of(world, 0, HOOK_JOIN, "r:0")->at_once, STATUS_RATE_LIMITED);
    cr_expect_eq(ask_of(world, 1, HOOK_EVENT, "order")->at_once, STATUS_RATE_LIMITED,
        "of all hooks together");
    cr_expect_eq(ask_of(world, 0, HOOK_WARM, "")->at_once, STATUS_AGAIN, "nobody waits for it");
    cr_expect_eq(stats_of(world).bounded, 2);
    world->who = bob;
    cr_expect_eq(ask_of(world, 0, HOOK_JOIN, "r:0")->at_once, STATUS_AGAIN, "another one may");
    world->who = ann;
    http_backend_release();
    cr_assert(rig_wait(&world->rig, 0, is_done, &world->calls[1]));
    cr_expect_eq(ask_of(world, 0, HOOK_JOIN, "r:1")->at_once, STATUS_AGAIN, "they have ended");
    end(world);
    identity_unref(bob);
}

Test(hooks, too_many_questions_are_refused)
{
    struct world *world = begin("/held", NULL);
    static const char *const rooms[] = {"r:0", "r:1", "r:2", "r:3", "r:4", "r:5", "r:6", "r:7"};
    for (unsigned i = 0; i < 8; i++) {
        cr_expect_eq(ask_of(world, 0, HOOK_JOIN, rooms[i])->at_once, STATUS_AGAIN);
    }
    cr_expect_eq(ask_of(world, 0, HOOK_JOIN, "r:8")->at_once, STATUS_UNAVAILABLE);
    cr_expect_eq(ask_of(world, 1, HOOK_JOIN, "r:8")->at_once, STATUS_AGAIN, "the other has room");
    cr_expect_eq(stats_of(world).refused, 1);
    end(world); /* which answers all of them */
    for (unsigned i = 0; i < 8; i++) {
        cr_expect_eq(world->calls[i].status, STATUS_UNAVAILABLE);
    }
}

Test(hooks, nothing_is_asked_of_hooks_that_are_closed)
{
    struct world *world = begin("/answer", "{\"allow\":true}");
    rig_call(&world->rig, 0, close_hooks, world);
    cr_expect_eq(ask(world, "room:1")->at_once, STATUS_UNAVAILABLE);
    end(world);
}

static struct world *begin_on_bus(const char *path, const char *answer)
{
    line.bus.ops = &line_ops;
    line.up = true;
    return begin(path, answer);
}

/* What Redis says of the key that is looked for, and for how long it holds. */
struct redis_says {
    int status;
    const char *value; /* NULL: nothing */
    int64_t left_ms;
};

static void answer_look(void *arg)
{
    const struct redis_says *says = arg;
    const struct bus_reply nothing = {.type = BUS_NIL};
    const struct bus_reply value = {
        .type = BUS_STRING, .text = bytes_str(says->value != NULL ? says->value : "")};
    const struct bus_reply left = {.type = BUS_INTEGER, .integer = says->left_ms};
    line_answer(says->status, says->status != 0 ? NULL : (says->value != NULL ? &value : &nothing));
    line_answer(says->status, says->status != 0 ? NULL : &left);
}

/* Ask, and let Redis answer. */
static struct call *ask_redis(struct world *world, const char *room, const struct redis_says *says)
{
    struct redis_says copy = *says;
    struct call *call = ask_of(world, 0, HOOK_JOIN, room);
    cr_assert_eq(call->at_once, STATUS_AGAIN);
    rig_call(&world->rig, 0, answer_look, &copy);
    cr_assert(rig_wait(&world->rig, 0, is_done, call));
    return call;
}

Test(hooks, an_answer_is_told_to_the_other_nodes)
{
    static const struct redis_says nothing = {.left_ms = -2};
    struct world *world = begin_on_bus("/answer", "{\"allow\":false,\"ttl\":7}");
    char expected[COMMAND_TEXT];
    cr_expect_eq(ask_redis(world, "room:1", &nothing)->status, STATUS_DENIED);
    cr_assert_eq(line.count, 3);
    const char *key = line.commands[0].text + 4;
    cr_expect(strncmp(line.commands[0].text, "GET peal:hook:{", 15) == 0, "%s", key);
    cr_expect_eq(strlen(strchr(key, '}')), 2 + 2 * HOOK_KEY_LEN);
    snprintf(expected, sizeof(expected), "PTTL %.200s", key);
    cr_expect_str_eq(line.commands[1].text, expected);
    snprintf(expected, sizeof(expected), "SET %.200s %u 0 epoch-1 PX 7000", key, bus_version);
    cr_expect_str_eq(line.commands[2].text, expected);
    end(world);
    cr_expect_eq(line.links, 0);
}

Test(hooks, what_another_node_was_told_holds_here)
{
    char yes[64];
    char no[64];
    snprintf(yes, sizeof(yes), "%u 1 epoch-1", bus_version);
    snprintf(no, sizeof(no), "%u 0 epoch-1", bus_version);
    struct world *world = begin_on_bus("/answer", "{\"allow\":true}");
    cr_expect_eq(
        ask_redis(world, "room:1", &(struct redis_says){.value = yes, .left_ms = 60000})->status,
        0);
    cr_expect_eq(
        ask_redis(world, "room:2", &(struct redis_says){.value = no, .left_ms = 60000})->status,
        STATUS_DENIED);
    cr_expect_eq(http_backend_requests(), 0);
    cr_expect_eq(stats_of(world).shared, 2);
    cr_expect_eq(ask(world, "room:1")->at_once, 0, "it is known now");
    cr_expect_eq(line.count, 4, "and nothing is told that is known");
    end(world);
}

/* Redis is a hint: what it says is looked at, and without it the backend is asked. */
Test(hooks, what_redis_has_may_be_no_answer)
{
    char far[64];
    char stranger[64];
    snprintf(far, sizeof(far), "%u 1 epoch-1", bus_version + 2);
    snprintf(stranger, sizeof(stranger), "%u 1 epoch-2", bus_version);
    const struct redis_says rows[] = {{.value = "", .left_ms = 1000},
        {.value = "1", .left_ms = 1000}, {.value = "1 1", .left_ms = 1000},
        {.value = "x 1 epoch-1", .left_ms = 1000}, {.value = "1 2 epoch-1", .left_ms = 1000},
        {.value = far, .left_ms = 1000}, {.value = stranger, .left_ms = 1000},
        {.value = "1 1 epoch-1", .left_ms = -1}, {.value = "1 1 epoch-1", .left_ms = -2},
        {.value = NULL, .left_ms = 1000}, {.status = STATUS_UNAVAILABLE}};
    struct world *world = begin_on_bus("/answer", "{\"allow\":false}");
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        char room[16];
        snprintf(room, sizeof(room), "room:%u", i);
        line.count = line.answered = 0;
        cr_expect_eq(ask_redis(world, room, &rows[i])->status, STATUS_DENIED, "%u", i);
        cr_expect_eq(http_backend_requests(), i + 1, "the backend says no: %u", i);
    }
    cr_expect_eq(stats_of(world).shared, 0);
    line.up = false;
    line.count = line.answered = 0;
    cr_expect_eq(ask(world, "room:away")->status, STATUS_DENIED);
    cr_expect_eq(line.count, 1, "it was told, not asked for");
    end(world);
}

Test(hooks, who_looks_when_the_node_ends_is_answered)
{
    struct world *world = begin_on_bus("/answer", "{\"allow\":true}");
    const struct call *call = ask_of(world, 0, HOOK_JOIN, "room:1");
    const struct call *other = ask_of(world, 0, HOOK_JOIN, "room:1");
    end(world);
    cr_expect_eq(call->status, STATUS_UNAVAILABLE);
    cr_expect_eq(other->status, STATUS_UNAVAILABLE);
    cr_expect_eq(http_backend_requests(), 0);
}

Test(hooks, a_word_names_a_hook)
{
    static const struct hook_settings settings = {
        .items = {{.name = "access"}, {.name = "orders"}}, .count = 2};
    cr_expect_eq(hooks_find(&settings, "hook:access"), 0);
    cr_expect_eq(hooks_find(&settings, "hook:orders"), 1);
    cr_expect_eq(hooks_find(&settings, "hook:"), -1);
    cr_expect_eq(hooks_find(&settings, "hook:acces"), -1);
    cr_expect_eq(hooks_find(&settings, "access"), -1);
    cr_expect_eq(hooks_find(&settings, ""), -1);
}
