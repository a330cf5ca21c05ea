/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rooms with a memory, under a model. Clients drop and come back, to any node, with the position of
 * the last event that they have had; nodes end and others begin. A client that is told that it has
 * recovered has every event of the room, once and in order; one that is not told so begins anew.
 *
 * Order of this file: the world, clients, what happens, runs of the model, single rules.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/deliver/broadcast.h"
#include "actors/order/sequencer.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"
#include "tests/support/seed.h"

TestSuite(room_memory, .timeout = 300);

enum {
    CLIENTS = 5,
    ROOMS = 2,
    VALUES_MAX = 4096,
    RUNS_MAX = 256,
    POSITION_MAX = 100,
    STEPS = 400,
    SEEDS = 40,
};

static const char *const rooms[ROOMS] = {"mem:red", "mem:blue"};

/* What one client had of a room: `runs` are where it began anew. */
struct had {
    uint64_t values[VALUES_MAX];
    unsigned count;
    unsigned runs[RUNS_MAX];
    unsigned run_count;
    bool joined; /* in this connection, and answered */
    bool asked; /* a join is under way */
    char epoch[32];
    char position[POSITION_MAX]; /* empty: none yet */
};

struct guest {
    struct client client; /* first */
    struct world *world;
    unsigned number;
    bool here;
    unsigned node;
    unsigned shard;
    char user[16];
    struct had had[ROOMS];
    unsigned recovered;
    unsigned lost;
};

struct world {
    struct nodes *nodes;
    uint64_t seed;
    bool alive[NODES_MAX];
    uint64_t next_value[ROOMS];
    struct guest guests[CLIENTS]; /* the first never drops, and is on node 0, which never ends */
};

static void fail(const struct guest *guest, const char *what, uint64_t a, uint64_t b)
{
    cr_assert_fail("seed %llu, %s: %s (%llu, %llu)", (unsigned long long)guest->world->seed,
        guest->user, what, (unsigned long long)a, (unsigned long long)b);
}

/* Clients. */

static struct bytes member(struct bytes object, const char *key, char *at, size_t size)
{
    struct bytes value;
    struct bytes text = {0};
    if (json_scan_get(object, key, &value) == 0) {
        cr_assert_eq(json_scan_string(value, at, size, &text), 0);
    }
    return text;
}

static void set_position(struct had *had, struct bytes offset)
{
    cr_assert_lt(offset.len, sizeof(had->position));
    memcpy(had->position, offset.at, offset.len);
    had->position[offset.len] = '\0';
}

static int room_number(struct bytes name)
{
    for (int i = 0; i < ROOMS; i++) {
        if (bytes_eq_str(name, rooms[i])) {
            return i;
        }
    }
    return -1;
}

static void begin_run(struct guest *guest, struct had *had)
{
    if (had->run_count == RUNS_MAX) {
        fail(guest, "too many runs", 0, 0);
    }
    had->runs[had->run_count++] = had->count;
}

static void on_answer(struct guest *guest, struct bytes answer)
{
    char at[POSITION_MAX];
    bool recovered = false;
    struct bytes value;
    int number = room_number(member(answer, "roomId", at, sizeof(at)));
    if (number < 0) {
        return;
    }
    struct had *had = &guest->had[number];
    bool said = json_scan_get(answer, "recovered", &value) == 0;
    if (said) {
        cr_assert_eq(json_scan_bool(value, &recovered), 0);
    }
    if (said != (had->position[0] != '\0')) {
        fail(guest, "told of what it did not ask", said, 0);
    }
    guest->recovered += said && recovered;
    guest->lost += said && !recovered;
    if (!recovered) {
        begin_run(guest, had);
    }
    struct bytes epoch = member(answer, "epoch", at, sizeof(at));
    cr_assert_gt(epoch.len, 0);
    memcpy(had->epoch, epoch.at, epoch.len);
    had->epoch[epoch.len] = '\0';
    set_position(had, member(answer, "offset", at, sizeof(at)));
    had->joined = true;
    had->asked = false;
}

