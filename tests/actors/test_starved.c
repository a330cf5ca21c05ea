/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that may fail do so, each one once and all from it on, in what has no client: the way
 * of a post through the partitions, an answer to another node, the encoding of an event, the log of
 * a namespace with recovery. What cannot be whole is done again, refused, or known to be missing.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/deliver/broadcast.h"
#include "actors/order/sequencer.h"
#include "actors/recover/replay.h"
#include "actors/user/user.h"
#include "codec/base/log.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/wire.h"
#include "tests/support/client.h"
#include "tests/support/failing.h"
#include "tests/support/nodes.h"

TestSuite(starved, .timeout = 280);

enum { NTH_MAX = 2000 };

/* An entry of the plain stream for many users, who live in several partitions. */
static void post_to_many(struct nodes *nodes, unsigned count)
{
    struct builder users = {0};
    builder_byte(&users, '[');
    for (unsigned i = 0; i < count; i++) {
        builder_printf(&users, "%s\"%030u\"", i > 0 ? "," : "", i);
    }
    builder_byte(&users, ']');
    const struct bytes fields[] = {BYTES("users"), builder_bytes(&users), BYTES("type"), BYTES("t"),
        BYTES("message"), BYTES("m")};
    fake_data_add(fake_redis_data(nodes->redis), "peal:in", fields, ARRAY_LEN(fields));
    builder_reset(&users);
}

static void expect_stored(const struct nodes *nodes, unsigned count, int64_t nth)
{
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%030u", i);
        const struct fake_inbox *inbox = fake_store_inbox(nodes->store, name);
        cr_assert(inbox != NULL && inbox->count == 1, "%lld: user %u has %zu", (long long)nth, i,
            inbox != NULL ? inbox->count : 0);
    }
    cr_assert_eq(fake_data_length(fake_redis_data(nodes->redis), "peal:dead"), 0, "%lld: dead",
        (long long)nth);
}

/* Whether any allocation failed. */
static bool route(int64_t nth, int64_t count)
{
    enum { USERS = 200 };
    const struct nodes_options options = {
        .nodes = 1, .shards = 1, .bus = true, .ingest = true, .partitions = 2};
    struct nodes *nodes = nodes_create(5, &options);
    nodes_advance(nodes, 2000);
    post_to_many(nodes, USERS);
    failing_arm(nth, count);
    nodes_advance(nodes, 1000);
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    nodes_advance(nodes, 4000);
    expect_stored(nodes, USERS, nth);
    nodes_destroy(nodes);
    return any;
}

Test(starved, a_post_that_is_routed_loses_none_of_its_users)
{
    log_set_level(LOG_ERROR);
    int64_t nth = 1;
    for (; nth < NTH_MAX && route(nth, 1); nth++) {
        (void)route(nth, FAILING_FOR_GOOD);
    }
    cr_assert(nth > 3 && nth < NTH_MAX);
}

/* What another node hears as answers. */
struct answers {
    unsigned count;
    unsigned sids; /* in the last one */
};

static void on_answered(void *context, struct bytes channel, struct bytes payload)
{
    struct answers *answers = context;
    struct json_scan_iter iter;
    struct bytes list;
    struct bytes each;
    (void)channel;
    cr_assert_eq(json_scan_get(payload, "sockets", &list), 0);
    cr_assert(json_scan_iter_init(&iter, list));
    answers->count++;
    for (answers->sids = 0; json_scan_element(&iter, &each);) {
        answers->sids++;
    }
}

static void ignore(struct client *client, const struct client_packet *packet)
{
    (void)client;
    (void)packet;
}

static const struct bus_events answers_events = {.on_message = on_answered};

/* Whether any allocation failed. */
static bool count_sockets(int64_t nth)
{
    enum { SOCKETS = 100 };
    const struct nodes_options options = {.nodes = 1, .shards = 1, .bus = true, .partitions = 1};
    static struct client clients[SOCKETS];
    struct nodes *nodes = nodes_create(9, &options);
    struct answers answers = {0};
    struct bus *bus = fake_redis_bus(nodes->redis, NODES_MAX, NULL, NULL);
    struct bus_link *link = bus->ops->open(bus, "listener", &answers_events, &answers);
    cr_assert(bus->ops->subscribe(link, BYTES("socket.io-response#/#")));
    memset(clients, 0, sizeof(clients));
    for (unsigned i = 0; i < SOCKETS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%u", i);
        clients[i].received = ignore;
        client_init(&clients[i], nodes_on(nodes, 0, 0), "/", name, WIRE_JSON);
        cr_assert_eq(user_attach(clients[i].socket.shard, &clients[i].socket), 0);
    }
    nodes_settle(nodes);
    failing_arm(nth, 1);
    fake_redis_publish(nodes->redis, BYTES("socket.io-request#/#"),
        BYTES("{\"uid\":\"x\",\"requestId\":\"q\",\"type\":0,\"rooms\":[]}"));
    nodes_settle(nodes);
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    cr_assert(answers.count == 0 || answers.sids == SOCKETS, "%lld: %u of the sockets",
        (long long)nth, answers.sids);
    cr_assert(any || answers.count == 1);
    for (unsigned i = 0; i < SOCKETS; i++) {
        client_finish(&clients[i], CLOSE_NORMAL);
    }
    nodes_settle(nodes);
    bus->ops->close(link);
    nodes_destroy(nodes);
    return any;
}

