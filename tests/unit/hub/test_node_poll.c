/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to all other nodes: what they answer, who is missed, and who is not.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/bus.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "hub/cluster/node_directory.h"
#include "hub/cluster/node_poll.h"
#include "hub/net/http_server.h"
#include "tests/support/cluster_rig.h"

TestSuite(node_poll, .timeout = 120);

enum { OWN_TAG = 0x0001, ENTRIES_MAX = 4 };

/* A Redis that knows who is in the roster, and the one node that there is; on loop 0. */
struct question {
    bus_reply_fn fn;
    void *context;
    bool census;
    bool known;
};

static struct world {
    struct cluster_rig cluster;
    struct bus bus;
    struct node_directory *directory;
    struct node_polls *polls;
    struct node_poll_counts counts;
    const char *roster[ENTRIES_MAX]; /* members; NULL: Redis is away */
    const char *path; /* that is asked for */
    char answer[256]; /* what came, all of it */
    unsigned answers;
    unsigned done;
    bool complete;
    int begun; /* status */
} world;

static const struct bus_names names = {.prefix = "p", .slots = 1024};

static struct bus_link *open_link(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    return (struct bus_link *)(void *)bus;
}

static void close_link(struct bus_link *link)
{
}

static void answer_census(const struct question *question)
{
    struct bus_reply items[ENTRIES_MAX];
    struct bus_reply *pointers[ENTRIES_MAX];
    struct bus_reply reply = {.type = BUS_ARRAY, .items = pointers};
    for (; reply.count < ENTRIES_MAX && world.roster[reply.count] != NULL; reply.count++) {
        items[reply.count] =
            (struct bus_reply){.type = BUS_STRING, .text = bytes_str(world.roster[reply.count])};
        pointers[reply.count] = &items[reply.count];
    }
    bool away = reply.count == 0;
    question->fn(question->context, away ? STATUS_UNAVAILABLE : 0, away ? NULL : &reply);
}

static void answer_question(void *arg, bool cancelled)
{
    struct question *question = arg;
    char text[64];
    snprintf(text, sizeof(text), "far %s", world.cluster.address);
    struct bus_reply reply = {
        .type = question->known ? BUS_STRING : BUS_NIL, .text = bytes_str(text)};
    if (!cancelled && question->census) {
        answer_census(question);
    } else if (!cancelled) {
        question->fn(question->context, 0, &reply);
    }
    free(question);
}

static void ask_redis(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    struct question *question = malloc(sizeof(*question));
    *question = (struct question){.fn = fn,
        .context = context,
        .census = bytes_eq_str(argv[0], "ZRANGE"),
        .known = memmem(argv[1].at, argv[1].len, "0102", 4) != NULL};
    sched_post(world.cluster.net.system, 0, answer_question, question);
}

static const struct bus_ops bus_ops = {
    .open = open_link, .close = close_link, .command = ask_redis};

/* The node that is asked, on loop 1. */

static void on_echo(struct http_request *request, void *context)
{
    http_respond(request, 200, "text/plain", bytes_of(NULL, 0), request->body);
}

static void on_refused(struct http_request *request, void *context)
{
    http_respond(request, 503, NULL, bytes_of(NULL, 0), bytes_of(NULL, 0));
}

static void on_large(struct http_request *request, void *context)
{
    static char text[NODE_POLL_ANSWER_MAX + 1];
    http_respond(request, 200, "text/plain", bytes_of(NULL, 0), bytes_of(text, sizeof(text)));
}

static const struct http_route routes[] = {
    {.method = "POST", .path = "/echo", .handler = on_echo, .max_body = 4096},
    {.method = "POST", .path = "/refused", .handler = on_refused, .max_body = 4096},
    {.method = "POST", .path = "/large", .handler = on_large, .max_body = 4096},
    {.path = NULL},
};

/* Who asks, on loop 0. */

static void on_answered(void *context, struct bytes body)
{
    world.answers++;
    snprintf(world.answer, sizeof(world.answer), "%.*s", (int)body.len, body.at);
}

static void on_done(void *context, bool complete)
{
    world.done++;
    world.complete = complete;
}

static const struct node_poll_ops ops = {.answered = on_answered, .done = on_done};

