/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that may fail do so, in nodes of actors: each of a visit and a conversation once, and
 * all from it on. Whom it hits is refused or closed; nobody else misses anything, nothing is left.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/inbox/positions.h"
#include "actors/recover/recovery.h"
#include "actors/user/user.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/failing.h"
#include "tests/support/nodes.h"

TestSuite(memory, .timeout = 280);

enum {
    SAID_MAX = 8,
    TEXT_LEN = 900, /* so that a few of them are more than what small allocations are */
    NTH_MAX = 2000,
};

struct person {
    struct client client; /* first */
    unsigned node;
    bool here;
    bool in_room; /* since before anything failed */
    unsigned asked;
    unsigned answers;
    unsigned unavailable; /* of them: no memory */
    bool stored[SAID_MAX]; /* of what it said: the answer was good */
    uint64_t said[SAID_MAX]; /* the id of the request */
    bool heard[SAID_MAX];
};

struct world {
    struct nodes *nodes;
    struct person people[4];
    size_t channels; /* before anybody came */
};

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct person *person = (struct person *)(void *)client;
    struct bytes value;
    if (packet->is_ack) {
        bool ok = false;
        person->answers++;
        cr_assert_eq(json_scan_get(packet->args, "ok", &value), 0);
        cr_assert_eq(json_scan_bool(value, &ok), 0);
        if (!ok && json_scan_get(packet->args, "error", &value) == 0) {
            person->unavailable += json_scan_string_eq(value, BYTES("unavailable"));
        }
        for (unsigned i = 0; i < SAID_MAX; i++) {
            person->stored[i] = person->stored[i] || (ok && person->said[i] == packet->id);
        }
    } else if (bytes_eq_str(packet->name, "new_message")) {
        cr_assert_eq(json_scan_get(packet->args, "message", &value), 0);
        cr_assert(value.len > 1 && value.at[1] >= '0' && value.at[1] < '0' + SAID_MAX);
        person->heard[value.at[1] - '0'] = true;
    }
}

static bool enter(struct world *world, struct person *person, unsigned node, const char *user,
    enum wire_format format)
{
    struct shard *shard = nodes_on(world->nodes, node, nodes_user_shard(world->nodes, node, user));
    *person = (struct person){.node = node, .client.received = on_received};
    if (!client_try_init(&person->client, shard, "/", user, format)) {
        return false;
    }
    person->here = true;
    if (user_attach(shard, &person->client.socket) != 0) {
        person->client.ended = true;
        person->client.reason = CLOSE_NO_MEMORY;
    }
    return true;
}

static uint64_t ask(
    struct world *world, struct person *person, const char *event, const char *argument)
{
    char text[2 * TEXT_LEN];
    uint64_t id = ++person->asked;
    snprintf(text, sizeof(text), "[\"%s\",%s]", event, argument);
    nodes_on(world->nodes, person->node, sched_shard(person->client.socket.shard->sched));
    user_event(&person->client.socket, bytes_str(text), &id, NULL, 0);
    return id;
}

static void say(struct world *world, struct person *person, unsigned number)
{
    char text[TEXT_LEN + 64];
    snprintf(text, sizeof(text), "{\"roomId\":\"any:1\",\"message\":\"%0*u\"}", TEXT_LEN, 0);
    char *digits = strstr(text, ":\"0") + 2;
    *digits = (char)('0' + number);
    person->said[number] = ask(world, person, "send_message", text);
}

static void settle(struct world *world)
{
    nodes_settle(world->nodes);
    nodes_advance(world->nodes, 300);
    nodes_settle(world->nodes);
}

static void leave(struct world *world, struct person *person, enum close_reason reason)
{
    if (person->here) {
        nodes_on(world->nodes, person->node, sched_shard(person->client.socket.shard->sched));
        client_finish(&person->client, reason);
        person->here = false;
    }
}

