/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rooms in a storm: clients that connect, join, leave, publish and go, over several shards and
 * nodes, under many seeds. Whoever was told that it joined gets every event until it leaves; nobody
 * gets one twice, out of order, or after it left; at the end nothing is left over.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/deliver/broadcast.h"
#include "actors/deliver/fanout.h"
#include "actors/order/sequencer.h"
#include "actors/user/user.h"
#include "codec/adapter_wire.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(storm, .timeout = 300);

enum {
    CLIENTS = 10,
    ROOMS = 6,
    SMALL = 4, /* the room with at most three members on a node */
    SHARDS = 3,
    ACTIONS = 160,
    EVENTS_MAX = 512,
    CALLS_MAX = 4096,
    SEEDS = 1000,
    EMITTED = 10000,
};

#define SEED(storm) (unsigned long long)(storm)->nodes->seed

static const char *const rooms[ROOMS] = {"r0", "r1", "r2", "quiet:q", "small:s", "company:1"};

enum state { OUT, JOINING, IN, LEAVING };

struct event_sent {
    unsigned node;
    unsigned line; /* node and shard it was published on */
};

struct player {
    struct client client; /* first */
    struct storm *storm;
    unsigned number;
    unsigned node;
    bool here;
    enum state states[ROOMS];
    unsigned via[EVENTS_MAX]; /* rooms by which this event must still come; 0: it need not */
    bool got[EVENTS_MAX];
    bool excepted[EVENTS_MAX]; /* from this event */
    unsigned order[EVENTS_MAX]; /* what was received, since it connected */
    unsigned order_count;
    unsigned last_of_line[NODES_MAX * SHARDS];
};

struct call {
    unsigned room;
    bool join;
};

struct storm {
    struct nodes *nodes;
    struct player players[CLIENTS];
    struct event_sent events[EVENTS_MAX];
    unsigned event_count;
    struct call calls[CALLS_MAX];
    unsigned call_count;
    uint64_t received;
};

static unsigned dice(struct storm *storm, uint64_t bound)
{
    return (unsigned)nodes_dice(storm->nodes, bound);
}

/* --- what clients are told --- */

static void check_small(const struct storm *storm, unsigned node)
{
    unsigned members = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct player *player = &storm->players[i];
        members += player->here && player->node == node && player->states[SMALL] == IN;
    }
    cr_assert_leq(members, 3, "seed %llu: the small room is full", SEED(storm));
}

static void on_ack(struct player *player, const struct client_packet *packet)
{
    struct storm *storm = player->storm;
    cr_assert_lt(packet->id, storm->call_count);
    const struct call *call = &storm->calls[packet->id];
    struct bytes ok;
    bool done;
    cr_assert_eq(json_scan_get(packet->args, "ok", &ok), 0);
    cr_assert_eq(json_scan_bool(ok, &done), 0);
    enum state *state = &player->states[call->room];
    if (call->join) {
        cr_assert(done || call->room == SMALL, "seed %llu", SEED(storm));
        if (*state != LEAVING) { /* then it is left behind this answer */
            *state = done ? IN : OUT;
        }
        check_small(storm, player->node);
    } else {
        cr_assert(done);
        *state = OUT;
    }
}

