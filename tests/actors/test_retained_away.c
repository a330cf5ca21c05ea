/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node that was away, or is behind the stream, tells of last values; and how much one target
 * may have. (Histories and the other cases are in test_retained.c.)
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/deliver/fanout.h"
#include "actors/deliver/retained.h"
#include "actors/inbox/post.h"
#include "actors/user/user.h"
#include "codec/base/status.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(retained_away, .timeout = 300);

static const struct nodes_options two_nodes = {
    .nodes = 2, .shards = 2, .bus = true, .retain_bytes = 1 << 20};

struct guest {
    struct client client; /* first */
    unsigned values; /* that came */
    unsigned removals;
    bool ready; /* hub:ready has come, */
    unsigned before_ready; /* behind so many values */
    unsigned plain[4]; /* numbers of the events "n" */
    unsigned plain_count;
};

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct guest *guest = (struct guest *)client;
    guest->ready = guest->ready || bytes_eq_str(packet->name, "hub:ready");
    if (bytes_eq_str(packet->name, "n")) {
        cr_assert_lt(guest->plain_count, ARRAY_LEN(guest->plain));
        guest->plain[guest->plain_count++] = (unsigned)(packet->args.at[0] - '0');
    }
    if (bytes_eq_str(packet->name, "banner")) {
        guest->before_ready += !guest->ready;
        bool gone = packet->args.len >= 5 && memmem(packet->args.at, packet->args.len, "null", 4);
        guest->removals += gone;
        guest->values += !gone;
    }
}

static void enter_on(struct nodes *nodes, unsigned node, struct guest *guest)
{
    struct shard *shard = nodes_on(nodes, node, nodes_user_shard(nodes, node, "u"));
    *guest = (struct guest){.client.received = on_received};
    client_init(&guest->client, shard, "/", "u", WIRE_JSON);
    cr_assert_eq(user_attach(shard, &guest->client.socket), 0);
    nodes_settle(nodes);
}

static void enter(struct nodes *nodes, struct guest *guest)
{
    enter_on(nodes, 1, guest);
}

static void post_banner(struct nodes *nodes, unsigned number)
{
    char args[32];
    struct notification_fault fault;
    struct shard *shard = nodes_on(nodes, 0, 0);
    snprintf(args, sizeof(args), "[%u]", number);
    const struct notification_post post = {.is_event = true,
        .target = NOTIFICATION_ALL,
        .event = BYTES("banner"),
        .args = bytes_str(args),
        .retain = BYTES("banner")};
    cr_assert_eq(post_event_check(shard, &post, &fault), 0);
    cr_assert_eq(post_event(shard, &post), 0);
}

static void calm(struct nodes *nodes)
{
    for (unsigned i = 0; i < 30; i++) {
        nodes_settle(nodes);
        nodes_advance(nodes, 500);
    }
}

static void end(struct nodes *nodes, struct guest *guest)
{
    client_finish(&guest->client, CLOSE_TRANSPORT);
    nodes_settle(nodes);
    nodes_destroy(nodes);
}

Test(retained_away, is_told_of_no_removal_that_was_none)
{
    struct nodes *nodes = nodes_create(1, &two_nodes);
    struct guest guest;
    nodes_settle(nodes);
    post_banner(nodes, 1);
    calm(nodes);
    enter(nodes, &guest);
    cr_expect_eq(guest.values, 1);
    fake_redis_reach(nodes->redis, 1, false);
    fake_redis_drop(nodes->redis, 1, 1);
    calm(nodes);
    post_banner(nodes, 2);
    calm(nodes);
    fake_redis_reach(nodes->redis, 1, true);
    calm(nodes);
    cr_expect_eq(guest.removals, 0);
    cr_expect_eq(guest.values, 2);
    end(nodes, &guest);
}

/* Whether it hears nothing any more when the connection of a node that is behind the stream breaks
 * so many steps after it goes on. */
