/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user who hides, on three nodes over one Redis: nobody but itself and backends hears or sees
 * anything of it on any node, also when it comes back, on whatever node.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/presence/presence.h"
#include "actors/presence/presence_call.h"
#include "actors/presence/presence_part.h"
#include "actors/user/user.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "tests/support/client.h"
#include "tests/support/fake_bus.h"
#include "tests/support/nodes.h"
#include "tests/support/seed.h"

TestSuite(presence_hidden, .timeout = 300);

enum { NODES = 3, SHARDS = 2, LINGER_MS = 3000, HIDER = NODES, GUESTS = NODES + 2 };

/* The first ones follow `h` and are in its room, one on each node; the others are `h` itself. */
struct guest {
    struct client client; /* first */
    unsigned node;
    bool there;
    bool online; /* h, as it was told last */
    unsigned heard; /* events that say that h is there: online, joined, types */
    unsigned joined;
    unsigned left;
    unsigned acks;
};

static struct nodes *nodes;
static struct guest guests[GUESTS];

static const char *name_of(const struct guest *guest)
{
    static char at[8];
    (void)snprintf(at, sizeof(at), "f%u", (unsigned)(guest - guests));
    return guest >= &guests[HIDER] ? "h" : at;
}

/* What one of the others, or h itself, is told of h. */
static void on_received(struct client *client, const struct client_packet *packet)
{
    struct guest *guest = container_of(client, struct guest, client);
    struct bytes value;
    bool flag = false;
    if (packet->is_ack) {
        cr_assert_eq(json_scan_get(packet->args, "ok", &value), 0);
        cr_assert_eq(json_scan_bool(value, &flag), 0);
        cr_assert(flag, "%.*s", (int)packet->args.len, packet->args.at);
        guest->acks++;
    } else if (json_scan_get(packet->args, "userId", &value) != 0 ||
               !bytes_eq_str(value, "\"h\"")) {
        return;
    } else if (bytes_eq_str(packet->name, "presence")) {
        cr_assert_eq(json_scan_get(packet->args, "online", &value), 0);
        cr_assert_eq(json_scan_bool(value, &guest->online), 0);
        guest->heard += guest->online;
    } else if (bytes_eq_str(packet->name, "user_joined_room")) {
        guest->heard++;
        guest->joined++;
    } else if (bytes_eq_str(packet->name, "user_left_room")) {
        guest->left++;
    } else if (bytes_eq_str(packet->name, "typing")) {
        cr_assert_eq(json_scan_get(packet->args, "typing", &value), 0);
        cr_assert_eq(json_scan_bool(value, &flag), 0);
        guest->heard += flag;
    }
}

static void wait(uint64_t ms)
{
    for (; ms > 0; ms -= 250) {
        nodes_advance(nodes, 250);
        nodes_settle(nodes);
    }
}

static void say(struct guest *guest, const char *text)
{
    const uint64_t id = 1;
    unsigned before = guest->acks;
    (void)nodes_on(nodes, guest->node, sched_shard(guest->client.socket.shard->sched));
    user_event(&guest->client.socket, bytes_str(text), &id, NULL, 0);
    nodes_settle(nodes);
    cr_assert_eq(guest->acks, before + 1, "%s", text);
}

static void enter(struct guest *guest, unsigned node)
{
    unsigned number = nodes_user_shard(nodes, node, name_of(guest));
    struct shard *shard = nodes_on(nodes, node, number);
    guest->node = node;
    guest->client = (struct client){.received = on_received};
    client_init(&guest->client, shard, "/", name_of(guest), WIRE_SIO);
    cr_assert_eq(user_attach(shard, &guest->client.socket), 0);
    guest->there = true;
    say(guest, "[\"join_room\",{\"roomId\":\"den\"}]");
}

static void leave(struct guest *guest)
{
    if (guest->there) {
        (void)nodes_on(nodes, guest->node, sched_shard(guest->client.socket.shard->sched));
        client_finish(&guest->client, CLOSE_NORMAL);
        guest->there = false;
        nodes_settle(nodes);
    }
}

static void begin(void)
{
    const struct nodes_options options = {
        .nodes = NODES, .shards = SHARDS, .bus = true, .presence = true, .partitions = 1};
    memset(guests, 0, sizeof(guests));
    nodes = nodes_create(seed_draw(), &options);
    for (unsigned i = 0; i < NODES; i++) {
        nodes->node[i].config.presence = (struct presence_settings){
            .visibility = PRESENCE_VISIBLE_TENANT, .linger_ms = LINGER_MS};
    }
    wait(2 * PRESENCE_RENEW_MS);
    for (unsigned i = 0; i < NODES; i++) {
        enter(&guests[i], i);
        say(&guests[i], "[\"presence:subscribe\",{\"users\":[\"h\"]}]");
    }
}

static void end(void)
{
    for (unsigned i = 0; i < GUESTS; i++) {
        leave(&guests[i]);
    }
    nodes_destroy(nodes);
}

static bool answered;

static void on_done(struct presence_call *call)
{
    (void)call;
    answered = true;
}

