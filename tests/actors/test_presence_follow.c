/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that follow users on three nodes over one Redis: what they were told last is true when
 * all is calm, whatever failed before, and nothing is told that was not another state.
 *
 * Order of this file: the world, followers, chaos, what each event alone comes to.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "actors/presence/presence.h"
#include "actors/presence/presence_part.h"
#include "actors/presence/presence_watch.h"
#include "actors/user/user.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/fake_bus.h"
#include "tests/support/nodes.h"
#include "tests/support/seed.h"

TestSuite(presence_follow, .timeout = 300);

enum {
    NODES = 3,
    SHARDS = 2,
    USERS = 12,
    DEVICES = 24,
    FOLLOWERS = 3, /* one on each node */
    STEPS = 1200,
    SEEDS = 8,
    LINGER_MS = 3000,
    DEAD_MS = 15000,
    NAME_LEN = 16,
};

struct device {
    struct client client; /* first */
    unsigned node;
    unsigned user;
    bool connected;
};

/* A socket that follows all users. */
struct follower {
    struct client client; /* first */
    unsigned node;
    bool connected;
    bool online[USERS]; /* as it was told last */
    unsigned told[USERS]; /* how often */
    unsigned refused;
};

static struct nodes *nodes;
static struct device devices[DEVICES];
static struct follower followers[FOLLOWERS];
static unsigned held[NODES][USERS];
static bool is_stopped[NODES];
static bool is_up[NODES];

/* The world. */

static const char *name_of(unsigned user)
{
    static char at[NAME_LEN];
    (void)snprintf(at, sizeof(at), "u%u", user);
    return at;
}

static void connect(struct device *device, unsigned node, unsigned user)
{
    struct shard *shard = nodes_on(nodes, node, nodes_user_shard(nodes, node, name_of(user)));
    *device = (struct device){.node = node, .user = user, .connected = true};
    client_init(&device->client, shard, "/", name_of(user), WIRE_SIO);
    cr_assert_eq(user_attach(shard, &device->client.socket), 0);
    held[node][user]++;
}

static void disconnect(struct device *device)
{
    (void)nodes_on(nodes, device->node, sched_shard(device->client.socket.shard->sched));
    client_finish(&device->client, CLOSE_NORMAL);
    device->connected = false;
    held[device->node][device->user]--;
}

static bool is_online(unsigned user)
{
    unsigned sum = 0;
    for (unsigned node = 0; node < NODES; node++) {
        sum += held[node][user];
    }
    return sum > 0;
}

static void wait(uint64_t ms)
{
    enum { PIECE_MS = 250 };
    for (uint64_t left = ms; left > 0; left -= left < PIECE_MS ? left : PIECE_MS) {
        nodes_advance(nodes, left < PIECE_MS ? left : PIECE_MS);
        nodes_settle(nodes);
    }
}

static void configure(unsigned node, uint32_t linger_ms)
{
    nodes->node[node].config.presence =
        (struct presence_settings){.visibility = PRESENCE_VISIBLE_TENANT, .linger_ms = linger_ms};
}

/* Followers. */

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct follower *follower = container_of(client, struct follower, client);
    struct bytes value;
    bool good = true;
    if (packet->is_ack) {
        cr_assert_eq(json_scan_get(packet->args, "ok", &value), 0);
        cr_assert_eq(json_scan_bool(value, &good), 0);
        follower->refused += !good;
    } else if (bytes_eq_str(packet->name, "presence")) {
        unsigned user;
        char text[NAME_LEN + 1];
        bool online = false;
        cr_assert_eq(json_scan_get(packet->args, "userId", &value), 0);
        cr_assert_lt(value.len, sizeof(text));
        memcpy(text, value.at, value.len);
        text[value.len] = '\0';
        cr_assert_eq(sscanf(text, "\"u%u\"", &user), 1, "%s", text);
        cr_assert_eq(json_scan_get(packet->args, "online", &value), 0);
        cr_assert_eq(json_scan_bool(value, &online), 0);
        cr_assert(follower->told[user] == 0 || follower->online[user] != online,
            "%s is told to be as it was", name_of(user));
        follower->online[user] = online;
        follower->told[user]++;
    }
}

static void say(struct follower *follower, const char *text)
{
    const uint64_t id = 1;
    (void)nodes_on(nodes, follower->node, sched_shard(follower->client.socket.shard->sched));
    user_event(&follower->client.socket, bytes_str(text), &id, NULL, 0);
}

/* Follow all of them. */
static void subscribe(struct follower *follower)
{
    char text[512];
    size_t len = (size_t)snprintf(text, sizeof(text), "[\"presence:subscribe\",{\"users\":[");
    for (unsigned user = 0; user < USERS; user++) {
        len += (size_t)snprintf(
            text + len, sizeof(text) - len, "%s\"%s\"", user > 0 ? "," : "", name_of(user));
    }
    (void)snprintf(text + len, sizeof(text) - len, "]}]");
    say(follower, text);
}

