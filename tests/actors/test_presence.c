/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is online on three nodes over one Redis, which is emptied, goes back to what it was, forgets
 * its scripts and refuses, whose connections drop and stand still, and of whose nodes some are
 * stopped and some end: a node never denies whom it has itself, and when all is calm every node
 * says what is true.
 *
 * Order of this file: the world, questions, chaos, what each failure alone comes to.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/presence/presence.h"
#include "actors/presence/presence_call.h"
#include "actors/presence/presence_part.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "tests/support/client.h"
#include "tests/support/fake_bus.h"
#include "tests/support/nodes.h"
#include "tests/support/seed.h"

TestSuite(presence, .timeout = 300);

enum {
    NODES = 3,
    SHARDS = 2,
    USERS = 20,
    DEVICES = 48,
    STEPS = 1500,
    SEEDS = 10,
    DEAD_MS = 15000, /* nobody is online any more by a node that was killed */
    NAME_LEN = 16,
};

struct device {
    struct client client; /* first */
    unsigned node;
    unsigned user;
    bool connected;
};

static struct nodes *nodes;
static struct device devices[DEVICES];
static unsigned held[NODES][USERS]; /* the truth: connections */
static unsigned gaps[NODES][USERS]; /* how often there was none any more */
static bool is_up[NODES];
static bool is_stopped[NODES]; /* the process: SIGSTOP */
static struct fake_presence copy; /* an older dump of Redis */
static unsigned under_way;
static unsigned answered;

/* The world. */

static const char *name_of(unsigned user)
{
    static char at[NAME_LEN];
    (void)snprintf(at, sizeof(at), user % 3 == 0 ? "acme/u%u" : "u%u", user);
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
    gaps[device->node][device->user] += held[device->node][device->user] == 0;
}

static void set_up_many(uint64_t seed, unsigned count)
{
    const struct nodes_options options = {
        .nodes = count, .shards = SHARDS, .bus = count > 1, .presence = true, .partitions = 1};
    memset(held, 0, sizeof(held));
    memset(devices, 0, sizeof(devices));
    memset(gaps, 0, sizeof(gaps));
    nodes = nodes_create(seed, &options);
    for (unsigned i = 0; i < NODES; i++) {
        is_up[i] = i < count;
        is_stopped[i] = false;
    }
    nodes_settle(nodes);
}

static void set_up(uint64_t seed)
{
    set_up_many(seed, NODES);
}

static void wait(uint64_t ms)
{
    enum { PIECE_MS = 250 };
    for (uint64_t left = ms; left > 0; left -= left < PIECE_MS ? left : PIECE_MS) {
        nodes_advance(nodes, left < PIECE_MS ? left : PIECE_MS);
        nodes_settle(nodes);
    }
}

/* The end of its process: nothing more is told, its clients are gone. */
static void kill_node(unsigned node)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (devices[i].connected && devices[i].node == node) {
            disconnect(&devices[i]);
        }
    }
    nodes_stop(nodes, node);
    is_up[node] = false;
    is_stopped[node] = false;
}

static void tear_down(void)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (devices[i].connected) {
            disconnect(&devices[i]);
        }
    }
    nodes_destroy(nodes);
    fake_presence_finish(&copy);
    cr_assert_eq(under_way, 0);
}

static unsigned connections_of(unsigned user)
{
    unsigned sum = 0;
    for (unsigned node = 0; node < NODES; node++) {
        sum += held[node][user];
    }
    return sum;
}

static unsigned nodes_of(unsigned user)
{
    unsigned count = 0;
    for (unsigned node = 0; node < NODES; node++) {
        count += held[node][user] > 0;
    }
    return count;
}

/* Questions. */

struct asked {
    struct presence_call call; /* first */
    unsigned node;
    bool exact; /* all must be as it is now */
    bool had[USERS]; /* this node had the user then, */
    unsigned gap[USERS]; /* and all the time, if that is still so */
};

static unsigned count_lines(const struct buf *text)
{
    unsigned count = 0;
    struct bytes bytes = text != NULL ? buf_bytes(text) : bytes_of(NULL, 0);
    for (size_t i = 0; i < bytes.len; i++) {
        count += bytes.at[i] == '\n';
    }
    return count;
}