static void open_polls(void *arg)
{
    struct shard *shard = &world.cluster.net.shards[0];
    world.directory = node_directory_open(&world.bus, shard->sched, &names);
    const struct node_polls_options options = {.loop = world.cluster.net.loops[0],
        .directory = world.directory,
        .secret = CLUSTER_SECRET,
        .counts = &world.counts,
        .connect_timeout_ms = RIG_WAIT_MS,
        .answer_timeout_ms = RIG_WAIT_MS,
        .node = OWN_TAG};
    world.polls = node_polls_create(&options);
}

static void close_polls(void *arg)
{
    node_polls_stop(world.polls);
    world.begun = node_poll_begin(world.polls, "/echo", BYTES("{}"), &ops, NULL);
    node_directory_close(world.directory);
}

static void start(void)
{
    world.bus.ops = &bus_ops;
    world.answers = world.done = 0;
    world.counts = (struct node_poll_counts){0};
    cluster_rig_start(&world.cluster, routes, NULL);
    rig_call(&world.cluster.net, 0, open_polls, NULL);
}

static void stop(void)
{
    rig_call(&world.cluster.net, 0, close_polls, NULL);
    cr_expect_eq(world.begun, STATUS_CANCELLED, "nobody is asked any more");
    cluster_rig_stop(&world.cluster);
    node_polls_destroy(world.polls);
}

static void begin(void *arg)
{
    world.begun = node_poll_begin(world.polls, world.path, BYTES("{\"a\":1}"), &ops, NULL);
}

static void look(void *arg)
{
    *(bool *)arg = world.done > 0;
}

static void ask(const char *path)
{
    bool done = false;
    world.answers = world.done = 0;
    world.path = path;
    rig_call(&world.cluster.net, 0, begin, NULL);
    cr_assert_eq(world.begun, 0);
    while (!done) { /* the timeout of the suite */
        rig_call(&world.cluster.net, 0, look, &done);
    }
    cr_expect_eq(world.done, 1);
}

Test(node_poll, all_others_are_asked_and_this_node_is_not)
{
    world.roster[0] = "0001 5 store epoch";
    world.roster[1] = "0102 5 store epoch";
    world.roster[2] = NULL;
    start();
    ask("/echo");
    cr_expect(world.answers == 1 && world.complete);
    cr_expect_str_eq(world.answer, "{\"a\":1}");
    world.roster[1] = NULL;
    ask("/echo");
    cr_expect(world.answers == 0 && world.complete, "it is alone");
    stop();
}

Test(node_poll, who_does_not_answer_well_is_missed)
{
    static const char *const paths[] = {"/refused", "/large", "/nowhere"};
    world.roster[0] = "0102 5 store epoch";
    world.roster[1] = NULL;
    start();
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        ask(paths[i]);
        cr_expect(world.answers == 0 && !world.complete, "%s", paths[i]);
    }
    world.roster[0] = NULL;
    ask("/echo");
    cr_expect(!world.complete, "Redis does not tell who is there");
    cr_expect(world.counts.polls == 4 && world.counts.lacking == 4);
    stop();
}

Test(node_poll, who_has_gone_is_not_missed)
{
    world.roster[0] = "0909 5 store epoch";
    world.roster[1] = "0102 5 store epoch";
    world.roster[2] = "nonsense";
    world.roster[3] = NULL;
    start();
    ask("/echo");
    cr_expect(world.answers == 1 && world.complete);
    stop();
}

static void begin_many(void *arg)
{
    unsigned begun = 0;
    world.path = "/echo";
    while (node_poll_begin(world.polls, "/echo", BYTES("{}"), &ops, NULL) == 0) {
        begun++;
    }
    *(unsigned *)arg = begun;
}

static void count_done(void *arg)
{
    *(unsigned *)arg = world.done;
}

Test(node_poll, so_many_are_under_way_at_a_time)
{
    unsigned begun = 0;
    unsigned done = 0;
    world.roster[0] = "0102 5 store epoch";
    world.roster[1] = NULL;
    start();
    rig_call(&world.cluster.net, 0, begin_many, &begun);
    cr_expect_eq(begun, NODE_POLLS_MAX);
    while (done < begun) {
        rig_call(&world.cluster.net, 0, count_done, &done);
    }
    cr_expect_eq(world.answers, NODE_POLLS_MAX);
    ask("/echo");
    cr_expect(world.counts.polls == NODE_POLLS_MAX + 1 && world.counts.refused == 1);
    cr_expect_eq(world.counts.lacking, 0);
    stop();
}
