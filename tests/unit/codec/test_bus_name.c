/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in Redis: what is public, what carries a slot, and that the longest fit.
 */
#include <criterion/criterion.h>

#include "codec/bus_name.h"

TestSuite(bus_name, .timeout = 60);

static const struct bus_names names = {.prefix = "peal", .slots = 1024, .db = 3};

/* What was appended, as a string; empties the builder. */
static const char *text_of(struct builder *out)
{
    static char text[512];
    struct bytes bytes = builder_bytes(out);
    cr_assert_lt(bytes.len, sizeof(text));
    memcpy(text, bytes.at, bytes.len);
    text[bytes.len] = '\0';
    builder_reset(out);
    return text;
}

Test(bus_name, what_backends_know_has_no_slot)
{
    char name[BUS_NAME_MAX];
    bus_name_in(&names, 0, name);
    cr_expect_str_eq(name, "peal:in");
    bus_name_in(&names, 8, name);
    cr_expect_str_eq(name, "peal:in:7");
    bus_name_dead(&names, name);
    cr_expect_str_eq(name, "peal:dead");
}

Test(bus_name, what_is_ours_carries_a_slot)
{
    char name[BUS_NAME_MAX];
    bus_name_lease(&names, 0, name);
    cr_expect_str_eq(name, "peal:lease:{0}:0");
    bus_name_lease(&names, 8, name);
    cr_expect_str_eq(name, "peal:lease:{7}:8");
    bus_name_node(&names, 0x4ab, name);
    cr_expect_str_eq(name, "peal:node:{171}:04ab");
    bus_name_roster(&names, name);
    cr_expect_str_eq(name, "peal:nodes:{0}");
    bus_name_secret(&names, name);
    cr_expect_str_eq(name, "peal:secret:{0}");
    bus_name_record_leases(&names, name);
    cr_expect_str_eq(name, "peal:recordleases:{0}");
    bus_name_sqlite(&names, name);
    cr_expect_str_eq(name, "peal:sqlite:{0}");
    bus_name_schedule(&names, 5, name);
    cr_expect_str_eq(name, "peal:schedule:{5}");
    bus_name_schedule_nodes(&names, name);
    cr_expect_str_eq(name, "peal:schedulers:{0}");
    bus_name_alerts(&names, "lease", name);
    cr_expect_str_eq(name, "peal:alerts:{0}:lease");
    bus_name_outbox(&names, "shop", name);
    cr_expect_str_eq(name, "peal:outbox:{0}:shop");
}

/* CRC-32 of tenant, NUL and user, modulo 4,096 and then modulo the slots of the bus. */
Test(bus_name, a_users_channel_carries_slot_and_database)
{
    struct builder out = {0};
    bus_name_user(&names, BYTES("rosa"), &out);
    cr_expect_str_eq(text_of(&out), "peal:3:u:{236}:rosa");
    bus_name_user(&names, BYTES("acme/rosa"), &out);
    cr_expect_str_eq(text_of(&out), "peal:3:u:{556}:acme/rosa");
    bus_name_session(&names, BYTES("/"), BYTES("acme/rosa"), BYTES("pid"), &out);
    cr_expect_str_eq(text_of(&out), "peal:session:{556}:/:acme/rosa:pid");
    bus_name_hook(&names, BYTES("acme"), BYTES("rosa"), &out);
    cr_expect_str_eq(text_of(&out), "peal:hook:{556}:");
    bus_name_hook(&names, bytes_of(NULL, 0), BYTES("rosa"), &out);
    cr_expect_str_eq(text_of(&out), "peal:hook:{236}:");
    bus_name_replay(&names, BYTES("/"), &out);
    cr_expect_str_eq(text_of(&out), "peal:replay:{934}:/");
    bus_name_record_lease(&names, BYTES("abc"), &out);
    cr_expect_str_eq(text_of(&out), "peal:records:{972}:abc");
    bus_name_record_list(&names, BYTES("abc"), &out);
    cr_expect_str_eq(text_of(&out), "peal:recordlist:{972}:abc");
    bus_name_presence(&names, 15, BYTES("epoch"), &out);
    cr_expect_str_eq(text_of(&out), "peal:presence:{15}:epoch");
    bus_name_presence_channel(&names, 15, BYTES("epoch"), &out);
    cr_expect_str_eq(text_of(&out), "peal:3:presence:{15}:epoch");
    bus_name_recovery(&names, BYTES("node:2"), &out);
    cr_expect_str_eq(text_of(&out), "peal:3:recovery:{0}:node:2");
    char name[BUS_NAME_MAX];
    bus_name_probe(&names, "node", 2, name);
    cr_expect_str_eq(name, "peal:3:probe:{0}:node:2");
}

Test(bus_name, a_users_channel_leads_back_to_the_user)
{
    static const char *const keys[] = {"r", "acme/rosa", "a:b{c}d", "{}", "}:"};
    static const char *const others[] = {"", "peal:3:u:{", "peal:3:u:{1}",
        "peal:3:u:{1}:", "peal:0:u:{1}:rosa", "other:3:u:{1}:rosa", "peal:3:probe:{0}:node:2"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct builder out = {0};
        bus_name_user(&names, bytes_str(keys[i]), &out);
        struct bytes key = bus_name_user_key(&names, builder_bytes(&out));
        cr_expect(bytes_eq_str(key, keys[i]), "%s", keys[i]);
        builder_reset(&out);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        cr_expect_eq(bus_name_user_key(&names, bytes_str(others[i])).len, 0, "%s", others[i]);
    }
}

Test(bus_name, the_longest_names_have_room)
{
    char prefix[BUS_PREFIX_MAX + 1];
    char node[65];
    char name[BUS_NAME_MAX];
    memset(prefix, '*', BUS_PREFIX_MAX);
    memset(node, 'n', 64);
    prefix[BUS_PREFIX_MAX] = node[64] = '\0';
    const struct bus_names longest = {.prefix = prefix, .slots = 4096, .db = UINT32_MAX};
    bus_name_probe(&longest, node, 63, name);
    cr_expect_str_eq(name + strlen(name) - 3, ":63");
    bus_name_node(&longest, 0xffff, name);
    cr_expect_str_eq(name + BUS_PREFIX_MAX, ":node:{4095}:ffff");
}