static void check(const struct asked *asked)
{
    unsigned user = 0;
    list_for_each (link, &asked->call.asks) {
        const struct presence_ask *ask = container_of(link, struct presence_ask, link);
        bool has = asked->had[user] && asked->gap[user] == gaps[asked->node][user];
        cr_assert(!has || ask->connections > 0, "node %u denies %s", asked->node, name_of(user));
        if (asked->exact) {
            cr_assert_eq(ask->connections, connections_of(user),
                "node %u: %s has %" PRIu64 " of %u at %" PRIu64, asked->node, name_of(user),
                ask->connections, connections_of(user), nodes->now_ms);
            cr_assert_eq(count_lines(ask->nodes), nodes_of(user));
        }
        user++;
    }
    cr_assert(!asked->exact || asked->call.complete);
}

static void on_done(struct presence_call *call)
{
    struct asked *asked = container_of(call, struct asked, call);
    check(asked);
    presence_call_finish(call);
    mem_free(asked);
    under_way--;
    answered++;
}

/* A user of tenant `acme` is asked for in it. */
static int add(struct presence_call *call, struct shard *shard, const char *name)
{
    bool tenant = strncmp(name, "acme/", 5) == 0;
    return presence_call_add(
        call, shard, tenant ? BYTES("acme") : BYTES(""), bytes_str(tenant ? name + 5 : name), NULL);
}

static void ask(unsigned node, bool exact)
{
    struct asked *asked = mem_alloc(sizeof(*asked));
    struct shard *shard = nodes_on(nodes, node, (unsigned)nodes_dice(nodes, SHARDS));
    presence_call_init(&asked->call, on_done);
    asked->call.detailed = true;
    asked->node = node;
    asked->exact = exact;
    for (unsigned user = 0; user < USERS; user++) {
        cr_assert_eq(add(&asked->call, shard, name_of(user)), 0);
        asked->had[user] = held[node][user] > 0;
        asked->gap[user] = gaps[node][user];
    }
    under_way++;
    cr_assert(presence_call_begin(&asked->call, shard));
}

struct counted {
    struct presence_call call; /* first */
    bool done;
};

static void on_counted(struct presence_call *call)
{
    container_of(call, struct counted, call)->done = true;
}

static struct counted count_all(unsigned node)
{
    static struct counted counted;
    struct shard *shard = nodes_on(nodes, node, (unsigned)nodes_dice(nodes, SHARDS));
    counted.done = false;
    presence_call_init(&counted.call, on_counted);
    cr_assert(presence_call_begin(&counted.call, shard));
    nodes_settle(nodes);
    cr_assert(counted.done);
    presence_call_finish(&counted.call);
    return counted;
}

/* Every node says what is true. */
static void check_all(void)
{
    unsigned users = 0;
    unsigned connections = 0;
    unsigned alive = 0;
    for (unsigned user = 0; user < USERS; user++) {
        users += connections_of(user) > 0;
        connections += connections_of(user);
    }
    for (unsigned node = 0; node < NODES; node++) {
        alive += is_up[node];
    }
    for (unsigned node = 0; node < NODES; node++) {
        if (is_up[node] && !is_stopped[node]) {
            ask(node, true);
            nodes_settle(nodes);
            cr_assert_eq(under_way, 0);
            struct counted counted = count_all(node);
            cr_assert_eq(counted.call.users, users);
            cr_assert_eq(counted.call.connections, connections);
            cr_assert_eq(counted.call.nodes, alive);
            cr_assert(counted.call.complete);
        }
    }
    if (nodes->redis != NULL) {
        cr_assert_eq(fake_presence_users(fake_redis_presence(nodes->redis), nodes->now_ms), users);
    }
}

/* Chaos. */

static unsigned pick_node(void)
{
    return (unsigned)nodes_dice(nodes, NODES);
}

static void move_device(void)
{
    struct device *device = &devices[nodes_dice(nodes, DEVICES)];
    unsigned node = pick_node();
    if (device->connected && !is_stopped[device->node]) {
        disconnect(device);
        if (nodes_dice(nodes, 2) == 0) { /* it flaps */
            connect(device, device->node, device->user);
        }
    } else if (!device->connected && is_up[node] && !is_stopped[node]) {
        connect(device, node, (unsigned)nodes_dice(nodes, USERS));
    }
}

