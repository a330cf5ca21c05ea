/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inboxes in a storm: notifications are posted and marked on any node while announcements are lost,
 * doubled and reordered, links drop and the store fails. Every client that was told hub:ready is
 * told each rev once and in order (a read of the store may tell several at once), and at the end
 * it knows what the store knows.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/inbox/announce.h"
#include "actors/inbox/inbox_bus.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "codec/notification_json.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(inbox, .timeout = 300);

enum {
    DEVICES = 6,
    USERS = 2,
    ACTIONS = 120,
    SEEDS = 200,
    RECHECK_MS = 30000,
    ROWS_MAX = 400,
    OUTBOX_HIGH = 1000
};

#define SEED(storm) (unsigned long long)(storm)->nodes->seed

struct device {
    struct client client; /* first */
    struct storm *storm;
    unsigned user;
    unsigned node;
    bool here;
    bool ready;
    uint64_t rev; /* told so far */
    uint64_t unread;
    uint64_t seq; /* of the newest notification */
    bool has[ROWS_MAX]; /* by seq: told since it is ready */
    unsigned told; /* notifications, since it is ready */
    uint64_t first_seq;
    unsigned acks;
};

struct storm {
    struct nodes *nodes;
    struct device devices[DEVICES];
    bool lossy;
    uint64_t calls;
    unsigned posted;
};

static const char *const users[USERS] = {"ann", "acme/bob"};

static unsigned dice(struct storm *storm, uint64_t bound)
{
    return (unsigned)nodes_dice(storm->nodes, bound);
}

/* --- what devices are told --- */

static uint64_t member(const struct device *device, struct bytes object, const char *key)
{
    struct bytes value;
    uint64_t number = 0;
    cr_assert_eq(json_scan_get(object, key, &value), 0, "seed %llu: no %s in %.*s",
        SEED(device->storm), key, (int)object.len, object.at);
    cr_assert_eq(json_scan_u64(value, &number), 0);
    return number;
}

static void on_rev(struct device *device, uint64_t rev)
{
    cr_assert(device->ready, "seed %llu: hub:ready comes first", SEED(device->storm));
    cr_assert_geq(rev, device->rev, "seed %llu: rev goes back", SEED(device->storm));
    device->rev = rev;
}

static void on_notification(struct device *device, struct bytes item)
{
    uint64_t seq = member(device, item, "seq");
    cr_assert(seq > device->first_seq && seq < ROWS_MAX && !device->has[seq],
        "seed %llu: seq %llu again", SEED(device->storm), (unsigned long long)seq);
    device->has[seq] = true;
    device->seq = seq > device->seq ? seq : device->seq;
    device->told++;
    on_rev(device, member(device, item, "rev"));
}

/* What is marked was there when it was: what comes later is not among it. */
static void on_state(struct device *device, struct bytes body)
{
    struct bytes value;
    if (json_scan_get(body, "upTo", &value) == 0) {
        cr_assert_leq(member(device, body, "upTo"), device->storm->posted, "seed %llu: %.*s",
            SEED(device->storm), (int)body.len, body.at);
    }
    on_rev(device, member(device, body, "rev"));
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct device *device = (struct device *)(void *)client;
    struct bytes body = packet->args;
    cr_assert(device->here);
    if (packet->is_ack) {
        device->acks++;
    } else if (bytes_eq_str(packet->name, "hub:ready")) {
        cr_assert_not(device->ready, "once");
        device->ready = true;
        device->rev = member(device, body, "rev");
        device->first_seq = device->seq = member(device, body, "seq");
        device->unread = member(device, body, "unread");
    } else if (bytes_eq_str(packet->name, "notification")) {
        on_notification(device, body);
    } else if (bytes_eq_str(packet->name, "notification:state")) {
        on_state(device, body);
    } else if (bytes_eq_str(packet->name, "unread")) {
        device->unread = member(device, body, "count");
        on_rev(device, member(device, body, "rev"));
    } else {
        cr_assert(bytes_eq_str(packet->name, "error"), "seed %llu: %.*s", SEED(device->storm),
            (int)packet->name.len, packet->name.at);
    }
}

