/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of Redis about who is online: what they say, and what is no answer.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "actors/bus.h"
#include "actors/presence/presence_view.h"
#include "actors/shard.h"
#include "codec/base/status.h"
#include "codec/bus_version.h"

TestSuite(presence_view, .timeout = 60);

enum { ITEMS_MAX = 32 };

#define ME BYTES("00000000000b0001")

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

static void add_place(
    struct made *made, const char *name, int64_t left, int64_t connections, const char *node)
{
    add_text(made, name);
    add_number(made, left);
    add_number(made, bus_version);
    add_number(made, connections);
    add_text(made, node);
}

static void begin_view(struct made *made, int64_t good, int64_t users)
{
    begin(made);
    add_number(made, good);
    add_number(made, users);
    add_number(made, 42);
}

static int read_view(const struct made *made, struct presence_view *ret_view, char *ended)
{
    struct builder out = {0};
    struct actor_system *system = actor_system_create(1);
    shard = (struct shard){.config = &config, .sched = actor_system_sched(system, 0)};
    int status = presence_view_read(&shard, ME, &made->reply, ret_view, &out);
    strcpy(ended, "");
    if (builder_bytes(&out).len > 0) {
        strncat(ended, builder_bytes(&out).at, builder_bytes(&out).len);
    }
    builder_reset(&out);
    actor_system_destroy(system);
    return status;
}

Test(presence_view, sums_places_that_count_and_names_those_that_have_ended)
{
    struct presence_view view;
    struct made made;
    char ended[256];
    begin_view(&made, 1, 7);
    add_place(&made, "00000000000c0001", 9000, 3, "b");
    add_place(&made, "00000000000b0001", 10000, 4, "a");
    add_place(&made, "00000000000a0001", 0, 99, "c");
    add_place(&made, "00000000000d0002", 1, 5, "a");
    add_place(&made, "00000000000d0001", -1700000000000, 99, "a");
    cr_assert_eq(read_view(&made, &view, ended), 0);
    cr_expect_eq(view.users, 7);
    cr_expect_eq(view.changes, 42);
    cr_expect_eq(view.connections, 12);
    cr_expect_eq(view.nodes, 2);
    cr_expect_eq(view.ended, 2);
    cr_expect(view.sweeps);
    cr_expect_str_eq(ended, "00000000000a0001,00000000000d0001,");
}

Test(presence_view, the_first_place_that_counts_sweeps)
{
    struct presence_view view;
    struct made made;
    char ended[256];
    begin_view(&made, 1, 0);
    add_place(&made, "00000000000b0001", 10000, 0, "a");
    add_place(&made, "00000000000a0009", 10, 0, "b");
    cr_assert_eq(read_view(&made, &view, ended), 0);
    cr_expect_not(view.sweeps);
}

Test(presence_view, a_place_that_is_not_as_it_was_left_is_told)
{
    struct presence_view view;
    struct made made;
    char ended[256];
    begin(&made);
    add_number(&made, 0);
    cr_assert_eq(read_view(&made, &view, ended), STATUS_NOT_FOUND);
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
    begin(&made);
    add_number(&made, 1);
    cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "no users");
    add_number(&made, 1);
    cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "no changes");
    add_number(&made, -1);
    cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "fewer than none");
    begin_view(&made, 1, -1);
    cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "less than none");
    begin_view(&made, 1, 1);
    add_text(&made, "00000000000b0001");
    cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "half a place");
    for (size_t i = 0; i < 5; i++) {
        begin_view(&made, 1, 1);
        add_place(&made, "00000000000b0001", 1, 1, "a");
        made.items[3 + i].type = BUS_NIL;
        cr_expect_eq(read_view(&made, &view, ended), STATUS_INVALID, "item %zu", i);
    }
}

Test(presence_view, a_place_of_a_strange_version_does_not_count)
{
    struct presence_view view;
    struct made made;
    char ended[256];
    begin_view(&made, 1, 1);
    add_place(&made, "00000000000b0001", 10000, 1, "a");
    add_place(&made, "00000000000a0001", 10000, 5, "b");
    made.items[3 + 5 + 2].integer = (int64_t)bus_version + 2;
    cr_assert_eq(read_view(&made, &view, ended), 0);
    cr_expect_eq(view.connections, 1);
    cr_expect_eq(view.nodes, 1);
    cr_expect(view.sweeps);
    cr_expect_eq(shard.stats.strange_version, 1);
}

static void expect_user(
    const struct made *made, const char *own, uint64_t connections, const char *nodes)
{
    struct builder out = {0};
    uint64_t found = UINT64_MAX;
    cr_expect_eq(presence_view_read_user(&made->reply, bytes_str(own), &found, &out), 0);
    cr_expect_eq(found, connections, "%d of %d", (int)found, (int)connections);
    cr_expect(bytes_eq_str(builder_bytes(&out), nodes));
    builder_reset(&out);
}

Test(presence_view, of_a_user_each_node_counts_once_and_the_own_one_not)
{
    struct made made;
    begin(&made);
    made.reply.type = BUS_NIL;
    expect_user(&made, "a", 0, "");
    begin(&made);
    expect_user(&made, "a", 0, "");
    add_text(&made, "b");
    add_number(&made, 2);
    add_text(&made, "a");
    add_number(&made, 7);
    add_text(&made, "c");
    add_number(&made, 1);
    add_text(&made, "b");
    add_number(&made, 3);
    expect_user(&made, "a", 4, "b\nc\n");
    expect_user(&made, "d", 11, "b\na\nc\n");
}

Test(presence_view, what_says_nothing_of_a_user_is_refused)
{
    struct made made;
    uint64_t found;
    begin(&made);
    add_text(&made, "b");
    cr_expect_eq(presence_view_read_user(&made.reply, BYTES("a"), &found, NULL), STATUS_INVALID);
    add_text(&made, "2");
    cr_expect_eq(presence_view_read_user(&made.reply, BYTES("a"), &found, NULL), STATUS_INVALID);
    made.items[1] = (struct bus_reply){.type = BUS_INTEGER, .integer = -1};
    cr_expect_eq(presence_view_read_user(&made.reply, BYTES("a"), &found, NULL), STATUS_INVALID);
    made.reply.type = BUS_INTEGER;
    cr_expect_eq(presence_view_read_user(&made.reply, BYTES("a"), &found, NULL), STATUS_INVALID);
}
