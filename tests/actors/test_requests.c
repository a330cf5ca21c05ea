/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of other nodes: every node answers each question once and with all it has, carries out
 * changes in their order, and passes on what clients acknowledge. The test plays the other node: it
 * publishes requests and listens to the channel of answers.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/deliver/fanout.h"
#include "actors/rooms/acks.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(requests, .timeout = 300);

enum { PEOPLE_MAX = 400, ANSWERS_MAX = 64, ROOMS = 4, SEEDS = 40, LISTENER = NODES_MAX };

#define SEED(world) (unsigned long long)(world)->nodes->seed

struct person {
    struct client client; /* first */
    struct world *world;
    char user[16];
    unsigned node;
    bool here;
    unsigned rooms; /* bits: in which rooms it should be */
    uint64_t asked; /* the id of the last ack that was asked for; 0: none */
    unsigned events;
    unsigned told; /* of who came and went */
};

struct world {
    struct nodes *nodes;
    struct bus *bus;
    struct bus_link *listener;
    unsigned count;
    struct person *people;
    unsigned answer_count;
    char *answers[ANSWERS_MAX]; /* JSON text; of a client's ack made from its MessagePack */
};

/* --- the world --- */

static void on_answer(void *context, struct bytes channel, struct bytes payload)
{
    struct world *world = context;
    struct builder text = {0};
    (void)channel;
    cr_assert_lt(world->answer_count, ANSWERS_MAX);
    if (payload.at[0] == '{') {
        builder_add(&text, payload);
    } else {
        cr_assert_eq(mp_to_json(payload, NULL, &text), 0);
    }
    builder_byte(&text, '\0');
    cr_assert_eq(
        json_scan_text(bytes_str(builder_bytes(&text).at), 16, NULL, NULL), 0, "answers are JSON");
    size_t len;
    world->answers[world->answer_count++] = builder_take(&text, &len);
}

static const struct bus_events listener_events = {.on_message = on_answer};

static struct world *begin(uint64_t seed, unsigned nodes)
{
    struct world *world = mem_alloc(sizeof(*world));
    world->people = mem_alloc_array(PEOPLE_MAX, sizeof(*world->people));
    world->nodes =
        nodes_create(seed, &(struct nodes_options){.nodes = nodes, .shards = 3, .bus = true});
    world->bus = fake_redis_bus(world->nodes->redis, LISTENER, NULL, NULL);
    world->listener = world->bus->ops->open(world->bus, "listener", &listener_events, world);
    world->bus->ops->subscribe(world->listener, BYTES("socket.io-response#/#"));
    nodes_settle(world->nodes);
    return world;
}

static void forget_answers(struct world *world)
{
    for (unsigned i = 0; i < world->answer_count; i++) {
        mem_free(world->answers[i]);
    }
    world->answer_count = 0;
}

static void act_as(const struct person *person)
{
    nodes_on(person->world->nodes, person->node, sched_shard(person->client.socket.shard->sched));
}

static void let_go(struct person *person)
{
    act_as(person);
    client_finish(&person->client, CLOSE_NORMAL);
    person->here = false;
}

static void finish(struct world *world)
{
    for (unsigned i = 0; i < world->count; i++) {
        if (world->people[i].here) {
            let_go(&world->people[i]);
        }
    }
    nodes_settle(world->nodes);
    forget_answers(world);
    world->bus->ops->close(world->listener);
    nodes_destroy(world->nodes);
    mem_free(world->people);
    mem_free(world);
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct person *person = (struct person *)(void *)client;
    if (packet->is_ack) {
        return;
    }
    if (bytes_eq_str(packet->name, "question")) {
        person->events++;
        person->asked = packet->is_asked ? packet->id : 0;
    }
    person->told += bytes_eq_str(packet->name, "user_joined_room");
    person->told += bytes_eq_str(packet->name, "user_left_room");
}

static struct person *arrive(struct world *world, unsigned node, enum wire_format format)
{
    struct person *person = &world->people[world->count];
    person->world = world;
    person->node = node;
    person->here = true;
    person->client.received = on_received;
    snprintf(person->user, sizeof(person->user), "p%u", world->count++);
    struct shard *shard =
        nodes_on(world->nodes, node, nodes_user_shard(world->nodes, node, person->user));
    client_init(&person->client, shard, "/", person->user, format);
    cr_assert_eq(user_attach(shard, &person->client.socket), 0);
    return person;
}