/* Who was closed goes; who was not has every answer. */
static void look(struct world *world, const char *what, int64_t nth)
{
    for (unsigned i = 0; i < ARRAY_LEN(world->people); i++) {
        struct person *person = &world->people[i];
        if (!person->here) {
            continue;
        }
        if (person->client.ended || person->client.overflowed) {
            cr_assert(person->client.overflowed || person->client.reason == CLOSE_NO_MEMORY,
                "%s %lld: %s", what, (long long)nth, close_name(person->client.reason));
            leave(world, person, CLOSE_NO_MEMORY);
            continue;
        }
        cr_assert_eq(person->answers, person->asked, "%s %lld: person %u had %u of %u answers",
            what, (long long)nth, i, person->answers, person->asked);
    }
}

/* What was said, from `first` on, and answered so, was heard by all of the node who are there. */
static void compare(struct world *world, unsigned first, const char *what, int64_t nth)
{
    for (unsigned i = 0; i < ARRAY_LEN(world->people); i++) {
        for (unsigned n = first; n < SAID_MAX; n++) {
            for (unsigned j = 0; world->people[i].stored[n] && j < ARRAY_LEN(world->people); j++) {
                const struct person *other = &world->people[j];
                bool heard = !other->here || !other->in_room ||
                             other->node != world->people[i].node || other->heard[n];
                cr_assert(heard, "%s %lld: person %u missed %u", what, (long long)nth, j, n);
            }
        }
    }
}

static void begin(struct world *world, const struct nodes_options *options, enum wire_format format)
{
    static const char *const names[] = {"ann", "bob", "cat"};
    *world = (struct world){.nodes = nodes_create(7, options)};
    nodes_settle(world->nodes);
    world->channels = options->bus ? fake_redis_channels(world->nodes->redis) : 0;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        unsigned node = i == 2 ? options->nodes - 1 : 0;
        cr_assert(enter(world, &world->people[i], node, names[i], format));
        ask(world, &world->people[i], "join_room", "\"any:1\"");
        world->people[i].in_room = true;
    }
    settle(world);
}

static void end(struct world *world, const struct nodes_options *options, const char *what)
{
    for (unsigned i = 0; i < ARRAY_LEN(world->people); i++) {
        leave(world, &world->people[i], CLOSE_NORMAL);
    }
    settle(world);
    nodes_advance(world->nodes, 300000); /* what is kept for recovery goes */
    nodes_settle(world->nodes);
    for (unsigned node = 0; node < options->nodes; node++) {
        cr_assert_eq(
            nodes_stat(world->nodes, node, offsetof(struct shard_stats, users)), 0, "%s", what);
        cr_assert_eq(
            nodes_stat(world->nodes, node, offsetof(struct shard_stats, rooms)), 0, "%s", what);
    }
    if (options->bus) {
        cr_assert_eq(fake_redis_channels(world->nodes->redis), world->channels, "%s", what);
    }
    nodes_destroy(world->nodes);
}

/* Whether any allocation failed. */
static bool play(const struct nodes_options *options, enum wire_format format, int64_t nth,
    int64_t count, const char *what)
{
    struct world world;
    begin(&world, options, format);
    struct person *dan = &world.people[3];
    failing_arm(nth, count);
    if (enter(&world, dan, 0, "dan", format) && !dan->client.ended) {
        ask(&world, dan, "join_room", "\"any:1\"");
        ask(&world, dan, "join_room", "\"any:2\"");
    }
    for (unsigned n = 0; n < 3; n++) {
        say(&world, &world.people[0], n);
    }
    say(&world, &world.people[1], 3);
    say(&world, &world.people[2], 4);
    settle(&world);
    if (dan->here && !dan->client.ended) {
        ask(&world, dan, "leave_room", "\"any:2\"");
    }
    settle(&world);
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    look(&world, what, nth);
    compare(&world, 0, what, nth);
    settle(&world);
    leave(&world, dan, CLOSE_NORMAL);
    settle(&world);
    cr_assert(enter(&world, dan, 0, "dan", format));
    ask(&world, dan, "join_room", "\"any:1\"");
    settle(&world);
    dan->in_room = true;
    say(&world, dan, 5);
    settle(&world);
    look(&world, what, nth);
    cr_assert(
        dan->here && dan->stored[5], "%s %lld: who comes later is served", what, (long long)nth);
    compare(&world, 5, what, nth);
    end(&world, options, what);
    return any;
}