/* Whether `viewer` (NULL: a backend) is told on the node that h is online. */
static bool sees(unsigned node, const char *viewer, bool *ret_hidden)
{
    struct presence_call call;
    struct shard *shard = nodes_on(nodes, node, 0);
    struct bytes key = bytes_str(viewer != NULL ? viewer : "");
    answered = false;
    presence_call_init(&call, on_done);
    cr_assert_eq(
        presence_call_add(&call, shard, BYTES(""), BYTES("h"), viewer != NULL ? &key : NULL), 0);
    cr_assert(presence_call_begin(&call, shard));
    nodes_settle(nodes);
    cr_assert(answered);
    const struct presence_ask *ask = container_of(call.asks.next, struct presence_ask, link);
    struct builder text = {0};
    json_write_open(&text, '{');
    presence_ask_write(ask, viewer == NULL, &text);
    builder_byte(&text, '\0');
    *ret_hidden = strstr(builder_bytes(&text).at, "\"visible\":false") != NULL;
    bool online = strstr(builder_bytes(&text).at, "\"online\":true") != NULL;
    builder_reset(&text);
    presence_call_finish(&call);
    return online;
}

/* On every node the others see h or not; itself and backends do, and whether it hides. */
static void check(bool online, bool hidden)
{
    bool said;
    for (unsigned i = 0; i < NODES; i++) {
        cr_assert_eq(guests[i].online, online && !hidden, "follower on %u", i);
        cr_assert_eq(sees(i, "f0", &said), online && !hidden, "asked on %u", i);
        cr_assert_not(said, "who may not see h is not told why");
        cr_assert_eq(sees(i, "h", &said), online);
        cr_assert_eq(said, online && hidden);
        cr_assert_eq(sees(i, NULL, &said), online);
        cr_assert_eq(said, online && hidden);
    }
}

static void forget_what_was_heard(void)
{
    for (unsigned i = 0; i < GUESTS; i++) {
        guests[i].heard = 0;
        guests[i].joined = 0;
        guests[i].left = 0;
    }
}

static void check_silence(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        cr_assert_eq(guests[i].heard, 0, "%u events to %u", guests[i].heard, i);
        cr_assert_eq(guests[i].joined + guests[i].left, 0);
    }
}

Test(presence_hidden, nothing_says_that_who_hides_is_there)
{
    begin();
    enter(&guests[HIDER], 0);
    wait(1000);
    check(true, false);
    for (unsigned i = 0; i < NODES; i++) {
        cr_assert_eq(guests[i].joined, 1);
    }
    say(&guests[HIDER], "[\"typing:start\",{\"roomId\":\"den\"}]");
    cr_assert_eq(guests[1].heard, 3);
    bool said;
    say(&guests[HIDER], "[\"presence:set\",{\"visible\":false}]");
    cr_assert_not(sees(0, "f0", &said), "from the answer on");
    wait(500); /* less than who goes lingers */
    check(true, true);
    for (unsigned i = 0; i < NODES; i++) {
        cr_assert_eq(guests[i].left, 1, "as if it had gone");
    }
    forget_what_was_heard();
    say(&guests[HIDER], "[\"typing:start\",{\"roomId\":\"den\"}]");
    say(&guests[HIDER], "[\"typing:stop\",{\"roomId\":\"den\"}]");
    say(&guests[HIDER], "[\"leave_room\",{\"roomId\":\"den\"}]");
    say(&guests[HIDER], "[\"join_room\",{\"roomId\":\"den\"}]");
    wait(1000);
    check_silence();
    end();
}

Test(presence_hidden, who_comes_back_hides_still_on_whatever_node)
{
    begin();
    enter(&guests[HIDER], 0);
    say(&guests[HIDER], "[\"presence:set\",{\"visible\":false}]");
    wait(1000);
    forget_what_was_heard();
    for (unsigned node = 0; node < NODES; node++) {
        leave(&guests[HIDER]);
        wait(node * 2 * LINGER_MS); /* at once, and when it is forgotten */
        enter(&guests[HIDER], node);
        wait(1000);
        check(true, true);
        enter(&guests[HIDER + 1], (node + 1) % NODES); /* another device */
        wait(1000);
        check(true, true);
        leave(&guests[HIDER + 1]);
    }
    fake_presence_clear(fake_redis_presence(nodes->redis));
    wait(4 * PRESENCE_RENEW_MS);
    check(true, true);
    check_silence();
    leave(&guests[HIDER]);
    wait(2 * LINGER_MS);
    check(false, true);
    check_silence();
    end();
}

Test(presence_hidden, one_device_hides_and_shows_all_of_them)
{
    begin();
    enter(&guests[HIDER], 0);
    enter(&guests[HIDER + 1], 1);
    say(&guests[HIDER], "[\"presence:set\",{\"visible\":false}]");
    wait(1000);
    check(true, true);
    for (unsigned i = 0; i < NODES; i++) {
        cr_assert_eq(guests[i].left, 2, "of each node");
    }
    forget_what_was_heard();
    say(&guests[HIDER + 1], "[\"presence:set\",{\"visible\":true}]");
    wait(1000);
    check(true, false);
    for (unsigned i = 0; i < NODES; i++) {
        cr_assert_eq(guests[i].joined, 2, "of each node");
        cr_assert_eq(guests[i].left, 0);
    }
    end();
}

Test(presence_hidden, who_hides_is_counted)
{
    begin();
    enter(&guests[HIDER], 0);
    say(&guests[HIDER], "[\"presence:set\",{\"visible\":false}]");
    wait(2 * PRESENCE_RENEW_MS);
    struct presence_call call;
    answered = false;
    presence_call_init(&call, on_done);
    cr_assert(presence_call_begin(&call, nodes_on(nodes, 2, 0)));
    nodes_settle(nodes);
    cr_assert(answered);
    cr_assert_eq(call.users, NODES + 1);
    presence_call_finish(&call);
    end();
}
