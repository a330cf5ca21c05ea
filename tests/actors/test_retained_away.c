/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node that was away, or is behind the stream, tells of last values; who is shown them that
 * comes back; and how much one target, or one tenant, may have. (Histories and the other cases are
 * in test_retained.c.)
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/deliver/fanout.h"
#include "actors/deliver/retained.h"
#include "actors/identity.h"
#include "actors/inbox/post.h"
#include "actors/recover/recovery.h"
#include "actors/user/user.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(retained_away, .timeout = 300);

static const struct nodes_options two_nodes = {
    .nodes = 2, .shards = 2, .bus = true, .retain_bytes = 1 << 20};

struct guest {
    struct client client; /* first */
    unsigned values; /* that came */
    unsigned removals;
    unsigned last; /* value */
    bool ready; /* hub:ready has come, */
    unsigned before_ready; /* behind so many values */
    unsigned plain[4]; /* numbers of the events "n" */
    unsigned plain_count;
    unsigned values_first; /* values before the first of these */
    char ack[256]; /* the last one */
};

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct guest *guest = (struct guest *)client;
    if (packet->is_ack) {
        (void)snprintf(
            guest->ack, sizeof(guest->ack), "%.*s", (int)packet->args.len, packet->args.at);
        return;
    }
    guest->ready = guest->ready || bytes_eq_str(packet->name, "hub:ready");
    if (bytes_eq_str(packet->name, "n")) {
        cr_assert_lt(guest->plain_count, ARRAY_LEN(guest->plain));
        guest->plain[guest->plain_count++] = (unsigned)(packet->args.at[0] - '0');
    }
    if (bytes_eq_str(packet->name, "banner")) {
        guest->before_ready += !guest->ready;
        bool gone = bytes_starts(packet->args, BYTES("null"));
        guest->removals += gone;
        guest->values += !gone;
        guest->values_first += guest->plain_count == 0;
        guest->last = gone ? 0 : (unsigned)(packet->args.at[0] - '0');
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

static void post_banner_on(struct nodes *nodes, unsigned node, unsigned number)
{
    char args[32];
    struct notification_fault fault;
    struct shard *shard = nodes_on(nodes, node, 0);
    snprintf(args, sizeof(args), "[%u]", number);
    const struct notification_post post = {.is_event = true,
        .target = NOTIFICATION_ALL,
        .event = BYTES("banner"),
        .args = bytes_str(args),
        .retain = BYTES("banner")};
    cr_assert_eq(post_event_check(shard, &post, &fault), 0);
    cr_assert_eq(post_event(shard, &post), 0);
}

static void post_banner(struct nodes *nodes, unsigned number)
{
    post_banner_on(nodes, 0, number);
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

static void remove_banner(struct nodes *nodes)
{
    const struct notification_post post = {.is_event = true,
        .target = NOTIFICATION_ALL,
        .event = BYTES("banner"),
        .args = BYTES("[null]"),
        .retain = BYTES("banner"),
        .removes = true};
    cr_assert_eq(post_event(nodes_on(nodes, 0, 0), &post), 0);
}

/* How often a removal is told that was made while the node was away; `trimmed`: entries of the
 * stream that it has not read are gone by then, `all` also that of the removal. */
static unsigned count_removals(bool trimmed, bool all)
{
    const struct bytes who = BYTES("v");
    struct nodes *nodes = nodes_create(1, &two_nodes);
    struct guest guest;
    nodes_settle(nodes);
    post_banner(nodes, 1);
    calm(nodes);
    enter(nodes, &guest);
    fake_redis_reach(nodes->redis, 1, false);
    fake_redis_drop(nodes->redis, 1, 1);
    calm(nodes);
    post_to(nodes, &who, 1, "other", "[1]", "other");
    remove_banner(nodes);
    calm(nodes);
    struct fake_data *data = fake_redis_data(nodes->redis);
    for (size_t i = 0; trimmed && i < data->stream_count; i++) {
        size_t left = all || data->streams[i].count == 0 ? 0 : 1;
        fake_data_delete_oldest(data, data->streams[i].name, data->streams[i].count - left);
    }
    fake_redis_reach(nodes->redis, 1, true);
    calm(nodes);
    unsigned removals = guest.removals;
    end(nodes, &guest);
    return removals;
}

Test(retained_away, a_removal_that_was_made_meanwhile_is_told_once)
{
    unsigned all = count_removals(false, false);
    unsigned some = count_removals(true, false);
    unsigned none = count_removals(true, true);
    cr_expect_eq(all, 1, "the stream brings it: %u", all);
    cr_expect_eq(some, 1, "it brings it, and lacks something: %u", some);
    cr_expect_eq(none, 1, "it does not bring it: %u", none);
}

static struct recoverable *claim(struct nodes *nodes, const char *pid)
{
    struct shard *shard = nodes_on(nodes, 1, nodes_user_shard(nodes, 1, "u"));
    struct claims *claims = claims_new(&(struct claims_fields){.user = BYTES("u")});
    struct identity *identity = identity_new(claims, false);
    struct recoverable *claimed = recovery_claim(
        shard, &(struct recovery_claim){
                   .nsp = BYTES("/"), .identity = identity, .pid = bytes_of(pid, SOCKET_SID_LEN)});
    identity_unref(identity);
    return claimed;
}

static void enter_as(struct nodes *nodes, struct guest *guest, struct recoverable *claimed)
{
    struct shard *shard = nodes_on(nodes, 1, nodes_user_shard(nodes, 1, "u"));
    *guest = (struct guest){.client.received = on_received};
    client_continue(&guest->client, shard, "/", "u", WIRE_SIO, claimed);
    cr_assert_eq(user_attach(shard, &guest->client.socket), 0);
    nodes_settle(nodes);
}

/* Whether what a socket has last, which drops, is what there is: two nodes have posted a value, and
 * the connections of one to Redis break. */
static bool is_shown_the_last(uint64_t seed)
{
    struct nodes_options options = two_nodes;
    options.recovers = true;
    struct nodes *nodes = nodes_create(seed, &options);
    struct guest guest;
    struct guest other;
    char pid[SOCKET_SID_LEN];
    nodes_settle(nodes);
    enter_as(nodes, &guest, NULL);
    memcpy(pid, socket_pid(&guest.client.socket).at, sizeof(pid));
    (void)nodes_on(nodes, 1, nodes_user_shard(nodes, 1, "u"));
    client_finish(&guest.client, CLOSE_TRANSPORT);
    post_banner_on(nodes, 0, 2);
    post_banner_on(nodes, 1, 1);
    for (uint64_t moves = nodes_dice(nodes, 40); moves > 0 && nodes_step(nodes); moves--) {
    }
    fake_redis_drop(nodes->redis, 1, 1);
    calm(nodes);
    enter_as(nodes, &other, NULL);
    struct recoverable *claimed = claim(nodes, pid);
    enter_as(nodes, &guest, claimed);
    bool same = guest.last == other.last;
    client_finish(&other.client, CLOSE_TRANSPORT);
    end(nodes, &guest);
    return same;
}

/*
 * A value whose entry came behind another one, while it was told before it, is told again to those
 * who are there, and that is in no log: who dropped is shown it when it comes back.
 */
Test(retained_away, who_is_continued_is_shown_what_was_told_late)
{
    unsigned wrong = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        wrong += !is_shown_the_last(seed);
    }
    cr_expect_eq(wrong, 0, "%u times", wrong);
}

/* Values of `tenant`, in rooms of its own, until one is refused; what is told of that. */
static const char *fill(struct nodes *nodes, const char *tenant, unsigned *count)
{
    static struct notification_fault fault;
    for (unsigned i = 0; i < 1000; i++, (*count)++) {
        char room[16];
        (void)snprintf(room, sizeof(room), "room-%u", i);
        const struct bytes who = bytes_str(room);
        const struct notification_post post = {.is_event = true,
            .target = NOTIFICATION_ROOMS,
            .targets = &who,
            .target_count = 1,
            .tenant = bytes_str(tenant),
            .event = BYTES("banner"),
            .args = BYTES("[1]"),
            .retain = BYTES("banner")};
        struct shard *shard = nodes_on(nodes, 0, 0);
        if (post_event_check(shard, &post, &fault) != 0) {
            return fault.message;
        }
        cr_assert_eq(post_event(shard, &post), 0);
        nodes_settle(nodes);
    }
    return "";
}

Test(retained_away, one_tenant_fills_a_quarter_and_leaves_the_rest_to_others)
{
    struct nodes_options options = two_nodes;
    options.retain_bytes = 256 << 10;
    struct nodes *nodes = nodes_create(1, &options);
    nodes->node[0].config.tenants = nodes->node[1].config.tenants = true;
    nodes_settle(nodes);
    unsigned red = 0;
    unsigned again = 0;
    unsigned blue = 0;
    cr_expect_not_null(strstr(fill(nodes, "red", &red), "part of one tenant"));
    cr_expect_gt(red, 20, "%u", red);
    cr_expect_leq(
        nodes_stat(nodes, 0, offsetof(struct shard_stats, retain.bytes)), options.retain_bytes / 4);
    cr_expect_not_null(strstr(fill(nodes, "red", &again), "part of one tenant"));
    cr_expect_eq(again, red, "a new value of a name takes the place of the one before");
    cr_expect_not_null(strstr(fill(nodes, "blue", &blue), "part of one tenant"));
    cr_expect_geq(blue + 1, red, "%u", blue);
    cr_expect_eq(nodes_stat(nodes, 0, offsetof(struct shard_stats, retain.dropped)), 3);
    nodes_destroy(nodes);
}

static void post_in(struct nodes *nodes, const char *event, const char *args, const char *name)
{
    const struct bytes room = BYTES("mem:r");
    const struct notification_post post = {.is_event = true,
        .target = NOTIFICATION_ROOMS,
        .targets = &room,
        .target_count = 1,
        .event = bytes_str(event),
        .args = bytes_str(args),
        .retain = bytes_str(name)};
    cr_assert_eq(post_event(nodes_on(nodes, 0, 0), &post), 0);
    calm(nodes);
}

static void join_since(struct nodes *nodes, struct guest *guest, const char *since)
{
    char text[512];
    (void)nodes_on(nodes, 1, nodes_user_shard(nodes, 1, "u"));
    (void)snprintf(
        text, sizeof(text), "[\"join_room\",{\"roomId\":\"mem:r\",\"since\":%s}]", since);
    user_event(&guest->client.socket, bytes_str(text), &(uint64_t){1}, NULL, 0);
    calm(nodes);
}

/* Who joins with the position that a backend has read has not seen what was kept before that. */
Test(retained_away, who_joins_with_a_position_is_shown_what_is_kept)
{
    struct nodes_options options = two_nodes;
    options.replay = 100;
    struct nodes *nodes = nodes_create(1, &options);
    struct guest guest;
    char since[256];
    struct bytes offset;
    nodes_settle(nodes);
    post_in(nodes, "banner", "[7]", "banner");
    enter(nodes, &guest);
    join_since(nodes, &guest, "null");
    cr_assert_eq(json_scan_get(bytes_str(guest.ack), "offset", &offset), 0, "%s", guest.ack);
    (void)snprintf(since, sizeof(since), "{\"epoch\":\"epoch-1\",\"offset\":%.*s}", (int)offset.len,
        offset.at);
    (void)nodes_on(nodes, 1, nodes_user_shard(nodes, 1, "u"));
    client_finish(&guest.client, CLOSE_TRANSPORT);
    post_in(nodes, "n", "[1]", "");
    enter(nodes, &guest);
    join_since(nodes, &guest, since);
    cr_expect_not_null(strstr(guest.ack, "\"recovered\":true"), "%s", guest.ack);
    cr_expect(
        guest.values == 1 && guest.last == 7 && guest.values_first == 1, "before what it missed");
    cr_expect_eq(guest.plain_count, 1);
    (void)nodes_on(nodes, 1, nodes_user_shard(nodes, 1, "u"));
    client_finish(&guest.client, CLOSE_TRANSPORT);
    post_in(nodes, "banner", "[8]", "banner");
    enter(nodes, &guest);
    join_since(nodes, &guest, since);
    cr_expect(
        guest.values == 1 && guest.last == 8, "it is among what was missed: %u", guest.values);
    end(nodes, &guest);
}