static void on_event(struct player *player, const struct client_packet *packet)
{
    struct storm *storm = player->storm;
    uint64_t number;
    struct json_scan_iter iter;
    struct bytes list;
    struct builder array = {0};
    builder_byte(&array, '[');
    builder_add(&array, packet->args);
    builder_byte(&array, ']');
    list = builder_bytes(&array);
    struct bytes value;
    cr_assert(json_scan_iter_init(&iter, list) && json_scan_element(&iter, &value));
    cr_assert_eq(json_scan_u64(value, &number), 0);
    cr_assert(json_scan_element(&iter, &value));
    uint64_t to;
    cr_assert_eq(json_scan_u64(value, &to), 0);
    builder_reset(&array);
    bool inside = false;
    for (unsigned room = 0; room < ROOMS; room++) {
        inside = inside || ((to >> room & 1) &&
                               (player->states[room] == IN || player->states[room] == LEAVING));
    }
    cr_assert(inside, "seed %llu: client %u is in none of the rooms of %llu", SEED(storm),
        player->number, (unsigned long long)number);
    cr_assert_not(player->got[number], "seed %llu: twice", SEED(storm));
    cr_assert_not(player->excepted[number], "seed %llu: excepted", SEED(storm));
    unsigned line = storm->events[number].line;
    cr_assert_gt(number + 1, player->last_of_line[line], "seed %llu: order", SEED(storm));
    player->last_of_line[line] = (unsigned)number + 1;
    player->got[number] = true;
    player->via[number] = 0;
    player->order[player->order_count++] = (unsigned)number;
    storm->received++;
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct player *player = (struct player *)(void *)client;
    cr_assert(player->here, "no message to the dead");
    if (packet->is_ack) {
        on_ack(player, packet);
    } else if (bytes_eq_str(packet->name, "e")) {
        on_event(player, packet);
    } else if (bytes_eq_str(packet->name, "user_joined_room") ||
               bytes_eq_str(packet->name, "user_left_room")) {
        struct bytes room;
        cr_assert_eq(json_scan_get(packet->args, "roomId", &room), 0);
        cr_assert_not(json_scan_string_eq(room, BYTES("quiet:q")), "seed %llu: not quiet",
            SEED(player->storm));
    }
}

/* --- what they do --- */

static void connect_player(struct storm *storm, struct player *player)
{
    unsigned number = (unsigned)(player - storm->players);
    char user[16];
    memset(player, 0, sizeof(*player));
    player->storm = storm;
    player->number = number;
    player->node = dice(storm, storm->nodes->options.nodes);
    player->here = true;
    player->client.received = on_received;
    snprintf(user, sizeof(user), "u%u", dice(storm, CLIENTS / 2));
    struct shard *shard =
        nodes_on(storm->nodes, player->node, nodes_user_shard(storm->nodes, player->node, user));
    client_init(
        &player->client, shard, "/", user, (enum wire_format)dice(storm, WIRE_FORMAT_COUNT));
    cr_assert_eq(user_attach(shard, &player->client.socket), 0);
}

static struct shard *act_as(struct player *player)
{
    struct shard *shard = player->client.socket.shard;
    return nodes_on(player->storm->nodes, player->node, sched_shard(shard->sched));
}

static void disconnect_player(struct player *player)
{
    act_as(player);
    client_finish(&player->client, CLOSE_NORMAL);
    player->here = false;
    memset(player->via, 0, sizeof(player->via));
}

static void call(struct player *player, unsigned room, bool join)
{
    struct storm *storm = player->storm;
    char text[64];
    if (storm->call_count == CALLS_MAX) {
        return;
    }
    uint64_t id = storm->call_count++;
    storm->calls[id] = (struct call){.room = room, .join = join};
    snprintf(text, sizeof(text), "[\"%s\",\"%s\"]", join ? "join_room" : "leave_room", rooms[room]);
    act_as(player);
    user_event(&player->client.socket, bytes_str(text), &id, NULL, 0);
}

static void join_or_leave(struct player *player)
{
    unsigned room = dice(player->storm, ROOMS);
    if (player->states[room] == OUT) {
        player->states[room] = JOINING;
        unsigned times = 1 + (room != SMALL && dice(player->storm, 5) == 0);
        while (times-- > 0) {
            call(player, room, true); /* a client may ask twice */
        }
    } else if (player->states[room] != LEAVING) { /* perhaps before the answer to joining */
        player->states[room] = LEAVING;
        for (unsigned i = 0; i < player->storm->event_count; i++) {
            player->via[i] &= ~(1u << room);
        }
        call(player, room, false);
    }
}

