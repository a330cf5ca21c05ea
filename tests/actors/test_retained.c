/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Last values, under a model: backends post on any node; clients connect, join and drop meanwhile;
 * nodes end and others begin; connections to Redis break.
 *
 * Client 0 is there from the beginning on, on a node that never ends: what it gets of a name is the
 * order of the values. What another one gets from when it is a member on is a part of that without
 * a gap or a repeat. Who comes when all is quiet is told the last value, once.
 *
 * Order of this file: clients, posting, what must be true, runs of the model, single cases.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/deliver/broadcast.h"
#include "actors/inbox/post.h"
#include "actors/user/user.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"
#include "tests/support/seed.h"

TestSuite(retained, .timeout = 300);

enum {
    STEPS = 300,
    SEEDS = 40,
    GUESTS = 5,
    TARGETS = 4, /* two rooms, all, the user that all clients are of */
    ROOMS = 2,
    NAMES = 2,
    PLAIN = NAMES, /* of events that are not kept */
    POSTERS = NODES_MAX * NODES_SHARDS_MAX,
    VALUES_MAX = 2048,
};

#define GONE (UINT32_C(1) << 31) /* a removal */

static const char *const rooms[ROOMS] = {"red", "mem:blue"};

/* What one client had of one name in one connection. */
struct had {
    uint32_t values[VALUES_MAX];
    unsigned count;
    bool kept_first; /* the first was told as kept */
};

struct guest {
    struct client client; /* first */
    struct world *world;
    unsigned number;
    bool here;
    unsigned node;
    bool joined[ROOMS];
    bool asked[ROOMS];
    struct had had[TARGETS][NAMES];
    uint32_t order[TARGETS][POSTERS]; /* the last value that came from there */
};

struct world {
    struct nodes *nodes;
    uint64_t seed;
    bool breaks; /* connections to Redis do: one order is not all that is promised then */
    bool alive[NODES_MAX];
    uint32_t next;
    struct guest guests[GUESTS];
};

static void fail(const struct guest *guest, const char *what, uint64_t a, uint64_t b)
{
    cr_assert_fail("seed %llu, client %u: %s (%llu, %llu)", (unsigned long long)guest->world->seed,
        guest->number, what, (unsigned long long)a, (unsigned long long)b);
}

/* Clients. */

static uint32_t number_in(struct bytes object, const char *key)
{
    struct bytes value;
    uint64_t number = 0;
    cr_assert_eq(json_scan_get(object, key, &value), 0, "%.*s", (int)object.len, object.at);
    cr_assert_eq(json_scan_u64(value, &number), 0);
    return (uint32_t)number;
}

/* Whether a mark says so; and that it names the room, and no other. */
static bool read_mark(const struct guest *guest, struct bytes mark, unsigned target)
{
    struct bytes inner;
    struct bytes value;
    bool retained = false;
    if (json_scan_kind(mark) != JSON_SCAN_OBJECT || json_scan_get(mark, "_peal", &inner) != 0 ||
        json_scan_get(inner, "retained", &value) != 0) {
        return false;
    }
    cr_assert_eq(json_scan_bool(value, &retained), 0);
    bool names = json_scan_get(inner, "room", &value) == 0;
    if (names != (target < ROOMS) ||
        (names && !json_scan_string_eq(value, bytes_str(rooms[target])))) {
        fail(guest, "a mark that names another room", target, names);
    }
    return retained;
}

static void take(struct guest *guest, unsigned target, unsigned name, uint32_t value, bool kept)
{
    struct had *had = &guest->had[target][name];
    if (had->count == VALUES_MAX) {
        fail(guest, "too many values", target, name);
    }
    if (kept && had->count > 0 && !guest->world->breaks) {
        fail(guest, "told as kept behind another", had->values[had->count - 1], value);
    }
    /* Where Redis breaks, what came between may take the place of a value, and lose it again. */
    for (unsigned i = guest->world->breaks && had->count > 0 ? had->count - 1 : 0; i < had->count;
         i++) {
        if (had->values[i] == value && (value & GONE) == 0) {
            fail(guest, "twice", value, kept);
        }
    }
    had->kept_first = had->count == 0 ? kept : had->kept_first;
    had->values[had->count++] = value;
}

