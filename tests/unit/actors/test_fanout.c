/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order rule under a model. Random broadcasts, direct messages, joins and leaves on one shard;
 * what each client was written is decoded and compared with what the model says it must have got:
 * each once, in the order of arrival, none that is not for it, and none later than allowed.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/fanout_proto.h"
#include "actors/inbox/positions.h"
#include "actors/user/user.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "tests/support/client.h"
#include "tests/support/one_shard.h"

TestSuite(fanout, .timeout = 300);

enum {
    CLIENTS = 7,
    ROOMS = 5,
    USERS = 3,
    STEPS = 120,
    RUNS = 3000,
    TICK_MS = 100,
    START_MS = 5000,
    EXPECTED_MAX = 4096,
    NAMES_MAX = 4,
};

/* What a client must get. */
struct expected {
    uint64_t value;
    uint64_t due_ms; /* the turn at this time must have written it */
    bool may_miss; /* volatile */
};

struct member {
    struct client client; /* first */
    bool here;
    bool in[ROOMS];
    unsigned user;
    struct expected expected[EXPECTED_MAX];
    unsigned expected_count;
    unsigned at; /* what is expected next */
    uint64_t missed;
    struct world *world;
};

struct world {
    struct actor_system *system;
    struct sched *sched;
    struct actor_config config;
    struct shard shard;
    struct fanout *fanout;
    struct rand dice;
    uint64_t seed;
    uint64_t now_ms;
    uint64_t number;
    uint64_t next_value;
    bool stalls; /* clients may stall: no deadlines */
    uint64_t missed_by_gone;
    struct member members[CLIENTS];
};

static uint64_t dice(struct world *world, uint64_t bound)
{
    return rand_below(&world->dice, bound);
}

static const char *const users[USERS] = {"ann", "bob", "acme/cat"};
static const char *const user_rooms[USERS] = {"user:ann", "user:bob", "acme/user:cat"};
static const char *const rooms[ROOMS] = {
    "red", "green", "blue", "acme/red", "twenty-three-letters-so"};

/* What a client got: the next expected one, after volatile ones that it missed. */
static void on_received(struct client *client, const struct client_packet *packet)
{
    struct member *member = (struct member *)(void *)client;
    uint64_t value = 0;
    if (packet->is_ack) {
        value = packet->id;
    } else {
        const char *comma = memchr(packet->args.at, ',', packet->args.len);
        size_t len = comma ? (size_t)(comma - packet->args.at) : packet->args.len;
        cr_assert_eq(json_scan_u64(bytes_of(packet->args.at, len), &value), 0);
    }
    while (member->at < member->expected_count && member->expected[member->at].value != value &&
           member->expected[member->at].may_miss) {
        member->at++;
        member->missed++;
    }
    cr_assert_lt(member->at, member->expected_count, "seed %llu: %llu was not for this client",
        (unsigned long long)member->world->seed, (unsigned long long)value);
    cr_assert_eq(member->expected[member->at].value, value, "seed %llu: got %llu, expected %llu",
        (unsigned long long)member->world->seed, (unsigned long long)value,
        (unsigned long long)member->expected[member->at].value);
    member->at++;
}

static void expect(struct member *member, uint64_t value, uint64_t due_ms, bool may_miss)
{
    cr_assert_lt(member->expected_count, EXPECTED_MAX);
    member->expected[member->expected_count++] =
        (struct expected){.value = value, .due_ms = due_ms, .may_miss = may_miss};
}

/* --- the world --- */

static void turn(struct world *world)
{
    one_shard_turn(&world->shard, world->now_ms);
}

static void set_up(struct world *world, uint64_t seed, enum batching_mode batching)
{
    memset(world, 0, sizeof(*world));
    rand_init(&world->dice, seed);
    world->seed = seed;
    world->now_ms = START_MS + seed % TICK_MS;
    world->config = (struct actor_config){.node = "n",
        .epoch = "e",
        .names = {.prefix = "peal", .slots = 1024},
        .adapter_key = "socket.io",
        .batching = batching,
        .tick_ms = TICK_MS,
        .events_per_tick = 2,
        .connections_per_user = 100,
        .recheck_ms = 1000000};
    world->system = actor_system_create(1);
    world->sched = actor_system_sched(world->system, 0);
    sched_bind(world->sched, one_shard_wake, NULL, &world->shard);
    shard_init(&world->shard, world->sched, &world->config);
    sched_set_time(world->sched, world->now_ms, world->now_ms);
    timer_wheel_advance(sched_timers(world->sched), world->now_ms);
    world->shard.positions = positions_create(&world->shard);
    world->fanout = shard_open_nsp(&world->shard, BYTES("/"));
}

