/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said in rooms that keep it: kept before it is told, in the order of who says it, once;
 * refused where it cannot be kept; read by members, in pages.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/history/room_history.h"
#include "actors/inbox/post.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/slot.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(room_history, .timeout = 120);

enum { KEPT_MAX = 512, HEARD_MAX = 512, SEEDS = 60, TEXT_MAX = 400 };

static const struct nodes_options one_node = {
    .nodes = 1, .shards = 2, .history = true, .retain_bytes = 1 << 20};

/* What the store was given, in its order. */
struct kept {
    char room[32];
    char user[16];
    char args[TEXT_MAX];
    uint8_t id[16];
    bool expires; /* a minute later */
};

static struct kept kept[KEPT_MAX];
static unsigned kept_count;
static unsigned asked; /* requests to add */
static int answers[4]; /* to the first ones; 0: they are carried out */
static struct store_history_list last_list; /* that was asked for */
static struct store_message page[2]; /* its answer */

static void copy(char *at, size_t size, struct bytes text)
{
    (void)snprintf(at, size, "%.*s", (int)text.len, text.len > 0 ? text.at : "");
}

static bool is_kept(const uint8_t id[16])
{
    for (unsigned i = 0; i < kept_count; i++) {
        if (memcmp(kept[i].id, id, 16) == 0) {
            return true;
        }
    }
    return false;
}

static int on_add(const struct store_history_add *add)
{
    cr_assert(add->count >= 1 && add->count <= STORE_HISTORY_ADD_MAX);
    int status = asked < ARRAY_LEN(answers) ? answers[asked] : 0;
    asked++;
    for (size_t i = 0; (status == 0 || status == STATUS_UNKNOWN) && i < add->count; i++) {
        const struct store_message *message = &add->messages[i];
        cr_assert_eq(slot_of_id(message->id), slot_of(message->tenant, message->room));
        if (is_kept(message->id)) {
            continue;
        }
        cr_assert_lt(kept_count, KEPT_MAX);
        struct kept *added = &kept[kept_count++];
        copy(added->room, sizeof(added->room), message->room);
        copy(added->user, sizeof(added->user), message->user);
        copy(added->args, sizeof(added->args), message->args);
        memcpy(added->id, message->id, 16);
        added->expires = message->expires_at == message->at + 60000;
    }
    return status;
}

static int on_history(struct store_request *request)
{
    if (request->op == STORE_HISTORY_ADD) {
        return on_add((const struct store_history_add *)request);
    }
    if (request->op == STORE_HISTORY_LIST) {
        struct store_history_list *list = (struct store_history_list *)request;
        last_list = *list;
        list->messages = page;
        list->count = 2;
        list->more = true;
        return list->before ? STATUS_NOT_FOUND : 0;
    }
    return 0;
}

struct guest {
    struct client client; /* first */
    const char *user;
    char heard[HEARD_MAX][8]; /* the texts and numbers of what it was told, in order */
    unsigned heard_count;
    unsigned acks;
    unsigned refused;
    char ack[TEXT_MAX]; /* the last one */
};

static struct nodes *nodes;
static struct guest guests[2];

/* {"message":"7"} or {"n":"7"}: what is between the quotes. */
static void hear(struct guest *guest, struct bytes args)
{
    struct bytes value;
    struct bytes text;
    char at[8];
    if ((json_scan_get(args, "message", &value) == 0 || json_scan_get(args, "n", &value) == 0) &&
        json_scan_string(value, at, sizeof(at), &text) == 0) {
        cr_assert_lt(guest->heard_count, HEARD_MAX);
        copy(guest->heard[guest->heard_count++], sizeof(guest->heard[0]), text);
    }
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct guest *guest = (struct guest *)(void *)client;
    if (packet->is_ack) {
        guest->acks++;
        guest->refused += bytes_starts(packet->args, BYTES("{\"ok\":false"));
        copy(guest->ack, sizeof(guest->ack), packet->args);
    } else if (bytes_eq_str(packet->name, "new_message") || bytes_eq_str(packet->name, "n")) {
        hear(guest, packet->args);
    }
}

static struct shard *act(const struct guest *guest)
{
    return nodes_on(nodes, 0, nodes_user_shard(nodes, 0, guest->user));
}

static void call(struct guest *guest, const char *text)
{
    static uint64_t id;
    id++;
    (void)act(guest);
    user_event(&guest->client.socket, bytes_str(text), &id, NULL, 0);
}

static void enter(struct guest *guest, const char *user)
{
    *guest = (struct guest){.user = user, .client.received = on_received};
    client_init(&guest->client, act(guest), "/", user, WIRE_JSON);
    cr_assert_eq(user_attach(guest->client.socket.shard, &guest->client.socket), 0);
    nodes_settle(nodes);
    call(guest, "[\"join_room\",\"said:a\"]");
    nodes_settle(nodes);
    guest->acks = 0;
}