/*
 * What a poster sends to one of them comes in its order, kept or not. On other nodes the first one
 * that is kept takes another way than those before it, and may come before the last of them.
 */
static void check_order(struct guest *guest, unsigned target, unsigned poster, uint32_t value)
{
    uint32_t *last = &guest->order[target][poster];
    bool here = poster / NODES_SHARDS_MAX == guest->node;
    if (value <= *last && here && !guest->world->breaks) {
        fail(guest, "a poster's values are not in order", *last, value);
    }
    *last = value;
}

/* The event `v<target>.<name>` with {v} or null, and maybe a mark and an offset. */
static void on_value(struct guest *guest, const struct client_packet *packet)
{
    struct builder array = {0};
    struct json_scan_iter iter;
    struct bytes value;
    struct bytes mark;
    bool kept = false;
    unsigned target = (unsigned)(packet->name.at[1] - '0');
    unsigned name = (unsigned)(packet->name.at[3] - '0');
    builder_byte(&array, '[');
    builder_add(&array, packet->args);
    builder_byte(&array, ']');
    cr_assert(json_scan_iter_init(&iter, builder_bytes(&array)));
    cr_assert(json_scan_element(&iter, &value));
    while (json_scan_element(&iter, &mark)) {
        kept = read_mark(guest, mark, target) || kept;
    }
    bool gone = json_scan_kind(value) == JSON_SCAN_NULL;
    if (!gone && !kept) {
        check_order(guest, target, number_in(value, "by"), number_in(value, "v"));
    }
    if (name == PLAIN) {
        builder_reset(&array);
        return;
    }
    take(guest, target, name, gone ? GONE : number_in(value, "v"), kept);
    builder_reset(&array);
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct guest *guest = (struct guest *)(void *)client;
    char at[64];
    struct bytes room;
    struct bytes value;
    if (!packet->is_ack) {
        if (packet->name.len == 4 && packet->name.at[0] == 'v') {
            on_value(guest, packet);
        }
        return;
    }
    cr_assert_eq(json_scan_get(packet->args, "roomId", &value), 0);
    cr_assert_eq(json_scan_string(value, at, sizeof(at), &room), 0);
    for (unsigned i = 0; i < ROOMS; i++) {
        if (bytes_eq_str(room, rooms[i])) {
            guest->joined[i] = true;
            guest->asked[i] = false;
        }
    }
}

static void act(const struct guest *guest)
{
    nodes_on(
        guest->world->nodes, guest->node, nodes_user_shard(guest->world->nodes, guest->node, "u"));
}

static void enter(struct guest *guest, unsigned node)
{
    static const enum wire_format formats[] = {
        WIRE_SIO, WIRE_SIO_BATCH, WIRE_JSON, WIRE_SIO_MSGPACK, WIRE_MSGPACK};
    struct world *world = guest->world;
    unsigned number = guest->number;
    *guest = (struct guest){.world = world, .number = number, .here = true, .node = node};
    guest->client.received = on_received;
    struct shard *shard = nodes_on(world->nodes, node, nodes_user_shard(world->nodes, node, "u"));
    client_init(&guest->client, shard, "/", "u", formats[nodes_dice(world->nodes, 5)]);
    cr_assert_eq(user_attach(shard, &guest->client.socket), 0);
}

static void leave(struct guest *guest)
{
    act(guest);
    client_finish(&guest->client, CLOSE_TRANSPORT);
    guest->here = false;
}

static void join(struct guest *guest, unsigned room)
{
    char text[64];
    snprintf(text, sizeof(text), "[\"join_room\",\"%s\"]", rooms[room]);
    guest->asked[room] = true;
    act(guest);
    user_event(&guest->client.socket, bytes_str(text), &(uint64_t){room + 1}, NULL, 0);
}

static unsigned any_node(struct world *world)
{
    unsigned node;
    do {
        node = (unsigned)nodes_dice(world->nodes, world->nodes->options.nodes);
    } while (!world->alive[node]);
    return node;
}

/* Posting. */

