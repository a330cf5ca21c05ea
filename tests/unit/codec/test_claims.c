/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed claims: what went in comes out, also at its longest, and a user alone is small.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/claims.h"

TestSuite(claims, .timeout = 30);

static const struct bytes rooms[] = {
    {.at = "project:1", .len = 9}, {.at = "", .len = 0}, {.at = "order:*", .len = 7}};

static const struct claims_extra extra[] = {
    {.name = {.at = "teams", .len = 5}, .value = {.at = "red", .len = 3}},
    {.name = {.at = "plan", .len = 4}, .value = {.at = "", .len = 0}},
    {.name = {.at = "teams", .len = 5}, .value = {.at = "blue", .len = 4}},
};

/* Every one of the 16 ways to have or not have a tenant, role, name and issuer. */
static struct claims_fields variant(unsigned bits)
{
    return (struct claims_fields){
        .user = BYTES("u"),
        .tenant = bits & 1 ? BYTES("acme") : bytes_of(NULL, 0),
        .role = bits & 2 ? BYTES("admin") : bytes_of(NULL, 0),
        .name = bits & 4 ? BYTES("Ada L") : bytes_of(NULL, 0),
        .issuer = bits & 8 ? BYTES("me") : bytes_of(NULL, 0),
        .expires_at = UINT64_MAX - bits,
        .rooms = rooms,
        .room_count = ARRAY_LEN(rooms),
        .extra = extra,
        .extra_count = ARRAY_LEN(extra),
    };
}

static void expect_variant(const struct claims *claims, unsigned bits)
{
    struct claims_fields fields = variant(bits);
    cr_expect(bytes_eq(claims_user(claims), fields.user), "%u", bits);
    cr_expect(bytes_eq(claims_tenant(claims), fields.tenant), "%u", bits);
    cr_expect(bytes_eq(claims_role(claims), fields.role), "%u", bits);
    cr_expect(bytes_eq(claims_name(claims), fields.name), "%u", bits);
    cr_expect(bytes_eq(claims_issuer(claims), fields.issuer), "%u", bits);
    cr_expect(bytes_eq_str(claims_path(claims), bits & 1 ? "acme/u" : "u"), "%u", bits);
    cr_expect_eq(claims->expires_at, fields.expires_at);
    cr_expect(claims_list_room(claims, BYTES("project:1")));
    cr_expect(claims_list_room(claims, BYTES("order:9")));
    cr_expect(claims_list_room(claims, BYTES("order:")));
    cr_expect_not(claims_list_room(claims, BYTES("project:12")));
    cr_expect_not(claims_list_room(claims, BYTES("order")));
    cr_expect_not(claims_list_room(claims, BYTES("teams")), "an entry of another list");
    cr_expect(claims_have(claims, BYTES("teams"), BYTES("red")));
    cr_expect(claims_have(claims, BYTES("teams"), BYTES("blue")));
    cr_expect(claims_have(claims, BYTES("plan"), BYTES("")));
    cr_expect_not(claims_have(claims, BYTES("plan"), BYTES("red")));
    cr_expect_not(claims_have(claims, BYTES("project:1"), BYTES("")));
}

Test(claims, hand_out_what_they_were_made_of)
{
    for (unsigned bits = 0; bits < 16; bits++) {
        struct claims_fields fields = variant(bits);
        struct claims *claims = claims_new(&fields);
        cr_assert_not_null(claims);
        expect_variant(claims, bits);
        void *copy = mem_alloc(claims_size(claims));
        claims_copy(claims, copy);
        cr_expect_eq(claims_ref(claims), claims);
        claims_unref(claims);
        expect_variant(claims, bits);
        claims_unref(claims);
        expect_variant(copy, bits);
        claims_unref(copy);
    }
    claims_unref(NULL);
}

Test(claims, of_a_user_alone_are_small)
{
    struct claims *claims = claims_new(&(struct claims_fields){.user = BYTES("user1234")});
    cr_expect_leq(claims_size(claims), 40, "%zu", claims_size(claims));
    cr_expect_not(claims_list_room(claims, BYTES("")));
    cr_expect_not(claims_have(claims, BYTES(""), BYTES("")));
    claims_unref(claims);
}

Test(claims, take_the_longest_texts_and_lists)
{
    static char text[UINT16_MAX];
    memset(text, 't', sizeof(text));
    struct bytes longest = bytes_of(text, sizeof(text));
    struct bytes *many = mem_alloc_array(UINT16_MAX, sizeof(*many));
    for (size_t i = 0; i < UINT16_MAX; i++) {
        many[i] = i == UINT16_MAX - 1 ? longest : BYTES("r");
    }
    struct claims *claims = claims_new(&(struct claims_fields){.user = longest,
        .tenant = longest,
        .issuer = longest,
        .rooms = many,
        .room_count = UINT16_MAX});
    cr_assert_not_null(claims);
    cr_expect(bytes_eq(claims_user(claims), longest));
    cr_expect(bytes_eq(claims_issuer(claims), longest));
    cr_expect_eq(claims_path(claims).len, 2 * sizeof(text) + 1);
    cr_expect(claims_list_room(claims, longest));
    cr_expect_not(claims_list_room(claims, BYTES("rr")));
    claims_unref(claims);
    mem_free(many);
}