static void enter(struct follower *follower, unsigned node)
{
    char user[NAME_LEN];
    (void)snprintf(user, sizeof(user), "f%u", (unsigned)(follower - followers));
    struct shard *shard = nodes_on(nodes, node, nodes_user_shard(nodes, node, user));
    *follower = (struct follower){.node = node, .connected = true};
    follower->client.received = on_received;
    client_init(&follower->client, shard, "/", user, WIRE_SIO);
    cr_assert_eq(user_attach(shard, &follower->client.socket), 0);
    subscribe(follower);
}

static void leave(struct follower *follower)
{
    (void)nodes_on(nodes, follower->node, sched_shard(follower->client.socket.shard->sched));
    client_finish(&follower->client, CLOSE_NORMAL);
    follower->connected = false;
}

static void set_up(uint64_t seed, unsigned count)
{
    const struct nodes_options options = {
        .nodes = count, .shards = SHARDS, .bus = count > 1, .presence = true, .partitions = 1};
    memset(held, 0, sizeof(held));
    memset(devices, 0, sizeof(devices));
    memset(followers, 0, sizeof(followers));
    nodes = nodes_create(seed, &options);
    for (unsigned i = 0; i < NODES; i++) {
        is_up[i] = i < count;
        is_stopped[i] = false;
        configure(i, LINGER_MS);
    }
    nodes_settle(nodes);
}

static void kill_node(unsigned node)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (devices[i].connected && devices[i].node == node) {
            disconnect(&devices[i]);
        }
    }
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        if (followers[i].connected && followers[i].node == node) {
            leave(&followers[i]);
        }
    }
    nodes_stop(nodes, node);
    is_up[node] = false;
    is_stopped[node] = false;
}

static void tear_down(void)
{
    for (unsigned node = 0; node < NODES; node++) {
        if (is_up[node] && is_stopped[node]) {
            nodes_thaw(nodes, node);
        }
        if (is_up[node]) {
            kill_node(node);
        }
    }
    nodes_destroy(nodes);
}

static void check_all(uint64_t seed)
{
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        const struct follower *follower = &followers[i];
        for (unsigned user = 0; follower->connected && user < USERS; user++) {
            cr_assert_gt(
                follower->told[user], 0, "seed %" PRIu64 ": nothing of %s", seed, name_of(user));
            cr_assert_eq(follower->online[user], is_online(user),
                "seed %" PRIu64 ": follower %u: %s is %d", seed, i, name_of(user), is_online(user));
        }
    }
}

static unsigned told_of(const struct follower *follower)
{
    unsigned sum = 0;
    for (unsigned user = 0; user < USERS; user++) {
        sum += follower->told[user];
    }
    return sum;
}

/* Everybody is somewhere, and is followed on each node. */
static void begin(unsigned count)
{
    set_up(seed_draw(), count);
    for (unsigned i = 0; i < USERS; i++) {
        connect(&devices[i], i % count, i);
    }
    wait(PRESENCE_RENEW_MS);
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        enter(&followers[i], i % count);
    }
    wait(PRESENCE_LIFETIME_MS + 2 * PRESENCE_RENEW_MS);
    check_all(0);
}

/* Chaos. */

static void move_something(void)
{
    struct device *device = &devices[nodes_dice(nodes, DEVICES)];
    unsigned node = (unsigned)nodes_dice(nodes, NODES);
    if (device->connected && !is_stopped[device->node]) {
        disconnect(device);
    } else if (!device->connected && is_up[node] && !is_stopped[node]) {
        connect(device, node, (unsigned)nodes_dice(nodes, USERS));
    }
    struct follower *follower = &followers[nodes_dice(nodes, FOLLOWERS)];
    if (nodes_dice(nodes, 8) != 0) {
        return;
    }
    if (follower->connected && !is_stopped[follower->node]) {
        leave(follower);
    } else if (!follower->connected && is_up[node] && !is_stopped[node]) {
        enter(follower, node);
    }
}

static void disturb(unsigned node)
{
    switch (nodes_dice(nodes, 9)) {
    case 0:
        fake_presence_clear(fake_redis_presence(nodes->redis));
        break;
    case 1:
        fake_redis_lose(nodes->redis, (unsigned)nodes_dice(nodes, 2) * 2);
        break;
    case 2:
        fake_redis_drop(nodes->redis, node, 2);
        break;
    case 3:
        fake_redis_reach(nodes->redis, node, false);
        fake_redis_drop(nodes->redis, node, 1);
        break;
    case 4:
        fake_redis_reach(nodes->redis, node, true);
        break;
    case 5:
        fake_redis_set_lag(nodes->redis, (unsigned)nodes_dice(nodes, 3) * 20);
        break;
    case 6:
        if (is_up[node]) {
            fake_redis_reach(nodes->redis, node, true);
            kill_node(node);
        } else {
            nodes_start(nodes, node);
            configure(node, LINGER_MS);
            is_up[node] = true;
        }
        break;
    default:
        if (is_up[node]) {
            is_stopped[node] = !is_stopped[node];
            (is_stopped[node] ? nodes_freeze : nodes_thaw)(nodes, node);
        }
        break;
    }
}

