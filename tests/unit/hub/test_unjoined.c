/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "hub/session/unjoined.h"

TestSuite(unjoined, .timeout = 60);

enum { MAX = 64 };

static struct unjoined_seat *victim(const struct unjoined *unjoined)
{
    uint32_t count;
    return unjoined_victim(unjoined, &count);
}

Test(unjoined, the_oldest_of_the_largest_address_goes)
{
    struct unjoined unjoined;
    struct unjoined_seat seats[6] = {0};
    uint32_t count;
    unjoined_init(&unjoined, MAX);
    cr_assert_null(unjoined_victim(&unjoined, &count));
    unjoined_add(&unjoined, &seats[0], BYTES("192.0.2.1"));
    unjoined_add(&unjoined, &seats[1], BYTES("192.0.2.2"));
    unjoined_add(&unjoined, &seats[2], BYTES("192.0.2.2"));
    unjoined_add(&unjoined, &seats[3], BYTES("192.0.2.3"));
    cr_assert_eq(unjoined_victim(&unjoined, &count), &seats[1]);
    cr_assert_eq(count, 2);
    unjoined_remove(&unjoined, &seats[1]);
    unjoined_remove(&unjoined, &seats[1]); /* again: nothing */
    cr_assert_eq(unjoined.count, 3);
    cr_assert_eq(victim(&unjoined), &seats[0], "all have one: the first that came to it");
    unjoined_add(&unjoined, &seats[4], BYTES("192.0.2.3"));
    unjoined_add(&unjoined, &seats[5], BYTES("no address"));
    cr_assert_eq(victim(&unjoined), &seats[3]);
    for (size_t i = 0; i < ARRAY_LEN(seats); i++) {
        unjoined_remove(&unjoined, &seats[i]);
    }
    cr_assert_null(unjoined_victim(&unjoined, &count));
    unjoined_finish(&unjoined);
}

Test(unjoined, ipv6_counts_by_its_64)
{
    struct unjoined unjoined;
    struct unjoined_seat seats[4] = {0};
    uint32_t count;
    unjoined_init(&unjoined, MAX);
    unjoined_add(&unjoined, &seats[0], BYTES("2001:db8:1:2::1"));
    unjoined_add(&unjoined, &seats[1], BYTES("2001:db8:1:3::1"));
    unjoined_add(&unjoined, &seats[2], BYTES("2001:db8:1:2:ffff::9"));
    unjoined_add(&unjoined, &seats[3], BYTES("192.0.2.1"));
    cr_assert_eq(unjoined_victim(&unjoined, &count), &seats[0]);
    cr_assert_eq(count, 2);
    for (size_t i = 0; i < ARRAY_LEN(seats); i++) {
        unjoined_remove(&unjoined, &seats[i]);
    }
    unjoined_finish(&unjoined);
}

/* Who comes from elsewhere during a flood is never the one that goes. */
Test(unjoined, a_flood_drives_out_itself)
{
    struct unjoined unjoined;
    static struct unjoined_seat flood[10 * MAX];
    struct unjoined_seat quiet[3] = {0};
    unjoined_init(&unjoined, MAX);
    for (size_t i = 0; i < ARRAY_LEN(flood); i++) {
        if (unjoined.count == MAX) {
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
    unjoined_finish(&unjoined);
}