static void leave(struct guest *guest)
{
    (void)act(guest);
    client_finish(&guest->client, CLOSE_NORMAL);
}

static void open(uint64_t seed, const struct nodes_options *options)
{
    kept_count = asked = 0;
    memset(answers, 0, sizeof(answers));
    nodes = nodes_create(seed, options);
    nodes->node[0].config.relay_unknown = true;
    nodes->node[0].config.nonce_ms = 600000;
    fake_store_set_history(nodes->store, on_history);
    nodes_settle(nodes);
    enter(&guests[0], "ann");
    enter(&guests[1], "bob");
}

static void close(void)
{
    leave(&guests[0]);
    leave(&guests[1]);
    nodes_settle(nodes);
    cr_expect_eq(nodes_stat(nodes, 0, offsetof(struct shard_stats, history.waiting)), 0);
    cr_expect_eq(nodes_stat(nodes, 0, offsetof(struct shard_stats, history.waiting_bytes)), 0);
    nodes_destroy(nodes);
}

static void say(struct guest *guest, const char *text, const char *nonce)
{
    char event[128];
    (void)snprintf(event, sizeof(event),
        "[\"send_message\",{\"roomId\":\"said:a\",\"message\":\"%s\"%s%s}]", text,
        nonce != NULL ? ",\"nonce\":" : "", nonce != NULL ? nonce : "");
    call(guest, event);
}

static void hold(bool hold)
{
    for (unsigned i = 0; i < one_node.shards; i++) {
        fake_store_hold(nodes_on(nodes, 0, i)->store, hold);
    }
}

static bool was_heard(const struct guest *guest, const char *text)
{
    for (unsigned i = 0; i < guest->heard_count; i++) {
        if (strcmp(guest->heard[i], text) == 0) {
            return true;
        }
    }
    return false;
}

Test(room_history, a_message_is_kept_before_it_is_told)
{
    open(1, &one_node);
    hold(true);
    say(&guests[0], "1", NULL);
    nodes_settle(nodes);
    cr_expect(guests[0].acks == 0 && guests[1].heard_count == 0, "it is not kept yet");
    hold(false);
    nodes_settle(nodes);
    cr_assert_eq(kept_count, 1);
    cr_expect_str_eq(kept[0].room, "said:a");
    cr_expect_str_eq(kept[0].user, "ann");
    cr_expect(kept[0].expires);
    cr_expect(guests[0].acks == 1 && guests[0].refused == 0);
    cr_expect(was_heard(&guests[0], "1") && was_heard(&guests[1], "1"));
    struct bytes id;
    cr_assert_eq(json_scan_get(bytes_str(guests[0].ack), "id", &id), 0);
    cr_expect_not_null(strstr(kept[0].args, "\"message\":\"1\""));
    cr_expect_not_null(memmem(kept[0].args, strlen(kept[0].args), id.at, id.len),
        "it is known by the same id in the history");
    cr_expect_eq(nodes_stat(nodes, 0, offsetof(struct shard_stats, history.kept)), 1);
    close();
}

Test(room_history, what_the_store_does_not_take_is_not_told)
{
    open(1, &one_node);
    answers[0] = STATUS_UNAVAILABLE;
    say(&guests[0], "1", "\"x\"");
    nodes_settle(nodes);
    cr_expect(guests[0].refused == 1 && strstr(guests[0].ack, "unavailable") != NULL);
    cr_expect(!was_heard(&guests[1], "1"));
    cr_expect_eq(nodes_stat(nodes, 0, offsetof(struct shard_stats, history.refused)), 1);
    say(&guests[0], "1", "\"x\"");
    nodes_settle(nodes);
    cr_expect(guests[0].refused == 1 && was_heard(&guests[1], "1"), "its nonce was not used");
    say(&guests[0], "1", "\"x\"");
    nodes_settle(nodes);
    cr_expect_not_null(strstr(guests[0].ack, "duplicate"));
    cr_expect_eq(kept_count, 1);
    close();
}

Test(room_history, a_message_that_is_being_kept_is_no_duplicate_yet)
{
    open(1, &one_node);
    hold(true);
    say(&guests[0], "1", "7");
    say(&guests[0], "1", "7");
    nodes_settle(nodes);
    cr_expect(guests[0].acks == 1 && guests[0].refused == 1);
    cr_expect_not_null(strstr(guests[0].ack, "retryAfter"));
    hold(false);
    nodes_settle(nodes);
    cr_expect(guests[0].acks == 2 && guests[0].refused == 1);
    cr_expect_eq(kept_count, 1);
    close();
}