/* {"room":…,"v":…} and, behind it, the offset: a string, or {"_peal":{"room","offset"}}. */
static void on_event(struct guest *guest, struct bytes args)
{
    struct builder array = {0};
    struct json_scan_iter iter;
    struct bytes event;
    struct bytes mark;
    struct bytes value;
    char at[POSITION_MAX];
    uint64_t number;
    builder_byte(&array, '[');
    builder_add(&array, args);
    builder_byte(&array, ']');
    cr_assert(json_scan_iter_init(&iter, builder_bytes(&array)));
    cr_assert(json_scan_element(&iter, &event));
    int room = room_number(member(event, "room", at, sizeof(at)));
    cr_assert_geq(room, 0);
    cr_assert_eq(json_scan_get(event, "v", &value), 0);
    cr_assert_eq(json_scan_u64(value, &number), 0);
    cr_assert(json_scan_element(&iter, &mark), "an event of such a room has its offset");
    struct bytes offset;
    if (json_scan_kind(mark) == JSON_SCAN_STRING) {
        cr_assert_eq(json_scan_string(mark, at, sizeof(at), &offset), 0);
    } else {
        cr_assert_eq(json_scan_get(mark, "_peal", &value), 0);
        cr_assert(bytes_eq_str(member(value, "room", at, sizeof(at)), rooms[room]));
        offset = member(value, "offset", at, sizeof(at));
    }
    struct had *had = &guest->had[room];
    if (had->count == VALUES_MAX) {
        fail(guest, "too many values", 0, 0);
    }
    if (had->run_count == 0) {
        fail(guest, "an event before it has joined", number, 0);
    }
    had->values[had->count++] = number;
    /* One order: who gets this as a member of several rooms has all before it in each of them. What
     * comes before a join is answered is what was missed, and older. */
    for (int i = 0; i < ROOMS; i++) {
        if (i == room || (had->joined && guest->had[i].joined)) {
            set_position(&guest->had[i], offset);
        }
    }
    builder_reset(&array);
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct guest *guest = (struct guest *)(void *)client;
    if (packet->is_ack) {
        on_answer(guest, packet->args);
    } else if (bytes_eq_str(packet->name, "e")) {
        on_event(guest, packet->args);
    }
}

static void act_as(const struct guest *guest)
{
    nodes_on(guest->world->nodes, guest->node, guest->shard);
}

static void ask_to_join(struct guest *guest, unsigned room, bool since)
{
    char text[400];
    struct had *had = &guest->had[room];
    if (!since) {
        had->position[0] = '\0';
    }
    if (had->position[0] != '\0') {
        snprintf(text, sizeof(text),
            "[\"join_room\",{\"roomId\":\"%s\",\"since\":{\"epoch\":\"%s\",\"offset\":\"%s\"}}]",
            rooms[room], had->epoch, had->position);
    } else {
        snprintf(text, sizeof(text), "[\"join_room\",\"%s\"]", rooms[room]);
    }
    had->asked = true;
    act_as(guest);
    user_event(&guest->client.socket, bytes_str(text), &(uint64_t){room + 1}, NULL, 0);
}

static void enter(struct guest *guest, unsigned node)
{
    static const enum wire_format formats[] = {
        WIRE_SIO, WIRE_SIO_BATCH, WIRE_JSON, WIRE_SIO_MSGPACK, WIRE_MSGPACK};
    struct world *world = guest->world;
    guest->client = (struct client){.received = on_received};
    guest->node = node;
    guest->shard = nodes_user_shard(world->nodes, node, guest->user);
    guest->here = true;
    struct shard *shard = nodes_on(world->nodes, node, guest->shard);
    client_init(&guest->client, shard, "/", guest->user,
        formats[nodes_dice(world->nodes, ARRAY_LEN(formats))]);
    cr_assert_eq(user_attach(shard, &guest->client.socket), 0);
    for (unsigned i = 0; i < ROOMS; i++) {
        guest->had[i].joined = false;
        guest->had[i].asked = false;
    }
}

static void drop(struct guest *guest)
{
    act_as(guest);
    client_finish(&guest->client, CLOSE_TRANSPORT);
    guest->here = false;
}

/* What happens. */

static void post(struct world *world, unsigned node, unsigned room)
{
    char text[128];
    struct event *event;
    struct bytes name = bytes_str(rooms[room]);
    snprintf(text, sizeof(text), "[\"e\",{\"room\":\"%s\",\"v\":%llu}]", rooms[room],
        (unsigned long long)world->next_value[room]++);
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, 0, &event), 0);
    unsigned shards = world->nodes->options.shards;
    struct shard *shard = nodes_on(world->nodes, node, (unsigned)nodes_dice(world->nodes, shards));
    cr_assert_eq(sequencer_send(shard, BYTES("/"), broadcast_new(event, &name, 1, NULL, 0)), 0);
}

