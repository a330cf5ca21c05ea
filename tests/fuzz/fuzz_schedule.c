/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules of actors: the input decides what happens on nodes of several shards (sockets come and
 * go, join, leave, stall; events are published, notifications posted; nodes stop for a while, die
 * and are started again; links drop) and in which order everything moves. Whoever was told that it
 * joined gets every event until it leaves, once, in the order of each publisher and in one order
 * for all sockets of a node; every socket knows its inbox in the end; and nothing is left over, no
 * allocation either.
 *
 * The input: four bytes (how many actions, nodes and bus, seed, losses), so many actions of four
 * bytes, and behind them the tape that schedules.
 */
#include <stdio.h>
#include <string.h>

#include "actors/deliver/broadcast.h"
#include "actors/deliver/fanout.h"
#include "actors/inbox/announce.h"
#include "actors/order/sequencer.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/alive.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"
#include "tests/support/tape.h"

enum {
    HEAD = 4,
    ACTION = 4,
    ACTIONS_MAX = 64,
    PLAYERS = 6,
    ROOMS = 4,
    USERS = 3,
    SHARDS = 2,
    NODES = 2,
    LIVES = ACTIONS_MAX + NODES, /* of nodes, one after the other */
    RECHECK_MS = 30000,
    STEPS = 40,
};

static const char *const rooms[ROOMS] = {"r0", "r1", "quiet:q", "company:1"};
static const char *const users[USERS] = {"ann", "bob", "cy"};

enum state { OUT, JOINING, IN, LEAVING };

struct player {
    struct client client; /* first */
    struct world *world;
    unsigned node;
    unsigned user;
    bool here;
    /* rooms */
    enum state states[ROOMS];
    unsigned via[ACTIONS_MAX]; /* rooms by which this event must still come; 0: it need not */
    bool got[ACTIONS_MAX];
    bool excepted[ACTIONS_MAX];
    unsigned order[ACTIONS_MAX]; /* what was received */
    unsigned order_count;
    unsigned last_of_line[LIVES * SHARDS];
    /* inbox */
    bool ready;
    bool has[ACTIONS_MAX + 1]; /* by seq */
    unsigned told;
    uint64_t first_seq;
    uint64_t seq;
    uint64_t rev;
    uint64_t unread;
};

struct call {
    unsigned room;
    bool join;
};

struct world {
    struct nodes *nodes;
    bool lossy; /* links may drop: what others publish may be missed */
    bool late; /* what was announced may be lost: the next recheck finds it */
    struct player players[PLAYERS];
    unsigned lines[ACTIONS_MAX]; /* of events: life of the node and shard it was published on */
    unsigned event_nodes[ACTIONS_MAX];
    unsigned event_count;
    struct call calls[ACTIONS_MAX + 1]; /* ids are positive on the plain WebSocket */
    unsigned call_count;
    unsigned posted;
    unsigned lives[NODES]; /* which life of all it is in */
    unsigned life_count;
};

/* --- what sockets are told --- */

static uint64_t member(struct bytes object, const char *key)
{
    struct bytes value;
    uint64_t number = 0;
    CHECK(json_scan_get(object, key, &value) == 0 && json_scan_u64(value, &number) == 0);
    return number;
}

static void on_ack(struct player *player, const struct client_packet *packet)
{
    struct world *world = player->world;
    struct bytes ok;
    bool done;
    CHECK(packet->id >= 1 && packet->id <= world->call_count);
    const struct call *call = &world->calls[packet->id];
    CHECK(json_scan_get(packet->args, "ok", &ok) == 0 && json_scan_bool(ok, &done) == 0 && done);
    enum state *state = &player->states[call->room];
    if (!call->join) {
        *state = OUT;
    } else if (*state != LEAVING) { /* then it is left behind this answer */
        *state = IN;
    }
}

static void read_event(struct bytes args, uint64_t *ret_number, uint64_t *ret_to)
{
    struct builder array = {0};
    struct json_scan_iter iter;
    struct bytes value;
    builder_byte(&array, '[');
    builder_add(&array, args);
    builder_byte(&array, ']');
    CHECK(json_scan_iter_init(&iter, builder_bytes(&array)));
    CHECK(json_scan_element(&iter, &value) && json_scan_u64(value, ret_number) == 0);
    CHECK(json_scan_element(&iter, &value) && json_scan_u64(value, ret_to) == 0);
    builder_reset(&array);
}