static struct notification_post post_of(
    unsigned target, const struct bytes *who, char *event, struct bytes args, struct bytes name)
{
    struct notification_post post = {.is_event = true,
        .target = target < ROOMS        ? NOTIFICATION_ROOMS
                  : target == ROOMS + 1 ? NOTIFICATION_USERS
                                        : NOTIFICATION_ALL,
        .targets = who,
        .target_count = target == ROOMS ? 0 : 1,
        .event = bytes_str(event),
        .args = args,
        .retain = name,
        .removes = name.len > 0 && bytes_eq_str(args, "[null]")};
    return post;
}

static int try_post(
    struct shard *shard, const struct notification_post *made, struct notification_fault *ret_fault)
{
    int status = post_event_check(shard, made, ret_fault);
    return status != 0 ? status : post_event(shard, made);
}

/* Post to `target` under `name`, or (`gone`) remove it, on any shard of `node`. */
static int post(struct world *world, unsigned node, unsigned target, unsigned name, bool gone)
{
    char event[8];
    char args[64] = "[null]";
    char name_text[8] = "";
    struct notification_fault fault;
    uint32_t value = ++world->next;
    unsigned on = (unsigned)nodes_dice(world->nodes, world->nodes->options.shards);
    snprintf(event, sizeof(event), "v%u.%u", target, name);
    if (name != PLAIN) {
        snprintf(name_text, sizeof(name_text), "n%u", name);
    }
    if (!gone) {
        snprintf(args, sizeof(args), "[{\"v\":%u,\"by\":%u}]", value, node * NODES_SHARDS_MAX + on);
    }
    const struct bytes who = bytes_str(target < ROOMS ? rooms[target] : "u");
    struct notification_post made =
        post_of(target, &who, event, bytes_str(args), bytes_str(name_text));
    return try_post(nodes_on(world->nodes, node, on), &made, &fault);
}

static void post_any(struct world *world)
{
    unsigned name = (unsigned)nodes_dice(world->nodes, NAMES + 1);
    bool gone = name != PLAIN && nodes_dice(world->nodes, 4) == 0;
    cr_assert_eq(
        post(world, any_node(world), (unsigned)nodes_dice(world->nodes, TARGETS), name, gone), 0);
}

/* What must be true. */

static void check_part(const struct guest *guest, unsigned target, unsigned name)
{
    const struct had *all = &guest->world->guests[0].had[target][name];
    const struct had *had = &guest->had[target][name];
    if (had->count == 0) {
        return;
    }
    /* Removals are alike: any place where the rest fits will do. */
    for (unsigned from = 0; from + had->count <= all->count; from++) {
        unsigned i = 0;
        while (i < had->count && all->values[from + i] == had->values[i]) {
            i++;
        }
        bool begins = had->kept_first || from == 0 || all->values[from - 1] & GONE;
        bool ends = !guest->here || from + had->count == all->count;
        if (i == had->count && ends && (begins || guest->number == 0)) {
            return;
        }
    }
    fail(guest, had->kept_first ? "no part that begins as kept" : "no part", target, name);
}

static void check_all(const struct world *world)
{
    for (unsigned i = 0; i < GUESTS; i++) {
        for (unsigned n = 0; n < TARGETS * NAMES; n++) {
            check_part(&world->guests[i], n / NAMES, n % NAMES);
        }
    }
}

/* The last that client 0 had of a name; 0: nothing, or it was removed. */
static uint32_t last_of(const struct world *world, unsigned target, unsigned name)
{
    const struct had *had = &world->guests[0].had[target][name];
    uint32_t last = had->count > 0 ? had->values[had->count - 1] : 0;
    return last & GONE ? 0 : last;
}

/* Who comes now is told exactly what is kept. */
static void check_newcomer(struct world *world, unsigned node)
{
    struct guest *guest = &world->guests[GUESTS - 1];
    if (guest->here) {
        leave(guest);
    }
    nodes_settle(world->nodes);
    enter(guest, node);
    nodes_settle(world->nodes);
    for (unsigned room = 0; room < ROOMS; room++) {
        join(guest, room);
    }
    nodes_settle(world->nodes);
    nodes_advance(world->nodes, 200);
    for (unsigned n = 0; n < TARGETS * NAMES; n++) {
        const struct had *had = &guest->had[n / NAMES][n % NAMES];
        uint32_t last = last_of(world, n / NAMES, n % NAMES);
        if (had->count != (last > 0) ||
            (last > 0 && (had->values[0] != last || !had->kept_first))) {
            fail(guest, "a newcomer is told something else", last,
                had->count > 0 ? had->values[0] : 0);
        }
    }
    leave(guest);
}