static void enter(struct world *world, struct member *member)
{
    memset(member, 0, sizeof(*member));
    member->world = world;
    member->here = true;
    member->user = (unsigned)dice(world, USERS);
    member->client.received = on_received;
    client_init(&member->client, &world->shard, "/", users[member->user],
        (enum wire_format)dice(world, WIRE_FORMAT_COUNT));
    cr_assert_eq(user_attach(&world->shard, &member->client.socket), 0);
}

static void leave_world(struct world *world, struct member *member)
{
    client_finish(&member->client, CLOSE_NORMAL);
    member->here = false;
    world->missed_by_gone += member->missed;
}

static void tear_down(struct world *world)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (world->members[i].here) {
            leave_world(world, &world->members[i]);
        }
    }
    turn(world);
    cr_assert_eq(world->fanout->leaves.dirty, 0, "nothing pending for nobody");
    cr_assert_eq(map_count(&world->fanout->leaves.map), 0, "leaves go with their members");
    cr_assert_eq(world->shard.stats.users, 0);
    positions_destroy(world->shard.positions);
    actor_system_destroy(world->system);
    shard_finish(&world->shard);
}

/* --- what happens --- */

/* The sockets that one of `names` stands for. */
static bool is_named(const struct member *member, const struct bytes *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (bytes_eq(names[i], bytes_of(member->client.socket.sid, SOCKET_SID_LEN)) ||
            bytes_eq_str(names[i], user_rooms[member->user])) {
            return true;
        }
        for (unsigned room = 0; room < ROOMS; room++) {
            if (member->in[room] && bytes_eq_str(names[i], rooms[room])) {
                return true;
            }
        }
    }
    return false;
}

static struct bytes draw_name(struct world *world)
{
    struct member *member = &world->members[dice(world, CLIENTS)];
    switch (dice(world, 8)) {
    case 0:
        return member->here ? bytes_of(member->client.socket.sid, SOCKET_SID_LEN) : BYTES("gone");
    case 1:
        return bytes_str(user_rooms[dice(world, USERS)]);
    case 2:
        return BYTES("a room that nobody is in");
    default:
        return bytes_str(rooms[dice(world, ROOMS)]);
    }
}

static struct event *make_event(struct world *world, uint64_t value, unsigned flags)
{
    struct event *event = NULL;
    struct builder data = {0};
    bool binary = dice(world, 8) == 0;
    if (binary || dice(world, 2) == 0) {
        mp_pack_array(&data, binary ? 3 : 2);
        mp_pack_str(&data, BYTES("e"));
        mp_pack_u64(&data, value);
        if (binary) {
            mp_pack_bin(&data, BYTES("\0\1\377"));
        }
        cr_assert_eq(event_from_msgpack(builder_bytes(&data), flags, &event), 0);
    } else {
        builder_printf(
            &data, "[\"e\",%llu,\"%0*d\"]", (unsigned long long)value, (int)dice(world, 300), 0);
        cr_assert_eq(event_from_json(builder_bytes(&data), NULL, 0, flags, &event), 0);
    }
    builder_reset(&data);
    return event;
}

/* When the turn must write what is neither direct nor urgent. */
static uint64_t latest(const struct world *world)
{
    return world->config.batching == BATCHING_OFF ? world->now_ms
                                                  : (world->now_ms / TICK_MS + 1) * TICK_MS;
}

static void broadcast(struct world *world)
{
    unsigned flags =
        (dice(world, 8) == 0 ? EVENT_URGENT : 0u) | (dice(world, 8) == 0 ? EVENT_VOLATILE : 0u);
    struct bytes to[NAMES_MAX];
    struct bytes except[NAMES_MAX];
    unsigned to_count = dice(world, 10) == 0 ? 0 : 1 + (unsigned)dice(world, NAMES_MAX);
    unsigned except_count = dice(world, 3) == 0 ? (unsigned)dice(world, NAMES_MAX) : 0;
    for (unsigned i = 0; i < to_count; i++) {
        to[i] = draw_name(world);
    }
    for (unsigned i = 0; i < except_count; i++) {
        except[i] = draw_name(world);
    }
    uint64_t value = ++world->next_value;
    struct broadcast *broadcast =
        broadcast_new(make_event(world, value, flags), to, to_count, except, except_count);
    world->number += 1 + dice(world, 3); /* other shards' broadcasts lie between */
    broadcast->number = world->number;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct member *member = &world->members[i];
        if (member->here && (to_count == 0 || is_named(member, to, to_count)) &&
            !is_named(member, except, except_count)) {
            uint64_t due_ms = (flags & EVENT_URGENT) ? world->now_ms : latest(world);
            expect(member, value, due_ms, (flags & EVENT_VOLATILE) != 0);
        }
    }
    if (dice(world, 2) == 0) {
        struct fanout_event *msg = fanout_event_new();
        msg->broadcast = broadcast;
        msg_send(world->sched, world->fanout->actor.self, msg);
    } else {
        struct fanout_bus_event *msg = fanout_bus_event_new();
        msg->broadcast = broadcast;
        msg_send(world->sched, world->fanout->actor.self, msg);
    }
    sched_run(world->sched, 1000);
}

