/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that drops again and again, under a model. Of what was written to it, it has had only
 * the first part when its connection breaks; it comes back with the offset of the last event that
 * it has had. In the end it has had every event that was for it, once and in order.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/fanout_proto.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/positions.h"
#include "actors/recover/recovery.h"
#include "actors/recover/recovery_state.h"
#include "actors/user/user.h"
#include "codec/adapter_request.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/one_shard.h"

TestSuite(recovery, .timeout = 120);

enum { ROOMS = 3, STEPS = 300, RUNS = 300, EVENTS_MAX = 1024 };

static const char *const rooms[ROOMS] = {"red", "green", "acme/blue"};

struct had {
    uint64_t value;
    char offset[REPLAY_OFFSET_MAX];
    size_t len;
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
    struct client clients[2]; /* the one that is here, and one that may be half open */
    unsigned current;
    bool here;
    bool in[ROOMS];
    char pid[RECOVERY_PID_LEN];
    char sid[SOCKET_SID_LEN];
    struct had had[EVENTS_MAX];
    unsigned had_count;
    uint64_t expected[EVENTS_MAX];
    unsigned expected_count;
};

static uint64_t dice(struct world *world, uint64_t bound)
{
    return rand_below(&world->dice, bound);
}

static bool recovers(void *context, struct bytes nsp)
{
    (void)context;
    (void)nsp;
    return true;
}

static int allow(
    void *context, const struct identity *who, struct bytes room, struct room_rules *ret_rules)
{
    (void)context;
    *ret_rules = (struct room_rules){.presence = true};
    bool narrow = bytes_eq_str(claims_role(identity_claims(who)), "narrow");
    return narrow && bytes_eq_str(room, rooms[0]) ? STATUS_DENIED : 0;
}

static void turn(struct world *world)
{
    one_shard_turn(&world->shard, world->now_ms);
}

static struct client *client_of(struct world *world)
{
    return &world->clients[world->current];
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct world *world = client->context;
    struct json_scan_iter iter;
    struct bytes value;
    struct bytes offset;
    struct bytes text;
    struct builder array = {0};
    builder_byte(&array, '[');
    builder_add(&array, packet->args);
    builder_byte(&array, ']');
    cr_assert(json_scan_iter_init(&iter, builder_bytes(&array)));
    cr_assert(json_scan_element(&iter, &value) && json_scan_element(&iter, &offset));
    cr_assert_lt(world->had_count, EVENTS_MAX);
    struct had *had = &world->had[world->had_count++];
    cr_assert_eq(json_scan_u64(value, &had->value), 0);
    cr_assert_eq(json_scan_string(offset, had->offset, sizeof(had->offset), &text), 0);
    memmove(had->offset, text.at, text.len);
    had->len = text.len;
    builder_reset(&array);
}

static void enter(struct world *world, struct recoverable *claimed)
{
    world->current = 1 - world->current;
    struct client *client = client_of(world);
    memset(client, 0, sizeof(*client));
    client->received = on_received;
    client->context = world;
    enum wire_format format = dice(world, 2) == 0 ? WIRE_SIO : WIRE_SIO_MSGPACK;
    client_continue(client, &world->shard, "/", "ann", format, claimed);
    cr_assert_eq(user_attach(&world->shard, &client->socket), 0);
    world->here = true;
}

static void set_up(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    rand_init(&world->dice, seed);
    world->seed = seed;
    world->now_ms = 5000;
    world->config = (struct actor_config){.node = "n",
        .epoch = "e",
        .names = {.prefix = "peal", .slots = 1024},
        .adapter_key = "socket.io",
        .tick_ms = 100,
        .events_per_tick = 2,
        .connections_per_user = 100,
        .recheck_ms = 1000000,
        .outbound_bytes = 1 << 20,
        .room_access = allow,
        .recovers = recovers,
        .recovery = {.age_ms = 60000,
            .replay_ms = 60000,
            .bytes = 1 << 20,
            .events = EVENTS_MAX,
            .sessions = 10}};
    world->system = actor_system_create(1);
    world->sched = actor_system_sched(world->system, 0);
    sched_bind(world->sched, one_shard_wake, NULL, &world->shard);
    shard_init(&world->shard, world->sched, &world->config);
    sched_set_time(world->sched, world->now_ms, world->now_ms);
    timer_wheel_advance(sched_timers(world->sched), world->now_ms);
    world->shard.positions = positions_create(&world->shard);
    world->fanout = shard_open_nsp(&world->shard, BYTES("/"));
    enter(world, NULL);
    memcpy(world->pid, socket_pid(&client_of(world)->socket).at, sizeof(world->pid));
    memcpy(world->sid, client_of(world)->socket.sid, sizeof(world->sid));
}