static void play_all(const struct nodes_options *options, enum wire_format format, const char *what)
{
    log_set_level(LOG_ERROR); /* each failure is told */
    int64_t nth = 1;
    bool any = true;
    for (; any && nth < NTH_MAX; nth++) {
        any = play(options, format, nth, 1, what);
        if (any) {
            (void)play(options, format, nth, FAILING_FOR_GOOD, what);
        }
    }
    cr_assert(!any && nth > 10, "%s: %lld allocations", what, (long long)nth);
}

Test(memory, one_node_refuses_whom_it_hits)
{
    const struct nodes_options options = {.nodes = 1, .shards = 3};
    play_all(&options, WIRE_SIO, "socket.io");
    play_all(&options, WIRE_JSON, "json");
    play_all(&options, WIRE_MSGPACK, "msgpack");
}

Test(memory, windows_that_cannot_be_written_close_their_members)
{
    const struct nodes_options options = {.nodes = 1, .shards = 2, .batching = BATCHING_ALWAYS};
    play_all(&options, WIRE_SIO_BATCH, "batch");
    play_all(&options, WIRE_SIO, "windows");
    play_all(&options, WIRE_SIO_MSGPACK, "msgpack parser");
}

Test(memory, nodes_on_a_bus_refuse_whom_it_hits)
{
    const struct nodes_options options = {.nodes = 2, .shards = 2, .bus = true, .partitions = 1};
    play_all(&options, WIRE_SIO, "bus");
}

Test(memory, nodes_that_recover_refuse_whom_it_hits)
{
    const struct nodes_options options = {
        .nodes = 2, .shards = 2, .bus = true, .partitions = 1, .recovers = true};
    play_all(&options, WIRE_SIO, "recovery");
}

static void say_once(struct world *world, struct person *person, unsigned number)
{
    char text[64];
    snprintf(text, sizeof(text), "{\"roomId\":\"any:1\",\"message\":\"%u\",\"nonce\":%u}", number,
        number);
    person->said[number] = ask(world, person, "send_message", text);
}

/* Whether any allocation failed. */
static bool say_again(int64_t nth, unsigned *refused)
{
    const struct nodes_options options = {.nodes = 1, .shards = 2};
    struct world world;
    begin(&world, &options, WIRE_JSON);
    world.nodes->node[0].config.nonce_ms = 60000;
    struct person *ann = &world.people[0];
    failing_arm(nth, 1);
    say_once(&world, ann, 0);
    settle(&world);
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    look(&world, "nonce", nth);
    *refused += ann->unavailable;
    if (ann->here && !ann->stored[0]) {
        say_once(&world, ann, 0);
        settle(&world);
        cr_assert(ann->stored[0], "%lld", (long long)nth);
    }
    compare(&world, 0, "nonce", nth);
    end(&world, &options, "nonce");
    return any;
}

Test(memory, a_message_that_was_refused_may_be_sent_again_with_its_nonce)
{
    unsigned refused = 0;
    int64_t nth = 1;
    log_set_level(LOG_ERROR);
    while (nth < NTH_MAX && say_again(nth, &refused)) {
        nth++;
    }
    cr_assert(nth > 3 && nth < NTH_MAX);
    cr_assert_gt(refused, 1, "for the nonce, and for the message");
}

