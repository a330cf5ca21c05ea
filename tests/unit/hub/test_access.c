/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of rooms: who may join and who may speak, and rules that are refused.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/status.h"
#include "hub/auth/access.h"

TestSuite(access, .timeout = 30);

static const struct bytes rooms[] = {
    {.at = "project:7", .len = 9},
    {.at = "order:2024-*", .len = 12},
    {.at = "admin:audit", .len = 11},
    {.at = "user:bob", .len = 8},
    {.at = "lobby", .len = 5},
};

static const struct claims_extra extra[] = {
    {.name = {.at = "teams", .len = 5}, .value = {.at = "red", .len = 3}},
    {.name = {.at = "teams", .len = 5}, .value = {.at = "blue", .len = 4}},
    {.name = {.at = "plan", .len = 4}, .value = {.at = "gold", .len = 4}},
};

static struct claims_fields alice(void)
{
    return (struct claims_fields){.user = BYTES("alice"),
        .role = BYTES("editor"),
        .tenant = BYTES("acme"),
        .rooms = rooms,
        .room_count = ARRAY_LEN(rooms),
        .extra = extra,
        .extra_count = ARRAY_LEN(extra)};
}

static struct access *make(const struct access_type_options *types, size_t count)
{
    struct builder error = {.max = 1000};
    struct access *access = NULL;
    cr_assert_eq(access_create(types, count, &error, &access), 0, "%.*s",
        (int)builder_bytes(&error).len, builder_bytes(&error).at);
    builder_reset(&error);
    return access;
}

static int ask(const struct access *access, const struct claims_fields *fields, struct bytes room)
{
    struct claims *claims = claims_new(fields);
    int status = access_check(access, claims, room);
    claims_unref(claims);
    return status;
}

static void expect(
    const struct access *access, const struct claims_fields *fields, const char *room, int expected)
{
    int status = ask(access, fields, bytes_str(room));
    cr_expect_eq(status, expected, "%s: %s", room, status_name(status));
}

Test(access, denies_by_default)
{
    static const struct {
        const char *room;
        int status;
    } cases[] = {
        {"public:news", 0},
        {"public:", 0},
        {"company:acme", 0},
        {"tenant:acme", 0},
        {"company:other", STATUS_DENIED},
        {"company:", STATUS_DENIED},
        {"tenant:acme:x", STATUS_DENIED},
        {"admin:audit", STATUS_DENIED}, /* the token's list does not open built-in types */
        {"admin:x", STATUS_DENIED},
        {"project:7", 0},
        {"project:8", STATUS_DENIED},
        {"project:77", STATUS_DENIED},
        {"order:2024-1", 0},
        {"order:2024-", 0},
        {"order:2023-1", STATUS_DENIED},
        {"lobby", 0},
        {"hall", STATUS_DENIED},
        {"public", STATUS_DENIED},
        {"PUBLIC:x", STATUS_DENIED},
        {"user:alice", 0},
        {"user:bob", STATUS_DENIED},
        {"user:", STATUS_DENIED},
        {"user:alice ", STATUS_DENIED},
        {":x", STATUS_DENIED},
        {"", STATUS_INVALID},
        {"a/b", STATUS_INVALID},
        {"public:a/b", STATUS_INVALID},
        {"public:\n", STATUS_INVALID},
    };
    struct claims_fields claims = alice();
    struct access *access = make(NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect(access, &claims, cases[i].room, cases[i].status);
    }
    cr_expect_eq(ask(access, &claims, BYTES("public:a\0b")), STATUS_INVALID);
    char name[202];
    memset(name, 'x', sizeof(name));
    memcpy(name, "public:", 7);
    cr_expect_eq(ask(access, &claims, bytes_of(name, 200)), 0);
    cr_expect_eq(ask(access, &claims, bytes_of(name, 201)), STATUS_INVALID);

    claims.role = BYTES("admin");
    expect(access, &claims, "admin:x", 0);
    struct claims_fields nobody = {.user = BYTES("nobody")};
    expect(access, &nobody, "public:news", 0);
    expect(access, &nobody, "company:", STATUS_DENIED);
    expect(access, &nobody, "lobby", STATUS_DENIED);
    access_destroy(access);
}