static void be_busy(void)
{
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t what = nodes_dice(nodes, 200);
        if (what < 40) {
            move_something();
        } else if (what < 43) {
            disturb((unsigned)nodes_dice(nodes, NODES));
        } else if (what < 70) {
            nodes_advance(nodes, nodes_dice(nodes, 300));
        } else {
            (void)nodes_step(nodes);
        }
    }
}

static void calm_down(void)
{
    fake_redis_set_lag(nodes->redis, 0);
    fake_redis_lose(nodes->redis, 0);
    for (unsigned node = 0; node < NODES; node++) {
        fake_redis_reach(nodes->redis, node, true);
        if (!is_up[node]) {
            nodes_start(nodes, node);
            configure(node, LINGER_MS);
            is_up[node] = true;
        } else if (is_stopped[node]) {
            nodes_thaw(nodes, node);
            is_stopped[node] = false;
        }
    }
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        if (!followers[i].connected) {
            enter(&followers[i], i);
        }
    }
    wait(DEAD_MS + 2 * LINGER_MS);
}

Test(presence_follow, what_was_told_is_true_when_all_is_calm)
{
    uint64_t seed = seed_draw();
    for (uint64_t i = 0; i < SEEDS; i++) {
        set_up(seed + i, NODES);
        for (unsigned round = 0; round < 3; round++) {
            be_busy();
            calm_down();
            check_all(seed + i);
        }
        tear_down();
    }
}

/* What each event alone comes to. */

Test(presence_follow, who_goes_is_offline_after_a_while_and_who_comes_is_online_at_once)
{
    static const unsigned counts[] = {NODES, 1};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        begin(counts[i]);
        disconnect(&devices[1]);
        wait(LINGER_MS / 2);
        cr_assert(followers[0].online[1] && followers[2].online[1]);
        wait(LINGER_MS);
        check_all(0);
        connect(&devices[1], 0, 1);
        wait(500);
        check_all(0);
        cr_assert_eq(told_of(&followers[0]), USERS + 2);
        cr_assert_eq(told_of(&followers[2]), USERS + 2);
        tear_down();
    }
}

Test(presence_follow, phones_that_flap_make_no_event)
{
    static const unsigned counts[] = {NODES, 1};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        begin(counts[i]);
        for (unsigned round = 0; round < 20; round++) {
            for (unsigned user = 0; user < USERS; user++) {
                disconnect(&devices[user]);
            }
            wait(500);
            for (unsigned user = 0; user < USERS; user++) { /* on whatever node */
                connect(&devices[user], (user + round) % counts[i], user);
            }
            wait(4500);
        }
        for (unsigned f = 0; f < FOLLOWERS; f++) {
            cr_assert_eq(told_of(&followers[f]), USERS);
        }
        tear_down();
    }
}

/* Which number the last message had is not known yet. */
Test(presence_follow, what_is_lost_right_after_subscribing_is_noticed)
{
    begin(NODES);
    leave(&followers[0]);
    disconnect(&devices[1]);
    wait(2 * LINGER_MS);
    enter(&followers[0], 0);
    for (unsigned i = 0; i < 100 && followers[0].told[1] == 0; i++) {
        wait(1);
    }
    fake_redis_lose(nodes->redis, 1);
    connect(&devices[1], 1, 1);
    nodes_advance(nodes, 2 * PRESENCE_GATHER_MS);
    nodes_settle(nodes);
    fake_redis_lose(nodes->redis, 0);
    wait(3 * PRESENCE_RENEW_MS);
    check_all(0);
    tear_down();
}

Test(presence_follow, the_users_of_a_dead_node_do_not_linger)
{
    begin(NODES);
    for (unsigned node = 0; node < NODES; node++) {
        configure(node, 600000);
    }
    kill_node(1);
    wait(DEAD_MS);
    check_all(0);
    tear_down();
}

Test(presence_follow, a_node_that_was_away_tells_what_changed)
{
    begin(NODES);
    nodes_freeze(nodes, 2);
    is_stopped[2] = true;
    disconnect(&devices[0]);
    wait(2 * DEAD_MS);
    cr_assert_not(followers[0].online[2]); /* of the node that stands still */
    nodes_thaw(nodes, 2);
    is_stopped[2] = false;
    wait(2 * DEAD_MS);
    check_all(0);
    cr_assert_eq(told_of(&followers[2]), USERS + 1);
    tear_down();
}