static bool is_deaf_after(unsigned steps)
{
    struct nodes *nodes = nodes_create(1, &two_nodes);
    struct guest guest;
    nodes_settle(nodes);
    enter(nodes, &guest);
    post_banner(nodes, 0);
    calm(nodes);
    nodes_freeze(nodes, 1);
    for (unsigned i = 0; i < 1300; i++) {
        post_banner(nodes, i);
        if (i % 50 == 0) {
            nodes_settle(nodes);
        }
    }
    nodes_settle(nodes);
    struct fake_data *data = fake_redis_data(nodes->redis);
    for (size_t i = 0; i < data->stream_count; i++) {
        fake_data_delete_oldest(data, data->streams[i].name, data->streams[i].count - 700);
    }
    nodes_thaw(nodes, 1);
    for (unsigned i = 0; i < steps; i++) {
        if (!nodes_step(nodes)) {
            nodes_advance(nodes, 1);
        }
    }
    fake_redis_drop(nodes->redis, 1, 1);
    calm(nodes);
    unsigned before = guest.values;
    post_banner(nodes, 5000);
    calm(nodes);
    bool deaf = guest.values == before;
    end(nodes, &guest);
    return deaf;
}

Test(retained_away, reads_on_when_the_connection_breaks_while_it_reads_what_is_kept)
{
    unsigned deaf = 0;
    for (unsigned steps = 20; steps < 80; steps += 2) {
        deaf += is_deaf_after(steps);
    }
    cr_expect_eq(deaf, 0, "%u times", deaf);
}

Test(retained_away, no_target_keeps_more_than_a_client_takes_at_once)
{
    struct nodes *nodes = nodes_create(1, &two_nodes);
    struct guest guest;
    nodes_settle(nodes);
    enter(nodes, &guest);
    struct shard *shard = nodes_on(nodes, 1, nodes_user_shard(nodes, 1, "u"));
    struct retained *retained = fanout_find(shard, BYTES("/"))->retained;
    size_t most = shard->config->outbound_bytes / 8 * 7;
    const struct retained_demand fits = {.all = 1, .here = most};
    const struct retained_demand more = {.all = 1, .here = most + 1};
    cr_expect_eq(retained_check(retained, BYTES("r"), BYTES("n"), &fits), 0);
    cr_expect_eq(retained_check(retained, BYTES("r"), BYTES("n"), &more), STATUS_INVALID);
    end(nodes, &guest);
}

/* On node 0, to `count` users from `who` on; `name`: kept under that. */
static void post_to(struct nodes *nodes, const struct bytes *who, uint32_t count, const char *event,
    const char *args, const char *name)
{
    struct shard *shard = nodes_on(nodes, 0, 0);
    const struct notification_post post = {.is_event = true,
        .target = NOTIFICATION_USERS,
        .targets = who,
        .target_count = count,
        .event = bytes_str(event),
        .args = bytes_str(args),
        .retain = bytes_str(name)};
    cr_assert_eq(post_event(shard, &post), 0);
}

/* What is for several travels behind what is kept for one of them; what is for another follows. */
Test(retained_away, what_waits_for_the_stream_is_not_overtaken)
{
    const struct bytes who[] = {BYTES("u"), BYTES("v")};
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct nodes *nodes = nodes_create(seed, &two_nodes);
        struct guest guest;
        nodes_settle(nodes);
        enter_on(nodes, 0, &guest);
        post_to(nodes, &who[1], 1, "other", "[0]", "other");
        post_to(nodes, who, 2, "n", "[1]", "");
        for (uint64_t moves = nodes_dice(nodes, 40); moves > 0 && nodes_step(nodes); moves--) {
        }
        post_to(nodes, &who[0], 1, "n", "[2]", "");
        calm(nodes);
        cr_assert_eq(guest.plain_count, 2, "seed %u", (unsigned)seed);
        cr_assert(guest.plain[0] == 1 && guest.plain[1] == 2, "seed %u", (unsigned)seed);
        end(nodes, &guest);
    }
}

Test(retained_away, what_is_kept_is_the_first_thing_that_is_told)
{
    const struct bytes who = BYTES("u");
    struct nodes *nodes =
        nodes_create(1, &(struct nodes_options){.nodes = 1, .shards = 2, .retain_bytes = 1 << 20});
    struct guest guest;
    nodes_settle(nodes);
    post_banner(nodes, 1);
    post_to(nodes, &who, 1, "banner", "[2]", "mine");
    nodes_settle(nodes);
    enter_on(nodes, 0, &guest);
    cr_expect(guest.ready);
    cr_expect_eq(guest.before_ready, 2, "%u", guest.before_ready);
    end(nodes, &guest);
}