Test(starved, a_list_of_sockets_is_whole_or_not_given)
{
    log_set_level(LOG_ERROR);
    int64_t nth = 1;
    while (nth < NTH_MAX && count_sockets(nth)) {
        nth++;
    }
    cr_assert(nth > 3 && nth < NTH_MAX);
}

/* `["e",1.25,"é","\u00e9",…]`, longer than what small allocations are. */
static struct event *long_event(void)
{
    struct builder text = {0};
    struct event *event;
    builder_str(&text, "[\"e\"");
    for (unsigned i = 0; i < 200; i++) {
        builder_printf(&text, ",%u.25,{\"k%u\":[\"a\\u00e9\",\"b\",null,-%u]}", i, i, i);
    }
    builder_byte(&text, ']');
    cr_assert_eq(event_from_json(builder_bytes(&text), NULL, 0, 0, &event), 0);
    builder_reset(&text);
    return event;
}

/* Who takes it for an event that cannot be encoded closes nobody: all would miss it in silence. */
Test(starved, an_event_without_memory_is_not_taken_for_one_that_is_too_large)
{
    struct event *event = long_event();
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        int status = STATUS_NOMEM;
        for (int64_t nth = 1; status != 0; nth++) {
            struct builder out = {0};
            failing_arm(nth, FAILING_FOR_GOOD);
            status = wire_event((enum wire_format)format, BYTES("/"), event, &out);
            failing_arm(0, 0);
            cr_assert(status == 0 || status == STATUS_NOMEM, "format %u, %lld: %s", format,
                (long long)nth, status_name(status));
            builder_reset(&out);
        }
    }
    event_unref(event);
}

enum { LOG_EVENTS = 300, LOG_ROOMS = 3 };

static const char *const log_rooms[LOG_ROOMS] = {"red", "green", "blue"};

/* Every event but the third is for two rooms in turn. */
static bool is_for_room(unsigned event, unsigned room)
{
    return event % 3 == 0 ? event / 3 % LOG_ROOMS == room : event % LOG_ROOMS != room;
}

static void fill_log(struct replay *replay)
{
    for (unsigned i = 1; i <= LOG_EVENTS; i++) {
        struct bytes rooms[LOG_ROOMS];
        unsigned count = 0;
        struct event *event;
        for (unsigned room = 0; room < LOG_ROOMS; room++) {
            if (is_for_room(i, room)) {
                rooms[count++] = bytes_str(log_rooms[room]);
            }
        }
        failing_pause(true); /* the log's own are meant */
        cr_assert_eq(event_from_json(BYTES("[\"e\"]"), NULL, 0, 0, &event), 0);
        struct broadcast *broadcast = broadcast_new(event, rooms, count, NULL, 0);
        failing_pause(false);
        replay_add(replay, broadcast, 1);
        broadcast_unref(broadcast);
    }
}

static void read_log(const struct replay *replay, unsigned room, unsigned after, int64_t nth)
{
    const struct room_span span = {.name = bytes_str(log_rooms[room])};
    const struct replay_reader reader = {.sid = BYTES("AAAAAAAAAAAAAAAAAAAAAAA"),
        .user = BYTES("user:me"),
        .spans = &span,
        .span_count = 1,
        .after = after};
    struct replay_at at = {.number = after};
    if (!replay_is_whole(replay, &reader, 1 << 20)) {
        return;
    }
    for (unsigned i = after + 1; i <= LOG_EVENTS; i++) {
        if (is_for_room(i, room)) {
            cr_assert_not_null(replay_next(replay, &reader, &at), "%lld", (long long)nth);
            cr_assert_eq(at.number, i, "%lld", (long long)nth);
        }
    }
    cr_assert_null(replay_next(replay, &reader, &at));
}

/* Whether any allocation failed. */
static bool keep_log(int64_t nth, int64_t count)
{
    const struct replay_limits limits = {.age_ms = 1000, .bytes = 1 << 20, .events = 1000};
    struct replay *replay = replay_create(&limits);
    failing_arm(nth, count);
    fill_log(replay);
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    for (unsigned room = 0; room < LOG_ROOMS; room++) {
        for (unsigned after = 0; after <= LOG_EVENTS; after += 10) {
            read_log(replay, room, after, nth);
        }
    }
    replay_destroy(replay);
    return any;
}

Test(starved, a_log_says_whole_when_nothing_is_missing)
{
    int64_t nth = 1;
    for (; nth < NTH_MAX && keep_log(nth, 1); nth++) {
        (void)keep_log(nth, 3);
        (void)keep_log(nth, FAILING_FOR_GOOD);
    }
    cr_assert(nth > 3 && nth < NTH_MAX);
}