static void disturb_node(unsigned node, uint64_t what)
{
    if (!is_up[node]) {
        nodes_start(nodes, node);
        is_up[node] = true;
    } else if (what == 0) {
        fake_redis_reach(nodes->redis, node, true);
        kill_node(node);
    } else {
        is_stopped[node] = !is_stopped[node];
        (is_stopped[node] ? nodes_freeze : nodes_thaw)(nodes, node);
    }
}

static void disturb_redis(unsigned node, uint64_t what)
{
    struct fake_presence *presence = fake_redis_presence(nodes->redis);
    switch (what) {
    case 0:
        fake_presence_clear(presence);
        break;
    case 1:
        presence->forgotten = true;
        break;
    case 2:
        presence->refuse = 5;
        break;
    case 3:
        fake_redis_drop(nodes->redis, node, 2);
        break;
    case 4:
        fake_redis_reach(nodes->redis, node, false);
        fake_redis_drop(nodes->redis, node, 1);
        break;
    case 5:
        fake_redis_reach(nodes->redis, node, true);
        break;
    case 6:
        fake_redis_set_lag(nodes->redis, (unsigned)nodes_dice(nodes, 3) * 20);
        break;
    default: /* an older dump of it */
        if (copy.parts == NULL) {
            copy = fake_presence_copy(presence);
        } else {
            fake_presence_restore(presence, &copy);
        }
        break;
    }
}

static void be_busy(void)
{
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t what = nodes_dice(nodes, 200);
        unsigned node = pick_node();
        if (what < 60) {
            move_device();
        } else if (what < 66 && is_up[node] && !is_stopped[node]) {
            ask(node, false);
        } else if (what == 66) {
            disturb_node(node, nodes_dice(nodes, 3));
        } else if (what < 70) {
            disturb_redis(node, nodes_dice(nodes, 9));
        } else if (what < 90) {
            nodes_advance(nodes, nodes_dice(nodes, 300));
        } else {
            (void)nodes_step(nodes);
        }
    }
}

static void calm_down(void)
{
    fake_redis_set_lag(nodes->redis, 0);
    fake_redis_presence(nodes->redis)->refuse = 0;
    for (unsigned node = 0; node < NODES; node++) {
        fake_redis_reach(nodes->redis, node, true);
        if (!is_up[node]) {
            nodes_start(nodes, node);
            is_up[node] = true;
        } else if (is_stopped[node]) {
            nodes_thaw(nodes, node);
            is_stopped[node] = false;
        }
    }
    wait(DEAD_MS);
    cr_assert_eq(under_way, 0, "%u questions are not answered", under_way);
}

Test(presence, is_true_again_when_all_is_calm)
{
    uint64_t seed = seed_draw();
    answered = 0;
    for (uint64_t i = 0; i < SEEDS; i++) {
        set_up(seed + i);
        for (unsigned round = 0; round < 3; round++) {
            be_busy();
            calm_down();
            check_all();
        }
        tear_down();
    }
    cr_assert_gt(answered, 0);
}

/* What each failure alone comes to. */

static void connect_all(void)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        connect(&devices[i], i % NODES, (unsigned)nodes_dice(nodes, USERS));
    }
    wait(2 * PRESENCE_RENEW_MS);
    check_all();
}

Test(presence, devices_of_one_user_on_two_nodes_are_one_user)
{
    set_up(seed_draw());
    wait(2 * PRESENCE_RENEW_MS);
    connect(&devices[0], 0, 1);
    connect(&devices[1], 1, 1);
    connect(&devices[2], 1, 1);
    wait(2 * PRESENCE_RENEW_MS);
    cr_assert_eq(count_all(2).call.users, 1);
    cr_assert_eq(count_all(2).call.connections, 3);
    check_all();
    disconnect(&devices[0]);
    wait(2 * PRESENCE_RENEW_MS);
    cr_assert_eq(count_all(0).call.users, 1);
    check_all();
    disconnect(&devices[1]);
    disconnect(&devices[2]);
    wait(2 * PRESENCE_RENEW_MS);
    cr_assert_eq(count_all(0).call.users, 0);
    check_all();
    tear_down();
}