Test(access, follows_each_rule)
{
    static const struct {
        const char *rule;
        const char *room;
        int status;
    } cases[] = {
        {"any", "t:x", 0},
        {"deny", "t:x", STATUS_DENIED},
        {"role:editor", "t:x", 0},
        {"role:edit", "t:x", STATUS_DENIED},
        {"tenant", "t:acme", 0},
        {"tenant", "t:acm", STATUS_DENIED},
        {"claim", "t:x", STATUS_DENIED},
        {"claim:teams", "t:red", 0},
        {"claim:teams", "t:blue", 0},
        {"claim:teams", "t:green", STATUS_DENIED},
        {"claim:teams", "t:", STATUS_DENIED},
        {"claim:plan=gold", "t:x", 0},
        {"claim:plan=silver", "t:x", STATUS_DENIED},
        {"claim:none=gold", "t:x", STATUS_DENIED},
        {"pattern:t:{sub}", "t:alice", 0},
        {"pattern:t:{sub}", "t:alice2", STATUS_DENIED},
        {"pattern:t:{sub}", "t:", STATUS_DENIED},
        {"pattern:t:{sub}:*", "t:alice:", 0},
        {"pattern:t:{sub}:*", "t:alice:inbox", 0},
        {"pattern:t:{sub}:*", "t:bob:alice:", STATUS_DENIED},
        {"pattern:t:*:{sub}", "t:alice:alic:alice", 0},
        {"pattern:t:*:{sub}", "t:alice", STATUS_DENIED},
        {"pattern:t:{tenant}-{role}", "t:acme-editor", 0},
        {"pattern:t:{tenant}-{role}", "t:acme-admin", STATUS_DENIED},
        {"pattern:*", "t:x", 0},
        {"pattern:t:a*a*b", "t:aaab", 0},
        {"pattern:t:a*a*b", "t:aab", 0},
        {"pattern:t:a*a*b", "t:ab", STATUS_DENIED},
        {"pattern:t:x", "t:x", 0},
        {"pattern:t:x", "t:xy", STATUS_DENIED},
    };
    struct claims_fields claims = alice();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct access_type_options type = {
            .name = "t", .rules = &cases[i].rule, .rule_count = 1};
        struct access *access = make(&type, 1);
        int status = ask(access, &claims, bytes_str(cases[i].room));
        cr_expect_eq(status, cases[i].status, "%s, %s: %s", cases[i].rule, cases[i].room,
            status_name(status));
        access_destroy(access);
    }
}

Test(access, what_a_user_is_called_is_no_pattern)
{
    static const char *const rules[] = {"pattern:t:{sub}", "pattern:r:{role}"};
    const struct access_type_options types[] = {{.name = "t", .rules = rules, .rule_count = 2},
        {.name = "r", .rules = rules, .rule_count = 2}};
    struct access *access = make(types, 2);
    struct claims_fields claims = {.user = BYTES("*"), .tenant = BYTES("{sub}")};
    expect(access, &claims, "t:*", 0);
    expect(access, &claims, "t:bob", STATUS_DENIED);
    expect(access, &claims, "r:", STATUS_DENIED);
    claims.user = BYTES("{tenant}");
    expect(access, &claims, "t:{sub}", STATUS_DENIED);
    access_destroy(access);
}

Test(access, any_rule_of_a_type_lets_in)
{
    static const char *const rules[] = {"role:admin", "claim", "claim:teams"};
    static const char *const none[] = {"deny"};
    const struct access_type_options types[] = {
        {.name = "project", .rules = rules, .rule_count = 3},
        {.name = "order", .rules = none, .rule_count = 1},
        {.name = "public", .rules = rules, .rule_count = 1},
        {.name = "*", .rules = none, .rule_count = 1},
    };
    struct claims_fields claims = alice();
    struct access *access = make(types, ARRAY_LEN(types));
    expect(access, &claims, "project:7", 0);
    expect(access, &claims, "project:red", 0);
    expect(access, &claims, "project:9", STATUS_DENIED);
    expect(access, &claims, "order:2024-1", STATUS_DENIED);
    expect(access, &claims, "public:news", STATUS_DENIED);
    expect(access, &claims, "lobby", STATUS_DENIED);
    expect(access, &claims, "user:bob", STATUS_DENIED);
    claims.role = BYTES("admin");
    expect(access, &claims, "public:news", 0);
    access_destroy(access);
}