/* --- what happens --- */

static void connect_device(struct storm *storm, struct device *device)
{
    struct nodes *nodes = storm->nodes;
    memset(device, 0, sizeof(*device));
    device->storm = storm;
    device->user = dice(storm, USERS);
    device->node = dice(storm, nodes->options.nodes);
    device->here = true;
    device->client.received = on_received;
    const char *user = users[device->user];
    struct shard *shard =
        nodes_on(nodes, device->node, nodes_user_shard(nodes, device->node, user));
    client_init(
        &device->client, shard, "/", user, (enum wire_format)dice(storm, WIRE_FORMAT_COUNT));
    device->client.outbox.limits.high = OUTBOX_HIGH;
    cr_assert_eq(user_attach(shard, &device->client.socket), 0);
}

static void act_as(const struct device *device)
{
    nodes_on(device->storm->nodes, device->node, sched_shard(device->client.socket.shard->sched));
}

static void disconnect_device(struct device *device)
{
    act_as(device);
    client_finish(&device->client, CLOSE_NORMAL);
    device->here = false;
}

static void stall(struct device *device, bool stalled)
{
    act_as(device);
    if (stalled) {
        device->client.stalled = true;
    } else if (device->client.stalled) {
        client_resume(&device->client);
    }
}

/* A row is stored by some node, which announces it; a repeat announces nothing but itself. */
static void post(struct storm *storm)
{
    char message[16];
    const char *user = users[dice(storm, USERS)];
    struct nodes *nodes = storm->nodes;
    unsigned node = dice(storm, nodes->options.nodes);
    snprintf(message, sizeof(message), "m%u", storm->posted++);
    struct store_row row = fake_store_post(nodes->store, user, message);
    struct shard *shard = nodes_on(nodes, node, dice(storm, nodes->options.shards));
    unsigned what = dice(storm, 8);
    if (what == 0 && storm->lossy) {
        return; /* the poster's node died before it announced */
    }
    announce_row(shard, &row);
    if (what == 1) {
        announce_row(shard, &row);
    } else if (what == 2) {
        announce_repeat(shard, row.who);
    }
}

static void mark(struct device *device)
{
    struct storm *storm = device->storm;
    static const char *const names[] = {
        "notification:read", "notification:seen", "notification:archive"};
    char text[128];
    uint64_t id = ++storm->calls;
    if (dice(storm, 5) == 0) {
        snprintf(text, sizeof(text), "[\"notification:read_all\"]");
    } else {
        snprintf(text, sizeof(text), "[\"%s\",{\"upTo\":%u}]", names[dice(storm, 3)],
            1 + dice(storm, storm->posted + 1));
    }
    act_as(device);
    user_event(&device->client.socket, bytes_str(text), &id, NULL, 0);
    if (dice(storm, 6) == 0) {
        for (unsigned steps = dice(storm, 20); steps > 0; steps--) {
            nodes_step(storm->nodes);
        }
        disconnect_device(device); /* the store answers when it has gone */
    }
}

static void disturb(struct storm *storm)
{
    struct nodes *nodes = storm->nodes;
    if (!storm->lossy) {
        return;
    }
    switch (dice(storm, 4)) {
    case 0:
        fake_redis_drop(nodes->redis, dice(storm, nodes->options.nodes), 2);
        break;
    case 1:
        fake_redis_reach(nodes->redis, dice(storm, nodes->options.nodes), dice(storm, 3) != 0);
        break;
    case 2:
        fake_redis_lose(nodes->redis, dice(storm, 4));
        break;
    default:
        fake_store_set_failures(nodes->store, dice(storm, 5));
        break;
    }
}