Test(presence, of_a_node_that_was_killed_nobody_is_online_after_15_seconds)
{
    set_up(seed_draw());
    connect_all();
    kill_node(1);
    wait(DEAD_MS);
    check_all();
    kill_node(0);
    kill_node(2);
    nodes_advance(nodes, 60000);
    cr_assert_eq(fake_presence_keys(fake_redis_presence(nodes->redis), nodes->now_ms), 0);
    tear_down();
}

Test(presence, a_node_that_was_stopped_is_believed_again)
{
    set_up(seed_draw());
    connect_all();
    nodes_freeze(nodes, 0);
    is_stopped[0] = true;
    unsigned saved[USERS];
    memcpy(saved, held[0], sizeof(saved));
    memset(held[0], 0, sizeof(held[0])); /* as the others see it */
    wait(2 * DEAD_MS);
    is_up[0] = false;
    check_all();
    is_up[0] = true;
    memcpy(held[0], saved, sizeof(saved));
    nodes_thaw(nodes, 0);
    is_stopped[0] = false;
    wait(3 * PRESENCE_RENEW_MS);
    check_all();
    tear_down();
}

Test(presence, a_redis_that_was_emptied_is_told_again)
{
    set_up(seed_draw());
    connect_all();
    fake_presence_clear(fake_redis_presence(nodes->redis));
    wait(3 * PRESENCE_RENEW_MS);
    check_all();
    tear_down();
}

Test(presence, a_redis_that_goes_back_to_an_older_dump_is_told_again)
{
    set_up(seed_draw());
    connect_all();
    copy = fake_presence_copy(fake_redis_presence(nodes->redis));
    for (unsigned i = 0; i < DEVICES / 2; i++) {
        disconnect(&devices[i]);
    }
    wait(PRESENCE_RENEW_MS);
    fake_presence_restore(fake_redis_presence(nodes->redis), &copy);
    wait(4 * PRESENCE_RENEW_MS);
    check_all();
    tear_down();
}

Test(presence, a_node_without_redis_says_what_it_has_and_that_this_is_not_all)
{
    set_up(seed_draw());
    connect(&devices[0], 0, 1);
    connect(&devices[1], 1, 2);
    wait(2 * PRESENCE_RENEW_MS);
    fake_redis_reach(nodes->redis, 0, false);
    fake_redis_drop(nodes->redis, 0, 1);
    wait(PRESENCE_STALE_MS);
    struct counted counted = count_all(0);
    cr_assert_eq(counted.call.users, 1);
    cr_assert_eq(counted.call.nodes, 1);
    cr_assert_not(counted.call.complete);
    fake_redis_reach(nodes->redis, 0, true);
    wait(3 * PRESENCE_RENEW_MS);
    check_all();
    tear_down();
}

Test(presence, a_node_that_is_alone_knows_all)
{
    set_up_many(seed_draw(), 1);
    connect(&devices[0], 0, 1);
    connect(&devices[1], 0, 1);
    connect(&devices[2], 0, 3);
    nodes_settle(nodes);
    check_all();
    disconnect(&devices[1]);
    disconnect(&devices[2]);
    nodes_settle(nodes);
    check_all();
    tear_down();
}

Test(presence, a_node_that_ends_gives_up_its_places_at_once)
{
    set_up(seed_draw());
    connect_all();
    for (unsigned i = 0; i < DEVICES; i++) {
        if (devices[i].node == 2) {
            disconnect(&devices[i]);
        }
    }
    wait(PRESENCE_RENEW_MS);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = nodes_on(nodes, 2, i);
        presence_close(shard->presence);
        presence_close(shard->presence);
    }
    wait(4 * PRESENCE_RENEW_MS); /* with time to sweep */
    for (unsigned i = 0; i < SHARDS; i++) {
        cr_assert_eq(presence_open(nodes_on(nodes, 2, i)->presence), 0);
    }
    kill_node(2);
    check_all();
    tear_down();
}

Test(presence, a_node_that_ends_does_not_wait_for_a_redis_that_stands_still)
{
    set_up(seed_draw());
    connect_all();
    for (unsigned i = 0; i < DEVICES; i++) {
        if (devices[i].node == 2) {
            disconnect(&devices[i]);
        }
    }
    fake_redis_freeze(nodes->redis, 2, true);
    for (unsigned i = 0; i < SHARDS; i++) {
        presence_close(nodes_on(nodes, 2, i)->presence);
    }
    wait(1000);
    for (unsigned i = 0; i < SHARDS; i++) {
        cr_assert_eq(presence_open(nodes_on(nodes, 2, i)->presence), 0);
    }
    kill_node(2);
    wait(DEAD_MS);
    check_all();
    tear_down();
}