Test(room_history, a_lost_answer_is_asked_for_again)
{
    open(1, &one_node);
    answers[0] = STATUS_UNKNOWN;
    answers[1] = STATUS_UNAVAILABLE;
    say(&guests[0], "1", NULL);
    nodes_settle(nodes);
    cr_expect_eq(guests[0].acks, 0, "nobody knows");
    nodes_advance(nodes, 1000);
    nodes_settle(nodes);
    cr_expect(guests[0].acks == 1 && guests[0].refused == 0);
    cr_expect(asked == 3 && kept_count == 1 && was_heard(&guests[1], "1"));
    for (unsigned i = 0; i < ARRAY_LEN(answers); i++) {
        answers[i] = STATUS_UNKNOWN;
    }
    asked = 0;
    fake_store_set_failures(nodes->store, 1); /* UNAVAILABLE, from then on */
    say(&guests[0], "2", NULL);
    nodes_settle(nodes);
    nodes_advance(nodes, 10000);
    nodes_settle(nodes);
    fake_store_set_failures(nodes->store, 0);
    cr_expect_eq(guests[0].refused, 1);
    close();
}

/* Whether the n-th of what is posted is told in its order, kept or not. */
static void say_next(unsigned n)
{
    char text[160];
    unsigned how = (unsigned)nodes_dice(nodes, 3);
    if (how == 0) {
        char number[8];
        (void)snprintf(number, sizeof(number), "%u", n);
        say(&guests[0], number, NULL);
    } else if (how == 1) {
        (void)snprintf(text, sizeof(text), "[\"n\",{\"roomId\":\"said:a\",\"n\":\"%u\"}]", n);
        call(&guests[0], text);
    } else {
        nodes_settle(nodes); /* another poster's order is its own */
        char args[32];
        (void)snprintf(args, sizeof(args), "[{\"n\":\"%u\"}]", n);
        const struct bytes room = BYTES("said:a");
        const struct notification_post post = {.is_event = true,
            .target = NOTIFICATION_ROOMS,
            .targets = &room,
            .target_count = 1,
            .event = BYTES("n"),
            .args = bytes_str(args),
            .is_volatile = nodes_dice(nodes, 2) == 0};
        cr_assert_eq(post_event(nodes_on(nodes, 0, 0), &post), 0);
        nodes_settle(nodes);
    }
}

Test(room_history, the_order_of_a_poster_holds)
{
    enum { COUNT = 60 };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        open(seed, &one_node);
        for (unsigned n = 0; n < COUNT; n++) {
            say_next(n);
            for (uint64_t moves = nodes_dice(nodes, 6); moves > 0 && nodes_step(nodes); moves--) {
            }
        }
        nodes_settle(nodes);
        nodes_advance(nodes, 300); /* what waits for its window */
        nodes_settle(nodes);
        cr_assert_eq(guests[0].refused, 0, "%s", guests[0].ack);
        cr_assert_eq(
            guests[1].heard_count, COUNT, "seed %u: %u", (unsigned)seed, guests[1].heard_count);
        for (unsigned n = 0; n < COUNT; n++) {
            cr_assert_eq(atoi(guests[1].heard[n]), n, "seed %u", (unsigned)seed);
        }
        close();
    }
}

Test(room_history, posts_of_a_stream_are_told_though_they_cannot_be_kept)
{
    open(1, &one_node);
    const struct bytes rooms[] = {BYTES("said:a"), BYTES("said:b"), BYTES("mem:c")};
    const struct notification_post post = {.is_event = true,
        .target = NOTIFICATION_ROOMS,
        .targets = rooms,
        .target_count = 3,
        .event = BYTES("n"),
        .args = BYTES("[{\"n\":\"1\"}]")};
    cr_assert_eq(post_event(nodes_on(nodes, 0, 0), &post), 0);
    nodes_settle(nodes);
    cr_assert_eq(kept_count, 2, "in each room that keeps it");
    cr_expect_str_eq(kept[1].room, "said:b");
    cr_expect_str_eq(kept[0].user, "");
    cr_expect_eq(guests[1].heard_count, 1);
    asked = 0;
    answers[0] = STATUS_UNAVAILABLE;
    cr_assert_eq(post_event(nodes_on(nodes, 0, 0), &post), 0);
    nodes_settle(nodes);
    cr_expect(kept_count == 2 && guests[1].heard_count == 2);
    cr_expect_eq(nodes_stat(nodes, 0, offsetof(struct shard_stats, history.unkept)), 1);
    close();
}