/* Runs of the model. */

static void begin(struct world *world, uint64_t seed, const struct nodes_options *options)
{
    memset(world, 0, sizeof(*world));
    world->seed = seed;
    world->nodes = nodes_create(seed, options);
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < options->nodes; i++) {
        world->alive[i] = true;
    }
    for (unsigned i = 0; i < GUESTS; i++) {
        world->guests[i].world = world;
        world->guests[i].number = i;
    }
    enter(&world->guests[0], 0);
    nodes_settle(world->nodes);
    for (unsigned room = 0; room < ROOMS; room++) {
        join(&world->guests[0], room);
    }
    nodes_settle(world->nodes);
}

static void end(struct world *world)
{
    for (unsigned i = 0; i < GUESTS; i++) {
        if (world->guests[i].here) {
            leave(&world->guests[i]);
        }
    }
    nodes_settle(world->nodes);
    nodes_destroy(world->nodes);
}

static void end_node(struct world *world)
{
    struct nodes *nodes = world->nodes;
    unsigned node = 1 + (unsigned)nodes_dice(nodes, nodes->options.nodes - 1);
    if (!world->alive[node]) {
        nodes_start(nodes, node);
        nodes_settle(nodes);
        world->alive[node] = true;
        return;
    }
    nodes_settle(nodes); /* what it has not posted yet is lost with it */
    for (unsigned i = 1; i < GUESTS; i++) {
        if (world->guests[i].here && world->guests[i].node == node) {
            leave(&world->guests[i]);
        }
    }
    nodes_stop(nodes, node);
    world->alive[node] = false;
}

static void move(struct world *world, struct guest *guest)
{
    unsigned room = (unsigned)nodes_dice(world->nodes, ROOMS);
    if (!guest->here) {
        enter(guest, any_node(world));
    } else if (!guest->joined[room] && !guest->asked[room]) {
        join(guest, room);
    } else if (nodes_dice(world->nodes, 4) == 0) {
        leave(guest);
    }
}

static void step(struct world *world, bool ends)
{
    struct nodes *nodes = world->nodes;
    uint64_t what = nodes_dice(nodes, 100);
    if (what < 40) {
        post_any(world);
    } else if (what < 90) {
        move(world, &world->guests[1 + nodes_dice(nodes, GUESTS - 1)]);
    } else if (what < 92 && ends) {
        end_node(world);
    } else if (what < 96) {
        nodes_advance(nodes, nodes_dice(nodes, 50));
    } else if (world->breaks) {
        fake_redis_drop(nodes->redis, any_node(world), 2);
    }
    for (uint64_t moves = nodes_dice(nodes, 20); moves > 0 && nodes_step(nodes); moves--) {
    }
}

static void calm(struct world *world)
{
    for (unsigned i = 0; i < 30; i++) {
        nodes_settle(world->nodes);
        nodes_advance(world->nodes, 500);
    }
}

static void run_seed(uint64_t seed, const struct nodes_options *options, bool ends, bool breaks)
{
    static struct world world;
    begin(&world, seed, options);
    world.breaks = breaks;
    for (unsigned n = 0; n < STEPS; n++) {
        step(&world, ends);
    }
    calm(&world);
    if (!breaks) {
        check_all(&world);
    }
    for (unsigned node = 0; node < options->nodes; node++) {
        if (world.alive[node]) {
            check_newcomer(&world, node);
        }
    }
    end(&world);
}

static void run(const struct nodes_options *options, bool ends, bool breaks)
{
    const char *more = getenv("PEAL_SEEDS");
    uint64_t seeds = more != NULL ? strtoull(more, NULL, 10) : SEEDS;
    uint64_t first = seed_draw();
    for (uint64_t i = 0; i < seeds; i++) {
        run_seed(first + i, options, ends, breaks);
    }
}

Test(retained, a_node_alone_tells_the_last_value_once)
{
    run(&(struct nodes_options){.nodes = 1, .shards = 3, .retain_bytes = 1 << 20}, false, false);
}