static void act(struct storm *storm)
{
    struct device *device = &storm->devices[dice(storm, DEVICES)];
    unsigned what = dice(storm, 20);
    if (!device->here) {
        if (what < 10) {
            connect_device(storm, device);
        }
    } else if (what < 4) {
        mark(device);
    } else if (what == 4) {
        disconnect_device(device);
    } else if (what < 7) {
        disturb(storm);
    } else if (what < 9) {
        stall(device, !device->client.stalled);
    } else {
        post(storm);
    }
}

/* --- the end --- */

static bool knows_all(const struct device *device)
{
    const struct fake_inbox *inbox =
        fake_store_inbox(device->storm->nodes->store, users[device->user]);
    struct store_position position = inbox ? inbox->position : (struct store_position){0};
    return device->ready && device->rev == position.rev && device->seq == position.seq &&
           device->unread == position.unread;
}

static void check_all(const struct storm *storm)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        const struct device *device = &storm->devices[i];
        if (!device->here) {
            continue;
        }
        cr_assert(device->ready, "seed %llu: device %u never was ready", SEED(storm), i);
        cr_assert(knows_all(device), "seed %llu: device %u knows rev %llu seq %llu unread %llu",
            SEED(storm), i, (unsigned long long)device->rev, (unsigned long long)device->seq,
            (unsigned long long)device->unread);
        cr_assert_eq(device->told, device->seq - device->first_seq,
            "seed %llu: device %u was told %u of %llu", SEED(storm), i, device->told,
            (unsigned long long)(device->seq - device->first_seq));
    }
}

static uint64_t run(uint64_t seed)
{
    static struct storm storm;
    const struct nodes_options options = {
        .nodes = 1 + seed % 3 % 2, .shards = 2, .bus = true, .partitions = 1};
    memset(&storm, 0, sizeof(storm));
    storm.lossy = seed % 3 != 0;
    storm.nodes = nodes_create(seed, &options);
    fake_redis_set_lag(storm.nodes->redis, 40);
    for (unsigned i = 0; i < ACTIONS; i++) {
        act(&storm);
        for (unsigned steps = dice(&storm, 40); steps > 0; steps--) {
            nodes_step(storm.nodes);
        }
        if (dice(&storm, 4) == 0) {
            nodes_advance(storm.nodes, 1 + dice(&storm, 200));
        }
    }
    fake_store_set_failures(storm.nodes->store, 0);
    fake_redis_lose(storm.nodes->redis, 0);
    for (unsigned i = 0; i < options.nodes; i++) {
        fake_redis_reach(storm.nodes->redis, i, true);
    }
    for (unsigned i = 0; i < DEVICES; i++) {
        if (storm.devices[i].here) {
            stall(&storm.devices[i], false);
        }
    }
    nodes_settle(storm.nodes);
    nodes_advance(storm.nodes, storm.lossy ? RECHECK_MS + 3000 : 3000);
    nodes_settle(storm.nodes);
    check_all(&storm);
    for (unsigned i = 0; i < DEVICES; i++) {
        if (storm.devices[i].here) {
            disconnect_device(&storm.devices[i]);
        }
    }
    nodes_settle(storm.nodes);
    uint64_t hash = det_sched_hash(storm.nodes->node[0].det);
    for (unsigned i = 0; i < options.nodes; i++) {
        cr_assert_eq(nodes_stat(storm.nodes, i, offsetof(struct shard_stats, users)), 0);
    }
    nodes_destroy(storm.nodes);
    return hash;
}

Test(inbox, everybody_knows_in_the_end)
{
    const char *more = getenv("PEAL_SEEDS");
    uint64_t seeds = more ? strtoull(more, NULL, 10) : SEEDS;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run(seed);
    }
}

Test(inbox, same_seed_same_hash)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        cr_assert_eq(run(seed), run(seed), "seed %llu", (unsigned long long)seed);
    }
}

/* --- one thing at a time --- */

