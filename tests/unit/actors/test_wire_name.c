/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names between nodes: what stands for a room, a user, a sid, and what stands for none.
 */
#include <criterion/criterion.h>

#include "actors/wire_name.h"

TestSuite(wire_name, .timeout = 60);

Test(wire_name, rooms_and_users)
{
    static const struct {
        const char *space;
        const char *room;
        const char *wire;
        const char *user_wire; /* when `room` is a user's id */
    } cases[] = {
        {"", "company:1", "company:1", "user:company:1"},
        {"acme", "company:1", "acme/company:1", "acme/user:company:1"},
        {"", "u", "u", "user:u"},
        {"acme", "user:u", "acme/user:u", "acme/user:user:u"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char at[WIRE_NAME_MAX];
        char user_at[WIRE_NAME_MAX];
        char key_at[WIRE_KEY_MAX];
        struct bytes key;
        struct bytes wire = wire_name_room(bytes_str(cases[i].space), bytes_str(cases[i].room), at);
        cr_assert(bytes_eq_str(wire, cases[i].wire));
        cr_assert(bytes_eq_str(wire_name_client(wire), cases[i].room));
        struct bytes user = wire_name_user(wire, user_at);
        cr_assert(bytes_eq_str(user, cases[i].user_wire));
        cr_assert(wire_name_user_key(user, key_at, &key));
        cr_assert(bytes_eq(key, wire), "back to the actor's key");
    }
}

Test(wire_name, no_user_rooms)
{
    static const char *const names[] = {"", "user", "users:u", "acme/room", "acme/", "/", "USER:u"};
    char at[WIRE_KEY_MAX];
    struct bytes key;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cr_assert_not(wire_name_user_key(bytes_str(names[i]), at, &key), "%s", names[i]);
    }
    char longest[WIRE_KEY_MAX + 6];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "user:", 5);
    cr_assert(wire_name_user_key(bytes_of(longest, WIRE_KEY_MAX + 5), at, &key));
    cr_assert_eq(key.len, WIRE_KEY_MAX);
    cr_assert_not(wire_name_user_key(bytes_of(longest, WIRE_KEY_MAX + 6), at, &key));
}

Test(wire_name, a_sid_tells_its_shard)
{
    char sid[WIRE_SID_LEN];
    char again[WIRE_SID_LEN];
    for (unsigned shard = 0; shard < 64; shard++) {
        unsigned found = 99;
        wire_sid_make(shard, sid);
        wire_sid_make(shard, again);
        cr_assert_neq(memcmp(sid, again, sizeof(sid)), 0);
        cr_assert(wire_sid_shard(bytes_of(sid, sizeof(sid)), &found));
        cr_assert_eq(found, shard);
    }
    unsigned found;
    sid[WIRE_SID_LEN - 1] = '/';
    cr_assert_not(wire_sid_shard(bytes_of(sid, sizeof(sid)), &found));
    sid[WIRE_SID_LEN - 1] = '\0';
    cr_assert_not(wire_sid_shard(bytes_of(sid, sizeof(sid)), &found));
    cr_assert_not(wire_sid_shard(bytes_of(sid, sizeof(sid) - 1), &found));
}

/* Every character before the shard's is any of 64: together at least 128 bits. */
Test(wire_name, a_sid_has_128_random_bits)
{
    enum { DRAWN = WIRE_SID_LEN - 1 };
    char sid[WIRE_SID_LEN];
    bool seen[DRAWN][256] = {{false}};
    for (unsigned i = 0; i < 4000; i++) {
        wire_sid_make(0, sid);
        for (size_t at = 0; at < DRAWN; at++) {
            seen[at][(unsigned char)sid[at]] = true;
        }
    }
    unsigned bits = 0;
    for (size_t at = 0; at < DRAWN; at++) {
        unsigned count = 0;
        for (size_t c = 0; c < 256; c++) {
            count += seen[at][c];
        }
        cr_expect_eq(count, 64);
        bits += 6;
    }
    cr_expect_geq(bits, 128);
}