/* A client of a room with a memory. */
struct reader {
    struct client client; /* first */
    char epoch[32];
    char offset[REPLAY_OFFSET_MAX + 1];
    bool answered;
    bool recovered;
    uint64_t values[16];
    unsigned count;
};

static void copy_text(struct bytes object, const char *key, char *at, size_t size)
{
    struct bytes value;
    struct bytes text;
    cr_assert_eq(json_scan_get(object, key, &value), 0);
    cr_assert_eq(json_scan_string(value, at, size - 1, &text), 0);
    memmove(at, text.at, text.len);
    at[text.len] = '\0';
}

static void on_reader(struct client *client, const struct client_packet *packet)
{
    struct reader *reader = (struct reader *)(void *)client;
    struct bytes value;
    if (packet->is_ack && json_scan_get(packet->args, "offset", &value) == 0) {
        reader->answered = true;
        copy_text(packet->args, "epoch", reader->epoch, sizeof(reader->epoch));
        copy_text(packet->args, "offset", reader->offset, sizeof(reader->offset));
        if (json_scan_get(packet->args, "recovered", &value) == 0) {
            cr_assert_eq(json_scan_bool(value, &reader->recovered), 0);
        }
    } else if (!packet->is_ack && bytes_eq_str(packet->name, "e")) {
        cr_assert_eq(json_scan_get(packet->args, "v", &value), 0); /* of the first argument */
        cr_assert_lt(reader->count, ARRAY_LEN(reader->values));
        cr_assert_eq(json_scan_u64(value, &reader->values[reader->count++]), 0);
    }
}

static void read_room(struct nodes *nodes, struct reader *reader)
{
    char text[300] = "[\"join_room\",\"mem:r\"]";
    if (reader->answered) {
        snprintf(text, sizeof(text),
            "[\"join_room\",{\"roomId\":\"mem:r\",\"since\":{\"epoch\":\"%s\",\"offset\":\"%s\"}}]",
            reader->epoch, reader->offset);
    }
    memset(&reader->client, 0, sizeof(reader->client));
    reader->client.received = on_reader;
    reader->answered = false;
    client_init(&reader->client, nodes_on(nodes, 0, 0), "/", "ann", WIRE_SIO);
    cr_assert_eq(user_attach(reader->client.socket.shard, &reader->client.socket), 0);
    user_event(&reader->client.socket, bytes_str(text), &(uint64_t){1}, NULL, 0);
    nodes_settle(nodes);
}

/* Three events while memory fails: of what was taken all is told, or that something is missing. */
static bool remember(int64_t nth, int64_t count)
{
    const struct nodes_options options = {.nodes = 1, .shards = 1, .replay = 10};
    struct nodes *nodes = nodes_create(3, &options);
    static struct reader reader;
    memset(&reader, 0, sizeof(reader));
    uint64_t taken[3];
    unsigned taken_count = 0;
    nodes_settle(nodes);
    read_room(nodes, &reader);
    cr_assert(reader.answered);
    nodes_on(nodes, 0, 0);
    client_finish(&reader.client, CLOSE_TRANSPORT);
    nodes_settle(nodes);
    failing_arm(nth, count);
    for (uint64_t i = 0; i < 3; i++) {
        struct event *event = NULL;
        struct bytes room = BYTES("mem:r");
        char text[64];
        snprintf(text, sizeof(text), "[\"e\",{\"v\":%llu}]", (unsigned long long)i);
        int status = event_from_json(bytes_str(text), NULL, 0, 0, &event);
        struct broadcast *broadcast = status == 0 ? broadcast_new(event, &room, 1, NULL, 0) : NULL;
        if (broadcast != NULL &&
            sequencer_send(nodes_on(nodes, 0, 0), BYTES("/"), broadcast) == 0) {
            taken[taken_count++] = i;
        }
        nodes_settle(nodes);
    }
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    read_room(nodes, &reader);
    cr_assert(reader.answered);
    cr_assert(reader.recovered || reader.count == 0, "%lld", (long long)nth);
    if (reader.recovered) {
        cr_assert_eq(
            reader.count, taken_count, "%lld: %u of %u", (long long)nth, reader.count, taken_count);
        cr_assert_eq(memcmp(reader.values, taken, taken_count * sizeof(taken[0])), 0);
    }
    nodes_on(nodes, 0, 0);
    client_finish(&reader.client, CLOSE_NORMAL);
    nodes_destroy(nodes);
    return any;
}

Test(starved, a_room_that_could_not_remember_does_not_say_that_it_has)
{
    int64_t nth = 1;
    for (; nth < NTH_MAX && remember(nth, 1); nth++) {
        (void)remember(nth, FAILING_FOR_GOOD);
    }
    cr_assert(nth > 5 && nth < NTH_MAX, "%lld", (long long)nth);
}