static unsigned pick_node(struct world *world)
{
    unsigned node;
    do {
        node = (unsigned)nodes_dice(world->nodes, world->nodes->options.nodes);
    } while (!world->alive[node]);
    return node;
}

static void end_node(struct world *world)
{
    unsigned node = 1 + (unsigned)nodes_dice(world->nodes, world->nodes->options.nodes - 1);
    if (!world->alive[node]) {
        nodes_start(world->nodes, node);
        nodes_settle(world->nodes); /* until its links are up, what it posts reaches nobody else */
        world->alive[node] = true;
        return;
    }
    for (unsigned i = 1; i < CLIENTS; i++) {
        if (world->guests[i].here && world->guests[i].node == node) {
            drop(&world->guests[i]);
        }
    }
    nodes_stop(world->nodes, node);
    world->alive[node] = false;
}

/* Something happens to a client: it drops, without having read all; comes back; or joins. */
static void move_client(struct world *world, struct guest *guest)
{
    unsigned room = (unsigned)nodes_dice(world->nodes, ROOMS);
    if (!guest->here) {
        enter(guest, pick_node(world));
    } else if (!guest->had[room].joined && !guest->had[room].asked) {
        ask_to_join(guest, room, nodes_dice(world->nodes, 8) > 0);
    } else if (nodes_dice(world->nodes, 3) == 0) {
        guest->client.stalled = true;
    } else if (nodes_dice(world->nodes, 3) == 0) {
        drop(guest);
    }
}

static void join_all(struct world *world)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct guest *guest = &world->guests[i];
        if (!guest->here) {
            enter(guest, pick_node(world));
        }
        act_as(guest);
        guest->client.stalled = false;
        client_resume(&guest->client);
        for (unsigned room = 0; room < ROOMS; room++) {
            if (!guest->had[room].joined && !guest->had[room].asked) {
                ask_to_join(guest, room, true);
            }
        }
    }
    nodes_settle(world->nodes);
}

/* Each run of a client is a part of what the first one had, and the last one its end. */
static void check(const struct guest *guest, unsigned room)
{
    const struct had *all = &guest->world->guests[0].had[room];
    const struct had *had = &guest->had[room];
    for (unsigned run = 0; run < had->run_count; run++) {
        unsigned from = had->runs[run];
        unsigned to = run + 1 < had->run_count ? had->runs[run + 1] : had->count;
        unsigned at = 0;
        while (from < to && at < all->count && all->values[at] != had->values[from]) {
            at++;
        }
        for (unsigned i = from; i < to; i++, at++) {
            if (at >= all->count || all->values[at] != had->values[i]) {
                fail(guest, "what it has is not what was sent", had->values[i],
                    at < all->count ? all->values[at] : UINT64_MAX);
            }
        }
        if (run + 1 == had->run_count && from < to && at != all->count) {
            fail(guest, "the end is missing", at, all->count);
        }
    }
}

/* All of node 0 are there from the beginning on: they must have everything. */
static void check_all(struct world *world)
{
    for (unsigned room = 0; room < ROOMS; room++) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            check(&world->guests[i], room);
        }
        if (world->guests[0].had[room].count != world->next_value[room]) {
            fail(&world->guests[0], "who never drops misses something",
                world->guests[0].had[room].count, world->next_value[room]);
        }
    }
}

/* Runs of the model. */

static void set_up(struct world *world, uint64_t seed, const struct nodes_options *options)
{
    memset(world, 0, sizeof(*world));
    world->seed = seed;
    world->nodes = nodes_create(seed, options);
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < options->nodes; i++) {
        world->alive[i] = true;
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct guest *guest = &world->guests[i];
        guest->world = world;
        guest->number = i;
        snprintf(guest->user, sizeof(guest->user), "u%u", i);
        enter(guest, i == 0 ? 0 : pick_node(world));
    }
    for (unsigned room = 0; room < ROOMS; room++) {
        ask_to_join(&world->guests[0], room, false);
    }
    nodes_settle(world->nodes);
}

static void tear_down(struct world *world)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (world->guests[i].here) {
            drop(&world->guests[i]);
        }
    }
    nodes_settle(world->nodes);
    nodes_destroy(world->nodes);
}