static void publish(struct storm *storm)
{
    if (storm->event_count == EVENTS_MAX) {
        return;
    }
    unsigned number = storm->event_count++;
    unsigned node = dice(storm, storm->nodes->options.nodes);
    unsigned shard_number = dice(storm, SHARDS);
    unsigned count = 1 + dice(storm, 3);
    unsigned to = 0;
    struct bytes names[3];
    for (unsigned i = 0; i < count; i++) {
        unsigned room = dice(storm, ROOMS);
        names[i] = bytes_str(rooms[room]);
        to |= 1u << room;
    }
    struct player *excepted = &storm->players[dice(storm, CLIENTS)];
    bool except = excepted->here && dice(storm, 4) == 0;
    excepted->excepted[number] = except;
    struct bytes sid =
        except ? bytes_of(excepted->client.socket.sid, SOCKET_SID_LEN) : bytes_of(NULL, 0);
    storm->events[number] = (struct event_sent){node, node * SHARDS + shard_number};
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct player *player = &storm->players[i];
        for (unsigned room = 0; room < ROOMS; room++) {
            bool member = player->here && player->states[room] == IN && (to >> room & 1);
            player->via[number] |= member && !(except && player == excepted) ? 1u << room : 0;
        }
    }
    char text[64];
    struct event *event;
    snprintf(text, sizeof(text), "[\"e\",%u,%u]", number, to);
    unsigned flags = dice(storm, 4) == 0 ? EVENT_URGENT : 0u;
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, flags, &event), 0);
    sequencer_send(nodes_on(storm->nodes, node, shard_number), BYTES("/"),
        broadcast_new(event, names, count, &sid, except ? 1 : 0));
}

/* A packet and the end of the connection right behind it: the answer finds nobody. */
static void join_and_go(struct player *player)
{
    unsigned room = dice(player->storm, ROOMS);
    if (player->states[room] == OUT) {
        call(player, room, true);
        for (unsigned steps = dice(player->storm, 8); steps > 0; steps--) {
            nodes_step(player->storm->nodes);
        }
    }
    disconnect_player(player);
}

static void act(struct storm *storm)
{
    struct player *player = &storm->players[dice(storm, CLIENTS)];
    unsigned what = dice(storm, 20);
    if (!player->here) {
        if (what < 8) {
            connect_player(storm, player);
        }
    } else if (what < 10) {
        join_or_leave(player);
    } else if (what == 10) {
        disconnect_player(player);
    } else if (what == 11) {
        join_and_go(player);
    } else {
        publish(storm);
    }
}

/* --- the end --- */

static void check_nothing_missed(const struct storm *storm)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (unsigned number = 0; number < storm->event_count; number++) {
            cr_assert_eq(storm->players[i].via[number], 0,
                "seed %llu: client %u never got event %u", SEED(storm), i, number);
        }
    }
}

static void check_all_answered(const struct storm *storm)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (unsigned room = 0; room < ROOMS; room++) {
            enum state state = storm->players[i].states[room];
            cr_assert(!storm->players[i].here || state == OUT || state == IN,
                "seed %llu: client %u waits for an answer about %s", SEED(storm), i, rooms[room]);
        }
    }
}

/* Two clients of one node never see two events in different orders. */
static void check_one_order(const struct storm *storm)
{
    static unsigned place[EVENTS_MAX];
    for (unsigned a = 0; a < CLIENTS; a++) {
        const struct player *first = &storm->players[a];
        memset(place, 0, sizeof(place));
        for (unsigned i = 0; i < first->order_count; i++) {
            place[first->order[i]] = i + 1;
        }
        for (unsigned b = a + 1; b < CLIENTS; b++) {
            const struct player *second = &storm->players[b];
            unsigned last = 0;
            for (unsigned i = 0; second->node == first->node && i < second->order_count; i++) {
                unsigned at = place[second->order[i]];
                cr_assert(at == 0 || at > last, "seed %llu: two orders", SEED(storm));
                last = at > 0 ? at : last;
            }
        }
    }
}

static void check_nothing_left(const struct storm *storm)
{
    for (unsigned node = 0; node < storm->nodes->options.nodes; node++) {
        uint64_t actors = 0;
        for (unsigned i = 0; i < SHARDS; i++) {
            struct shard *shard = &storm->nodes->node[node].shards[i].shard;
            const struct fanout *fanout = fanout_find(shard, BYTES("/"));
            actors += sched_stats(shard->sched)->actors;
            cr_assert_eq(map_count(&fanout->leaves.map), 0, "seed %llu: leaves", SEED(storm));
            cr_assert_eq(fanout->leaves.dirty, 0);
            cr_assert_eq(map_count(&shard->sockets), 0);
            cr_assert_eq(shard->stats.rooms, 0, "seed %llu: rooms", SEED(storm));
            cr_assert_eq(shard->stats.users, 0, "seed %llu: users", SEED(storm));
            cr_assert_eq(sched_stats(shard->sched)->shed, 0);
        }
        cr_assert_eq(actors, SHARDS + 1, "seed %llu: fan-outs and a sequencer", SEED(storm));
    }
    if (storm->nodes->redis != NULL) {
        cr_assert_eq(fake_redis_channels(storm->nodes->redis),
            (2u + 3u * SHARDS) * storm->nodes->options.nodes,
            "seed %llu: the channels of the namespace, the probes, posts, and for everybody only",
            SEED(storm));
    }
}