static void tear_down(struct world *world)
{
    if (world->here) {
        client_of(world)->socket.left = true;
        client_finish(client_of(world), CLOSE_PEER);
    }
    turn(world);
    cr_assert_eq(world->shard.stats.users, 0);
    positions_destroy(world->shard.positions);
    actor_system_destroy(world->system);
    shard_finish(&world->shard);
}

/* --- what happens --- */

static struct event *make_event(struct world *world, unsigned flags)
{
    char text[32];
    struct event *event;
    snprintf(text, sizeof(text), "[\"e\",%llu]", (unsigned long long)++world->next_value);
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, flags, &event), 0);
    return event;
}

static void expect(struct world *world)
{
    cr_assert_lt(world->expected_count, EVENTS_MAX);
    world->expected[world->expected_count++] = world->next_value;
}

/* To a room (ROOMS: to everyone; above: to the client by its name or sid), `ms` in the stream. */
static void broadcast(struct world *world, unsigned room, uint64_t ms)
{
    struct bytes names[] = {BYTES("user:ann"), bytes_of(world->sid, SOCKET_SID_LEN)};
    struct bytes name = room < ROOMS ? bytes_str(rooms[room]) : names[room & 1];
    struct event *event = make_event(world, 0);
    struct fanout_event *msg = fanout_event_new();
    msg->broadcast = broadcast_new(event, &name, room != ROOMS, NULL, 0);
    msg->broadcast->number = ++world->number;
    msg->broadcast->stream = (struct stream_id){.ms = ms};
    msg_send(world->sched, world->fanout->actor.self, msg);
    while (sched_run(world->sched, 1000)) {
    }
    if (room >= ROOMS || world->in[room]) {
        expect(world);
    }
}

static void emit_direct(struct world *world)
{
    struct event *event = make_event(world, 0);
    cr_assert(socket_emit(&client_of(world)->socket, event));
    event_unref(event);
    expect(world);
}

static void change_room(struct world *world, unsigned room)
{
    struct socket *socket = &client_of(world)->socket;
    struct bytes name = bytes_str(rooms[room]);
    if (world->in[room]) {
        cr_assert(fanout_leave(world->fanout, socket, name));
    } else {
        cr_assert_eq(fanout_join(world->fanout, socket, name), 0);
    }
    world->in[room] = !world->in[room];
}

/* The connection breaks: of what was written since the last time, the client has had a part. */
static void lose_tail(struct world *world, unsigned kept)
{
    world->had_count = kept + (unsigned)dice(world, world->had_count - kept + 1);
}

static struct recoverable *claim_as(struct world *world, const char *role)
{
    const struct client *client = client_of(world);
    const struct had *last = world->had_count > 0 ? &world->had[world->had_count - 1] : NULL;
    struct claims *claims =
        claims_new(&(struct claims_fields){.user = BYTES("ann"), .role = bytes_str(role)});
    struct identity *identity = identity_new(claims, false);
    struct recovery_claim claim = {.nsp = BYTES("/"),
        .identity = identity,
        .pid = bytes_of(world->pid, sizeof(world->pid)),
        .offset = last != NULL ? bytes_of(last->offset, last->len) : bytes_of(NULL, 0)};
    bool was_here = world->here;
    struct recoverable *claimed = recovery_claim(&world->shard, &claim);
    cr_assert(!was_here || client->ended, "the old connection is ended");
    identity_unref(identity);
    return claimed;
}

static struct recoverable *claim(struct world *world)
{
    return claim_as(world, "");
}

static void come_back(struct world *world)
{
    struct client *old = client_of(world);
    bool was_here = world->here;
    struct recoverable *claimed = claim(world);
    cr_assert_not_null(claimed, "seed %llu", (unsigned long long)world->seed);
    enter(world, claimed);
    if (was_here) {
        client_finish(old, CLOSE_TRANSPORT);
    }
    cr_assert_arr_eq(client_of(world)->socket.sid, world->sid, sizeof(world->sid));
    cr_assert_arr_eq(socket_pid(&client_of(world)->socket).at, world->pid, sizeof(world->pid));
}

static void drop(struct world *world)
{
    client_finish(client_of(world), CLOSE_TRANSPORT);
    world->here = false;
}

