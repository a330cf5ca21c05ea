/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of Redis about who is online: what they say, and what is no answer.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "actors/bus.h"
#include "actors/deliver/owner.h"
#include "actors/presence/presence_scripts.h"
#include "actors/presence/presence_view.h"
#include "actors/shard.h"
#include "codec/base/status.h"
#include "codec/bus_version.h"

TestSuite(presence_view, .timeout = 60);

enum { ITEMS_MAX = 64 };

/* An answer that is put together item by item. */
struct made {
    struct bus_reply reply;
    struct bus_reply items[ITEMS_MAX];
    struct bus_reply *list[ITEMS_MAX];
};

static struct actor_config config = {.node = "a", .epoch = "epoch"};
static struct shard shard;

static void begin(struct made *made)
{
    *made = (struct made){.reply = {.type = BUS_ARRAY, .items = made->list}};
}

static void add(struct made *made, struct bus_reply item)
{
    size_t at = made->reply.count++;
    made->items[at] = item;
    made->list[at] = &made->items[at];
}

static void add_number(struct made *made, int64_t number)
{
    add(made, (struct bus_reply){.type = BUS_INTEGER, .integer = number});
}

static void add_text(struct made *made, const char *text)
{
    add(made, (struct bus_reply){.type = BUS_STRING, .text = bytes_str(text)});
}

static void add_version(struct made *made, int64_t version, int64_t nodes, int64_t connections)
{
    add_number(made, version);
    add_number(made, nodes);
    add_number(made, connections);
}

static void begin_view(struct made *made, int64_t users, int64_t ended, const char *names)
{
    begin(made);
    add_number(made, 1);
    add_number(made, users);
    add_number(made, 42);
    add_number(made, ended);
    add_number(made, 77);
    add_text(made, names);
}

static int read_view(const struct made *made, struct presence_view *ret_view, char *ended)
{
    struct builder out = {0};
    struct actor_system *system = actor_system_create(1);
    shard = (struct shard){.config = &config, .sched = actor_system_sched(system, 0)};
    int status = presence_view_read(&shard, &made->reply, ret_view, &out);
    strcpy(ended, "");
    if (builder_bytes(&out).len > 0) {
        strncat(ended, builder_bytes(&out).at, builder_bytes(&out).len);
    }
    builder_reset(&out);
    actor_system_destroy(system);
    return status;
}

Test(presence_view, sums_of_the_versions_that_are_understood_are_added)
{
    struct presence_view view;
    struct made made;
    char ended[256];
    begin_view(&made, 7, 3, "00000000000a0001,00000000000d0001,");
    add_version(&made, bus_version, 2, 7);
    add_version(&made, bus_version - 1, 1, 5);
    add_version(&made, bus_version + 1, 4, 9);
    add_version(&made, bus_version + 2, 4, 9);
    cr_assert_eq(read_view(&made, &view, ended), 0);
    cr_expect_eq(view.users, 7);
    cr_expect_eq(view.changes, 42);
    cr_expect_eq(view.connections, 12);
    cr_expect_eq(view.nodes, 3);
    cr_expect_eq(view.ended, 3);
    cr_expect_eq(view.places, 77);
    cr_expect_str_eq(ended, "00000000000a0001,00000000000d0001,");
    cr_expect_eq(shard.stats.strange_version, 1, "the next one is of who was alone until now");
}

Test(presence_view, a_place_that_is_not_as_it_was_left_is_told)
{
    struct presence_view view;
    struct made made;
    char ended[256];
    begin(&made);
    add_number(&made, 0);
    cr_assert_eq(read_view(&made, &view, ended), STATUS_NOT_FOUND);
    made.items[0].integer = 2;
    cr_assert_eq(read_view(&made, &view, ended), STATUS_TOO_LARGE);
}