Test(presence_follow, a_redis_that_was_emptied_makes_no_event)
{
    begin(NODES);
    fake_presence_clear(fake_redis_presence(nodes->redis));
    wait(2 * DEAD_MS);
    for (unsigned node = 0; node < NODES; node++) {
        fake_redis_reach(nodes->redis, node, false);
        fake_redis_drop(nodes->redis, node, 1);
    }
    fake_presence_clear(fake_redis_presence(nodes->redis));
    wait(4 * LINGER_MS);
    for (unsigned node = 0; node < NODES; node++) {
        fake_redis_reach(nodes->redis, node, true);
    }
    wait(2 * DEAD_MS);
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        cr_assert_eq(told_of(&followers[i]), USERS);
    }
    check_all(0);
    tear_down();
}

static uint64_t followed(unsigned node)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        sum += presence_get_stats(nodes_on(nodes, node, i)->presence)->followed;
    }
    return sum;
}

Test(presence_follow, who_follows_no_more_is_told_nothing)
{
    begin(NODES);
    cr_assert_eq(followed(0), USERS);
    say(&followers[0], "[\"presence:unsubscribe\",{\"users\":[\"u1\",\"nobody\"]}]");
    nodes_settle(nodes);
    cr_assert_eq(followed(0), USERS - 1);
    disconnect(&devices[1]);
    disconnect(&devices[2]);
    wait(2 * LINGER_MS);
    cr_assert_eq(told_of(&followers[0]), USERS + 1);
    cr_assert(followers[0].online[1]);
    cr_assert_not(followers[1].online[1]);
    subscribe(&followers[0]); /* again: those that it follows already are not told anew */
    nodes_settle(nodes);
    wait(500);
    cr_assert_eq(told_of(&followers[0]), USERS + 2);
    cr_assert_not(followers[0].online[1]);
    leave(&followers[0]);
    nodes_settle(nodes);
    cr_assert_eq(followed(0), 0);
    size_t channels = fake_redis_channels(nodes->redis);
    leave(&followers[1]);
    nodes_settle(nodes);
    cr_assert_lt(fake_redis_channels(nodes->redis), channels);
    tear_down();
}

Test(presence_follow, who_may_not_be_seen_is_offline_and_not_followed)
{
    begin(NODES);
    nodes->node[0].config.presence.visibility = PRESENCE_VISIBLE_NOBODY;
    leave(&followers[0]);
    enter(&followers[0], 0);
    wait(500);
    for (unsigned user = 0; user < USERS; user++) {
        cr_assert_eq(followers[0].told[user], 1);
        cr_assert_not(followers[0].online[user]);
    }
    cr_assert_eq(followed(0), 0);
    disconnect(&devices[1]);
    connect(&devices[1], 1, 1);
    wait(2 * LINGER_MS);
    cr_assert_eq(told_of(&followers[0]), USERS);
    tear_down();
}

Test(presence_follow, who_may_not_be_seen_any_more_is_offline_from_the_next_change_on)
{
    begin(NODES);
    nodes->node[0].config.presence.visibility = PRESENCE_VISIBLE_NOBODY;
    disconnect(&devices[1]);
    wait(2 * LINGER_MS);
    for (unsigned i = 0; i < 3; i++) {
        connect(&devices[1], 1, 1);
        wait(500);
        cr_assert_not(followers[0].online[1]);
        cr_assert(followers[2].online[1]);
        disconnect(&devices[1]);
        wait(2 * LINGER_MS);
    }
    cr_assert_eq(told_of(&followers[0]), USERS + 1);
    cr_assert_eq(told_of(&followers[2]), USERS + 7);
    nodes->node[0].config.presence.visibility = PRESENCE_VISIBLE_TENANT;
    connect(&devices[1], 1, 1);
    wait(500);
    check_all(0);
    tear_down();
}

Test(presence_follow, a_socket_follows_at_most_500)
{
    static char text[16384];
    begin(1);
    say(&followers[0], "[\"presence:unsubscribe\",{\"users\":[\"u0\",\"u1\",\"u2\"]}]");
    size_t len = (size_t)snprintf(text, sizeof(text), "[\"presence:subscribe\",{\"users\":[\"u0\"");
    for (unsigned user = 1; user < 500; user++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, ",\"u%u\"", user % 3);
    }
    (void)snprintf(text + len, sizeof(text) - len, "]}]");
    nodes_settle(nodes);
    uint64_t before = followed(0);
    say(&followers[0], text);
    nodes_settle(nodes);
    cr_assert_eq(followers[0].refused, 1, "with the others these are more");
    cr_assert_eq(followed(0), before);
    tear_down();
}