static struct bytes sid_of(const struct person *person)
{
    return bytes_of(person->client.socket.sid, SOCKET_SID_LEN);
}

static void ask(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);

static void ask(struct world *world, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cr_assert(len > 0 && (size_t)len < sizeof(text));
    fake_redis_publish(world->nodes->redis, BYTES("socket.io-request#/#"), bytes_str(text));
}

/* How often the answers hold `text`, a JSON string. */
static unsigned times(const struct world *world, struct bytes text)
{
    char quoted[64];
    unsigned found = 0;
    snprintf(quoted, sizeof(quoted), "\"%.*s\"", (int)text.len, text.at);
    for (unsigned i = 0; i < world->answer_count; i++) {
        for (const char *at = world->answers[i]; (at = strstr(at, quoted)) != NULL; at++) {
            found++;
        }
    }
    return found;
}

static unsigned times_str(const struct world *world, const char *text)
{
    return times(world, bytes_str(text));
}

static bool is_in(const struct person *person, unsigned room)
{
    char name[8];
    snprintf(name, sizeof(name), "r%u", room);
    const struct socket *socket = &person->client.socket;
    return fanout_membership(socket->fanout, socket, bytes_str(name)) != NULL;
}

static uint64_t refused(const struct world *world, unsigned node)
{
    return nodes_stat(world->nodes, node, offsetof(struct shard_stats, requests_refused));
}

/* --- questions --- */

/* People on all nodes, in rooms at random. */
static void populate(struct world *world, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct person *person =
            arrive(world, (unsigned)nodes_dice(world->nodes, world->nodes->options.nodes),
                (enum wire_format)nodes_dice(world->nodes, WIRE_FORMAT_COUNT));
        for (unsigned room = 0; room < ROOMS; room++) {
            char text[32];
            snprintf(text, sizeof(text), "[\"join_room\",\"r%u\"]", room);
            if (nodes_dice(world->nodes, 2) == 0) {
                person->rooms |= 1u << room;
                user_event(&person->client.socket, bytes_str(text), NULL, NULL, 0);
            }
        }
    }
    nodes_settle(world->nodes);
}

static void check_sockets(const struct world *world, unsigned with, unsigned without)
{
    for (unsigned i = 0; i < world->count; i++) {
        const struct person *person = &world->people[i];
        bool meant = (with == 0 || (person->rooms & with)) && !(person->rooms & without);
        cr_assert_eq(
            times(world, sid_of(person)), meant ? 1u : 0u, "seed %llu: person %u", SEED(world), i);
    }
}

Test(requests, every_node_answers_once_with_all_it_has)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *world = begin(seed, 2);
        populate(world, 40);
        ask(world, "{\"uid\":\"x\",\"requestId\":\"q1\",\"type\":0,\"rooms\":[\"r0\",\"r1\"]}");
        nodes_settle(world->nodes);
        cr_assert_eq(times_str(world, "q1"), 2, "seed %llu", SEED(world));
        check_sockets(world, 3, 0);
        forget_answers(world);
        ask(world, "{\"requestId\":\"q2\",\"type\":0}");
        nodes_settle(world->nodes);
        check_sockets(world, 0, 0);
        forget_answers(world);
        ask(world, "{\"uid\":\"x\",\"requestId\":\"q3\",\"type\":1}");
        ask(world, "{\"uid\":\"x\",\"requestId\":\"q4\",\"type\":6,\"data\":[\"e\"]}");
        ask(world, "{\"uid\":\"x\",\"type\":6,\"data\":[\"e\"]}");
        ask(world, "{\"uid\":\"epoch-1.1.node-0\",\"requestId\":\"q5\",\"type\":1}");
        nodes_settle(world->nodes);
        cr_assert_eq(times_str(world, "q3"), 2);
        cr_assert_eq(times_str(world, "q4"), 2);
        cr_assert_eq(times_str(world, "q5"), 1, "a node does not answer itself");
        cr_assert_eq(world->answer_count, 5, "and nothing else is answered");
        for (unsigned i = 0; i < world->count; i++) {
            unsigned expected = world->people[i].node == 0 ? 1 : 2;
            cr_assert_eq(times(world, sid_of(&world->people[i])), expected);
        }
        finish(world);
    }
}