static uint64_t run(uint64_t seed)
{
    static struct storm storm;
    const struct nodes_options options = {
        .nodes = seed % 4 == 3 ? 2 : 1,
        .shards = SHARDS,
        .bus = seed % 2,
        .partitions = 1,
        .batching = (enum batching_mode)(seed / 4 % 3),
    };
    memset(&storm, 0, sizeof(storm));
    storm.call_count = 1; /* ids are positive on the plain WebSocket */
    storm.nodes = nodes_create(seed, &options);
    if (options.bus) {
        fake_redis_set_lag(storm.nodes->redis, 300);
    }
    nodes_settle(storm.nodes); /* links are up */
    for (unsigned i = 0; i < ACTIONS; i++) {
        act(&storm);
        for (unsigned steps = dice(&storm, 30); steps > 0; steps--) {
            nodes_step(storm.nodes);
        }
        if (dice(&storm, 6) == 0) {
            nodes_advance(storm.nodes, 1 + dice(&storm, 60));
        }
    }
    nodes_settle(storm.nodes);
    nodes_advance(storm.nodes, 200);
    nodes_settle(storm.nodes);
    check_all_answered(&storm);
    check_nothing_missed(&storm);
    check_one_order(&storm);
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (storm.players[i].here) {
            disconnect_player(&storm.players[i]);
        }
    }
    nodes_settle(storm.nodes);
    check_nothing_left(&storm);
    uint64_t hash = det_sched_hash(storm.nodes->node[0].det) + storm.received;
    nodes_destroy(storm.nodes);
    return hash;
}

Test(storm, joins_leaves_and_publishes)
{
    const char *more = getenv("PEAL_SEEDS");
    uint64_t seeds = more ? strtoull(more, NULL, 10) : SEEDS;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run(seed);
    }
}

Test(storm, same_seed_same_hash)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        cr_assert_eq(run(seed), run(seed), "seed %llu", (unsigned long long)seed);
    }
}

/* --- one emitter, two rooms --- */

enum { PAIR = 2, MEMBERS = 6 };

struct listener {
    struct client client; /* first */
    uint64_t next;
    uint64_t lost; /* passed over; only where `lossy` */
    bool lossy;
    unsigned joined;
};

static void on_heard(struct client *client, const struct client_packet *packet)
{
    struct listener *listener = (struct listener *)(void *)client;
    listener->joined += packet->is_ack;
    if (!packet->is_ack && bytes_eq_str(packet->name, "e")) {
        uint64_t number;
        cr_assert_eq(json_scan_u64(packet->args, &number), 0);
        cr_assert(number == listener->next || (listener->lossy && number > listener->next),
            "got %llu, expected %llu", (unsigned long long)number,
            (unsigned long long)listener->next);
        listener->lost += number - listener->next;
        listener->next = number + 1;
    }
}

static void emit(
    struct nodes *nodes, unsigned shard, const char *room, unsigned number, unsigned flags)
{
    char text[64];
    struct event *event;
    struct bytes name = bytes_str(room);
    snprintf(text, sizeof(text), "[\"e\",%u]", number);
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, flags, &event), 0);
    sequencer_send(nodes_on(nodes, 0, shard), BYTES("/"), broadcast_new(event, &name, 1, NULL, 0));
}

/* A room and users that live on a shard of their own each. */
static void find_room(const struct nodes *nodes, unsigned shard, char *room, size_t size)
{
    char key[32];
    for (unsigned i = 0;; i++) {
        snprintf(room, size, "r%u", i);
        snprintf(key, sizeof(key), "/,%s", room);
        if (nodes_user_shard(nodes, 0, key) == shard) {
            return;
        }
    }
}

static void find_user(
    const struct nodes *nodes, unsigned shard, unsigned from, char *user, size_t size)
{
    for (unsigned i = from;; i++) {
        snprintf(user, size, "u%u", i);
        if (nodes_user_shard(nodes, 0, user) == shard) {
            return;
        }
    }
}