static void step(struct world *world, bool ends)
{
    struct nodes *nodes = world->nodes;
    uint64_t what = nodes_dice(nodes, 100);
    if (what < 40) {
        post(world, pick_node(world), (unsigned)nodes_dice(nodes, ROOMS));
    } else if (what < 90) {
        move_client(world, &world->guests[1 + nodes_dice(nodes, CLIENTS - 1)]);
    } else if (what < 92 && ends) {
        nodes_settle(nodes); /* what a node that ends has not posted yet is lost */
        end_node(world);
    } else if (what < 96) {
        nodes_advance(nodes, nodes_dice(nodes, 50));
    }
    for (uint64_t moves = nodes_dice(nodes, 20); moves > 0 && nodes_step(nodes); moves--) {
    }
}

static void count(const struct world *world, unsigned *recovered, unsigned *lost)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        *recovered += world->guests[i].recovered;
        *lost += world->guests[i].lost;
    }
}

static void run(const struct nodes_options *options, bool ends, unsigned *recovered, unsigned *lost)
{
    static struct world world;
    const char *more = getenv("PEAL_SEEDS");
    uint64_t seeds = more != NULL ? strtoull(more, NULL, 10) : SEEDS;
    uint64_t first = seed_draw();
    for (uint64_t i = 0; i < seeds; i++) {
        set_up(&world, first + i, options);
        for (unsigned n = 0; n < STEPS; n++) {
            step(&world, ends);
        }
        nodes_settle(world.nodes);
        join_all(&world);
        for (unsigned room = 0; room < ROOMS; room++) {
            post(&world, 0, room);
        }
        nodes_settle(world.nodes);
        nodes_advance(world.nodes, 500); /* windows, and JOINs that were held */
        nodes_settle(world.nodes);
        check_all(&world);
        count(&world, recovered, lost);
        tear_down(&world);
    }
}

Test(room_memory, a_node_alone_tells_what_was_missed_or_that_it_cannot)
{
    unsigned recovered = 0;
    unsigned lost = 0;
    run(&(struct nodes_options){.nodes = 1, .shards = 3, .replay = 10}, false, &recovered, &lost);
    cr_expect_gt(recovered, 500, "%u", recovered);
    cr_expect_gt(lost, 20, "%u", lost);
}

Test(room_memory, windows_and_memory_fit_together)
{
    unsigned recovered = 0;
    unsigned lost = 0;
    run(
        &(struct nodes_options){
            .nodes = 1, .shards = 2, .replay = 1000, .batching = BATCHING_ALWAYS},
        false, &recovered, &lost);
    cr_expect_gt(recovered, 500, "%u", recovered);
    cr_expect_eq(lost, 0, "nothing was forgotten: %u", lost);
}

Test(room_memory, any_node_tells_and_the_death_of_one_loses_nothing)
{
    unsigned recovered = 0;
    unsigned lost = 0;
    run(&(struct nodes_options){.nodes = 3, .shards = 2, .bus = true, .replay = 1000}, true,
        &recovered, &lost);
    cr_expect_gt(recovered, 500, "%u", recovered);
    cr_expect_eq(lost, 0, "nothing was forgotten: %u", lost);
}

Test(room_memory, any_node_forgets_what_overflows_and_says_so)
{
    unsigned recovered = 0;
    unsigned lost = 0;
    run(
        &(struct nodes_options){
            .nodes = 3, .shards = 2, .bus = true, .replay = 10, .memory_bytes = 4096},
        true, &recovered, &lost);
    cr_expect_gt(recovered, 200, "%u", recovered);
    cr_expect_gt(lost, 20, "%u", lost);
}

Test(room_memory, it_goes_with_recovery_of_the_namespace)
{
    unsigned recovered = 0;
    unsigned lost = 0;
    run(
        &(struct nodes_options){
            .nodes = 2, .shards = 2, .bus = true, .recovers = true, .replay = 1000},
        true, &recovered, &lost);
    cr_expect_gt(recovered, 200, "%u", recovered);
}

/* Single rules. */

static void rejoin(struct guest *guest, unsigned node)
{
    enter(guest, node);
    ask_to_join(guest, 0, true);
    nodes_settle(guest->world->nodes);
}

