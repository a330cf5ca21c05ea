/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which session goes when too many have joined nothing.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "hub/session/unjoined.h"

TestSuite(unjoined, .timeout = 60);

enum { MAX = 64 };

/* A node of one shard. */
static void open_one(struct unjoined *unjoined)
{
    unjoined_init(unjoined, unjoined_node_create(1, MAX), 0);
}

static void close_one(struct unjoined *unjoined)
{
    struct unjoined_node *node = unjoined->node;
    unjoined_finish(unjoined);
    unjoined_node_destroy(node);
}

static struct unjoined_seat *victim(struct unjoined *unjoined)
{
    uint32_t count;
    return unjoined_victim(unjoined, &count);
}

Test(unjoined, the_oldest_of_the_largest_address_goes)
{
    struct unjoined unjoined;
    struct unjoined_seat seats[6] = {0};
    uint32_t count;
    open_one(&unjoined);
    cr_assert_null(unjoined_victim(&unjoined, &count));
    unjoined_add(&unjoined, &seats[0], BYTES("192.0.2.1"));
    unjoined_add(&unjoined, &seats[1], BYTES("192.0.2.2"));
    unjoined_add(&unjoined, &seats[2], BYTES("192.0.2.2"));
    unjoined_add(&unjoined, &seats[3], BYTES("192.0.2.3"));
    cr_assert_eq(unjoined_victim(&unjoined, &count), &seats[1]);
    cr_assert_eq(count, 2);
    unjoined_remove(&unjoined, &seats[1]);
    unjoined_remove(&unjoined, &seats[1]); /* again: nothing */
    cr_assert_eq(unjoined_excess(&unjoined, MAX), 3);
    cr_assert_eq(victim(&unjoined), &seats[0], "all have one: the first that came to it");
    unjoined_add(&unjoined, &seats[4], BYTES("192.0.2.3"));
    unjoined_add(&unjoined, &seats[5], BYTES("no address"));
    cr_assert_eq(victim(&unjoined), &seats[3]);
    for (size_t i = 0; i < ARRAY_LEN(seats); i++) {
        unjoined_remove(&unjoined, &seats[i]);
    }
    cr_assert_null(unjoined_victim(&unjoined, &count));
    close_one(&unjoined);
}

Test(unjoined, ipv6_counts_by_its_64)
{
    struct unjoined unjoined;
    struct unjoined_seat seats[4] = {0};
    uint32_t count;
    open_one(&unjoined);
    unjoined_add(&unjoined, &seats[0], BYTES("2001:db8:1:2::1"));
    unjoined_add(&unjoined, &seats[1], BYTES("2001:db8:1:3::1"));
    unjoined_add(&unjoined, &seats[2], BYTES("2001:db8:1:2:ffff::9"));
    unjoined_add(&unjoined, &seats[3], BYTES("192.0.2.1"));
    cr_assert_eq(unjoined_victim(&unjoined, &count), &seats[0]);
    cr_assert_eq(count, 2);
    for (size_t i = 0; i < ARRAY_LEN(seats); i++) {
        unjoined_remove(&unjoined, &seats[i]);
    }
    close_one(&unjoined);
}

/* Who comes from elsewhere during a flood is never the one that goes. */
Test(unjoined, a_flood_drives_out_itself)
{
    struct unjoined unjoined;
    static struct unjoined_seat flood[10 * MAX];
    struct unjoined_seat quiet[3] = {0};
    open_one(&unjoined);
    for (size_t i = 0; i < ARRAY_LEN(flood); i++) {
        if (unjoined_excess(&unjoined, 1) > 0) {
            struct unjoined_seat *seat = victim(&unjoined);
            cr_assert(seat >= flood && seat < flood + ARRAY_LEN(flood));
            unjoined_remove(&unjoined, seat);
        }
        if (i % MAX == 0 && i / MAX < ARRAY_LEN(quiet)) {
            char text[32];
            snprintf(text, sizeof(text), "198.51.100.%zu", i / MAX);
            unjoined_add(&unjoined, &quiet[i / MAX], bytes_str(text));
        } else {
            unjoined_add(&unjoined, &flood[i], BYTES("203.0.113.7"));
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(quiet); i++) {
        cr_assert_not_null(quiet[i].address);
        unjoined_remove(&unjoined, &quiet[i]);
    }
    for (struct unjoined_seat *seat; (seat = victim(&unjoined)) != NULL;) {
        unjoined_remove(&unjoined, seat);
    }
    close_one(&unjoined);
}

/*
 * 48 of one address lie on three shards, 20 of another on the third alone, where they are more: one
 * of the 48 goes, from whichever shard it is asked.
 */
Test(unjoined, an_address_is_as_large_as_it_is_on_the_node)
{
    enum { SHARDS = 4, EACH = 16, OTHERS = 20 };
    struct unjoined_node *node = unjoined_node_create(SHARDS, 3 * EACH + OTHERS);
    struct unjoined parts[SHARDS];
    struct unjoined_seat flood[3][EACH] = {{{{0}, NULL}}};
    struct unjoined_seat others[OTHERS] = {{{0}, NULL}};
    uint32_t count;
    for (unsigned i = 0; i < SHARDS; i++) {
        unjoined_init(&parts[i], node, i);
    }
    for (unsigned i = 0; i < OTHERS; i++) {
        unjoined_add(&parts[2], &others[i], BYTES("192.0.2.9"));
    }
    cr_assert_eq(unjoined_excess(&parts[3], 1), 0);
    for (unsigned i = 0; i < 3 * EACH; i++) {
        unjoined_add(&parts[i % 3], &flood[i % 3][i / 3], BYTES("203.0.113.7"));
    }
    cr_assert_eq(unjoined_excess(&parts[3], 1), 1, "all shards have one bound");
    cr_assert_null(unjoined_victim(&parts[3], &count));
    unsigned shard = unjoined_shard(&parts[3]);
    cr_assert_lt(shard, 3);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(unjoined_victim(&parts[i], &count), &flood[i][0], "shard %u", i);
        cr_assert_eq(count, 3 * EACH);
    }
    for (unsigned i = 0; i < 2 * EACH; i++) {
        unjoined_remove(&parts[i % 2], &flood[i % 2][i / 2]);
    }
    cr_assert_eq(unjoined_victim(&parts[2], &count), &others[0], "16 are left of the 48");
    cr_assert_eq(count, OTHERS);
    cr_assert_eq(unjoined_shard(&parts[0]), 2);
    for (unsigned i = 0; i < EACH; i++) {
        unjoined_remove(&parts[2], &flood[2][i]);
    }
    for (unsigned i = 0; i < OTHERS; i++) {
        unjoined_remove(&parts[2], &others[i]);
    }
    cr_assert_eq(unjoined_excess(&parts[0], 1), 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        unjoined_finish(&parts[i]);
    }
    unjoined_node_destroy(node);
}