Test(requests, what_is_told_of_a_socket)
{
    struct world *world = begin(1, 1);
    struct person *person = arrive(world, 0, WIRE_SIO);
    person->rooms = 1;
    user_event(&person->client.socket, BYTES("[\"join_room\",\"r0\"]"), NULL, NULL, 0);
    arrive(world, 0, WIRE_JSON);
    nodes_settle(world->nodes);
    ask(world,
        "{\"uid\":\"x\",\"requestId\":\"q\",\"type\":5,\"opts\":{\"rooms\":[\"r0\",\"user:p0\","
        "\"%.*s\"],\"except\":[\"user:p1\"]}}",
        SOCKET_SID_LEN, person->client.socket.sid);
    nodes_settle(world->nodes);
    char expected[512];
    snprintf(expected, sizeof(expected),
        "{\"requestId\":\"q\",\"sockets\":[{\"id\":\"%.*s\",\"handshake\":{\"headers\":{},"
        "\"query\":{},\"auth\":{}},\"data\":{\"userId\":\"p0\"},\"rooms\":[\"%.*s\",\"user:p0\","
        "\"r0\"]}]}",
        SOCKET_SID_LEN, person->client.socket.sid, SOCKET_SID_LEN, person->client.socket.sid);
    cr_assert_eq(world->answer_count, 1);
    cr_assert_str_eq(world->answers[0], expected);
    finish(world);
}

/* Whoever stays is in the answer once, whoever comes and goes while it is being made. */
Test(requests, more_sockets_than_a_slice)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *world = begin(seed, 1);
        for (unsigned i = 0; i < 300; i++) {
            arrive(world, 0, WIRE_SIO);
        }
        nodes_settle(world->nodes);
        ask(world, "{\"requestId\":\"q\",\"type\":5,\"opts\":{\"rooms\":[]}}");
        for (unsigned i = 0; i < 50; i++) {
            for (unsigned steps = 0; steps < 3 && nodes_step(world->nodes); steps++) {
            }
            struct person *person = &world->people[nodes_dice(world->nodes, 300)];
            if (person->here) {
                let_go(person);
            }
            arrive(world, 0, WIRE_SIO);
        }
        nodes_settle(world->nodes);
        cr_assert_eq(world->answer_count, 1, "seed %llu", SEED(world));
        for (unsigned i = 0; i < 300; i++) {
            const struct person *person = &world->people[i];
            if (person->here) { /* as its id, and among its rooms */
                cr_assert_eq(times(world, sid_of(person)), 2, "seed %llu: %u", SEED(world), i);
            }
        }
        finish(world);
    }
}

Test(requests, an_answer_that_would_be_too_large_is_not_given)
{
    struct world *world = begin(1, 1);
    for (unsigned i = 0; i < 200; i++) {
        arrive(world, 0, WIRE_SIO);
    }
    nodes_settle(world->nodes);
    world->nodes->node[0].config.answer_bytes = 6000;
    ask(world, "{\"requestId\":\"large\",\"type\":5,\"opts\":{\"rooms\":[]}}");
    ask(world, "{\"requestId\":\"small\",\"type\":0}");
    nodes_settle(world->nodes);
    cr_assert_eq(world->answer_count, 1);
    cr_assert_eq(times_str(world, "small"), 1);
    cr_assert_eq(refused(world, 0), 1);
    world->nodes->node[0].config.requests_waiting = 0;
    ask(world, "{\"requestId\":\"small\",\"type\":0}");
    nodes_settle(world->nodes);
    world->nodes->node[0].config.requests_waiting = 1;
    world->nodes->node[0].config.request_bytes = 29;
    ask(world, "{\"requestId\":\"small\",\"type\":0}");
    nodes_settle(world->nodes);
    cr_assert_eq(world->answer_count, 1);
    cr_assert_eq(refused(world, 0), 3);
    finish(world);
}

/* --- changes --- */