/* A node that was cut off delivered something to its own clients: the others cannot have it. */
Test(room_memory, what_a_node_that_was_cut_off_sent_alone_is_no_secret)
{
    static struct world world;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        set_up(&world, seed,
            &(struct nodes_options){.nodes = 2, .shards = 2, .bus = true, .replay = 100});
        struct guest *guest = &world.guests[1];
        drop(guest);
        rejoin(guest, 1);
        cr_assert(guest->had[0].joined);
        post(&world, 1, 0);
        nodes_settle(world.nodes);
        drop(guest);
        fake_redis_reach(world.nodes->redis, 1, false);
        fake_redis_drop(world.nodes->redis, 1, 1);
        nodes_settle(world.nodes);
        post(&world, 1, 0);
        nodes_settle(world.nodes);
        fake_redis_reach(world.nodes->redis, 1, true);
        nodes_advance(world.nodes, 10000);
        nodes_settle(world.nodes);
        unsigned lost = guest->lost;
        rejoin(guest, 0);
        cr_expect_eq(guest->lost, lost + 1, "seed %u", (unsigned)seed);
        drop(guest);
        rejoin(guest, 1); /* where it is known, with the position that it has from node 0 */
        tear_down(&world);
    }
}

static void post_text(struct world *world, const char *text, const struct bytes *names,
    uint32_t rooms_count, const struct bytes *except, uint32_t except_count)
{
    struct event *event;
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, 0, &event), 0);
    struct shard *shard = nodes_on(world->nodes, 0, 0);
    cr_assert_eq(sequencer_send(shard, BYTES("/"),
                     broadcast_new(event, names, rooms_count, except, except_count)),
        0);
    nodes_settle(world->nodes);
}

static struct world *alone(uint32_t replay, uint32_t memory_bytes)
{
    static struct world world;
    set_up(&world, 1,
        &(struct nodes_options){
            .nodes = 1, .shards = 2, .replay = replay, .memory_bytes = memory_bytes});
    return &world;
}

static struct guest *absent(struct world *world)
{
    struct guest *guest = &world->guests[1];
    drop(guest);
    rejoin(guest, 0);
    drop(guest);
    return guest;
}

static uint64_t stat(const struct world *world, size_t offset)
{
    return nodes_stat(world->nodes, 0, offset);
}

Test(room_memory, what_is_older_than_its_age_is_forgotten)
{
    struct world *world = alone(100, 0);
    struct guest *guest = absent(world);
    post(world, 0, 0);
    nodes_settle(world->nodes);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_events)), 1);
    nodes_advance(world->nodes, 59000);
    rejoin(guest, 0);
    cr_expect_eq(guest->recovered, 1, "within a minute");
    cr_expect_eq(guest->had[0].count, 1);
    drop(guest);
    post(world, 0, 0);
    nodes_settle(world->nodes);
    nodes_advance(world->nodes, 63000);
    nodes_settle(world->nodes);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_events)), 0);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_rooms)), 0);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_bytes)), 0);
    rejoin(guest, 0);
    cr_expect_eq(guest->lost, 1, "behind it");
    drop(guest);
    rejoin(guest, 0);
    cr_expect_eq(guest->recovered, 2, "nothing was sent since");
    tear_down(world);
}

Test(room_memory, what_is_too_much_for_an_outbox_is_not_sent)
{
    struct world *world = alone(100, 0);
    static char text[400 << 10];
    const struct bytes name = BYTES("mem:red");
    memset(text, 'x', sizeof(text));
    struct guest *guest = absent(world);
    memcpy(text, "[\"big\",\"", 8);
    memcpy(text + sizeof(text) - 3, "\"]", 3);
    for (unsigned i = 0; i < 2; i++) {
        post_text(world, text, &name, 1, NULL, 0);
    }
    rejoin(guest, 0);
    cr_expect_eq(guest->recovered, 1, "two fit into 7/8 of 1 MiB");
    drop(guest);
    for (unsigned i = 0; i < 3; i++) {
        post_text(world, text, &name, 1, NULL, 0);
    }
    guest->had[0].position[0] = '\0';
    rejoin(guest, 0); /* where it stands now is behind all of them */
    drop(guest);
    for (unsigned i = 0; i < 3; i++) {
        post_text(world, text, &name, 1, NULL, 0);
    }
    rejoin(guest, 0);
    cr_expect_eq(guest->lost, 1, "three do not");
    cr_expect_eq(stat(world, offsetof(struct shard_stats, rejoins_lost)), 1);
    tear_down(world);
}