Test(presence, a_phone_that_flaps_is_told_once_for_many_times)
{
    set_up(seed_draw());
    connect(&devices[0], 0, 1);
    wait(2 * PRESENCE_RENEW_MS);
    struct shard *shard = nodes_on(nodes, 0, nodes_user_shard(nodes, 0, name_of(1)));
    uint64_t told = presence_get_stats(shard->presence)->told;
    for (unsigned i = 0; i < 100; i++) {
        disconnect(&devices[0]);
        connect(&devices[0], 0, 1);
        nodes_settle(nodes);
    }
    wait(2 * PRESENCE_RENEW_MS);
    uint64_t more = presence_get_stats(shard->presence)->told - told;
    cr_assert_leq(more, 2);
    check_all();
    tear_down();
}

Test(presence, what_a_user_may_not_see_is_not_asked)
{
    set_up(seed_draw());
    connect(&devices[0], 0, 1);
    connect(&devices[1], 0, 2);
    wait(2 * PRESENCE_RENEW_MS);
    static const struct {
        enum presence_visibility visibility;
        bool sees;
    } cases[] = {
        {PRESENCE_VISIBLE_NOBODY, false},
        {PRESENCE_VISIBLE_ROOMS, false},
        {PRESENCE_VISIBLE_TENANT, true},
        {PRESENCE_VISIBLE_ALL, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct counted counted = {.done = false};
        struct bytes viewer = BYTES("u1");
        struct shard *shard = nodes_on(nodes, 0, 0);
        nodes->node[0].config.presence.visibility = cases[i].visibility;
        presence_call_init(&counted.call, on_counted);
        cr_assert_eq(presence_call_add(&counted.call, shard, BYTES(""), BYTES("u1"), &viewer), 0);
        cr_assert_eq(presence_call_add(&counted.call, shard, BYTES(""), BYTES("u2"), &viewer), 0);
        cr_assert_eq(presence_call_add(&counted.call, shard, BYTES(""), BYTES("u2"), &viewer), 0);
        cr_assert(presence_call_begin(&counted.call, shard));
        nodes_settle(nodes);
        cr_assert(counted.done);
        struct builder out = {0};
        json_write_open(&out, '{');
        presence_call_write(&counted.call, &out);
        const char *wanted = cases[i].sees
                                 ? "{\"users\":{\"u1\":{\"online\":true,\"lastSeen\":null},\"u2\":{"
                                   "\"online\":true,\"lastSeen\":null}},\"complete\":true"
                                 : "{\"users\":{\"u1\":{\"online\":true,\"lastSeen\":null},\"u2\":{"
                                   "\"online\":false,\"lastSeen\":null}},\"complete\":true";
        cr_assert(bytes_eq_str(builder_bytes(&out), wanted), "%.*s", (int)builder_bytes(&out).len,
            builder_bytes(&out).at);
        builder_reset(&out);
        presence_call_finish(&counted.call);
    }
    tear_down();
}

Test(presence, names_are_checked_and_bounded)
{
    set_up_many(seed_draw(), 1);
    struct shard *shard = nodes_on(nodes, 0, 0);
    struct presence_call call;
    presence_call_init(&call, on_counted);
    cr_assert_eq(presence_call_add(&call, shard, BYTES(""), BYTES(""), NULL), STATUS_INVALID);
    cr_assert_eq(presence_call_add(&call, shard, BYTES(""), BYTES("a/b"), NULL), STATUS_INVALID);
    for (unsigned i = 0; i < PRESENCE_USERS_MAX; i++) {
        char name[NAME_LEN];
        (void)snprintf(name, sizeof(name), "user-%u", i);
        cr_assert_eq(presence_call_add(&call, shard, BYTES(""), bytes_str(name), NULL), 0);
    }
    cr_assert_eq(presence_call_add(&call, shard, BYTES(""), BYTES("user-7"), NULL), 0);
    cr_assert_eq(
        presence_call_add(&call, shard, BYTES(""), BYTES("one more"), NULL), STATUS_TOO_LARGE);
    presence_call_finish(&call);
    tear_down();
}