static struct storm *quiet_storm(unsigned nodes, bool ingest)
{
    static struct storm storm;
    const struct nodes_options options = {
        .nodes = nodes, .shards = 2, .bus = true, .ingest = ingest, .partitions = 1};
    memset(&storm, 0, sizeof(storm));
    storm.nodes = nodes_create(1, &options);
    nodes_settle(storm.nodes);
    return &storm;
}

static struct device *connect_as(struct storm *storm, unsigned at, unsigned node)
{
    struct device *device = &storm->devices[at];
    do {
        connect_device(storm, device);
        if (device->node != node || device->user != 0) {
            disconnect_device(device);
            nodes_settle(storm->nodes);
        }
    } while (!device->here);
    return device;
}

static void finish(struct storm *storm)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (storm->devices[i].here) {
            disconnect_device(&storm->devices[i]);
        }
    }
    nodes_settle(storm->nodes);
    nodes_destroy(storm->nodes);
}

Test(inbox, ready_needs_feed_and_position)
{
    struct storm *storm = quiet_storm(1, false);
    struct nodes *nodes = storm->nodes;
    fake_redis_freeze(nodes->redis, 0, true);
    struct device *device = connect_as(storm, 0, 0);
    nodes_advance(nodes, 500);
    nodes_settle(nodes);
    cr_assert_not(device->ready, "the channel is not confirmed");
    for (unsigned i = 0; i < 2; i++) {
        fake_store_hold(nodes->node[0].shards[i].shard.store, true);
    }
    fake_redis_freeze(nodes->redis, 0, false);
    nodes_advance(nodes, 500);
    nodes_settle(nodes);
    cr_assert_not(device->ready, "the store has not said where the inbox stands");
    for (unsigned i = 0; i < 2; i++) {
        fake_store_hold(nodes->node[0].shards[i].shard.store, false);
    }
    nodes_settle(nodes);
    cr_assert(device->ready);
    finish(storm);
}

static void recheck_finds(bool flood)
{
    struct storm *storm = quiet_storm(1, false);
    struct device *device = connect_as(storm, 0, 0);
    nodes_settle(storm->nodes);
    cr_assert(device->ready);
    fake_store_post(storm->nodes->store, users[0], "nobody was told");
    if (flood) {
        fake_store_flood(storm->nodes->store);
    }
    nodes_advance(storm->nodes, 100);
    nodes_settle(storm->nodes);
    cr_assert_not(knows_all(device));
    nodes_advance(storm->nodes, RECHECK_MS);
    nodes_settle(storm->nodes);
    cr_assert(knows_all(device), "within recheck_ms");
    finish(storm);
}

Test(inbox, recheck_finds_the_last_announcement)
{
    recheck_finds(false);
}

/* When too much has changed to be listed, all users online are asked for. */
Test(inbox, recheck_asks_for_everybody_when_too_much_has_changed)
{
    recheck_finds(true);
}

static uint64_t lags(struct storm *storm)
{
    return nodes_stat(storm->nodes, 0, offsetof(struct shard_stats, lags));
}

static void post_many(struct storm *storm, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct store_row row = fake_store_post(storm->nodes->store, users[0], "one of many");
        announce_row(nodes_on(storm->nodes, 0, 0), &row);
    }
    nodes_advance(storm->nodes, 100);
    nodes_settle(storm->nodes);
}

Test(inbox, what_no_outbox_has_room_for_is_read_from_the_store)
{
    struct storm *storm = quiet_storm(1, false);
    struct device *slow = connect_as(storm, 0, 0);
    struct device *other = connect_as(storm, 1, 0);
    nodes_settle(storm->nodes);
    stall(slow, true);
    post_many(storm, 300);
    cr_assert_gt(lags(storm), 0);
    cr_assert(knows_all(other), "it is not held up");
    cr_assert_lt(slow->client.outbox.bytes, 2 * OUTBOX_HIGH, "no number of rows fills an outbox");
    cr_assert_not(slow->client.overflowed);
    stall(slow, false);
    nodes_advance(storm->nodes, 2000);
    nodes_settle(storm->nodes);
    cr_assert_eq(slow->told, 300);
    cr_assert(knows_all(slow));
    post_many(storm, 1);
    cr_assert_eq(slow->told, 301, "it goes on with the others");
    cr_assert_eq(other->told, 301);
    finish(storm);
}