static void enter_rooms(struct listener *listener, struct nodes *nodes, unsigned node,
    const char *user, enum wire_format format)
{
    memset(listener, 0, sizeof(*listener));
    listener->client.received = on_heard;
    struct shard *shard = nodes_on(nodes, node, nodes_user_shard(nodes, node, user));
    client_init(&listener->client, shard, "/", user, format);
    cr_assert_eq(user_attach(shard, &listener->client.socket), 0);
}

static void ask_for(struct listener *listener, const char *room, uint64_t id)
{
    char text[48];
    snprintf(text, sizeof(text), "[\"join_room\",\"%s\"]", room);
    user_event(&listener->client.socket, bytes_str(text), &id, NULL, 0);
}

static void depart(struct listener *listener, struct nodes *nodes, unsigned node)
{
    nodes_on(nodes, node, sched_shard(listener->client.socket.shard->sched));
    client_finish(&listener->client, CLOSE_NORMAL);
}

Test(storm, two_rooms_one_order)
{
    static struct listener listeners[MEMBERS];
    char pair[PAIR][16];
    const struct nodes_options options = {.nodes = 1, .shards = SHARDS, .partitions = 1};
    struct nodes *nodes = nodes_create(11, &options);
    for (unsigned i = 0; i < PAIR; i++) {
        find_room(nodes, i, pair[i], sizeof(pair[i]));
    }
    for (unsigned i = 0; i < MEMBERS; i++) { /* every format, every shard */
        char user[16];
        find_user(nodes, i % SHARDS, i * 100, user, sizeof(user));
        enter_rooms(&listeners[i], nodes, 0, user, (enum wire_format)(i % WIRE_FORMAT_COUNT));
        for (unsigned room = 0; room < PAIR; room++) {
            ask_for(&listeners[i], pair[room], room + 1);
        }
    }
    nodes_settle(nodes);
    for (unsigned number = 0; number < EMITTED; number++) {
        unsigned flags = nodes_dice(nodes, 3) == 0 ? EVENT_URGENT : 0u;
        emit(nodes, 1, pair[number % PAIR], number, flags);
        if (nodes_dice(nodes, 4) == 0) {
            nodes_advance(nodes, 1 + nodes_dice(nodes, 10));
        }
    }
    nodes_advance(nodes, 200);
    nodes_settle(nodes);
    uint64_t windowed = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        windowed += nodes->node[0].shards[i].shard.stats.windowed;
    }
    cr_assert_gt(windowed, 0, "some waited for the tick");
    for (unsigned i = 0; i < MEMBERS; i++) {
        cr_assert_eq(listeners[i].joined, PAIR);
        cr_assert_eq(listeners[i].next, EMITTED);
        depart(&listeners[i], nodes, 0);
    }
    nodes_settle(nodes);
    nodes_destroy(nodes);
}

/* Publish an event to `rooms` on the channel of each, as some emitters do. */
static void publish_to_each(
    struct nodes *nodes, const struct bytes *names, size_t count, unsigned number)
{
    char text[64];
    struct event *event;
    struct builder payload = {0};
    snprintf(text, sizeof(text), "[\"e\",%u]", number);
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, 0, &event), 0);
    const struct adapter_emit emitted = {.uid = BYTES("emitter"),
        .nsp = BYTES("/"),
        .event = event,
        .rooms = names,
        .room_count = count};
    cr_assert_eq(adapter_broadcast_encode(&emitted, &payload), 0);
    for (size_t i = 0; i < count; i++) {
        struct builder channel = {0};
        struct adapter_emit one = emitted;
        one.rooms = &names[i];
        one.room_count = 1;
        adapter_emit_channel(&one, BYTES("socket.io"), &channel);
        fake_redis_publish(nodes->redis, builder_bytes(&channel), builder_bytes(&payload));
        builder_reset(&channel);
    }
    event_unref(event);
    builder_reset(&payload);
}

/* Publish an event as an emitter does. */
static void publish_number(struct nodes *nodes, const char *room, unsigned number)
{
    struct bytes name = bytes_str(room);
    publish_to_each(nodes, &name, 1, number);
}

