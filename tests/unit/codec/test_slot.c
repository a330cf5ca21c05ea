/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: how a user gets one, that ids carry it, and how parts nest.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/check.h"
#include "codec/base/rand.h"
#include "codec/slot.h"

/* The numbers are those of any other CRC-32: posters in other languages compute the same. */
Test(slot, a_user_has_the_slot_of_the_crc_of_tenant_nul_user)
{
    static const struct {
        const char *tenant;
        const char *user;
        uint32_t crc;
    } cases[] = {
        {"", "u1", 0xfcd7549b},
        {"acme", "u1", 0x5001dc9f},
        {"", "J\xc3\xb6rg", 0xc875cd8e},
        {"a", "b", 0x15e87871},
        {"", "", 0xd202ef8d},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t slot = slot_of(bytes_str(cases[i].tenant), bytes_str(cases[i].user));
        cr_expect_eq(slot, cases[i].crc & 0xfff, "%s: %u", cases[i].user, slot);
    }
    cr_expect_eq(slot_of(bytes_of(NULL, 0), BYTES("u1")), 0xfcd7549b & 0xfff, "no tenant");
    cr_expect_neq(slot_of(BYTES("ab"), BYTES("c")), slot_of(BYTES("a"), BYTES("bc")));
}

Test(slot, every_id_names_the_slot_it_was_made_for)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint8_t id[SLOT_ID_LEN];
        uint8_t other[SLOT_ID_LEN];
        uuid7_make(1700000000000, slot, id);
        uuid7_make(1700000000000, slot, other);
        cr_assert_eq(slot_of_id(id), slot);
        cr_assert_eq(id[6] >> 4, 7, "version");
        cr_assert_eq(id[8] >> 6, 2, "variant");
        cr_assert_neq(memcmp(id, other, sizeof(id)), 0);
    }
}

Test(slot, parts_are_a_power_of_two_and_nest)
{
    static const uint32_t refused[] = {0, 3, 6, 100, 1000, 4095, 8192, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        cr_expect(!slot_divides(refused[i]), "%u", refused[i]);
    }
    for (uint32_t parts = 1; parts <= SLOT_COUNT; parts *= 2) {
        cr_expect(slot_divides(parts));
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot += 7) {
            cr_assert_eq(slot_part(slot, parts), slot % parts);
        }
    }
}