static void change(struct world *world)
{
    struct person *person = &world->people[nodes_dice(world->nodes, world->count)];
    unsigned whose = (unsigned)nodes_dice(world->nodes, ROOMS);
    unsigned room = (unsigned)nodes_dice(world->nodes, ROOMS);
    bool join = nodes_dice(world->nodes, 2) == 0;
    switch (nodes_dice(world->nodes, 3)) {
    case 0:
        ask(world, "{\"type\":%d,\"opts\":{\"rooms\":[\"user:%s\"]},\"rooms\":[\"r%u\"]}",
            join ? 2 : 3, person->user, room);
        break;
    case 1:
        ask(world, "{\"requestId\":\"old\",\"type\":%d,\"sid\":\"%.*s\",\"room\":\"r%u\"}",
            join ? 2 : 3, SOCKET_SID_LEN, person->client.socket.sid, room);
        break;
    default:
        ask(world,
            "{\"type\":%d,\"opts\":{\"rooms\":[],\"except\":[\"user:p%u\"]},"
            "\"rooms\":[\"r%u\"]}",
            join ? 2 : 3, whose, room);
        for (unsigned i = 0; i < world->count; i++) {
            unsigned bit = i == whose ? 0 : 1u << room;
            struct person *one = &world->people[i];
            one->rooms = join ? one->rooms | bit : one->rooms & ~bit;
        }
        return;
    }
    person->rooms = join ? person->rooms | 1u << room : person->rooms & ~(1u << room);
}

Test(requests, the_last_change_counts)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *world = begin(seed, 2);
        for (unsigned i = 0; i < 20; i++) {
            arrive(world, i % 2, (enum wire_format)nodes_dice(world->nodes, WIRE_FORMAT_COUNT));
        }
        nodes_settle(world->nodes);
        for (unsigned i = 0; i < 60; i++) {
            change(world);
            for (uint64_t steps = nodes_dice(world->nodes, 20);
                 steps > 0 && nodes_step(world->nodes); steps--) {
            }
            forget_answers(world);
        }
        nodes_settle(world->nodes);
        for (unsigned i = 0; i < world->count; i++) {
            for (unsigned room = 0; room < ROOMS; room++) {
                cr_assert_eq(is_in(&world->people[i], room),
                    (world->people[i].rooms >> room & 1) != 0, "seed %llu: p%u in r%u", SEED(world),
                    i, room);
            }
        }
        finish(world);
    }
}

Test(requests, joins_are_real_ones_and_keep_to_the_rules)
{
    struct world *world = begin(1, 1);
    struct person *person = arrive(world, 0, WIRE_SIO);
    struct socket *socket = &person->client.socket;
    world->nodes->node[0].config.rooms = 3;
    nodes_settle(world->nodes);
    ask(world,
        "{\"type\":2,\"opts\":{},\"rooms\":[\"\",\"a/b\",\"user:p9\",\"a\\n\",\"%.*s\","
        "\"ok\",7]}",
        SOCKET_SID_LEN, socket->sid);
    nodes_settle(world->nodes);
    cr_assert_eq(socket->membership_count, 2);
    cr_assert_not_null(fanout_membership(socket->fanout, socket, BYTES("7")));
    ask(world, "{\"type\":2,\"opts\":{},\"rooms\":[\"r0\",\"r1\",\"r2\"]}");
    nodes_settle(world->nodes);
    cr_assert_eq(socket->membership_count, 3);
    cr_assert_eq(nodes_stat(world->nodes, 0, offsetof(struct shard_stats, joins_refused)), 4 + 2);
    size_t channels = fake_redis_channels(world->nodes->redis);
    ask(world, "{\"type\":3,\"opts\":{},\"rooms\":[\"r0\",\"ok\",\"7\",\"none\"]}");
    nodes_settle(world->nodes);
    cr_assert_eq(socket->membership_count, 0);
    cr_assert_eq(fake_redis_channels(world->nodes->redis), channels - 3);
    cr_assert_eq(world->answer_count, 0);
    finish(world);
}