static void step(struct world *world, unsigned *confirmed)
{
    switch (dice(world, 12)) {
    case 0:
        if (world->here && dice(world, 2) == 0) {
            drop(world);
        }
        lose_tail(world, *confirmed);
        *confirmed = world->had_count;
        come_back(world);
        break;
    case 1:
        if (world->here) {
            change_room(world, (unsigned)dice(world, ROOMS));
        }
        break;
    case 2:
        if (world->here) {
            emit_direct(world);
        }
        break;
    case 3:
        if (world->here) {
            drop(world);
            lose_tail(world, *confirmed);
            *confirmed = world->had_count;
        }
        break;
    case 4:
        world->now_ms += dice(world, 100);
        turn(world);
        break;
    default:
        broadcast(world, (unsigned)dice(world, ROOMS + 3), 0);
        break;
    }
}

Test(recovery, every_event_comes_once_and_in_order)
{
    struct world *world = mem_alloc(sizeof(*world));
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        unsigned confirmed = 0;
        set_up(world, seed);
        for (unsigned i = 0; i < STEPS; i++) {
            step(world, &confirmed);
        }
        if (!world->here) {
            come_back(world);
        }
        world->now_ms += 100;
        turn(world);
        cr_assert_eq(world->had_count, world->expected_count, "seed %llu: %u of %u",
            (unsigned long long)seed, world->had_count, world->expected_count);
        for (unsigned i = 0; i < world->had_count; i++) {
            cr_assert_eq(world->had[i].value, world->expected[i], "seed %llu, event %u",
                (unsigned long long)seed, i);
        }
        tear_down(world);
    }
    mem_free(world);
}

Test(recovery, an_idle_client_stands_where_its_last_pong_says)
{
    struct world *world = mem_alloc(sizeof(*world));
    set_up(world, 1);
    change_room(world, 0);
    broadcast(world, 0, 0);
    turn(world);
    socket_pinged(&client_of(world)->socket);
    socket_ponged(&client_of(world)->socket);
    world->now_ms += world->config.recovery.replay_ms; /* the event is not kept any more */
    turn(world);
    drop(world);
    come_back(world);
    drop(world);
    broadcast(world, 0, 0);
    world->now_ms += world->config.recovery.age_ms - 1;
    broadcast(world, 0, 0);
    turn(world);
    come_back(world);
    drop(world);
    world->now_ms += world->config.recovery.age_ms;
    turn(world);
    cr_expect_null(claim(world), "its time is over");
    tear_down(world);
    mem_free(world);
}

Test(recovery, a_clean_end_and_a_stranger)
{
    struct world *world = mem_alloc(sizeof(*world));
    set_up(world, 1);
    world->pid[0] = world->pid[0] == 'A' ? 'B' : 'A';
    world->here = false;
    cr_expect_null(claim(world), "another pid");
    world->here = true;
    memcpy(world->pid, socket_pid(&client_of(world)->socket).at, sizeof(world->pid));
    client_of(world)->socket.left = true;
    drop(world);
    cr_expect_null(claim(world), "it has left");
    tear_down(world);
    mem_free(world);
}

/* Who comes back with a token that allows less begins anew: nothing of a room that it has lost. */
/* The connection seems to be there, and what the socket lacks of the inbox is in no log. */
static void half_open_and_behind(struct world *world, struct socket **ret_socket)
{
    set_up(world, 1);
    turn(world);
    change_room(world, 0);
    broadcast(world, 0, 0);
    turn(world);
    *ret_socket = &client_of(world)->socket;
    socket_lag_begin(*ret_socket, 0);
}

static void end_half_open(struct world *world)
{
    client_finish(client_of(world), CLOSE_TRANSPORT);
    world->here = false;
    tear_down(world);
}

Test(recovery, who_is_behind_with_the_inbox_comes_back_as_a_new_one)
{
    struct world world;
    struct socket *socket;
    half_open_and_behind(&world, &socket);
    cr_assert_null(claim(&world));
    cr_assert_null(socket->fanout, "it is out of its rooms");
    cr_assert_null(claim(&world));
    end_half_open(&world);
}

Test(recovery, who_is_behind_with_the_inbox_may_have_gone_elsewhere)
{
    struct world world;
    struct socket *socket;
    half_open_and_behind(&world, &socket);
    recovery_hand_over(recovery_of(world.fanout), bytes_of(world.pid, sizeof(world.pid)));
    cr_assert_null(socket->fanout, "it is out of its rooms");
    end_half_open(&world);
}