Test(access, knows_the_type_of_names_without_colon)
{
    static const char *const any[] = {"any"};
    static const char *const none[] = {"deny"};
    static const char *const halls[] = {"hall", "hall-*"};
    static const char *const all[] = {"*"};
    const struct access_type_options types[] = {
        {.name = "hall", .rules = any, .rule_count = 1, .match = halls, .match_count = 2},
        {.name = "rest", .rules = none, .rule_count = 1, .match = all, .match_count = 1},
    };
    struct claims_fields claims = alice();
    struct access *access = make(types, 2);
    cr_expect(bytes_eq_str(access_type(access, BYTES("hall")), "hall"));
    cr_expect(bytes_eq_str(access_type(access, BYTES("hall-9")), "hall"));
    cr_expect(bytes_eq_str(access_type(access, BYTES("hallo")), "rest"));
    cr_expect(bytes_eq_str(access_type(access, BYTES("a:b:c")), "a"));
    expect(access, &claims, "hall", 0);
    expect(access, &claims, "hall-9", 0);
    expect(access, &claims, "hallo", STATUS_DENIED);
    expect(access, &claims, "lobby", STATUS_DENIED);
    access_destroy(access);
    access = make(types, 1);
    cr_expect(bytes_eq_str(access_type(access, BYTES("lobby")), "*"));
    access_destroy(access);
}

/* Every rule for joining beside every rule for sending: who may speak follows the latter alone. */
Test(access, who_may_speak_does_not_depend_on_who_may_join)
{
    static const char *const joins[] = {"any", "deny", "claim", "claim:teams", "claim:plan=gold",
        "claim:plan=tin", "tenant", "role:editor", "role:reader", "pattern:t:{sub}",
        "pattern:t:{role}"};
    static const struct {
        const char *words[2];
        bool editor;
        bool reader;
    } sends[] = {
        {{NULL}, true, true},
        {{"member"}, true, true},
        {{"nobody"}, false, false},
        {{"role:editor"}, true, false},
        {{"role:reader"}, false, true},
        {{"role:other"}, false, false},
        {{"role:other", "role:editor"}, true, false},
        {{"role:other", "member"}, true, true},
    };
    struct claims_fields fields = alice();
    struct claims *editor = claims_new(&fields);
    struct claims_fields weak = {.user = BYTES("alice"), .role = BYTES("reader")};
    struct claims *reader = claims_new(&weak);
    for (size_t i = 0; i < ARRAY_LEN(joins); i++) {
        for (size_t j = 0; j < ARRAY_LEN(sends); j++) {
            size_t count = (sends[j].words[0] != NULL) + (sends[j].words[1] != NULL);
            const struct access_type_options types[] = {{.name = "t",
                                                            .rules = &joins[i],
                                                            .rule_count = 1,
                                                            .send = sends[j].words,
                                                            .send_count = count},
                {.name = "*",
                    .rules = &joins[i],
                    .rule_count = 1,
                    .send = sends[j].words,
                    .send_count = count}};
            struct access *access = make(types, ARRAY_LEN(types));
            static const char *const names[] = {"t:alice", "t:x", "t:", "t:acme", "lobby", "u:x"};
            for (size_t k = 0; k < ARRAY_LEN(names); k++) {
                struct bytes room = bytes_str(names[k]);
                cr_expect_eq(access_may_send(access, editor, room), sends[j].editor,
                    "%s, send %zu: editor in %s", joins[i], j, names[k]);
                cr_expect_eq(access_may_send(access, reader, room), sends[j].reader,
                    "%s, send %zu: reader in %s", joins[i], j, names[k]);
            }
            access_destroy(access);
        }
    }
    claims_unref(editor);
    claims_unref(reader);
}