/* Nobody is told of a thousand who come at once, but of one who comes later by itself. */
Test(requests, members_are_told_of_joins_by_hubs_only)
{
    struct world *world = begin(1, 1);
    struct person *first = arrive(world, 0, WIRE_SIO);
    struct person *second = arrive(world, 0, WIRE_SIO);
    struct person *third = arrive(world, 0, WIRE_SIO);
    nodes_settle(world->nodes);
    ask(world, "{\"type\":2,\"opts\":{\"except\":[\"user:p2\"]},\"rooms\":[\"r0\"]}");
    nodes_settle(world->nodes);
    cr_assert(is_in(first, 0) && is_in(second, 0) && !is_in(third, 0));
    cr_assert(first->told == 0 && second->told == 0);
    act_as(third);
    user_event(&third->client.socket, BYTES("[\"join_room\",\"r0\"]"), NULL, NULL, 0);
    nodes_settle(world->nodes);
    cr_assert(first->told == 1 && second->told == 1);
    ask(world, "{\"type\":3,\"opts\":{\"rooms\":[\"user:p1\"]},\"rooms\":[\"r0\"]}");
    nodes_settle(world->nodes);
    cr_assert(first->told == 1 && third->told == 0);
    ask(world,
        "{\"type\":2,\"opts\":{\"rooms\":[\"user:p1\"]},\"rooms\":[\"r0\"],\"presence\":true}");
    nodes_settle(world->nodes);
    ask(world, "{\"type\":3,\"opts\":{\"rooms\":[\"user:p1\"]},\"rooms\":[\"r0\"]}");
    nodes_settle(world->nodes);
    cr_assert(first->told == 3 && third->told == 2);
    finish(world);
}

Test(requests, disconnecting_ends_a_socket_or_its_session)
{
    struct world *world = begin(1, 2);
    for (unsigned i = 0; i < 6; i++) {
        arrive(world, i % 2, WIRE_SIO);
    }
    nodes_settle(world->nodes);
    ask(world, "{\"type\":4,\"opts\":{\"rooms\":[\"user:p0\"]}}");
    ask(world, "{\"type\":4,\"opts\":{\"rooms\":[\"user:p1\"]},\"close\":true}");
    ask(world, "{\"requestId\":\"old\",\"type\":4,\"sid\":\"%.*s\"}", SOCKET_SID_LEN,
        world->people[2].client.socket.sid);
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < 6; i++) {
        cr_assert_eq(world->people[i].client.ended, i < 3, "p%u", i);
        cr_assert_eq(world->people[i].client.session_ended, i == 1);
    }
    cr_assert_eq(world->answer_count, 1, "only the node that has the socket");
    cr_assert_str_eq(world->answers[0], "{\"requestId\":\"old\"}");
    forget_answers(world);
    ask(world, "{\"requestId\":\"old\",\"type\":4,\"sid\":\"%.*s\"}", SOCKET_SID_LEN,
        world->people[2].client.socket.sid);
    ask(world, "{\"requestId\":\"q\",\"type\":0}");
    nodes_settle(world->nodes);
    cr_assert_eq(world->answer_count, 2, "it has gone");
    ask(world, "{\"type\":4,\"opts\":{}}");
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < 6; i++) {
        cr_assert(world->people[i].client.ended);
    }
    finish(world);
}

/* --- acks --- */

#define QUESTION                                                                                   \
    "{\"uid\":\"x\",\"requestId\":\"%s\",\"type\":7,\"opts\":{\"rooms\":[],\"flags\":"             \
    "{\"timeout\":1000}},\"packet\":{\"type\":2,\"nsp\":\"/\",\"data\":[\"question\",1]}}"

static void answer(struct person *person, uint64_t id, const char *args)
{
    act_as(person);
    acks_take(&person->client.socket, id, bytes_str(args), NULL, 0);
    nodes_settle(person->world->nodes);
}

static unsigned acks(const struct world *world)
{
    unsigned found = 0;
    for (unsigned i = 0; i < world->answer_count; i++) {
        found += strstr(world->answers[i], "\"type\":9") != NULL;
    }
    return found;
}