/* What is missed for want of memory may be in no log. */
Test(recovery, who_has_missed_something_is_not_continued)
{
    static struct world world;
    set_up(&world, 1);
    turn(&world);
    socket_missed(&client_of(&world)->socket);
    cr_assert_null(claim(&world), "while it is here");
    end_half_open(&world);

    set_up(&world, 1);
    turn(&world);
    struct socket_owner *owner = client_of(&world)->socket.user;
    drop(&world);
    inbox_miss(inbox_of(owner), NULL);
    cr_assert_null(claim(&world), "what was for the user");
    tear_down(&world);
}

static struct recoverable *claim_after_loss(struct world *world, struct bytes name)
{
    set_up(world, 1);
    change_room(world, 0);
    turn(world);
    drop(world);
    struct fanout_lost *msg = fanout_lost_new();
    msg->name = buf_new_name(name);
    msg_send(world->sched, world->fanout->actor.self, msg);
    turn(world);
    return claim(world);
}

Test(recovery, who_dropped_is_not_continued_when_its_rooms_missed_something)
{
    static struct world world;
    const struct bytes names[] = {
        BYTES(""), bytes_str(rooms[0]), BYTES("user:ann"), BYTES("green"), BYTES("user:bob")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct recoverable *claimed = claim_after_loss(&world, names[i]);
        cr_assert_eq(claimed == NULL, i < 3, "%zu", i);
        recovery_drop(claimed);
        tear_down(&world);
    }
}

Test(recovery, a_token_that_allows_less_continues_nothing)
{
    for (unsigned room = 0; room < 2; room++) {
        struct world *world = mem_alloc(sizeof(*world));
        set_up(world, 1);
        change_room(world, room);
        broadcast(world, room, 0);
        turn(world);
        drop(world);
        broadcast(world, room, 0);
        struct recoverable *claimed = claim_as(world, "narrow");
        if (room == 0) {
            cr_expect_null(claimed, "it may not be in that room any more");
            cr_expect_null(claim(world), "and the old session is gone");
        } else {
            cr_assert_not_null(claimed, "the room is allowed as before");
            enter(world, claimed);
            cr_expect_arr_eq(client_of(world)->socket.sid, world->sid, sizeof(world->sid));
        }
        tear_down(world);
        mem_free(world);
    }
}

/* What another node asks for comes from the bus, whose bytes may be anything. */
Test(recovery, a_room_without_a_name_is_no_room_to_be_sent_out_of)
{
    struct world *world = mem_alloc(sizeof(*world));
    set_up(world, 1);
    change_room(world, 0);
    change_room(world, 1);
    turn(world);
    drop(world);
    struct fanout_ask *msg = fanout_ask_new();
    cr_assert_eq(adapter_request_take(BYTES("{\"uid\":\"other\",\"type\":3,\"opts\":{\"rooms\":[],"
                                            "\"except\":[]},\"rooms\":[\"\",\"red\",\"\"]}"),
                     &msg->request),
        0);
    msg_send(world->sched, world->fanout->actor.self, msg);
    turn(world);
    world->in[0] = false;
    come_back(world);
    broadcast(world, 0, 0);
    broadcast(world, 1, 0);
    turn(world);
    cr_expect_eq(world->had_count, 1);
    cr_expect_eq(world->had[0].value, world->next_value);
    tear_down(world);
    mem_free(world);
}

/* --- records --- */

static int adopt(struct world *world, struct bytes record, struct bytes offset)
{
    return recovery_record_adopt(recovery_of(world->fanout), record, BYTES(""), BYTES("ann"),
        bytes_of(world->pid, sizeof(world->pid)), offset);
}

/* The record of the client, who then goes elsewhere; the caller frees it. */
static struct buf *send_away(struct world *world)
{
    struct recovery *recovery = recovery_of(world->fanout);
    struct bytes pid = bytes_of(world->pid, sizeof(world->pid));
    struct builder record = {0};
    recovery->lease = recovery_lease_create(
        &(struct recovery_lease_options){.shard = &world->shard, .replay = recovery->replay});
    recovery_record_write(map_get(&recovery->by_pid, pid), &record);
    recovery_lease_destroy(recovery->lease);
    recovery->lease = NULL;
    recovery_hand_over(recovery, pid);
    cr_assert(client_of(world)->ended);
    client_finish(client_of(world), CLOSE_TRANSPORT);
    world->here = false;
    cr_assert_null(map_get(&recovery->by_pid, pid), "nothing is left of it");
    return builder_finish(&record);
}

