/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys: found, refused, with their scopes, and never shown.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/status.h"
#include "hub/auth/apikey.h"

TestSuite(apikey, .timeout = 30);

static const char *const publish_only[] = {"publish"};
static const char *const everything[] = {"admin", "read", "publish", "read"};

#define KEY_A "aaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbb"

Test(apikey, finds_keys_and_what_they_may_do)
{
    const struct apikey_options keys[] = {
        {.name = BYTES("shop"), .key = BYTES(KEY_A), .scopes = publish_only, .scope_count = 1},
        {.name = BYTES("ops"),
            .key = BYTES(KEY_B),
            .scopes = everything,
            .scope_count = 4,
            .tenant = BYTES("acme")},
    };
    struct builder error = {.max = 1000};
    struct apikey_set *set = NULL;
    cr_assert_eq(apikey_set_create(keys, 2, &error, &set), 0);
    const struct apikey *shop = apikey_find(set, BYTES(KEY_A));
    const struct apikey *ops = apikey_find(set, BYTES(KEY_B));
    cr_assert_not_null(shop);
    cr_assert_not_null(ops);
    cr_expect(bytes_eq_str(shop->name, "shop"));
    cr_expect(bytes_eq_str(ops->tenant, "acme"));
    cr_expect_eq(shop->scopes, APIKEY_PUBLISH);
    cr_expect_eq(ops->scopes, APIKEY_PUBLISH | APIKEY_READ | APIKEY_ADMIN);
    static const char *const wrong[] = {"", "a", "aaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaab", "AAAAAAAAAAAAAAAA", "shop"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        cr_expect_null(apikey_find(set, bytes_str(wrong[i])), "%s", wrong[i]);
    }
    apikey_set_destroy(set);
    builder_reset(&error);
}

/* A request whose body takes its time may outlive the keys that its head was judged by. */
Test(apikey, a_mark_is_good_for_its_own_set_alone)
{
    const struct apikey_options keys[] = {
        {.name = BYTES("shop"), .key = BYTES(KEY_A), .scopes = publish_only, .scope_count = 1},
        {.name = BYTES("ops"), .key = BYTES(KEY_B), .scopes = everything, .scope_count = 4},
    };
    struct builder error = {.max = 1000};
    struct apikey_set *sets[2];
    uint64_t marks[2][2];
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(apikey_set_create(keys, 2, &error, &sets[i]), 0);
        marks[i][0] = apikey_mark(sets[i], apikey_find(sets[i], BYTES(KEY_A)));
        marks[i][1] = apikey_mark(sets[i], apikey_find(sets[i], BYTES(KEY_B)));
        cr_expect_neq(marks[i][0], 0);
    }
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(apikey_recall(sets[i], marks[i][0]), apikey_find(sets[i], BYTES(KEY_A)));
        cr_expect_eq(apikey_recall(sets[i], marks[i][1]), apikey_find(sets[i], BYTES(KEY_B)));
        cr_expect_null(apikey_recall(sets[i], marks[1 - i][0]));
        cr_expect_null(apikey_recall(sets[i], marks[i][1] + 1), "there is no such place");
        cr_expect_null(apikey_recall(sets[i], 0));
    }
    apikey_set_destroy(sets[0]);
    cr_expect_null(apikey_recall(sets[1], marks[0][1]), "of one that is gone");
    apikey_set_destroy(sets[1]);
    builder_reset(&error);
}