static void direct(struct world *world, struct member *member)
{
    uint64_t value = ++world->next_value;
    expect(member, value, world->now_ms, false);
    if (dice(world, 2) == 0) {
        cr_assert(socket_ack(&member->client.socket, value, BYTES("{\"ok\":true}")));
        return;
    }
    struct event *event = make_event(world, value, 0);
    cr_assert(socket_emit(&member->client.socket, event));
    event_unref(event);
}

static void join_or_leave(struct world *world, struct member *member)
{
    unsigned room = (unsigned)dice(world, ROOMS);
    struct socket *socket = &member->client.socket;
    struct bytes name = bytes_str(rooms[room]);
    bool join = dice(world, 5) < 3;
    bool changed = join ? fanout_join(world->fanout, socket, name) == 0
                        : fanout_leave(world->fanout, socket, name);
    cr_assert_eq(changed, member->in[room] != join);
    member->in[room] = join;
    cr_assert_eq(fanout_membership(world->fanout, socket, name) != NULL, join);
}

static void stall_or_resume(struct member *member)
{
    if (member->client.stalled) {
        client_resume(&member->client);
    } else {
        member->client.stalled = true;
    }
}

static void do_something(struct world *world)
{
    struct member *member = &world->members[dice(world, CLIENTS)];
    uint64_t what = dice(world, 40);
    if (!member->here) {
        if (what < 8) {
            enter(world, member);
        }
    } else if (what < 6) {
        join_or_leave(world, member);
    } else if (what < 10) {
        direct(world, member);
    } else if (what == 10 && dice(world, 3) == 0) {
        leave_world(world, member);
    } else if (what == 11 && world->stalls) {
        stall_or_resume(member);
    } else if (what < 32) {
        broadcast(world);
    }
}

/* After a turn: nothing that was due is still missing. */
static void check_deadlines(const struct world *world)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct member *member = &world->members[i];
        if (!member->here || member->client.stalled) {
            continue;
        }
        for (unsigned k = member->at; k < member->expected_count; k++) {
            cr_assert(member->expected[k].may_miss || member->expected[k].due_ms > world->now_ms,
                "seed %llu: %llu is late", (unsigned long long)world->seed,
                (unsigned long long)member->expected[k].value);
        }
    }
}

/* Everything has been written: what is left over are volatile ones, and all of them were counted.
 */
static void check_end(struct world *world, bool somebody_left)
{
    uint64_t missed = world->missed_by_gone;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct member *member = &world->members[i];
        if (!member->here) {
            continue;
        }
        for (; member->at < member->expected_count; member->at++) {
            cr_assert(member->expected[member->at].may_miss, "seed %llu: %llu never came",
                (unsigned long long)world->seed,
                (unsigned long long)member->expected[member->at].value);
            member->missed++;
        }
        missed += member->missed;
    }
    if (!somebody_left) {
        cr_assert_eq(missed, world->shard.stats.volatile_dropped, "seed %llu: all drops counted",
            (unsigned long long)world->seed);
    }
    cr_assert_eq(world->shard.stats.refused, 0);
}

static void run(uint64_t seed)
{
    static struct world world;
    static const enum batching_mode modes[] = {BATCHING_ADAPTIVE, BATCHING_ALWAYS, BATCHING_OFF};
    hash_fix_seed(seed);
    set_up(&world, seed, modes[seed % 3]);
    world.stalls = seed % 4 == 3;
    uint64_t entered = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        do_something(&world);
        if (dice(&world, 4) == 0) {
            turn(&world);
            check_deadlines(&world);
            world.now_ms += dice(&world, 3) == 0 ? dice(&world, TICK_MS) : 0;
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        entered += world.members[i].here;
        if (world.members[i].here && world.members[i].client.stalled) {
            client_resume(&world.members[i].client);
        }
    }
    world.now_ms += 2 * TICK_MS;
    turn(&world);
    turn(&world);
    check_end(&world, entered < world.shard.next_socket_id);
    tear_down(&world);
}

