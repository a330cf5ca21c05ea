/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of an inbox that are larger than an outbox: they are cut, and nothing is missing.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/user/user.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(pages, .timeout = 60);

/* The answer to the latest request of the one client. */
static struct {
    struct builder text;
    unsigned items;
    size_t largest;
} answered;

static void on_answer(struct client *client, const struct client_packet *packet)
{
    struct bytes items;
    struct bytes item;
    struct json_scan_iter iter;
    (void)client;
    if (packet->is_ack) {
        builder_clear(&answered.text);
        builder_add(&answered.text, packet->args);
        cr_assert_eq(json_scan_get(packet->args, "items", &items), 0);
        cr_assert(json_scan_iter_init(&iter, items));
        while (json_scan_element(&iter, &item)) {
            answered.items++;
        }
        size_t len = packet->args.len;
        answered.largest = len > answered.largest ? len : answered.largest;
    }
}

/* Ask for pages until there is none, each from where the one before says; how many there were. */
static unsigned ask_all(struct nodes *nodes, struct socket *socket, const char *event,
    const char *from, const char *start, const char *member_name)
{
    char cursor[64];
    unsigned pages = 0;
    snprintf(cursor, sizeof(cursor), "%s", start);
    answered.items = 0;
    answered.largest = 0;
    for (bool more = true; more; pages++) {
        char text[128];
        struct bytes value;
        struct bytes done;
        snprintf(text, sizeof(text), "[\"%s\",{\"%s\":%s}]", event, from, cursor);
        nodes_on(nodes, 0, sched_shard(socket->shard->sched));
        user_event(socket, bytes_str(text), &(uint64_t){1}, NULL, 0);
        nodes_settle(nodes);
        cr_assert_eq(json_scan_get(builder_bytes(&answered.text), member_name, &value), 0);
        snprintf(cursor, sizeof(cursor), "%.*s", (int)value.len, value.at);
        more = json_scan_kind(value) != JSON_SCAN_NULL &&
               !(json_scan_get(builder_bytes(&answered.text), "done", &done) == 0 &&
                   bytes_eq_str(done, "true"));
    }
    return pages;
}

Test(pages, a_page_larger_than_an_outbox_is_cut)
{
    enum { ROWS = 60, ROOM = 2000 };
    const struct nodes_options options = {.nodes = 1, .shards = 2, .partitions = 1};
    struct nodes *nodes = nodes_create(1, &options);
    struct client client = {.received = on_answer};
    struct socket *socket = &client.socket;
    struct shard *shard = nodes_on(nodes, 0, nodes_user_shard(nodes, 0, "u0"));
    client_init(&client, shard, "/", "u0", WIRE_JSON);
    cr_assert_eq(user_attach(shard, socket), 0);
    nodes_settle(nodes);
    for (unsigned i = 0; i < ROWS; i++) {
        fake_store_post(nodes->store, "u0", "one of many");
    }
    nodes->node[0].config.outbound_bytes = ROOM;
    unsigned pages = ask_all(nodes, socket, "notification:list", "after", "null", "next");
    cr_expect_eq(answered.items, ROWS);
    cr_expect(pages > 3 && answered.largest <= ROOM, "%u pages", pages);
    pages = ask_all(nodes, socket, "notification:sync", "rev", "0", "rev");
    cr_expect_eq(answered.items, ROWS);
    cr_expect(pages > 3 && answered.largest <= ROOM, "%u pages", pages);
    nodes->node[0].config.outbound_bytes = 1; /* one entry is given, whatever its size */
    cr_expect_eq(ask_all(nodes, socket, "notification:sync", "rev", "0", "rev"), ROWS);
    cr_expect_eq(answered.items, ROWS);
    builder_reset(&answered.text);
    nodes_on(nodes, 0, sched_shard(shard->sched));
    client_finish(&client, CLOSE_NORMAL);
    nodes_settle(nodes);
    nodes_destroy(nodes);
}