Test(apikey, every_scope_has_a_word_and_a_sentence)
{
    static const struct {
        const char *word;
        unsigned scope;
    } rows[] = {{"publish", APIKEY_PUBLISH}, {"read", APIKEY_READ}, {"write", APIKEY_WRITE},
        {"values", APIKEY_VALUES}, {"jobs", APIKEY_JOBS}, {"metrics", APIKEY_METRICS},
        {"viewer", APIKEY_VIEWER}, {"admin", APIKEY_ADMIN}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct apikey_options key = {
            .name = BYTES("k"), .key = BYTES(KEY_A), .scopes = &rows[i].word, .scope_count = 1};
        struct builder error = {.max = 1000};
        struct apikey_set *set = NULL;
        cr_assert_eq(apikey_set_create(&key, 1, &error, &set), 0, "%s", rows[i].word);
        cr_expect_eq(apikey_find(set, BYTES(KEY_A))->scopes, rows[i].scope, "%s", rows[i].word);
        cr_expect(strstr(apikey_needs(rows[i].scope), rows[i].word) != NULL, "%s", rows[i].word);
        apikey_set_destroy(set);
        builder_reset(&error);
    }
}

Test(apikey, an_empty_set_knows_nobody)
{
    struct builder error = {.max = 1000};
    struct apikey_set *set = NULL;
    cr_assert_eq(apikey_set_create(NULL, 0, &error, &set), 0);
    cr_expect_null(apikey_find(set, BYTES(KEY_A)));
    apikey_set_destroy(set);
    apikey_set_destroy(NULL);
}

Test(apikey, refuses_unsafe_settings_without_showing_the_key)
{
    static const char *const unknown[] = {"publish", "writes"};
    static char long_key[APIKEY_MAX + 1];
    memset(long_key, 'k', sizeof(long_key));
    const struct apikey_options good = {
        .name = BYTES("good"), .key = BYTES(KEY_A), .scopes = publish_only, .scope_count = 1};
    struct apikey_options cases[7];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cases[i] = good;
        cases[i].name = BYTES("bad");
        cases[i].key = BYTES(KEY_B);
    }
    cases[0].key = BYTES("bbbbbbbbbbbbbbb");
    cases[1].key = bytes_of(long_key, sizeof(long_key));
    cases[2].scope_count = 0;
    cases[3].scopes = unknown;
    cases[3].scope_count = 2;
    cases[4].name = BYTES("");
    cases[5].name = BYTES("good");
    cases[6].key = BYTES(KEY_A);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct apikey_options keys[] = {good, cases[i]};
        struct builder error = {.max = 1000};
        struct apikey_set *set = NULL;
        cr_expect_eq(apikey_set_create(keys, 2, &error, &set), STATUS_INVALID, "case %zu", i);
        struct bytes text = builder_bytes(&error);
        cr_expect_gt(text.len, 0);
        cr_expect_null(memmem(text.at, text.len, "bbbb", 4), "case %zu", i);
        builder_reset(&error);
    }
}

Test(apikey, takes_bearer_tokens_out_of_headers)
{
    static const struct {
        const char *header;
        int status;
        const char *token;
    } cases[] = {
        {"Bearer abc", 0, "abc"},
        {"bearer abc.d_e-f~g+h/i==", 0, "abc.d_e-f~g+h/i=="},
        {"BEARER  abc", 0, "abc"},
        {"", STATUS_NOT_FOUND, NULL},
        {"Basic abc", STATUS_NOT_FOUND, NULL},
        {"Bearerabc", STATUS_NOT_FOUND, NULL},
        {"Bear", STATUS_NOT_FOUND, NULL},
        {"Bearer", STATUS_INVALID, NULL},
        {"Bearer ", STATUS_INVALID, NULL},
        {"Bearer a b", STATUS_INVALID, NULL},
        {"Bearer a,b", STATUS_INVALID, NULL},
        {"Bearer a\tb", STATUS_INVALID, NULL},
        {"Bearer \xc3\xa9", STATUS_INVALID, NULL},
        {"Bearer \"abc\"", STATUS_INVALID, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes token = {0};
        int status = apikey_parse_bearer(bytes_str(cases[i].header), &token);
        cr_expect_eq(status, cases[i].status, "%s: %s", cases[i].header, status_name(status));
        cr_expect(bytes_eq(token, bytes_str(cases[i].token)), "%s", cases[i].header);
    }
    struct bytes token = {0};
    cr_expect_eq(apikey_parse_bearer(BYTES("Bearer a\0b"), &token), STATUS_INVALID);
}