Test(room_history, what_waits_is_bounded)
{
    open(1, &one_node);
    hold(true);
    struct builder args = {0};
    builder_str(&args, "[{\"n\":\"1\",\"x\":\"");
    for (unsigned i = 0; i < 60000; i++) {
        builder_byte(&args, 'x');
    }
    builder_str(&args, "\"}]");
    const struct bytes room = BYTES("said:a");
    const struct notification_post post = {.is_event = true,
        .target = NOTIFICATION_ROOMS,
        .targets = &room,
        .target_count = 1,
        .event = BYTES("big"),
        .args = builder_bytes(&args)};
    for (unsigned i = 0; i < 400; i++) {
        cr_assert_eq(post_event(nodes_on(nodes, 0, 0), &post), 0);
    }
    uint64_t bytes = nodes_stat(nodes, 0, offsetof(struct shard_stats, history.waiting_bytes));
    cr_expect(bytes > 16 << 20 && bytes < 17 << 20, "%llu", (unsigned long long)bytes);
    cr_expect_gt(nodes_stat(nodes, 0, offsetof(struct shard_stats, history.refused)), 100);
    hold(false);
    nodes_settle(nodes);
    builder_reset(&args);
    close();
}

Test(room_history, members_read_it_in_pages)
{
    open(1, &one_node);
    page[0] = (struct store_message){.event = BYTES("n"), .args = BYTES("2"), .at = 1000};
    page[1] = (struct store_message){
        .user = BYTES("ann"), .event = BYTES("new_message"), .args = BYTES("{\"a\":1},3")};
    page[1].id[15] = 9;
    call(&guests[0], "[\"room:history\",{\"roomId\":\"said:a\",\"limit\":7}]");
    nodes_settle(nodes);
    cr_expect(bytes_eq_str(last_list.room, "said:a") || guests[0].acks == 1);
    cr_expect_eq(last_list.limit, 7);
    cr_expect_str_eq(guests[0].ack,
        "{\"ok\":true,\"roomId\":\"said:a\",\"messages\":[{\"id\":\"00000000-0000-0000-0000-"
        "000000000009\",\"userId\":\"ann\",\"event\":\"new_message\",\"args\":[{\"a\":1},3],"
        "\"at\":null},{\"id\":\"00000000-0000-0000-0000-000000000000\",\"event\":\"n\",\"args\":["
        "2],\"at\":\"1970-01-01T00:00:01.000Z\"}],\"next\":\"00000000-0000-0000-0000-"
        "000000000009\"}");
    call(&guests[0], "[\"room:history\",{\"roomId\":\"said:a\",\"before\":"
                     "\"00000000-0000-7000-8000-000000000009\"}]");
    nodes_settle(nodes);
    cr_expect_not_null(strstr(guests[0].ack, "\"field\":\"before\""), "%s", guests[0].ack);
    static const struct {
        const char *call;
        const char *error;
    } wrong[] = {
        {"[\"room:history\",{\"roomId\":\"said:a\",\"limit\":0}]", "\"field\":\"limit\""},
        {"[\"room:history\",{\"roomId\":\"said:a\",\"limit\":101}]", "\"field\":\"limit\""},
        {"[\"room:history\",{\"roomId\":\"said:a\",\"before\":7}]", "\"field\":\"before\""},
        {"[\"room:history\",{\"roomId\":\"said:b\"}]", "Not in this room"},
        {"[\"room:history\",{}]", "\"field\":\"roomId\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        call(&guests[0], wrong[i].call);
        nodes_settle(nodes);
        cr_expect_not_null(strstr(guests[0].ack, wrong[i].error), "%s", guests[0].ack);
    }
    call(&guests[1], "[\"join_room\",\"plain\"]");
    call(&guests[1], "[\"room:history\",{\"roomId\":\"plain\"}]"); /* waits for the join */
    nodes_settle(nodes);
    cr_expect_not_null(strstr(guests[1].ack, "not kept"), "%s", guests[1].ack);
    close();
}

Test(room_history, what_waits_when_the_node_ends_is_refused)
{
    open(1, &one_node);
    hold(true);
    say(&guests[0], "1", NULL);
    say(&guests[0], "2", NULL);
    nodes_settle(nodes);
    struct shard *shard = act(&guests[0]);
    room_history_close(shard->history);
    nodes_settle(nodes);
    cr_expect(guests[0].acks == 1 && guests[0].refused == 1, "the second one waited");
    say(&guests[0], "3", NULL);
    nodes_settle(nodes);
    cr_expect_eq(guests[0].refused, 2);
    hold(false);
    nodes_settle(nodes);
    cr_expect(guests[0].acks == 3 && was_heard(&guests[1], "1"));
    cr_expect_eq(room_history_pending(shard->history), 0);
    close();
}