Test(retained, windows_are_not_told_twice)
{
    run(&(struct nodes_options){.nodes = 1,
            .shards = 2,
            .retain_bytes = 1 << 20,
            .replay = 100,
            .batching = BATCHING_ALWAYS},
        false, false);
}

Test(retained, every_node_tells_the_last_value_and_the_death_of_one_loses_nothing)
{
    run(&(struct nodes_options){.nodes = 3, .shards = 2, .bus = true, .retain_bytes = 1 << 20},
        true, false);
}

/* A plain event that waits for the stream behind a kept one, which another plain one overtook. */
Test(retained, the_order_of_a_poster_holds_behind_a_value_for_another)
{
    run_seed(3091169626,
        &(struct nodes_options){.nodes = 3, .shards = 2, .bus = true, .retain_bytes = 1 << 20},
        true, false);
}

Test(retained, it_goes_with_memory_and_recovery)
{
    run(&(struct nodes_options){.nodes = 2,
            .shards = 2,
            .bus = true,
            .recovers = true,
            .replay = 100,
            .retain_bytes = 1 << 20},
        true, false);
}

Test(retained, what_redis_could_not_keep_is_posted_again)
{
    run(&(struct nodes_options){.nodes = 3, .shards = 2, .bus = true, .retain_bytes = 1 << 20},
        false, true);
}

/* Single cases. */
static const struct nodes_options two_nodes = {
    .nodes = 2, .shards = 2, .bus = true, .retain_bytes = 1 << 20};

static struct world *open_world(const struct nodes_options *options)
{
    static struct world world;
    begin(&world, 1, options);
    return &world;
}

/* Entries of the stream that are old go, as by XTRIM. */
static void trim_all(const struct world *world)
{
    struct fake_data *data = fake_redis_data(world->nodes->redis);
    for (size_t i = 0; i < data->stream_count; i++) {
        fake_data_delete_oldest(data, data->streams[i].name, data->streams[i].count);
    }
}

static void set_away(struct world *world, unsigned node, bool away)
{
    fake_redis_reach(world->nodes->redis, node, !away);
    if (away) {
        fake_redis_drop(world->nodes->redis, node, 1);
    }
    calm(world);
}

Test(retained, a_node_that_begins_reads_what_left_the_stream_long_ago)
{
    struct world *world = open_world(&two_nodes);
    nodes_stop(world->nodes, 1);
    world->alive[1] = false;
    for (unsigned target = 0; target < TARGETS; target++) {
        cr_assert_eq(post(world, 0, target, 0, false), 0);
        cr_assert_eq(post(world, 0, target, 1, false), 0);
    }
    nodes_settle(world->nodes);
    cr_assert_eq(post(world, 0, 1, 1, true), 0);
    nodes_settle(world->nodes);
    nodes_start(world->nodes, 1);
    cr_assert_eq(post(world, 1, 0, 0, false), 0); /* before it has read what there was */
    calm(world);
    cr_expect_eq(last_of(world, 0, 0), world->next);
    trim_all(world);
    nodes_stop(world->nodes, 1);
    nodes_start(world->nodes, 1);
    calm(world);
    check_newcomer(world, 1);
    check_newcomer(world, 0);
    cr_expect_eq(
        nodes_stat(world->nodes, 1, offsetof(struct shard_stats, retain.values)), TARGETS * 2 - 1);
    end(world);
}

Test(retained, a_node_that_was_away_learns_what_is_there_and_what_is_gone)
{
    struct world *world = open_world(&two_nodes);
    struct guest *there = &world->guests[1];
    world->breaks = true;
    cr_assert_eq(post(world, 0, ROOMS, 0, false), 0);
    cr_assert_eq(post(world, 0, ROOMS, 1, false), 0);
    calm(world);
    enter(there, 1);
    nodes_settle(world->nodes);
    set_away(world, 1, true);
    cr_assert_eq(post(world, 0, ROOMS, 0, true), 0);
    cr_assert_eq(post(world, 0, ROOMS, 1, false), 0);
    calm(world);
    trim_all(world);
    set_away(world, 1, false);
    check_newcomer(world, 1);
    const struct had *gone = &there->had[ROOMS][0];
    const struct had *changed = &there->had[ROOMS][1];
    cr_assert_eq(gone->count, 2);
    cr_expect_eq(gone->values[1], GONE);
    cr_assert_eq(changed->count, 2, "who was there is told what came meanwhile");
    cr_expect_eq(changed->values[1], last_of(world, ROOMS, 1));
    end(world);
}