static void on_event(struct player *player, const struct client_packet *packet)
{
    uint64_t number;
    uint64_t to;
    bool inside = false;
    read_event(packet->args, &number, &to);
    for (unsigned room = 0; room < ROOMS; room++) {
        enum state state = player->states[room];
        inside = inside || ((to >> room & 1) != 0 && (state == IN || state == LEAVING));
    }
    CHECK(inside);
    CHECK(!player->got[number]); /* once */
    CHECK(!player->excepted[number]);
    unsigned line = player->world->lines[number];
    CHECK(number + 1 > player->last_of_line[line]); /* in order */
    player->last_of_line[line] = (unsigned)number + 1;
    player->got[number] = true;
    player->via[number] = 0;
    player->order[player->order_count++] = (unsigned)number;
}

static void on_rev(struct player *player, uint64_t rev)
{
    CHECK(player->ready && rev >= player->rev);
    player->rev = rev;
}

static void on_notification(struct player *player, struct bytes item)
{
    uint64_t seq = member(item, "seq");
    CHECK(seq > player->first_seq && seq <= ACTIONS_MAX && !player->has[seq]);
    player->has[seq] = true;
    player->seq = seq > player->seq ? seq : player->seq;
    player->told++;
    on_rev(player, member(item, "rev"));
}

static void on_ready(struct player *player, struct bytes body)
{
    CHECK(!player->ready);
    player->ready = true;
    player->rev = member(body, "rev");
    player->seq = member(body, "seq");
    player->first_seq = player->seq;
    player->unread = member(body, "unread");
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct player *player = (struct player *)(void *)client;
    CHECK(player->here); /* no message to the dead */
    if (packet->is_ack) {
        on_ack(player, packet);
    } else if (bytes_eq_str(packet->name, "e")) {
        on_event(player, packet);
    } else if (bytes_eq_str(packet->name, "hub:ready")) {
        on_ready(player, packet->args);
    } else if (bytes_eq_str(packet->name, "notification")) {
        on_notification(player, packet->args);
    } else if (bytes_eq_str(packet->name, "unread")) {
        player->unread = member(packet->args, "count");
        on_rev(player, member(packet->args, "rev"));
    }
}

/* --- what happens --- */

static bool is_up(const struct world *world, unsigned node)
{
    return world->nodes->node[node].det != NULL && !world->nodes->node[node].frozen;
}

static void act_as(const struct player *player)
{
    nodes_on(player->world->nodes, player->node, sched_shard(player->client.socket.shard->sched));
}

static void enter(struct world *world, struct player *player, const uint8_t *how)
{
    unsigned node = how[0] % world->nodes->options.nodes;
    if (player->here || !is_up(world, node)) {
        return;
    }
    memset(player, 0, sizeof(*player));
    player->world = world;
    player->node = node;
    player->user = how[1] % USERS;
    player->here = true;
    player->client.received = on_received;
    const char *user = users[player->user];
    struct shard *shard = nodes_on(world->nodes, node, nodes_user_shard(world->nodes, node, user));
    enum wire_format format = (enum wire_format)((unsigned)(how[1] >> 4) % WIRE_FORMAT_COUNT);
    client_init(&player->client, shard, "/", user, format);
    CHECK(user_attach(shard, &player->client.socket) == 0);
}

static void leave(struct player *player)
{
    if (!player->here) {
        return;
    }
    act_as(player);
    client_finish(&player->client, CLOSE_NORMAL);
    player->here = false;
    memset(player->via, 0, sizeof(player->via));
}

static void ask(struct player *player, unsigned room, bool join)
{
    struct world *world = player->world;
    char text[64];
    if (world->call_count == ACTIONS_MAX) {
        return;
    }
    uint64_t id = ++world->call_count;
    world->calls[id] = (struct call){.room = room, .join = join};
    player->states[room] = join ? JOINING : LEAVING;
    snprintf(text, sizeof(text), "[\"%s\",\"%s\"]", join ? "join_room" : "leave_room", rooms[room]);
    act_as(player);
    user_event(&player->client.socket, bytes_str(text), &id, NULL, 0);
}

static void change_room(struct player *player, unsigned room)
{
    if (!player->here || player->states[room] == LEAVING) {
        return;
    }
    if (player->states[room] == OUT) {
        ask(player, room, true);
        return;
    }
    for (unsigned i = 0; i < player->world->event_count; i++) {
        player->via[i] &= ~(1u << room);
    }
    ask(player, room, false);
}

/* Who must get event `number`, published on `node` now. */
static void expect_event(struct world *world, unsigned number, unsigned node, unsigned to)
{
    for (unsigned i = 0; i < PLAYERS; i++) {
        struct player *player = &world->players[i];
        bool certain =
            player->here && !player->excepted[number] && !(world->lossy && player->node != node);
        for (unsigned room = 0; room < ROOMS; room++) {
            bool member = player->states[room] == IN && (to >> room & 1) != 0;
            player->via[number] |= certain && member ? 1u << room : 0;
        }
    }
}

