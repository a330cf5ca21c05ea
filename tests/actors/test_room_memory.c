/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rooms with a memory, under a model. Clients drop and come back, to any node, with the position of
 * the last event that they have had; nodes end and others begin. A client that is told that it has
 * recovered has every event of the room, once and in order; one that is not told so begins anew.
 *
 * Order of this file: what happens, what must be true, runs of the model.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/support/room_world.h"
#include "tests/support/seed.h"

TestSuite(room_memory, .timeout = 300);

enum { STEPS = 400, SEEDS = 40 };

static void end_node(struct room_world *world)
{
    unsigned node = 1 + (unsigned)nodes_dice(world->nodes, world->nodes->options.nodes - 1);
    if (!world->alive[node]) {
        nodes_start(world->nodes, node);
        nodes_settle(world->nodes); /* until its links are up, what it posts reaches nobody else */
        world->alive[node] = true;
        return;
    }
    for (unsigned i = 1; i < ROOM_GUESTS; i++) {
        if (world->guests[i].here && world->guests[i].node == node) {
            guest_drop(&world->guests[i]);
        }
    }
    nodes_stop(world->nodes, node);
    world->alive[node] = false;
}

/* Something happens to a client: it drops, without having read all; comes back; or joins. */
static void move_client(struct room_world *world, struct guest *guest)
{
    unsigned room = (unsigned)nodes_dice(world->nodes, ROOM_NAMES);
    if (!guest->here) {
        guest_enter(guest, room_world_node(world));
    } else if (!guest->had[room].joined && !guest->had[room].asked) {
        guest_join(guest, room, nodes_dice(world->nodes, 8) > 0);
    } else if (nodes_dice(world->nodes, 3) == 0) {
        guest->client.stalled = true;
    } else if (nodes_dice(world->nodes, 3) == 0) {
        guest_drop(guest);
    }
}

static void join_all(struct room_world *world)
{
    for (unsigned i = 0; i < ROOM_GUESTS; i++) {
        struct guest *guest = &world->guests[i];
        if (!guest->here) {
            guest_enter(guest, room_world_node(world));
        }
        guest_act(guest);
        guest->client.stalled = false;
        client_resume(&guest->client);
        for (unsigned room = 0; room < ROOM_NAMES; room++) {
            if (!guest->had[room].joined && !guest->had[room].asked) {
                guest_join(guest, room, true);
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
                guest_fail(guest, "what it has is not what was sent", had->values[i],
                    at < all->count ? all->values[at] : UINT64_MAX);
            }
        }
        if (run + 1 == had->run_count && from < to && at != all->count) {
            guest_fail(guest, "the end is missing", at, all->count);
        }
    }
}

/* All of node 0 are there from the beginning on: they must have everything. */
static void check_all(struct room_world *world)
{
    for (unsigned room = 0; room < ROOM_NAMES; room++) {
        for (unsigned i = 0; i < ROOM_GUESTS; i++) {
            check(&world->guests[i], room);
        }
        if (world->guests[0].had[room].count != world->next_value[room]) {
            guest_fail(&world->guests[0], "who never drops misses something",
                world->guests[0].had[room].count, world->next_value[room]);
        }
    }
}

/* Runs of the model. */

static void step(struct room_world *world, bool ends)
{
    struct nodes *nodes = world->nodes;
    uint64_t what = nodes_dice(nodes, 100);
    if (what < 40) {
        room_world_post(world, room_world_node(world), (unsigned)nodes_dice(nodes, ROOM_NAMES));
    } else if (what < 90) {
        move_client(world, &world->guests[1 + nodes_dice(nodes, ROOM_GUESTS - 1)]);
    } else if (what < 92 && ends) {
        nodes_settle(nodes); /* what a node that ends has not posted yet is lost */
        end_node(world);
    } else if (what < 96) {
        nodes_advance(nodes, nodes_dice(nodes, 50));
    }
    for (uint64_t moves = nodes_dice(nodes, 20); moves > 0 && nodes_step(nodes); moves--) {
    }
}

static void count(const struct room_world *world, unsigned *recovered, unsigned *lost)
{
    for (unsigned i = 0; i < ROOM_GUESTS; i++) {
        *recovered += world->guests[i].recovered;
        *lost += world->guests[i].lost;
    }
}

static void run(const struct nodes_options *options, bool ends, unsigned *recovered, unsigned *lost)
{
    static struct room_world world;
    const char *more = getenv("PEAL_SEEDS");
    uint64_t seeds = more != NULL ? strtoull(more, NULL, 10) : SEEDS;
    uint64_t first = seed_draw();
    for (uint64_t i = 0; i < seeds; i++) {
        room_world_begin(&world, first + i, options);
        for (unsigned n = 0; n < STEPS; n++) {
            step(&world, ends);
        }
        nodes_settle(world.nodes);
        join_all(&world);
        for (unsigned room = 0; room < ROOM_NAMES; room++) {
            room_world_post(&world, 0, room);
        }
        nodes_settle(world.nodes);
        nodes_advance(world.nodes, 500); /* windows, and JOINs that were held */
        nodes_settle(world.nodes);
        check_all(&world);
        count(&world, recovered, lost);
        room_world_end(&world);
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