Test(presence_view, what_is_no_answer_is_refused)
{
    struct presence_view view;
    struct made made;
    char ended[256];
    const struct bus_reply others[] = {
        {.type = BUS_NIL}, {.type = BUS_INTEGER, .integer = 1}, {.type = BUS_ERROR}};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        begin(&made);
        made.reply = others[i];
        cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID);
    }
    begin(&made);
    cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "empty");
    add_text(&made, "1");
    cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "a text");
    for (size_t i = 0; i < 9;
         i++) { /* each number, and the names, as something else, and too few */
        begin_view(&made, 1, 1, "00000000000b0001,");
        add_version(&made, bus_version, 1, 1);
        cr_expect_eq(read_view(&made, &view, ended), 0);
        made.items[i].type = BUS_NIL;
        cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "item %zu", i);
        made.items[i] = (struct bus_reply){.type = BUS_INTEGER, .integer = -1};
        cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "item %zu", i);
        begin_view(&made, 1, 1, "00000000000b0001,");
        add_version(&made, bus_version, 1, 1);
        made.reply.count = i;
        cr_expect(i == 6 || read_view(&made, &view, ended) == STATUS_INVALID, "%zu items", i);
    }
    static const char *const names[] = {"00000000000b0001", "00000000000b0001,0",
        "00000000000b000,", "00000000000B0001,", "00000000000b0001;", "00000000000b000,,"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        begin_view(&made, 1, 1, names[i]);
        cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "%s", names[i]);
    }
    begin_view(&made, 1, 0, "");
    for (int i = 0; i < PRESENCE_VERSIONS; i++) {
        add_version(&made, bus_version, 1, 1);
    }
    cr_expect_eq(read_view(&made, &view, ended), 0);
    add_version(&made, bus_version, 1, 1);
    cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "too many versions");
}

static void expect_user(const struct made *made, const char *own, uint64_t connections,
    uint8_t shown, const char *nodes)
{
    struct builder out = {0};
    struct presence_others found;
    cr_assert_eq(presence_view_read_user(&made->reply, bytes_str(own), &found, &out), 0);
    cr_expect_eq(found.connections, connections);
    cr_expect_eq(found.shown, shown);
    cr_expect(bytes_eq_str(builder_bytes(&out), nodes));
    builder_reset(&out);
}

static void add_holder(struct made *made, const char *node, int64_t connections, int64_t shown)
{
    add_text(made, node);
    add_number(made, connections);
    add_number(made, shown);
}

Test(presence_view, of_a_user_each_node_counts_once_and_the_own_one_not)
{
    struct made made;
    begin(&made);
    made.reply.type = BUS_NIL;
    expect_user(&made, "a", 0, OWNER_UNKNOWN, "");
    begin(&made);
    expect_user(&made, "a", 0, OWNER_UNKNOWN, "");
    add_holder(&made, "b", 2, OWNER_SHOWN);
    add_holder(&made, "a", 7, OWNER_HIDDEN);
    add_holder(&made, "c", 1, OWNER_UNKNOWN);
    add_holder(&made, "b", 3, OWNER_UNKNOWN);
    expect_user(&made, "a", 4, OWNER_SHOWN, "b\nc\n");
    expect_user(&made, "d", 11, OWNER_HIDDEN, "b\na\nc\n");
}

Test(presence_view, what_says_nothing_of_a_user_is_refused)
{
    struct made made;
    struct presence_others found;
    begin(&made);
    for (size_t i = 0; i < 2; i++) { /* less than a holder */
        add_text(&made, "b");
        cr_expect_eq(
            presence_view_read_user(&made.reply, BYTES("a"), &found, NULL), STATUS_INVALID);
    }
    static const struct bus_reply others[] = {
        {.type = BUS_NIL}, {.type = BUS_INTEGER, .integer = -1}};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < ARRAY_LEN(others); j++) {
            begin(&made);
            add_holder(&made, "b", 1, OWNER_SHOWN);
            made.items[i] = others[j];
            cr_expect_eq(presence_view_read_user(&made.reply, BYTES("a"), &found, NULL),
                STATUS_INVALID, "item %zu", i);
        }
    }
    begin(&made);
    add_holder(&made, "b", 1, OWNER_HIDDEN + 1);
    cr_expect_eq(presence_view_read_user(&made.reply, BYTES("a"), &found, NULL), STATUS_INVALID);
    made.reply.type = BUS_INTEGER;
    cr_expect_eq(presence_view_read_user(&made.reply, BYTES("a"), &found, NULL), STATUS_INVALID);
}
