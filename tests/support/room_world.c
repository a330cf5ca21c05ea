/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_world - guests of rooms with a memory. Order of this file: clients, life.
 */
#include "tests/support/room_world.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/deliver/broadcast.h"
#include "actors/order/sequencer.h"
#include "actors/user/user.h"
#include "codec/json_scan.h"

const char *const room_world_rooms[ROOM_NAMES] = {"mem:red", "mem:blue"};

void guest_fail(const struct guest *guest, const char *what, uint64_t a, uint64_t b)
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
    for (int i = 0; i < ROOM_NAMES; i++) {
        if (bytes_eq_str(name, room_world_rooms[i])) {
            return i;
        }
    }
    return -1;
}

static void begin_run(struct guest *guest, struct had *had)
{
    if (had->run_count == ROOM_RUNS_MAX) {
        guest_fail(guest, "too many runs", 0, 0);
    }
    had->runs[had->run_count++] = had->count;
}

static void on_answer(struct guest *guest, struct bytes answer)
{
    char at[ROOM_POSITION_MAX];
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
        guest_fail(guest, "told of what it did not ask", said, 0);
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
    char at[ROOM_POSITION_MAX];
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
        cr_assert(bytes_eq_str(member(value, "room", at, sizeof(at)), room_world_rooms[room]));
        offset = member(value, "offset", at, sizeof(at));
    }
    struct had *had = &guest->had[room];
    if (had->count == ROOM_VALUES_MAX) {
        guest_fail(guest, "too many values", 0, 0);
    }
    if (had->run_count == 0) {
        guest_fail(guest, "an event before it has joined", number, 0);
    }
    had->values[had->count++] = number;
    /* One order: who gets this as a member of several rooms has all before it in each of them. What
     * comes before a join is answered is what was missed, and older. */
    for (int i = 0; i < ROOM_NAMES; i++) {
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

void guest_act(const struct guest *guest)
{
    nodes_on(guest->world->nodes, guest->node, guest->shard);
}

void guest_join(struct guest *guest, unsigned room, bool since)
{
    char text[400];
    struct had *had = &guest->had[room];
    if (!since) {
        had->position[0] = '\0';
    }
    if (had->position[0] != '\0') {
        snprintf(text, sizeof(text),
            "[\"join_room\",{\"roomId\":\"%s\",\"since\":{\"epoch\":\"%s\",\"offset\":\"%s\"}}]",
            room_world_rooms[room], had->epoch, had->position);
    } else {
        snprintf(text, sizeof(text), "[\"join_room\",\"%s\"]", room_world_rooms[room]);
    }
    had->asked = true;
    guest_act(guest);
    user_event(&guest->client.socket, bytes_str(text), &(uint64_t){room + 1}, NULL, 0);
}

void guest_enter(struct guest *guest, unsigned node)
{
    static const enum wire_format formats[] = {
        WIRE_SIO, WIRE_SIO_BATCH, WIRE_JSON, WIRE_SIO_MSGPACK, WIRE_MSGPACK};
    struct room_world *world = guest->world;
    guest->client = (struct client){.received = on_received};
    guest->node = node;
    guest->shard = nodes_user_shard(world->nodes, node, guest->user);
    guest->here = true;
    struct shard *shard = nodes_on(world->nodes, node, guest->shard);
    client_init(&guest->client, shard, "/", guest->user,
        formats[nodes_dice(world->nodes, ARRAY_LEN(formats))]);
    cr_assert_eq(user_attach(shard, &guest->client.socket), 0);
    for (unsigned i = 0; i < ROOM_NAMES; i++) {
        guest->had[i].joined = false;
        guest->had[i].asked = false;
    }
}

void guest_drop(struct guest *guest)
{
    guest_act(guest);
    client_finish(&guest->client, CLOSE_TRANSPORT);
    guest->here = false;
}

void room_world_post(struct room_world *world, unsigned node, unsigned room)
{
    char text[128];
    struct event *event;
    struct bytes name = bytes_str(room_world_rooms[room]);
    snprintf(text, sizeof(text), "[\"e\",{\"room\":\"%s\",\"v\":%llu}]", room_world_rooms[room],
        (unsigned long long)world->next_value[room]++);
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, 0, &event), 0);
    unsigned shards = world->nodes->options.shards;
    struct shard *shard = nodes_on(world->nodes, node, (unsigned)nodes_dice(world->nodes, shards));
    cr_assert_eq(sequencer_send(shard, BYTES("/"), broadcast_new(event, &name, 1, NULL, 0)), 0);
}

unsigned room_world_node(struct room_world *world)
{
    unsigned node;
    do {
        node = (unsigned)nodes_dice(world->nodes, world->nodes->options.nodes);
    } while (!world->alive[node]);
    return node;
}

void room_world_begin(struct room_world *world, uint64_t seed, const struct nodes_options *options)
{
    memset(world, 0, sizeof(*world));
    world->seed = seed;
    world->nodes = nodes_create(seed, options);
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < options->nodes; i++) {
        world->alive[i] = true;
    }
    for (unsigned i = 0; i < ROOM_GUESTS; i++) {
        struct guest *guest = &world->guests[i];
        guest->world = world;
        guest->number = i;
        snprintf(guest->user, sizeof(guest->user), "u%u", i);
        guest_enter(guest, i == 0 ? 0 : room_world_node(world));
    }
    for (unsigned room = 0; room < ROOM_NAMES; room++) {
        guest_join(&world->guests[0], room, false);
    }
    nodes_settle(world->nodes);
}

void room_world_end(struct room_world *world)
{
    for (unsigned i = 0; i < ROOM_GUESTS; i++) {
        if (world->guests[i].here) {
            guest_drop(&world->guests[i]);
        }
    }
    nodes_settle(world->nodes);
    nodes_destroy(world->nodes);
}