/* Whether any allocation failed. */
static bool mark(int64_t nth, unsigned *refused)
{
    const struct nodes_options options = {.nodes = 1, .shards = 1};
    struct world world;
    begin(&world, &options, WIRE_JSON);
    struct person *ann = &world.people[0];
    const struct store_row row = fake_store_post(world.nodes->store, "ann", "m");
    char id[UUID_TEXT_LEN + 1] = "";
    char text[128];
    uuid_format(row.id, id);
    snprintf(text, sizeof(text), "{\"ids\":[\"%s\",\"%s\"]}", id, id);
    settle(&world);
    failing_arm(nth, 1);
    (void)ask(&world, ann, "notification:read", text);
    settle(&world);
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    look(&world, "mark", nth);
    *refused += ann->unavailable;
    if (ann->here) {
        ann->said[0] = ask(&world, ann, "notification:read", text);
        settle(&world);
        cr_assert(ann->stored[0], "%lld: who comes again is served", (long long)nth);
    }
    end(&world, &options, "mark");
    return any;
}

Test(memory, a_mark_is_refused_whose_ids_have_no_room)
{
    unsigned refused = 0;
    int64_t nth = 1;
    log_set_level(LOG_ERROR);
    while (nth < NTH_MAX && mark(nth, &refused)) {
        nth++;
    }
    cr_assert(nth > 1 && nth < NTH_MAX);
    cr_assert_gt(refused, 1, "for its ids, and for what it changes");
}

/*
 * Where the names of users cannot be written down, nobody is asked for: an inbox without a name
 * stands at 0, which would prove that the store lost commits (the store of this test aborts then).
 */
Test(memory, a_store_is_not_blamed_for_what_was_not_asked)
{
    enum { NAMES = 12, NAME_LEN = 120 };
    const struct nodes_options options = {.nodes = 1, .shards = 1};
    static char names[NAMES][NAME_LEN + 1];
    static struct person people[NAMES];
    struct world world = {.nodes = nodes_create(3, &options)};
    nodes_settle(world.nodes);
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), "%0*u", NAME_LEN, i);
        (void)fake_store_post(world.nodes->store, names[i], "m");
        cr_assert(enter(&world, &people[i], 0, names[i], WIRE_JSON));
    }
    settle(&world);
    failing_arm(1, FAILING_FOR_GOOD);
    positions_compare(nodes_on(world.nodes, 0, 0));
    nodes_advance(world.nodes, 3000);
    cr_assert_gt(failing_count(), 0);
    failing_arm(0, 0);
    nodes_advance(world.nodes, 3000);
    for (unsigned i = 0; i < NAMES; i++) {
        cr_assert(!people[i].client.ended, "nobody missed anything");
        leave(&world, &people[i], CLOSE_NORMAL);
    }
    settle(&world);
    nodes_destroy(world.nodes);
}

/* Who listens on one node, and may come back as who it was, to what is said on another. */
struct listener {
    struct client client; /* first */
    bool heard[SAID_MAX];
    char offset[96]; /* of the last event */
    size_t offset_len;
    char pid[SOCKET_SID_LEN];
};

static void on_listened(struct client *client, const struct client_packet *packet)
{
    struct listener *listener = (struct listener *)(void *)client;
    struct builder array = {0};
    struct json_scan_iter iter;
    struct bytes value;
    struct bytes text;
    if (packet->is_ack || !bytes_eq_str(packet->name, "new_message")) {
        return;
    }
    cr_assert_eq(json_scan_get(packet->args, "message", &value), 0);
    cr_assert(value.len > 1 && value.at[1] >= '0' && value.at[1] < '0' + SAID_MAX);
    listener->heard[value.at[1] - '0'] = true;
    builder_byte(&array, '[');
    builder_add(&array, packet->args);
    builder_byte(&array, ']');
    cr_assert(json_scan_iter_init(&iter, builder_bytes(&array)));
    cr_assert(json_scan_element(&iter, &value));
    if (json_scan_element(&iter, &value)) { /* else there was no memory for it */
        cr_assert_eq(json_scan_string(value, listener->offset, sizeof(listener->offset), &text), 0);
        memmove(listener->offset, text.at, text.len);
        listener->offset_len = text.len;
    }
    builder_reset(&array);
}