Test(access, refuses_what_is_no_rule_for_sending)
{
    static const char *const wrong[][2] = {{""}, {"all"}, {"any"}, {"deny"}, {"role:"}, {"role"},
        {"Member"}, {"member:x"}, {"nobody", "member"}, {"role:editor", "nobody"}};
    static const char *const any[] = {"any"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const struct access_type_options type = {.name = "t",
            .rules = any,
            .rule_count = 1,
            .send = wrong[i],
            .send_count = 1 + (wrong[i][1] != NULL)};
        struct builder error = {.max = 1000};
        struct access *access = NULL;
        cr_expect_eq(access_create(&type, 1, &error, &access), STATUS_INVALID, "case %zu", i);
        cr_expect_gt(builder_bytes(&error).len, 0);
        builder_reset(&error);
    }
}

Test(access, refuses_what_is_no_rule)
{
    static const char *const wrong[] = {"", "all", "role:", "role", "pattern",
        "pattern:", "pattern:{user}", "pattern:{sub", "claim:", "claim:=", "claim:a=", "claim:=b",
        "tenant:x", "webhook:http://x", "Any"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const struct access_type_options type = {.name = "t", .rules = &wrong[i], .rule_count = 1};
        struct builder error = {.max = 1000};
        struct access *access = NULL;
        cr_expect_eq(access_create(&type, 1, &error, &access), STATUS_INVALID, "%s", wrong[i]);
        cr_expect_gt(builder_bytes(&error).len, 0);
        builder_reset(&error);
    }
    static const char *const mixed[] = {"any", "deny"};
    static const char *const colon[] = {"a:b"};
    const struct access_type_options types[][2] = {
        {{.name = "user", .rules = mixed, .rule_count = 1}},
        {{.name = "", .rules = mixed, .rule_count = 1}},
        {{.name = "a:b", .rules = mixed, .rule_count = 1}},
        {{.name = "t", .rules = mixed, .rule_count = 2}},
        {{.name = "t", .rules = mixed, .rule_count = 1, .match = colon, .match_count = 1}},
        {{.name = "t", .rules = mixed, .rule_count = 1},
            {.name = "t", .rules = mixed, .rule_count = 1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct builder error = {.max = 1000};
        struct access *access = NULL;
        size_t count = types[i][1].name != NULL ? 2 : 1;
        cr_expect_eq(
            access_create(types[i], count, &error, &access), STATUS_INVALID, "case %zu", i);
        builder_reset(&error);
    }
}

Test(access, of_values_is_closed)
{
    static const char *const any[] = {"any"};
    static const char *const own[] = {"pattern:user:{sub}", "role:admin"};
    static const char *const words[] = {"motd", "flag*"};
    static const struct access_type_options types[] = {
        {.name = "board", .rules = any, .rule_count = 1, .match = words, .match_count = 2},
        {.name = "user", .rules = own, .rule_count = 2},
    };
    static const struct {
        const char *key;
        int status;
    } cases[] = {{"board:x", 0}, {"board", STATUS_DENIED}, {"motd", 0}, {"flags", 0},
        {"fla", STATUS_DENIED}, {"user:alice", 0}, {"user:bob", STATUS_DENIED},
        {"public:x", STATUS_DENIED}, {"public", STATUS_DENIED}, {"company:acme", STATUS_DENIED},
        {"tenant:acme", STATUS_DENIED}, {"lobby", STATUS_DENIED}, {"", STATUS_INVALID},
        {"board:a/b", STATUS_INVALID}};
    struct claims_fields claims = alice();
    struct builder error = {.max = 1000};
    struct access *access = NULL;
    cr_assert_eq(access_create_closed(types, ARRAY_LEN(types), &error, &access), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect(access, &claims, cases[i].key, cases[i].status);
    }
    claims.role = BYTES("admin");
    expect(access, &claims, "user:bob", 0);
    expect(access, &claims, "admin:x", STATUS_DENIED);
    access_destroy(access);
    cr_assert_eq(access_create_closed(NULL, 0, &error, &access), 0);
    expect(access, &claims, "board:x", STATUS_DENIED);
    access_destroy(access);
}