Test(storm, an_emitter_that_publishes_for_each_room_reaches_a_client_once)
{
    static struct listener listeners[3]; /* in both rooms, and in one each */
    const struct bytes names[] = {BYTES("r0"), BYTES("r1")};
    const struct nodes_options options = {.nodes = 1, .shards = 2, .bus = true, .partitions = 1};
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct nodes *nodes = nodes_create(seed, &options);
        nodes_settle(nodes);
        for (unsigned i = 0; i < ARRAY_LEN(listeners); i++) {
            char user[16];
            find_user(nodes, i % 2, i * 100, user, sizeof(user));
            enter_rooms(&listeners[i], nodes, 0, user, WIRE_JSON);
            for (unsigned room = 0; room < 2; room++) {
                if (i == 0 || room == i - 1) {
                    ask_for(&listeners[i], room == 0 ? "r0" : "r1", room + 1);
                }
            }
        }
        nodes_settle(nodes);
        for (unsigned number = 0; number < 10; number++) {
            publish_to_each(nodes, names, ARRAY_LEN(names), number);
            if (nodes_dice(nodes, 2) == 0) {
                nodes_settle(nodes);
            }
        }
        nodes_advance(nodes, 200);
        nodes_settle(nodes);
        for (unsigned i = 0; i < ARRAY_LEN(listeners); i++) {
            cr_assert_eq(listeners[i].next, 10, "seed %u", seed); /* on_heard: once, in order */
            depart(&listeners[i], nodes, 0);
        }
        nodes_settle(nodes);
        nodes_destroy(nodes);
    }
}

Test(storm, a_flood_from_the_bus_keeps_the_bound)
{
    static struct listener listeners[SHARDS];
    const struct nodes_options options = {
        .nodes = 1, .shards = SHARDS, .bus = true, .partitions = 1, .batching = BATCHING_ALWAYS};
    struct nodes *nodes = nodes_create(13, &options);
    nodes_settle(nodes);
    for (unsigned i = 0; i < SHARDS; i++) {
        char user[16];
        find_user(nodes, i, 0, user, sizeof(user));
        enter_rooms(&listeners[i], nodes, 0, user, WIRE_JSON);
        ask_for(&listeners[i], "r0", 1);
    }
    nodes_settle(nodes);
    for (unsigned number = 0; number < EMITTED; number++) {
        publish_number(nodes, "r0", number);
    }
    while (fake_redis_step(nodes->redis)) { /* no shard has its turn meanwhile */
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        listeners[i].lossy = true;
        nodes_on(nodes, 0, i);
        ask_for(&listeners[i], "r1", 2); /* that is not lost */
    }
    nodes_settle(nodes);
    nodes_advance(nodes, 200);
    nodes_settle(nodes);
    for (unsigned i = 0; i < SHARDS; i++) {
        cr_assert_eq(listeners[i].next, EMITTED);
        cr_assert_eq(listeners[i].joined, 2);
        uint64_t shed = sched_stats(nodes->node[0].shards[i].shard.sched)->shed;
        cr_assert(shed > 0 && shed <= EMITTED - FANOUT_SHED_BOUND);
        cr_assert_eq(listeners[i].lost, shed, "in order, and counted");
        depart(&listeners[i], nodes, 0);
    }
    nodes_settle(nodes);
    nodes_destroy(nodes);
}

/* Urgent is urgent on the other nodes too, and takes along what waits. */
Test(storm, urgent_crosses_the_bus)
{
    static struct listener listener;
    const struct nodes_options options = {
        .nodes = 2, .shards = 2, .bus = true, .partitions = 1, .batching = BATCHING_ALWAYS};
    struct nodes *nodes = nodes_create(12, &options);
    nodes_settle(nodes);
    enter_rooms(&listener, nodes, 1, "u0", WIRE_SIO);
    ask_for(&listener, "r0", 1);
    nodes_settle(nodes);
    emit(nodes, 0, "r0", 0, 0);
    nodes_settle(nodes);
    cr_assert_eq(listener.next, 0, "waits for the tick");
    emit(nodes, 0, "r0", 1, EVENT_URGENT);
    nodes_settle(nodes);
    cr_assert_eq(listener.next, 2);
    depart(&listener, nodes, 1);
    nodes_settle(nodes);
    nodes_destroy(nodes);
}