static void publish(struct world *world, const uint8_t *how)
{
    unsigned node = how[0] % world->nodes->options.nodes;
    unsigned shard = (unsigned)(how[0] >> 4) % SHARDS;
    unsigned to = how[1] % (1u << ROOMS);
    if (!is_up(world, node) || to == 0) {
        return;
    }
    struct bytes names[ROOMS];
    unsigned count = 0;
    for (unsigned room = 0; room < ROOMS; room++) {
        if ((to >> room & 1) != 0) {
            names[count++] = bytes_str(rooms[room]);
        }
    }
    unsigned number = world->event_count++;
    struct player *other = &world->players[how[2] % PLAYERS];
    bool except = other->here && (how[2] & 0x80) != 0;
    other->excepted[number] = except;
    struct bytes sid =
        except ? bytes_of(other->client.socket.sid, SOCKET_SID_LEN) : bytes_of(NULL, 0);
    world->lines[number] = world->lives[node] * SHARDS + shard;
    world->event_nodes[number] = node;
    expect_event(world, number, node, to);
    char text[64];
    struct event *event;
    snprintf(text, sizeof(text), "[\"e\",%u,%u]", number, to);
    unsigned flags = (how[2] & 0x40) != 0 ? EVENT_URGENT : 0u;
    CHECK(event_from_json(bytes_str(text), NULL, 0, flags, &event) == 0);
    sequencer_send(nodes_on(world->nodes, node, shard), BYTES("/"),
        broadcast_new(event, names, count, &sid, except));
}

/* A row is stored by some node, which announces it, or dies before it does. */
static void post(struct world *world, const uint8_t *how)
{
    char message[16];
    unsigned node = how[0] % world->nodes->options.nodes;
    if (!is_up(world, node)) {
        return;
    }
    snprintf(message, sizeof(message), "m%u", world->posted++);
    struct store_row row = fake_store_post(world->nodes->store, users[how[1] % USERS], message);
    struct shard *shard = nodes_on(world->nodes, node, (unsigned)(how[0] >> 4) % SHARDS);
    if (!world->lossy || (how[2] & 1) == 0) {
        announce_row(shard, &row);
    }
    if ((how[2] & 2) != 0) {
        announce_row(shard, &row);
    }
    if ((how[2] & 4) != 0) {
        announce_repeat(shard, row.who);
    }
}

static void stall(struct player *player, bool stalled)
{
    if (!player->here) {
        return;
    }
    act_as(player);
    if (stalled) {
        player->client.stalled = true;
    } else if (player->client.stalled) {
        client_resume(&player->client);
    }
}

/* A node ends as its process would, and another one takes its place. */
static void replace_node(struct world *world, unsigned node)
{
    if (!is_up(world, node)) {
        return;
    }
    for (unsigned i = 0; i < PLAYERS; i++) {
        struct player *player = &world->players[i];
        if (player->node == node) {
            leave(player);
        }
        for (unsigned number = 0; number < world->event_count; number++) {
            player->via[number] = world->event_nodes[number] == node ? 0 : player->via[number];
        }
    }
    nodes_stop(world->nodes, node);
    nodes_start(world->nodes, node);
    nodes_settle(world->nodes); /* nobody comes before its links are up */
    world->lives[node] = world->life_count++;
    world->late = true;
}

static void disturb(struct world *world, const uint8_t *how)
{
    unsigned node = how[0] % world->nodes->options.nodes;
    if (how[1] % 4 == 0) {
        replace_node(world, node);
    } else if (how[1] % 4 == 1 && is_up(world, node)) {
        nodes_freeze(world->nodes, node);
    } else if (how[1] % 4 == 2 && world->nodes->node[node].frozen) {
        nodes_thaw(world->nodes, node);
    } else if (world->lossy && world->nodes->redis != NULL) {
        fake_redis_drop(world->nodes->redis, node, 1 + how[2] % 2);
    } else if (world->lossy) {
        fake_store_set_failures(world->nodes->store, how[2] % 5);
    }
}

static void act(struct world *world, const uint8_t *action)
{
    struct player *player = &world->players[action[1] % PLAYERS];
    bool reachable = player->here && is_up(world, player->node);
    switch (action[0] % 8) {
    case 0:
    case 1:
        enter(world, player, action + 2);
        break;
    case 2:
        if (reachable) {
            leave(player);
        }
        break;
    case 3:
        if (reachable) {
            change_room(player, action[2] % ROOMS);
        }
        break;
    case 4:
        publish(world, action + 1);
        break;
    case 5:
        post(world, action + 1);
        break;
    case 6:
        if (reachable) {
            stall(player, (action[2] & 1) != 0);
        }
        break;
    default:
        disturb(world, action + 1);
    }
    for (unsigned steps = (unsigned)(action[0] >> 3); steps > 0; steps--) {
        nodes_step(world->nodes);
    }
    if (action[3] >= 0xc0) {
        nodes_advance(world->nodes, 1 + (action[3] & 0x3f) * 4u);
    }
}