Test(inbox, a_store_that_fails_is_asked_again_for_who_is_behind)
{
    struct storm *storm = quiet_storm(1, false);
    struct device *slow = connect_as(storm, 0, 0);
    nodes_settle(storm->nodes);
    stall(slow, true);
    post_many(storm, 100);
    fake_store_set_failures(storm->nodes->store, 1); /* each request */
    stall(slow, false);
    nodes_advance(storm->nodes, 3000);
    nodes_settle(storm->nodes);
    cr_assert_not(knows_all(slow));
    fake_store_set_failures(storm->nodes->store, 0);
    nodes_advance(storm->nodes, 3000);
    nodes_settle(storm->nodes);
    cr_assert(knows_all(slow));
    cr_assert_eq(slow->told, 100);
    finish(storm);
}

Test(inbox, who_goes_while_behind_leaves_nothing)
{
    struct storm *storm = quiet_storm(1, false);
    struct device *slow = connect_as(storm, 0, 0);
    struct device *other = connect_as(storm, 1, 0);
    nodes_settle(storm->nodes);
    stall(slow, true);
    post_many(storm, 100);
    disconnect_device(slow);
    nodes_settle(storm->nodes);
    post_many(storm, 1);
    cr_assert_eq(other->told, 101);
    finish(storm);
}

/* An owner that dies between the commit and the announcement: who takes over looks after its users.
 */
Test(inbox, a_new_owner_rechecks_its_users)
{
    struct storm *storm = quiet_storm(2, true);
    struct nodes *nodes = storm->nodes;
    nodes_stop(nodes, 1);
    nodes_advance(nodes, 3000); /* node 0 owns the stream */
    nodes_start(nodes, 1);
    nodes_settle(nodes);
    struct device *device = connect_as(storm, 0, 1);
    nodes_settle(nodes);
    cr_assert(device->ready);
    fake_store_post(nodes->store, users[0], "committed, not announced");
    nodes_stop(nodes, 0);
    nodes_advance(nodes, 3000);
    nodes_settle(nodes);
    cr_assert(knows_all(device));
    finish(storm);
}

Test(inbox, an_announcement_of_what_is_not_stored_is_read_for_once)
{
    struct storm *storm = quiet_storm(1, false);
    struct nodes *nodes = storm->nodes;
    struct device *device = connect_as(storm, 0, 0);
    nodes_settle(nodes);
    cr_assert(device->ready);
    struct shard *shard = device->client.socket.shard;
    uint64_t gaps = shard->stats.gaps;
    struct store_row row = fake_store_post(nodes->store, users[0], "there is no more");
    row.rev = UINT64_MAX >> 1;
    act_as(device);
    announce_row(shard, &row);
    for (unsigned i = 0; i < 50; i++) {
        nodes_advance(nodes, 20);
        nodes_settle(nodes);
    }
    cr_assert(knows_all(device));
    cr_assert_eq(shard->stats.gaps, gaps + 1);
    finish(storm);
}