Test(retained, what_redis_has_lost_is_gone_on_every_node)
{
    struct world *world = open_world(&two_nodes);
    world->breaks = true;
    cr_assert_eq(post(world, 0, 0, 0, false), 0);
    calm(world);
    fake_redis_reach(world->nodes->redis, 0, false);
    set_away(world, 1, true);
    fake_redis_drop(world->nodes->redis, 0, 1);
    struct fake_data *data = fake_redis_data(world->nodes->redis);
    while (data->stream_count > 0) {
        fake_data_delete_stream(data, data->streams[0].name);
    }
    fake_kept_lose(&data->kept);
    fake_redis_reach(world->nodes->redis, 0, true);
    set_away(world, 1, false);
    cr_expect_eq(last_of(world, 0, 0), 0, "who is there is told");
    check_newcomer(world, 0);
    check_newcomer(world, 1);
    end(world);
}

Test(retained, it_ends_by_itself)
{
    struct world *world = open_world(&two_nodes);
    const unsigned user = ROOMS + 1;
    cr_assert_eq(post(world, 0, 0, 0, false), 0);
    cr_assert_eq(post(world, 0, user, 0, false), 0);
    calm(world);
    struct guest *guest = &world->guests[1];
    nodes_advance(world->nodes, 86400000 - 60000);
    enter(guest, 1);
    nodes_settle(world->nodes);
    cr_expect_eq(guest->had[user][0].count, 1);
    leave(guest);
    nodes_advance(world->nodes, 60000);
    enter(guest, 1);
    join(guest, 0);
    calm(world);
    cr_expect_eq(guest->had[user][0].count, 0, "that of a user after a day");
    cr_expect_eq(guest->had[0][0].count, 1, "that of a room not yet");
    leave(guest);
    cr_assert_eq(post(world, 0, ROOMS, 1, false), 0);
    calm(world);
    cr_expect_eq(fake_redis_data(world->nodes->redis)->kept.count, 2);
    end(world);
}

Test(retained, more_than_may_be_kept_is_refused_with_the_field)
{
    struct world *world =
        open_world(&(struct nodes_options){.nodes = 1, .shards = 1, .retain_bytes = 40000});
    const struct bytes who = BYTES("red");
    char event[] = "v0.0";
    struct notification_fault fault;
    struct notification_post made =
        post_of(0, &who, event, BYTES("[{\"v\":1,\"by\":0}]"), BYTES(""));
    char name[16];
    unsigned kept = 0;
    leave(&world->guests[0]);
    int status = 0;
    for (; kept < 200 && status == 0; kept += status == 0) {
        snprintf(name, sizeof(name), "n%u", kept);
        made.retain = bytes_str(name);
        status = try_post(nodes_on(world->nodes, 0, 0), &made, &fault);
        nodes_settle(world->nodes);
    }
    cr_expect_eq(status, STATUS_INVALID);
    cr_expect_eq(kept, 100, "%u", kept);
    cr_expect_str_eq(fault.field, "retain");
    made.retain = BYTES("n0");
    cr_expect_eq(try_post(nodes_on(world->nodes, 0, 0), &made, &fault), 0, "a new value of one");
    const struct bytes other = BYTES("mem:blue");
    made.targets = &other;
    for (kept = 0, status = 0; kept < 100 && status == 0; kept += status == 0) {
        snprintf(name, sizeof(name), "n%u", kept);
        made.retain = bytes_str(name);
        status = try_post(nodes_on(world->nodes, 0, 0), &made, &fault);
        nodes_settle(world->nodes);
    }
    cr_expect_eq(status, STATUS_INVALID, "all together are too large: %u", kept);
    cr_expect_leq(nodes_stat(world->nodes, 0, offsetof(struct shard_stats, retain.bytes)), 40000);
    end(world);
}