/* --- the end --- */

static void check_player(const struct world *world, const struct player *player)
{
    for (unsigned number = 0; number < world->event_count; number++) {
        CHECK(player->via[number] == 0); /* nothing was missed */
    }
    if (!player->here) {
        return;
    }
    for (unsigned room = 0; room < ROOMS; room++) {
        CHECK(player->states[room] == OUT || player->states[room] == IN);
    }
    const struct fake_inbox *inbox = fake_store_inbox(world->nodes->store, users[player->user]);
    struct store_position position = inbox != NULL ? inbox->position : (struct store_position){0};
    CHECK(player->ready && player->rev == position.rev && player->seq == position.seq);
    CHECK(player->unread == position.unread);
    CHECK(player->told == player->seq - player->first_seq);
}

/* Two sockets of one node never see two events in different orders. */
static void check_one_order(const struct player *first, const struct player *second)
{
    unsigned place[ACTIONS_MAX] = {0};
    unsigned last = 0;
    for (unsigned i = 0; i < first->order_count; i++) {
        place[first->order[i]] = i + 1;
    }
    for (unsigned i = 0; i < second->order_count; i++) {
        unsigned at = place[second->order[i]];
        CHECK(at == 0 || at > last);
        last = at > 0 ? at : last;
    }
}

static void check_nothing_left(const struct world *world)
{
    for (unsigned node = 0; node < world->nodes->options.nodes; node++) {
        for (unsigned i = 0; i < SHARDS; i++) {
            struct shard *shard = &world->nodes->node[node].shards[i].shard;
            const struct fanout *fanout = fanout_find(shard, BYTES("/"));
            CHECK(map_count(&fanout->leaves.map) == 0 && fanout->leaves.dirty == 0);
            CHECK(map_count(&shard->sockets) == 0);
            CHECK(shard->stats.rooms == 0 && shard->stats.users == 0);
        }
    }
}

static void calm_down(struct world *world)
{
    fake_store_set_failures(world->nodes->store, 0);
    for (unsigned node = 0; node < world->nodes->options.nodes; node++) {
        if (world->nodes->node[node].frozen) {
            nodes_thaw(world->nodes, node);
        }
    }
    for (unsigned i = 0; i < PLAYERS; i++) {
        stall(&world->players[i], false);
    }
    nodes_settle(world->nodes);
    nodes_advance(world->nodes, world->late ? RECHECK_MS + 3000 : 3000);
    nodes_settle(world->nodes);
}

static void finish(struct world *world)
{
    for (unsigned i = 0; i < PLAYERS; i++) {
        check_player(world, &world->players[i]);
        for (unsigned k = i + 1; k < PLAYERS; k++) {
            if (world->players[k].node == world->players[i].node) {
                check_one_order(&world->players[i], &world->players[k]);
            }
        }
    }
    for (unsigned i = 0; i < PLAYERS; i++) {
        leave(&world->players[i]);
    }
    nodes_settle(world->nodes);
    check_nothing_left(world);
}

static void run(const uint8_t *data, size_t size)
{
    static struct world world;
    size_t actions = (size - HEAD) / ACTION;
    size_t wanted = data[0] % (ACTIONS_MAX + 1);
    actions = actions < wanted ? actions : wanted;
    const struct nodes_options options = {.nodes = 1 + data[1] % NODES,
        .shards = SHARDS,
        .bus = data[1] % NODES != 0 || (data[1] & 2) != 0,
        .partitions = 1,
        .batching = (enum batching_mode)((unsigned)(data[1] >> 4) % 3)};
    memset(&world, 0, sizeof(world));
    world.lossy = (data[3] & 1) != 0;
    world.late = world.lossy;
    size_t used = HEAD + actions * ACTION;
    tape_set(bytes_of(data + used, size - used));
    world.nodes = nodes_create(data[2], &options);
    for (unsigned i = 0; i < options.nodes; i++) {
        world.lives[i] = world.life_count++;
    }
    if (options.bus) {
        fake_redis_set_lag(world.nodes->redis, data[3] >> 2);
    }
    nodes_settle(world.nodes); /* links are up */
    for (size_t i = 0; i < actions; i++) {
        act(&world, data + HEAD + i * ACTION);
    }
    calm_down(&world);
    finish(&world);
    nodes_destroy(world.nodes);
    tape_set(bytes_of(NULL, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool warm; /* what is made once is made */
    if (size < HEAD) {
        return 0;
    }
    log_set_sink(fuzz_drop_line);
    if (!warm) {
        run(data, size);
        warm = true;
    }
    long before = alive_count();
    run(data, size);
    CHECK(alive_count() == before);
    return 0;
}
