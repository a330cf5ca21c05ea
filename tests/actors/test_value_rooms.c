/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that are shown in a room, on one node of several shards and on two nodes with Redis
 * between: who is there is told of each change, who joins of what holds now.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/deliver/fanout.h"
#include "actors/deliver/retained.h"
#include "actors/user/user.h"
#include "actors/values/value_call.h"
#include "actors/values/value_drop.h"
#include "actors/values/value_op.h"
#include "actors/values/value_room.h"
#include "actors/values/values.h"
#include "codec/base/mem.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(value_rooms, .timeout = 120);

enum { SHARDS = 3, SEEN_MAX = 16, SEEN_TEXT = 200 };

/* Someone in the room: what it was told, as JSON. */
struct viewer {
    struct client client; /* first */
    char seen[SEEN_MAX][SEEN_TEXT];
    unsigned count;
    unsigned node;
};

static struct nodes *nodes;
static unsigned node_count;

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct viewer *viewer = (struct viewer *)(void *)client;
    if (!packet->is_ack && bytes_eq_str(packet->name, "value")) {
        cr_assert_lt(viewer->count, SEEN_MAX);
        snprintf(viewer->seen[viewer->count++], SEEN_TEXT, "%.*s", (int)packet->args.len,
            packet->args.at);
    }
}

static void enter(struct viewer *viewer, unsigned node, const char *room)
{
    char text[64];
    *viewer = (struct viewer){.client.received = on_received, .node = node};
    struct shard *shard = nodes_on(nodes, node, nodes_user_shard(nodes, node, "u"));
    client_init(&viewer->client, shard, "/", "u", WIRE_JSON);
    cr_assert_eq(user_attach(shard, &viewer->client.socket), 0);
    snprintf(text, sizeof(text), "[\"join_room\",\"%s\"]", room);
    user_event(&viewer->client.socket, bytes_str(text), NULL, NULL, 0);
    nodes_advance(nodes, 200);
}

static void leave(struct viewer *viewer)
{
    nodes_on(nodes, viewer->node, sched_shard(viewer->client.socket.shard->sched));
    client_finish(&viewer->client, CLOSE_NORMAL);
    nodes_settle(nodes);
}

static void open(const struct nodes_options *options)
{
    nodes = nodes_create(7, options);
    node_count = options->nodes;
    nodes_settle(nodes);
    for (unsigned n = 0; n < node_count; n++) {
        nodes->node[n].config.values = (struct value_settings){.wanted = true,
            .prefix = "v",
            .bytes = 1 << 20,
            .stale_ms = 1000,
            .fill_ms = 1000,
            .waiting = 10,
            .drops = 2};
        for (unsigned i = 0; i < SHARDS; i++) {
            struct shard *shard = nodes_on(nodes, n, i);
            shard->values = values_create(shard);
        }
    }
    nodes_advance(nodes, 1000);
}

static void close(void)
{
    for (unsigned n = 0; n < node_count; n++) {
        for (unsigned i = 0; i < SHARDS; i++) {
            values_close(nodes_on(nodes, n, i)->values);
        }
    }
    nodes_settle(nodes);
    for (unsigned n = 0; n < node_count; n++) {
        for (unsigned i = 0; i < SHARDS; i++) {
            struct shard *shard = nodes_on(nodes, n, i);
            values_destroy(shard->values);
            shard->values = NULL;
        }
    }
    nodes_destroy(nodes);
}

static void on_done(struct value_call *call)
{
    cr_assert(call->ops->result.outcome == VALUE_DONE || call->ops->verb == VALUE_DELETE);
    value_op_finish(call->ops);
    mem_free(call->ops);
    mem_free(call);
}

/* Carry out a write of the value "k", on `node`; `room` NULL: none is named. */
static void write(
    unsigned node, enum value_verb verb, const char *text, const char *room, const char *tag)
{
    struct value_call *call = mem_alloc(sizeof(*call));
    struct value_op *op = mem_alloc(sizeof(*op));
    *call = (struct value_call){.ops = op, .count = 1, .done = on_done};
    op->verb = verb;
    op->ttl_ms = 60000;
    op->by = 1;
    op->name_len = value_name_write(BYTES(""), BYTES("k"), op->name).len;
    if (verb == VALUE_PUT) {
        op->body.bytes = buf_new(bytes_str(text));
        op->tags = tag != NULL ? buf_new(bytes_str(tag)) : NULL;
        op->room_len = room != NULL ? strlen(room) : 0;
        memcpy(op->room, room, op->room_len);
    }
    cr_assert(value_call_begin(call, nodes_on(nodes, node, 1)));
    nodes_advance(nodes, 300);
}