Test(fanout, order_rule)
{
    const char *more = getenv("PEAL_SEEDS");
    uint64_t runs = more ? strtoull(more, NULL, 10) : RUNS;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        run(seed);
    }
}

/* --- what chance does not reach --- */

static struct broadcast *make_broadcast(struct world *world, const char *room, unsigned flags)
{
    struct bytes name = bytes_str(room);
    struct broadcast *broadcast =
        broadcast_new(make_event(world, ++world->next_value, flags), &name, 1, NULL, 0);
    broadcast->number = ++world->number;
    return broadcast;
}

static void send_to(struct world *world, const char *room, unsigned flags)
{
    struct fanout_event *msg = fanout_event_new();
    msg->broadcast = make_broadcast(world, room, flags);
    msg_send(world->sched, world->fanout->actor.self, msg);
    sched_run(world->sched, 1000);
}

Test(fanout, catch_up_from_many_rooms)
{
    enum { MANY = 600 };
    static struct world world;
    set_up(&world, 1, BATCHING_ALWAYS);
    struct member *member = &world.members[0];
    enter(&world, member);
    turn(&world);
    for (unsigned i = 0; i < MANY; i++) {
        char room[32];
        snprintf(room, sizeof(room), "room:%u", i);
        cr_assert_eq(fanout_join(world.fanout, &member->client.socket, bytes_str(room)), 0);
        send_to(&world, room, 0);
        expect(member, world.next_value, world.now_ms, false);
    }
    direct(&world, member);
    turn(&world);
    cr_assert_eq(member->at, MANY + 1, "all of them, and before what was sent directly");
    tear_down(&world);
}

Test(fanout, window_is_one_message)
{
    static struct world world;
    set_up(&world, 1, BATCHING_ADAPTIVE);
    struct member *member = &world.members[0];
    enter(&world, member);
    turn(&world);
    cr_assert_eq(fanout_join(world.fanout, &member->client.socket, BYTES("red")), 0);
    for (unsigned i = 0; i < world.config.events_per_tick; i++) {
        send_to(&world, "red", 0);
        expect(member, world.next_value, world.now_ms, false);
        turn(&world);
        cr_assert_eq(member->at, i + 1, "sparse events leave with their turn");
    }
    for (unsigned i = 0; i < 50; i++) {
        send_to(&world, "red", 0);
        expect(member, world.next_value, latest(&world), false);
        turn(&world);
    }
    cr_assert_eq(member->at, world.config.events_per_tick, "dense events wait");
    send_to(&world, "red", EVENT_URGENT);
    expect(member, world.next_value, world.now_ms, false);
    uint64_t flushes = world.shard.stats.flushes;
    turn(&world);
    cr_assert_eq(member->at, member->expected_count, "an urgent one takes them along");
    cr_assert_eq(world.shard.stats.flushes, flushes + 1);
    tear_down(&world);
}

/* A window must fit into an outbox that has not been emptied yet: a large one does not wait. */
Test(fanout, a_large_window_leaves_before_the_tick)
{
    static struct world world;
    set_up(&world, 1, BATCHING_ALWAYS);
    struct member *member = &world.members[0];
    enter(&world, member);
    turn(&world);
    cr_assert_eq(fanout_join(world.fanout, &member->client.socket, BYTES("red")), 0);
    turn(&world);
    unsigned sent = 0;
    for (; member->at == 0 && sent < 20000; sent++) {
        send_to(&world, "red", 0);
        expect(member, world.next_value, latest(&world), false);
        turn(&world);
    }
    cr_assert_eq(member->at, sent, "all of the window at once");
    cr_assert_gt(sent, 64 * 1024 / 400);
    tear_down(&world);
}

/* Let the tick come, and count the member's events since `before`. */
static unsigned events_after_tick(struct world *world, const struct member *member, unsigned before)
{
    world->now_ms = latest(world);
    turn(world);
    return member->at - before;
}