Test(inbox, a_read_reaches_the_other_devices_though_the_reader_has_gone)
{
    struct storm *storm = quiet_storm(2, false);
    struct nodes *nodes = storm->nodes;
    storm->posted = 1;
    fake_store_post(nodes->store, users[0], "one");
    struct device *reader = connect_as(storm, 0, 0);
    struct device *other = connect_as(storm, 1, 1);
    nodes_settle(nodes);
    cr_assert_eq(other->unread, 1);
    uint64_t id = 1;
    act_as(reader);
    user_event(&reader->client.socket, BYTES("[\"notification:read_all\"]"), &id, NULL, 0);
    for (unsigned i = 0; i < 2; i++) {
        fake_store_hold(nodes->node[0].shards[i].shard.store, true);
    }
    nodes_settle(nodes);
    disconnect_device(reader);
    nodes_settle(nodes);
    for (unsigned i = 0; i < 2; i++) {
        fake_store_hold(nodes->node[0].shards[i].shard.store, false);
    }
    nodes_settle(nodes);
    cr_assert_eq(other->unread, 0, "at once, not with the recheck");
    cr_assert(knows_all(other));
    finish(storm);
}

Test(inbox, store_away_and_back)
{
    struct storm *storm = quiet_storm(1, false);
    struct nodes *nodes = storm->nodes;
    fake_store_set_failures(nodes->store, 1);
    struct device *device = connect_as(storm, 0, 0);
    nodes_advance(nodes, 10000);
    cr_assert_not(device->ready);
    fake_store_set_failures(nodes->store, 0);
    nodes_advance(nodes, 3000);
    nodes_settle(nodes);
    cr_assert(device->ready, "asked again within two seconds");
    finish(storm);
}

/* What a node announces while its links are down is announced when they are up. */
Test(inbox, what_is_announced_while_redis_is_away_is_announced_again)
{
    for (unsigned round = 0; round < 2; round++) {
        struct storm *storm = quiet_storm(2, false);
        struct nodes *nodes = storm->nodes;
        struct device *device = connect_as(storm, 0, 1);
        nodes_settle(nodes);
        cr_assert(device->ready);
        fake_redis_reach(nodes->redis, 0, false);
        fake_redis_drop(nodes->redis, 0, 1);
        struct shard *shard = nodes_on(nodes, 0, 0);
        struct store_row row = fake_store_post(nodes->store, users[0], "while it was away");
        announce_row(shard, &row);
        for (unsigned i = 0; round == 1 && i <= INBOX_BUS_LATE_MAX; i++) { /* more than it keeps */
            char user[16];
            snprintf(user, sizeof(user), "many-%u", i);
            announce_repeat(nodes_on(nodes, 0, 0), (struct store_user){.user = bytes_str(user)});
        }
        nodes_settle(nodes);
        cr_assert_not(knows_all(device), "nobody could know");
        fake_redis_reach(nodes->redis, 0, true);
        nodes_advance(nodes, 500);
        nodes_settle(nodes);
        cr_assert(knows_all(device), "at once, not with the recheck; round %u", round);
        finish(storm);
    }
}

static uint64_t count_deaf(struct nodes *nodes)
{
    return nodes_stat(nodes, 0, offsetof(struct shard_stats, deaf));
}

/* Redis answers, but delivers nothing: seen after three messages; a Redis that is away is not. */
Test(inbox, a_bus_that_delivers_nothing_is_noticed)
{
    const struct nodes_options options = {.nodes = 1, .shards = 2, .bus = true, .partitions = 1};
    struct nodes *nodes = nodes_create(1, &options);
    uint64_t interval = nodes->node[0].config.probe_ms;
    nodes_advance(nodes, 10 * interval);
    cr_assert_eq(count_deaf(nodes), 0);
    fake_redis_lose(nodes->redis, 1);
    nodes_advance(nodes, 2 * interval);
    cr_assert_eq(count_deaf(nodes), 0, "not at once");
    nodes_advance(nodes, 3 * interval);
    cr_assert_eq(count_deaf(nodes), 2);
    fake_redis_lose(nodes->redis, 0);
    nodes_advance(nodes, 2 * interval);
    cr_assert_eq(count_deaf(nodes), 0);
    fake_redis_reach(nodes->redis, 0, false);
    fake_redis_drop(nodes->redis, 0, 1);
    nodes_advance(nodes, 10 * interval);
    cr_assert_eq(count_deaf(nodes), 0);
    nodes_destroy(nodes);
}