static struct recoverable *come_back(struct nodes *nodes, const struct listener *listener)
{
    struct shard *shard = nodes_on(nodes, 0, nodes_user_shard(nodes, 0, "ann"));
    struct claims *claims = claims_new(&(struct claims_fields){.user = BYTES("ann")});
    struct identity *identity = identity_new(claims, false);
    const struct recovery_claim claim = {.nsp = BYTES("/"),
        .identity = identity,
        .pid = bytes_of(listener->pid, sizeof(listener->pid)),
        .offset = bytes_of(listener->offset, listener->offset_len)};
    struct recoverable *claimed = recovery_claim(shard, &claim);
    identity_unref(identity);
    return claimed;
}

/* Until one more event is in the replay stream. */
static void step_until_posted(struct nodes *nodes)
{
    struct fake_data *data = fake_redis_data(nodes->redis);
    struct builder out = {0};
    bus_name_replay(&nodes->node[0].config.names, BYTES("/"), &out);
    builder_byte(&out, '\0');
    const char *name = builder_bytes(&out).at;
    size_t before = fake_data_length(data, name);
    while (fake_data_length(data, name) == before) {
        cr_assert(nodes_step(nodes));
    }
    builder_reset(&out);
}

/* Whether any allocation failed, when the second of two messages was there to be read. */
static bool listen_to_another_node(int64_t nth, bool away)
{
    const struct nodes_options options = {
        .nodes = 2, .shards = 1, .bus = true, .partitions = 1, .recovers = true};
    struct world world = {.nodes = nodes_create(11, &options)};
    struct person *bob = &world.people[0];
    static struct listener ann;
    ann = (struct listener){.client.received = on_listened};
    nodes_settle(world.nodes);
    struct shard *shard = nodes_on(world.nodes, 0, 0);
    client_init(&ann.client, shard, "/", "ann", WIRE_SIO);
    cr_assert_eq(user_attach(shard, &ann.client.socket), 0);
    memcpy(ann.pid, socket_pid(&ann.client.socket).at, sizeof(ann.pid));
    user_event(&ann.client.socket, BYTES("[\"join_room\",\"any:1\"]"), NULL, NULL, 0);
    cr_assert(enter(&world, bob, 1, "bob", WIRE_JSON));
    ask(&world, bob, "join_room", "\"any:1\"");
    settle(&world);
    say(&world, bob, 0);
    settle(&world);
    cr_assert(ann.heard[0] && ann.offset_len > 0);
    if (away) {
        nodes_on(world.nodes, 0, 0);
        client_finish(&ann.client, CLOSE_TRANSPORT);
        settle(&world); /* that she has left is posted, too */
    }
    say(&world, bob, 1);
    step_until_posted(world.nodes);
    failing_arm(nth, 1);
    settle(&world);
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    settle(&world);
    cr_assert(away || ann.heard[1] || ann.client.ended, "%lld: missed in silence", (long long)nth);
    if (!away) {
        nodes_on(world.nodes, 0, 0);
        client_finish(&ann.client, CLOSE_TRANSPORT);
    }
    struct recoverable *claimed = come_back(world.nodes, &ann);
    if (claimed != NULL) {
        memset(&ann.client, 0, sizeof(ann.client));
        ann.client.received = on_listened;
        client_continue(&ann.client, nodes_on(world.nodes, 0, 0), "/", "ann", WIRE_SIO, claimed);
        cr_assert_eq(user_attach(nodes_on(world.nodes, 0, 0), &ann.client.socket), 0);
        settle(&world);
        cr_assert(ann.heard[1], "%lld: it was told that nothing is missing", (long long)nth);
        nodes_on(world.nodes, 0, 0);
        client_finish(&ann.client, CLOSE_NORMAL);
    }
    leave(&world, bob, CLOSE_NORMAL);
    nodes_advance(world.nodes, 300000);
    nodes_destroy(world.nodes);
    return any;
}

Test(memory, who_comes_back_as_who_it_was_has_missed_nothing)
{
    log_set_level(LOG_ERROR);
    for (unsigned away = 0; away < 2; away++) {
        int64_t nth = 1;
        while (nth < NTH_MAX && listen_to_another_node(nth, away)) {
            nth++;
        }
        cr_assert(nth > 3 && nth < NTH_MAX);
    }
}