Test(fanout, dense_rooms_are_flushed_once_a_tick)
{
    static struct world world;
    set_up(&world, 1, BATCHING_ADAPTIVE);
    struct member *member = &world.members[0];
    enter(&world, member);
    turn(&world);
    cr_assert_eq(fanout_join(world.fanout, &member->client.socket, BYTES("red")), 0);
    unsigned dense = world.config.events_per_tick * 3;
    for (unsigned tick = 0; tick < 4; tick++) {
        unsigned before = member->at;
        for (unsigned i = 0; i < dense; i++) {
            send_to(&world, "red", 0);
            expect(member, world.next_value, latest(&world), false);
            turn(&world);
        }
        unsigned at_once = tick == 0 ? world.config.events_per_tick : 0;
        cr_assert_eq(member->at - before, at_once, "in tick %u", tick);
        cr_assert_eq(events_after_tick(&world, member, before), dense);
    }
    cr_assert_eq(events_after_tick(&world, member, member->at), 0);
    send_to(&world, "red", 0);
    expect(member, world.next_value, world.now_ms, false);
    turn(&world);
    cr_assert_eq(member->at, member->expected_count, "a quiet tick makes it instant again");
    tear_down(&world);
}

/* A thousand events a second, in turns of `turn_ms`: how often the room is flushed in eight ticks.
 */
static uint64_t count_flushes(uint64_t turn_ms)
{
    static struct world world;
    set_up(&world, 1, BATCHING_ADAPTIVE);
    world.config.events_per_tick = 8;
    struct member *member = &world.members[0];
    enter(&world, member);
    turn(&world);
    cr_assert_eq(fanout_join(world.fanout, &member->client.socket, BYTES("red")), 0);
    world.now_ms = latest(&world);
    uint64_t start_ms = world.now_ms;
    uint64_t before = 0;
    for (uint64_t sent = 0; world.now_ms < start_ms + 10 * TICK_MS;) {
        before = world.now_ms < start_ms + 2 * TICK_MS ? world.shard.stats.flushes : before;
        for (; sent < world.now_ms - start_ms; sent++) {
            send_to(&world, "red", 0);
            expect(member, world.next_value, latest(&world), false);
        }
        turn(&world);
        world.now_ms += turn_ms;
    }
    uint64_t flushes = world.shard.stats.flushes - before;
    cr_assert_eq(events_after_tick(&world, member, 0), member->expected_count);
    tear_down(&world);
    return flushes;
}

/* A node that is busy takes long turns, in which many events come together. */
Test(fanout, how_long_turns_take_does_not_decide_whether_events_wait)
{
    static const uint64_t turns_ms[] = {1, 3, 7, 13, 19, 40};
    for (size_t i = 0; i < ARRAY_LEN(turns_ms); i++) {
        uint64_t flushes = count_flushes(turns_ms[i]);
        cr_expect(flushes == 8 || flushes == 9, "turns of %llu ms: %llu flushes in eight ticks",
            (unsigned long long)turns_ms[i], (unsigned long long)flushes);
    }
}

Test(fanout, volatile_reaches_the_idle_only)
{
    static struct world world;
    set_up(&world, 1, BATCHING_ADAPTIVE);
    enter(&world, &world.members[0]);
    enter(&world, &world.members[1]);
    turn(&world);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(fanout_join(world.fanout, &world.members[i].client.socket, BYTES("red")), 0);
    }
    direct(&world, &world.members[1]);
    world.members[1].client.stalled = true;
    turn(&world);
    send_to(&world, "red", EVENT_VOLATILE);
    expect(&world.members[0], world.next_value, world.now_ms, false);
    turn(&world);
    cr_assert_eq(world.members[0].at, 1);
    cr_assert_eq(world.shard.stats.volatile_dropped, 1);
    client_resume(&world.members[1].client);
    cr_assert_eq(world.members[1].at, 1, "the direct message only");
    direct(&world, &world.members[1]); /* what leaves in the same turn stands in nobody's way */
    send_to(&world, "red", EVENT_VOLATILE);
    expect(&world.members[1], world.next_value, world.now_ms, false);
    expect(&world.members[0], world.next_value, world.now_ms, false);
    turn(&world);
    cr_assert_eq(world.shard.stats.volatile_dropped, 1);
    cr_assert_eq(world.members[1].at, 3);
    tear_down(&world);
}

Test(fanout, refused_appends_are_counted)
{
    static struct world world;
    set_up(&world, 1, BATCHING_OFF);
    struct member *member = &world.members[0];
    enter(&world, member);
    turn(&world);
    cr_assert_eq(fanout_join(world.fanout, &member->client.socket, BYTES("red")), 0);
    member->client.outbox.limits = (struct outbox_limits){.high = 1, .max = 1};
    member->client.stalled = true;
    send_to(&world, "red", 0);
    expect(member, world.next_value, world.now_ms, false);
    turn(&world);
    send_to(&world, "red", 0);
    turn(&world);
    cr_assert_eq(world.shard.stats.refused, 1);
    client_resume(&member->client);
    cr_assert(member->client.overflowed, "and told to who ends the connection");
    tear_down(&world);
}