Test(recovery, a_record_is_continued_by_its_place_in_the_stream)
{
    struct world *world = mem_alloc(sizeof(*world));
    set_up(world, 1);
    recovery_stream_from(recovery_of(world->fanout), (struct stream_id){.ms = 10});
    change_room(world, 0);
    change_room(world, 1);
    broadcast(world, 0, 11);
    change_room(world, 1);
    turn(world);
    cr_assert_eq(world->had_count, 1);
    broadcast(world, 0, 12); /* written, but the client has not had it */
    turn(world);
    world->had_count = 1;
    struct buf *record = send_away(world);
    broadcast(world, 0, 13);
    broadcast(world, 1, 14);
    struct record_origin origin;
    cr_assert_eq(recovery_record_origin(buf_bytes(record), &origin), 0);
    cr_expect(bytes_eq(origin.home, BYTES("n:0")));
    cr_expect_eq(origin.lease.len, RECOVERY_LEASE_NAME_LEN);
    cr_expect_eq(adopt(world, buf_bytes(record), BYTES("ABCDEFGH-1-99-0")), STATUS_AGAIN);
    struct bytes offset = bytes_of(world->had[0].offset, world->had[0].len);
    cr_assert_eq(adopt(world, buf_bytes(record), offset), 0);
    cr_expect_eq(adopt(world, buf_bytes(record), offset), STATUS_NOT_FOUND, "it is here");
    come_back(world);
    turn(world);
    cr_expect_eq(world->had_count, 1, "it waits for the inbox's position, which does not come,");
    world->now_ms += 2;
    turn(world);
    cr_assert_eq(world->had_count, 3, "for two milliseconds");
    cr_expect_eq(world->had[1].value, 2);
    cr_expect_eq(world->had[2].value, 3);
    buf_unref(record);
    tear_down(world);
    mem_free(world);
}

Test(recovery, an_event_to_the_socket_alone_is_not_continued_elsewhere)
{
    struct world *world = mem_alloc(sizeof(*world));
    set_up(world, 1);
    recovery_stream_from(recovery_of(world->fanout), (struct stream_id){.ms = 10});
    broadcast(world, ROOMS, 11);
    emit_direct(world);
    turn(world);
    struct buf *record = send_away(world);
    struct bytes before = bytes_of(world->had[0].offset, world->had[0].len);
    struct bytes behind = bytes_of(world->had[1].offset, world->had[1].len);
    cr_expect_eq(adopt(world, buf_bytes(record), before), STATUS_NOT_FOUND, "it is missing");
    cr_expect_eq(adopt(world, buf_bytes(record), behind), 0);
    buf_unref(record);
    recovery_hand_over(recovery_of(world->fanout), bytes_of(world->pid, sizeof(world->pid)));
    tear_down(world);
    mem_free(world);
}

Test(recovery, records_that_are_broken_are_refused)
{
    struct world *world = mem_alloc(sizeof(*world));
    set_up(world, 1);
    recovery_stream_from(recovery_of(world->fanout), (struct stream_id){.ms = 10});
    change_room(world, 0);
    change_room(world, 1);
    change_room(world, 1);
    broadcast(world, ROOMS, 11);
    socket_pinged(&client_of(world)->socket);
    socket_ponged(&client_of(world)->socket);
    struct buf *record = send_away(world);
    struct bytes text = buf_bytes(record);
    struct bytes pid = bytes_of(world->pid, sizeof(world->pid));
    char copy[1024];
    struct record_origin origin;
    cr_assert_lt(text.len, sizeof(copy));
    for (size_t len = 0; len < text.len; len++) {
        cr_expect_neq(adopt(world, bytes_of(text.at, len), bytes_of(NULL, 0)), 0, "%zu", len);
        cr_expect_neq(recovery_record_origin(bytes_of(text.at, len), &origin), 0, "%zu", len);
    }
    for (unsigned i = 0; i < 20000; i++) { /* anything may come of it but a crash */
        memcpy(copy, text.at, text.len);
        copy[dice(world, text.len)] = (char)dice(world, 256);
        int status = recovery_record_origin(bytes_of(copy, text.len), &origin);
        cr_assert(status == 0 || status == STATUS_INVALID);
        if (adopt(world, bytes_of(copy, text.len), bytes_of(NULL, 0)) == 0) {
            recovery_hand_over(recovery_of(world->fanout), pid);
        }
    }
    cr_expect_eq(adopt(world, text, bytes_of(NULL, 0)), 0);
    recovery_hand_over(recovery_of(world->fanout), pid);
    buf_unref(record);
    tear_down(world);
    mem_free(world);
}