Test(room_memory, the_most_silent_room_goes_when_all_are_too_large)
{
    struct world *world = alone(100, 6000);
    struct guest *guest = absent(world);
    post(world, 0, 0);
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < 40; i++) {
        post(world, 0, 1);
        nodes_settle(world->nodes);
    }
    cr_expect_gt(stat(world, offsetof(struct shard_stats, memory_evicted)), 0);
    cr_expect_leq(stat(world, offsetof(struct shard_stats, memory_bytes)), 6000);
    rejoin(guest, 0);
    cr_expect_eq(guest->lost, 1, "what it lacks is not there");
    tear_down(world);
}

static struct {
    char first[512];
    unsigned events;
} plain;

static void on_plain(struct client *client, const struct client_packet *packet)
{
    (void)client;
    if (!packet->is_ack && bytes_eq_str(packet->name, "own")) {
        plain.events++;
        snprintf(plain.first, sizeof(plain.first), "%.*s", (int)packet->args.len, packet->args.at);
    }
}

/* A client of /ws in both rooms. */
static void enter_plain(struct world *world, struct client *client, const char *user)
{
    memset(client, 0, sizeof(*client));
    client->received = on_plain;
    client_init(client, nodes_on(world->nodes, 0, nodes_user_shard(world->nodes, 0, user)), "/",
        user, WIRE_JSON);
    cr_assert_eq(user_attach(client->socket.shard, &client->socket), 0);
    for (unsigned i = 0; i < ROOMS; i++) {
        char text[64];
        snprintf(text, sizeof(text), "[\"join_room\",\"%s\"]", rooms[i]);
        user_event(&client->socket, bytes_str(text), NULL, NULL, 0);
    }
    nodes_settle(world->nodes);
}

Test(room_memory, an_offset_names_no_room_that_its_reader_may_not_know)
{
    struct world *world = alone(100, 0);
    struct client client;
    enter_plain(world, &client, "zoe");
    const struct bytes both[] = {BYTES("mem:red"), BYTES("mem:secret")};
    post_text(world, "[\"own\",1]", both, 1, NULL, 0);
    cr_expect_not_null(
        strstr(plain.first, "{\"_peal\":{\"room\":\"mem:red\",\"offset\":\""), "%s", plain.first);
    post_text(world, "[\"own\",2]", both, 2, NULL, 0);
    cr_expect_not_null(strstr(plain.first, "2,{\"_peal\":{\"offset\":\""), "%s", plain.first);
    const struct bytes other = BYTES("any:one");
    post_text(world, "[\"own\",3]", &other, 1, NULL, 0);
    cr_expect_eq(plain.events, 2);
    nodes_on(world->nodes, 0, sched_shard(client.socket.shard->sched));
    client_finish(&client, CLOSE_NORMAL);
    tear_down(world);
}

Test(room_memory, who_an_event_was_not_for_does_not_get_it_later)
{
    struct world *world = alone(100, 0);
    struct guest *guest = absent(world);
    const struct bytes name = BYTES("mem:red");
    const struct bytes but[] = {BYTES("user:u1"), BYTES("someone")};
    post_text(world, "[\"e\",{\"room\":\"mem:red\",\"v\":0}]", &name, 1, but, 2);
    world->next_value[0] = 1;
    post(world, 0, 0);
    nodes_settle(world->nodes);
    rejoin(guest, 0);
    cr_expect_eq(guest->recovered, 1);
    cr_assert_eq(guest->had[0].count, 1);
    cr_expect_eq(guest->had[0].values[0], 1);
    tear_down(world);
}

Test(room_memory, who_comes_goes_or_types_is_not_remembered)
{
    struct world *world = alone(100, 0);
    const struct bytes name = BYTES("mem:red");
    uint64_t before = stat(world, offsetof(struct shard_stats, memory_events));
    cr_expect_eq(before, 0, "that the first guest has joined is nothing to remember");
    post_text(world, "[\"typing\",{}]", &name, 1, NULL, 0);
    post_text(world, "[\"user_left_room\",{}]", &name, 1, NULL, 0);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_events)), 0);
    post_text(world, "[\"new_message\",{}]", &name, 1, NULL, 0);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_events)), 1);
    tear_down(world);
}
