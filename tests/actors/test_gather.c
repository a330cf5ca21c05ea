/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in a room, asked by an actor: all shards of all nodes are heard, and who does not answer
 * is told.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/rooms/gather.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(gather, .timeout = 120);

enum { NODES = 3, SHARDS = 3, PEOPLE = 24, SEEDS = 40, WAIT_MS = 3000, ASKING_MAX = 16 };

struct person {
    struct client client; /* first */
    char user[8];
    unsigned node;
    bool member;
};

struct world {
    struct nodes *nodes;
    struct person people[PEOPLE];
};

/* What a question was answered with. */
struct told {
    unsigned times;
    int status;
    bool complete;
    size_t users;
    uint32_t nodes;
    uint64_t all; /* sockets */
    uint64_t sockets[PEOPLE]; /* of "u<n>" */
};

static void on_gathered(void *context, const struct gather_result *result)
{
    struct told *told = context;
    size_t cursor = 0;
    told->times++;
    told->status = result->status;
    told->complete = result->complete;
    told->users = map_count(result->members);
    told->nodes = result->nodes;
    told->all = result->sockets;
    for (struct gather_member *member; (member = map_next(result->members, &cursor)) != NULL;) {
        uint64_t number;
        struct bytes user = gather_user(member);
        cr_assert(user.len > 1 && user.at[0] == 'u');
        cr_assert_eq(bytes_to_u64(bytes_skip(user, 1), PEOPLE - 1, &number), 0);
        told->sockets[number] = member->sockets;
    }
}

static void enter(struct world *world, struct person *person, unsigned user)
{
    struct nodes *nodes = world->nodes;
    snprintf(person->user, sizeof(person->user), "u%u", user);
    person->node = (unsigned)nodes_dice(nodes, NODES);
    struct shard *shard =
        nodes_on(nodes, person->node, nodes_user_shard(nodes, person->node, person->user));
    client_init(&person->client, shard, "/", person->user, WIRE_SIO);
    cr_assert_eq(user_attach(shard, &person->client.socket), 0);
    person->member = nodes_dice(nodes, 3) > 0;
    user_event(&person->client.socket,
        person->member ? BYTES("[\"join_room\",\"r\"]") : BYTES("[\"join_room\",\"other\"]"), NULL,
        NULL, 0);
}

/* Each user has sockets on any node: two people share one. */
static struct world *begin(uint64_t seed)
{
    struct world *world = mem_alloc(sizeof(*world));
    world->nodes =
        nodes_create(seed, &(struct nodes_options){.nodes = NODES, .shards = SHARDS, .bus = true});
    for (unsigned i = 0; i < PEOPLE; i++) {
        enter(world, &world->people[i], i / 2);
    }
    nodes_settle(world->nodes);
    return world;
}

static void finish(struct world *world)
{
    for (unsigned i = 0; i < PEOPLE; i++) {
        struct person *person = &world->people[i];
        nodes_on(world->nodes, person->node, sched_shard(person->client.socket.shard->sched));
        client_finish(&person->client, CLOSE_NORMAL);
    }
    nodes_settle(world->nodes);
    nodes_destroy(world->nodes);
    mem_free(world);
}

static void ask(struct world *world, unsigned node, struct told *told)
{
    unsigned shard = (unsigned)nodes_dice(world->nodes, SHARDS);
    memset(told, 0, sizeof(*told));
    gather_start(nodes_on(world->nodes, node, shard), BYTES("r"), on_gathered, told);
    cr_assert_eq(told->times, 0, "never before gather_start has returned");
}

/* Whether exactly those are found who are members on the nodes of `heard`, a set of bits. */
static void expect(const struct world *world, const struct told *told, unsigned heard)
{
    uint64_t sockets[PEOPLE] = {0};
    uint64_t all = 0;
    unsigned nodes = 0;
    for (unsigned i = 0; i < PEOPLE; i++) {
        const struct person *person = &world->people[i];
        bool counts = person->member && (heard & (1u << person->node));
        sockets[i / 2] += counts;
        all += counts;
        nodes |= counts ? 1u << person->node : 0;
    }
    cr_assert_eq(told->all, all);
    cr_assert_eq(told->nodes, (unsigned)__builtin_popcount(nodes));
    cr_assert_eq(told->times, 1, "seed %llu", (unsigned long long)world->nodes->seed);
    cr_assert_eq(told->status, 0);
    for (unsigned i = 0; i < PEOPLE; i++) {
        cr_assert_eq(told->sockets[i], sockets[i], "seed %llu: user %u has %llu",
            (unsigned long long)world->nodes->seed, i, (unsigned long long)told->sockets[i]);
    }
}

Test(gather, everybody_on_all_nodes_is_found)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *world = begin(seed);
        struct told first;
        struct told second;
        ask(world, 0, &first);
        ask(world, 0, &second);
        nodes_advance(world->nodes, 500);
        expect(world, &first, 7);
        expect(world, &second, 7);
        cr_assert(first.complete && second.complete);
        ask(world, 1, &first);
        nodes_advance(world->nodes, 500);
        expect(world, &first, 7);
        finish(world);
    }
}

Test(gather, a_node_that_does_not_answer_is_told)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *world = begin(seed);
        struct told told;
        nodes_freeze(world->nodes, 2);
        ask(world, 0, &told);
        nodes_advance(world->nodes, WAIT_MS - 1);
        cr_assert_eq(told.times, 0, "it waits for the third");
        nodes_advance(world->nodes, 100);
        expect(world, &told, 3);
        cr_assert_not(told.complete);
        nodes_thaw(world->nodes, 2);
        nodes_settle(world->nodes);
        finish(world);
    }
}

Test(gather, behind_the_end_the_own_node_answers_at_once)
{
    struct world *world = begin(1);
    struct told early;
    struct told late;
    nodes_freeze(world->nodes, 2);
    struct shard *shard = nodes_on(world->nodes, 0, 1);
    memset(&early, 0, sizeof(early));
    gather_start(shard, BYTES("r"), on_gathered, &early);
    nodes_advance(world->nodes, 100);
    cr_assert_eq(early.times, 0);
    nodes_on(world->nodes, 0, 1);
    gather_stop(shard);
    expect(world, &early, 3);
    memset(&late, 0, sizeof(late));
    nodes_on(world->nodes, 0, 1);
    gather_start(shard, BYTES("r"), on_gathered, &late);
    nodes_advance(world->nodes, 100);
    expect(world, &late, 1);
    cr_assert_not(late.complete);
    nodes_thaw(world->nodes, 2);
    nodes_settle(world->nodes);
    finish(world);
}

Test(gather, more_than_a_few_at_a_time_are_refused)
{
    struct world *world = begin(2);
    struct told told[ASKING_MAX + 1] = {0};
    struct shard *shard = nodes_on(world->nodes, 0, 0);
    nodes_freeze(world->nodes, 1);
    nodes_freeze(world->nodes, 2);
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        nodes_on(world->nodes, 0, 0);
        gather_start(shard, BYTES("r"), on_gathered, &told[i]);
    }
    nodes_advance(world->nodes, WAIT_MS + 100);
    for (size_t i = 0; i < ASKING_MAX; i++) {
        expect(world, &told[i], 1);
        cr_assert_not(told[i].complete);
    }
    cr_assert_eq(told[ASKING_MAX].times, 1);
    cr_assert_eq(told[ASKING_MAX].status, STATUS_FULL);
    nodes_thaw(world->nodes, 1);
    nodes_thaw(world->nodes, 2);
    nodes_settle(world->nodes);
    finish(world);
}
