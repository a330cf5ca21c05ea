/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Presence on two nodes of which one allocation fails, each in turn: every question is answered or
 * refused, who follows is told the truth or has been sent away, and what Redis has is true in the
 * end.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/presence/presence_call.h"
#include "actors/presence/presence_part.h"
#include "actors/user/user.h"
#include "codec/base/log.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/failing.h"
#include "tests/support/fake_bus.h"
#include "tests/support/nodes.h"

TestSuite(presence_starved, .timeout = 300);

enum { NODES = 2, SHARDS = 2, USERS = 4, EACH = 400, NTH_MAX = 4000, LINGER_MS = 1000 };

struct guest {
    struct client client; /* first */
    unsigned node;
    bool there;
};

struct follower {
    struct guest guest; /* first */
    bool refused;
    bool told[USERS];
    bool online[USERS];
};

static struct nodes *nodes;
static struct guest guests[USERS];
static struct follower follower;
static bool answered;

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct follower *told = (struct follower *)(void *)client;
    struct bytes value;
    unsigned user;
    char text[16] = "";
    bool online = false;
    if (packet->is_ack) {
        cr_assert_eq(json_scan_get(packet->args, "ok", &value), 0);
        cr_assert_eq(json_scan_bool(value, &online), 0);
        told->refused = !online;
    } else if (bytes_eq_str(packet->name, "presence")) {
        cr_assert_eq(json_scan_get(packet->args, "userId", &value), 0);
        memcpy(text, value.at, value.len < sizeof(text) ? value.len : sizeof(text) - 1);
        cr_assert_eq(sscanf(text, "\"u%u\"", &user), 1);
        cr_assert_eq(json_scan_get(packet->args, "online", &value), 0);
        cr_assert_eq(json_scan_bool(value, &online), 0);
        told->told[user] = true;
        told->online[user] = online;
    }
}

static void ignore(struct client *client, const struct client_packet *packet)
{
    (void)client;
    (void)packet;
}

static void enter(struct guest *guest, unsigned node, const char *user, client_received_fn received)
{
    unsigned number = nodes_user_shard(nodes, node, user);
    struct shard *shard = nodes_on(nodes, node, number);
    guest->client = (struct client){.received = received};
    guest->node = node;
    guest->there = client_try_init(&guest->client, shard, "/", user, WIRE_SIO);
    if (guest->there && user_attach(shard, &guest->client.socket) != 0) {
        client_finish(&guest->client, CLOSE_NO_MEMORY);
        guest->there = false;
    }
}

static void leave(struct guest *guest)
{
    if (guest->there) {
        (void)nodes_on(nodes, guest->node, sched_shard(guest->client.socket.shard->sched));
        client_finish(&guest->client, CLOSE_NORMAL);
        guest->there = false;
    }
}

static void wait(uint64_t ms)
{
    for (; ms > 0; ms -= 250) {
        nodes_advance(nodes, 250);
        nodes_settle(nodes);
    }
}

static void on_done(struct presence_call *call)
{
    (void)call;
    answered = true;
}

/* Ask how all are; what is answered as complete must be true. */
static void ask(void)
{
    struct presence_call call;
    struct shard *shard = nodes_on(nodes, 1, 0);
    bool good = true;
    answered = false;
    presence_call_init(&call, on_done);
    call.detailed = true;
    for (unsigned i = 0; good && i < USERS; i++) {
        char user[8];
        snprintf(user, sizeof(user), "u%u", i);
        good = presence_call_add(&call, shard, BYTES(""), bytes_str(user), NULL) == 0;
    }
    if (good && presence_call_begin(&call, shard)) {
        nodes_settle(nodes);
        cr_assert(answered);
        unsigned i = 0;
        list_for_each (link, &call.asks) {
            const struct presence_ask *one = container_of(link, struct presence_ask, link);
            cr_assert(!call.complete || (one->connections > 0) == guests[i].there);
            i++;
        }
    }
    presence_call_finish(&call);
}

static void say(const char *text)
{
    const uint64_t id = 1;
    if (follower.guest.there) {
        (void)nodes_on(
            nodes, follower.guest.node, sched_shard(follower.guest.client.socket.shard->sched));
        user_event(&follower.guest.client.socket, bytes_str(text), &id, NULL, 0);
        nodes_settle(nodes);
    }
}

static void begin(void)
{
    const struct nodes_options options = {
        .nodes = NODES, .shards = SHARDS, .bus = true, .presence = true, .partitions = 1};
    memset(guests, 0, sizeof(guests));
    memset(&follower, 0, sizeof(follower));
    nodes = nodes_create(7, &options);
    for (unsigned i = 0; i < NODES; i++) {
        nodes->node[i].config.presence = (struct presence_settings){
            .visibility = PRESENCE_VISIBLE_TENANT, .linger_ms = LINGER_MS};
    }
    wait(2 * PRESENCE_RENEW_MS);
}

/* What all do, while an allocation fails. */
static void live(void)
{
    char user[8];
    for (unsigned i = 0; i < USERS; i++) {
        snprintf(user, sizeof(user), "u%u", i);
        enter(&guests[i], i % NODES, user, ignore);
    }
    enter(&follower.guest, 1, "f", on_received);
    wait(1000);
    say("[\"presence:subscribe\",{\"users\":[\"u0\",\"u1\",\"u2\",\"u3\"]}]");
    ask();
    leave(&guests[0]);
    leave(&guests[3]);
    wait(1000);
    say("[\"presence:query\",{\"users\":[\"u0\",\"u1\"]}]");
    say("[\"presence:unsubscribe\",{\"users\":[\"u2\"]}]");
    say("[\"presence:subscribe\",{\"users\":[\"u2\"]}]");
    wait(1000);
}

static void check(int64_t nth)
{
    size_t users = follower.guest.there;
    const struct client *client = &follower.guest.client;
    for (unsigned i = 0; i < USERS; i++) {
        users += guests[i].there;
        if (follower.guest.there && !client->ended && !client->overflowed && !follower.refused &&
            follower.told[i]) {
            cr_assert_eq(follower.online[i], guests[i].there, "%lld: u%u", (long long)nth, i);
        }
    }
    size_t found = fake_presence_users(fake_redis_presence(nodes->redis), nodes->now_ms);
    cr_assert_eq(found, users, "%lld: %zu of %zu", (long long)nth, found, users);
    ask();
}

/* Whether any allocation failed. */
static bool run(int64_t nth, int64_t count)
{
    begin();
    failing_arm(nth, count);
    live();
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    wait(PRESENCE_LIFETIME_MS + 4 * LINGER_MS);
    check(nth);
    for (unsigned i = 0; i < USERS; i++) {
        leave(&guests[i]);
    }
    leave(&follower.guest);
    nodes_settle(nodes);
    nodes_destroy(nodes);
    return any;
}

Test(presence_starved, one_allocation_that_fails_leaves_nothing_untrue)
{
    log_set_level(LOG_ERROR);
    int64_t nth = 1;
    while (nth < NTH_MAX && run(nth, 1)) {
        nth += nth < EACH ? 1 : 3; /* there are some hundreds more of the like */
    }
    cr_assert(nth > 20 && nth < NTH_MAX, "%lld", (long long)nth);
}

Test(presence_starved, neither_do_some_in_a_row)
{
    log_set_level(LOG_ERROR);
    for (int64_t nth = 1; nth < NTH_MAX && run(nth, 5);) {
        nth += 7;
    }
}