static void on_dropped(struct value_drop *drop)
{
    cr_assert_eq(drop->outcome, VALUE_DONE);
    mem_free(drop);
}

static void let_go(unsigned node, const char *tag)
{
    struct value_drop *drop = mem_alloc(sizeof(*drop));
    drop->tags = tag != NULL ? buf_new(bytes_str(tag)) : NULL;
    drop->prefix[0] = 'k';
    drop->prefix_len = 1;
    drop->done = on_dropped;
    cr_assert_eq(value_drop_begin(drop, nodes_on(nodes, node, 2)), VALUE_DROP_BEGUN);
    nodes_advance(nodes, 500);
}

static void expect(const struct viewer *viewer, unsigned at, const char *begins, bool kept)
{
    cr_assert_lt(at, viewer->count, "%s is missing", begins);
    cr_expect_eq(strncmp(viewer->seen[at], begins, strlen(begins)), 0, "%s", viewer->seen[at]);
    cr_expect_eq(strstr(viewer->seen[at], "\"retained\":true") != NULL, kept);
}

/* The same on one node and on two. */
static void run(const struct nodes_options *options)
{
    struct viewer there;
    struct viewer later;
    unsigned far = options->nodes - 1;
    open(options);
    enter(&there, 0, "board");
    write(far, VALUE_PUT, "41", "board", "\nt\n");
    write(far, VALUE_INCREMENT, NULL, NULL, NULL);
    cr_assert_eq(there.count, 2);
    expect(&there, 0, "{\"key\":\"k\",\"value\":41,\"version\":", false);
    expect(&there, 1, "{\"key\":\"k\",\"value\":42,\"version\":", false);
    enter(&later, far, "board");
    cr_assert_eq(later.count, 1, "%u", later.count);
    expect(&later, 0, "{\"key\":\"k\",\"value\":42,\"version\":", true);
    let_go(0, "\nt\n");
    cr_assert_eq(there.count, 3);
    expect(&there, 2, "{\"key\":\"k\",\"value\":null}", false);
    leave(&later);
    enter(&later, far, "board");
    cr_expect_eq(later.count, 0, "it was let go");
    write(0, VALUE_PUT, "1", "board", NULL);
    write(0, VALUE_PUT, "2", "other", NULL);
    expect(&later, later.count - 1, "{\"key\":\"k\",\"value\":null}", false);
    leave(&later);
    enter(&later, far, "other");
    expect(&later, 0, "{\"key\":\"k\",\"value\":2,\"version\":", true);
    write(far, VALUE_DELETE, NULL, NULL, NULL);
    expect(&later, 1, "{\"key\":\"k\",\"value\":null}", false);
    write(far, VALUE_PUT, "3", "other", NULL);
    let_go(far, NULL);
    expect(&later, later.count - 1, "{\"key\":\"k\",\"value\":null}", false);
    write(0, VALUE_PUT, "4", "other", NULL);
    nodes_advance(nodes, 60000);
    leave(&later);
    enter(&later, far, "other");
    cr_expect_eq(later.count, 0, "it ends with its value");
    leave(&later);
    leave(&there);
    close();
}

Test(value_rooms, on_a_node_alone)
{
    run(&(struct nodes_options){.nodes = 1, .shards = SHARDS, .retain_bytes = 1 << 20});
}

Test(value_rooms, on_two_nodes)
{
    run(&(struct nodes_options){
        .nodes = 2, .shards = SHARDS, .bus = true, .retain_bytes = 1 << 20});
}

Test(value_rooms, what_may_not_be_shown_is_told)
{
    open(&(struct nodes_options){.nodes = 1, .shards = SHARDS, .retain_bytes = 5000});
    struct shard *shard = nodes_on(nodes, 0, 0);
    struct value_op op = {.verb = VALUE_PUT, .room = "board", .room_len = 5};
    op.name_len = value_name_write(BYTES(""), BYTES("k"), op.name).len;
    cr_expect_eq(value_room_check(shard, &op, 100), VALUE_ROOM_FINE);
    cr_expect_eq(value_room_check(shard, &op, 6000), VALUE_ROOM_FULL);
    cr_expect_eq(value_room_check(shard, &op, shard->config->posts.args + 1), VALUE_ROOM_LARGE);
    memcpy(op.room, "bare:", 5);
    cr_expect_eq(value_room_check(shard, &op, 100), VALUE_ROOM_TYPE);
    close();
}