Test(requests, a_client_answers_once_and_in_time)
{
    struct world *world = begin(1, 2);
    struct person *first = arrive(world, 0, WIRE_SIO);
    struct person *second = arrive(world, 0, WIRE_SIO_MSGPACK);
    struct person *plain = arrive(world, 0, WIRE_JSON);
    struct person *third = arrive(world, 1, WIRE_SIO_BATCH);
    nodes_settle(world->nodes);
    ask(world, QUESTION, "q");
    nodes_settle(world->nodes);
    cr_assert_eq(world->answer_count, 2);
    cr_assert_eq(times_str(world, "clientCount"), 2);
    cr_assert(first->asked > 0 && second->asked > 0 && third->asked > 0);
    cr_assert(plain->events == 1 && plain->asked == 0);
    answer(first, first->asked, "[{\"a\":[1,null]},2]");
    cr_assert_eq(world->answer_count, 3);
    cr_assert_str_eq(
        world->answers[2], "{\"type\":9,\"requestId\":\"q\",\"packet\":{\"a\":[1,null]}}");
    answer(first, first->asked, "[2]");
    answer(first, first->asked + 1, "[3]");
    answer(plain, first->asked, "[4]");
    cr_assert_eq(acks(world), 1, "each is asked once");
    answer(third, third->asked, "[]");
    cr_assert_str_eq(world->answers[3], "{\"type\":9,\"requestId\":\"q\",\"packet\":null}");
    nodes_advance(world->nodes, 1100);
    answer(second, second->asked, "[5]");
    cr_assert_eq(acks(world), 2, "it is too late");
    finish(world);
}

/* An event of more binary parts than clients take is sent to nobody, and not counted as sent. */
Test(requests, what_cannot_be_sent_is_not_answered)
{
    struct world *world = begin(1, 1);
    struct person *person = arrive(world, 0, WIRE_SIO);
    struct builder request = {0};
    nodes_settle(world->nodes);
    cr_assert_eq(mp_from_json(BYTES("{\"requestId\":\"q\",\"type\":7,\"opts\":{},\"packet\":"
                                    "{\"type\":2,\"data\":1}}"),
                     NULL, 0, &request),
        0);
    builder_truncate(&request, builder_bytes(&request).len - 1); /* the data: */
    mp_pack_array(&request, 12);
    mp_pack_str(&request, BYTES("question"));
    for (unsigned i = 0; i < 11; i++) {
        mp_pack_bin(&request, BYTES("x"));
    }
    fake_redis_publish(world->nodes->redis, BYTES("socket.io-request#/#"), builder_bytes(&request));
    builder_reset(&request);
    nodes_settle(world->nodes);
    cr_assert(person->events == 0 && world->answer_count == 0);
    cr_assert_eq(refused(world, 0), 1);
    finish(world);
}

Test(requests, who_has_gone_does_not_answer)
{
    struct world *world = begin(1, 1);
    struct person *first = arrive(world, 0, WIRE_SIO);
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < 6; i++) { /* the node's configuration allows four at a time */
        char id[8];
        snprintf(id, sizeof(id), "q%u", i);
        ask(world, QUESTION, id);
        nodes_settle(world->nodes);
    }
    cr_assert_eq(first->events, 4);
    cr_assert_eq(times_str(world, "clientCount"), 4);
    cr_assert_eq(refused(world, 0), 2);
    let_go(first);
    nodes_settle(world->nodes);
    struct person *second = arrive(world, 0, WIRE_SIO);
    nodes_settle(world->nodes);
    answer(second, first->asked, "[1]");
    cr_assert_eq(acks(world), 0);
    nodes_advance(world->nodes, 1100);
    ask(world, QUESTION, "last");
    nodes_settle(world->nodes);
    answer(second, second->asked, "[1]");
    cr_assert_eq(acks(world), 1, "there is room again");
    finish(world);
}

/* --- outages --- */

Test(requests, a_link_that_comes_back_answers_again)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *world = begin(seed, 2);
        populate(world, 20);
        for (unsigned i = 0; i < 20; i++) {
            ask(world, "{\"requestId\":\"lost\",\"type\":5,\"opts\":{}}");
            ask(world, QUESTION, "lost");
            fake_redis_drop(world->nodes->redis, (unsigned)nodes_dice(world->nodes, 2), 2);
            for (uint64_t steps = nodes_dice(world->nodes, 30);
                 steps > 0 && nodes_step(world->nodes); steps--) {
            }
            forget_answers(world);
        }
        nodes_settle(world->nodes);
        forget_answers(world);
        ask(world, "{\"requestId\":\"q\",\"type\":0}");
        nodes_settle(world->nodes);
        cr_assert_eq(world->answer_count, 2, "seed %llu", SEED(world));
        check_sockets(world, 0, 0);
        finish(world);
    }
}
