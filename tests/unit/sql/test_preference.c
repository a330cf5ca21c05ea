/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preferences are kept, and what they refuse is not stored: only its key is.
 */
#include "codec/base/status.h"
#include "sql/store_preference.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

static const char no_comments[] = "{\"types\": {\"comment\": {\"inbox\": false}}}";
static const char all_comments[] = "{\"types\": {\"comment\": {\"inbox\": true}}}";
static const char nothing[] = "{\"quiet\": null}";

static uint64_t prefer(struct harness *harness, struct store_user who, const char *body)
{
    struct store_preference write = {
        .base.op = STORE_PREFERENCE_WRITE, .who = who, .body = bytes_str(body)};
    cr_assert_eq(harness_run(harness, 1, &write.base), 0);
    uint64_t rev = write.rev;
    store_request_finish(&write.base);
    return rev;
}

static void expect_preferences(
    struct harness *harness, struct store_user who, uint64_t rev, const char *body)
{
    struct store_preference read = {.base.op = STORE_PREFERENCE_READ, .who = who};
    cr_assert_eq(harness_run(harness, 2, &read.base), 0);
    cr_expect_eq(read.rev, rev);
    cr_expect(bytes_eq_str(read.body, body), "%.*s", (int)read.body.len, read.body.at);
    store_request_finish(&read.base);
    cr_expect_eq(position_of(harness, who).preference_rev, rev);
}

static struct store_row comment_of(struct store_user who, uint64_t key, const char *type)
{
    struct store_row row = row_of(who, key, key);
    row.type = bytes_str(type);
    return row;
}

BOTH(preferences_are_read_back_and_counted)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    expect_preferences(&harness, who, 0, "");
    cr_expect_eq(prefer(&harness, who, no_comments), 1);
    expect_preferences(&harness, who, 1, no_comments);
    expect_position(&harness, who, 0, 0, 0);
    cr_expect_eq(prefer(&harness, who, nothing), 2);
    expect_preferences(&harness, who, 2, nothing);
    struct store_row row = row_of(who, 1, 1);
    put_row(&harness, &row);
    expect_preferences(&harness, who, 2, nothing);
    expect_preferences(&harness, user_of("bob"), 0, "");
    expect_preferences(&harness, (struct store_user){BYTES("t"), BYTES("alice")}, 0, "");
    harness_close(&harness);
}

static uint64_t hide(struct harness *harness, struct store_user who, bool hidden)
{
    struct store_preference write = {
        .base.op = STORE_PREFERENCE_WRITE, .who = who, .hides = true, .hidden = hidden};
    cr_assert_eq(harness_run(harness, 1, &write.base), 0);
    uint64_t rev = write.rev;
    store_request_finish(&write.base);
    return rev;
}

static bool is_hidden(struct harness *harness, struct store_user who)
{
    struct store_preference read = {.base.op = STORE_PREFERENCE_READ, .who = who};
    cr_assert_eq(harness_run(harness, 2, &read.base), 0);
    bool hidden = read.hidden;
    store_request_finish(&read.base);
    return hidden;
}

BOTH(whether_a_user_hides_is_kept_beside_preferences)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    cr_expect_not(is_hidden(&harness, who));
    cr_expect_eq(hide(&harness, who, true), 1);
    expect_preferences(&harness, who, 1, "{}");
    cr_expect(is_hidden(&harness, who));
    cr_expect_not(is_hidden(&harness, user_of("bob")));
    cr_expect_eq(prefer(&harness, who, no_comments), 2);
    cr_expect(is_hidden(&harness, who), "other preferences do not show who hides");
    cr_expect_eq(hide(&harness, who, false), 3);
    expect_preferences(&harness, who, 3, no_comments);
    cr_expect_not(is_hidden(&harness, who));
    harness_close(&harness);
}

BOTH(a_change_of_preferences_is_among_what_has_changed)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_changed changed = {.base.op = STORE_CHANGED, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &changed.base), 0);
    changed.since = changed.next;
    store_request_finish(&changed.base);
    (void)prefer(&harness, who, nothing);
    cr_assert_eq(harness_run(&harness, 0, &changed.base), 0);
    cr_assert_eq(changed.user_count, 1);
    cr_expect(bytes_eq(changed.users[0].who.user, who.user));
    cr_expect_eq(changed.users[0].position.preference_rev, 1);
    cr_expect_eq(changed.users[0].position.rev, 0);
    store_request_finish(&changed.base);
    harness_close(&harness);
}

BOTH(what_a_user_does_not_want_leaves_only_its_key)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row row = comment_of(who, 1, "comment");
    put_row(&harness, &row);
    (void)prefer(&harness, who, no_comments);
    row = comment_of(who, 2, "comment");
    uint8_t id[NOTIFICATION_ID_LEN];
    memcpy(id, row.id, sizeof(id));
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_SUPPRESSED);
    cr_expect_eq(row.seq, 0);
    expect_position(&harness, who, 1, 1, 1);

    (void)prefer(&harness, who, all_comments); /* what was refused stays so */
    row = comment_of(who, 2, "comment");
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(row.seq, 0);
    cr_expect_eq(row.rev, 0);
    cr_expect(memcmp(row.id, id, sizeof(id)) == 0);
    row = comment_of(who, 2, "comment");
    row.content_hash[0] ^= 1;
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_CONFLICT);
    row = comment_of(who, 1, "comment"); /* and what was taken */
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(row.seq, 1);
    expect_position(&harness, who, 1, 1, 1);
    harness_close(&harness);
}

BOTH(a_type_that_is_unwanted_is_taken_by_those_who_want_it)
{
    struct harness harness;
    harness_open(&harness, url);
    static const struct {
        const char *user;
        const char *body; /* NULL: no preferences */
        enum store_outcome usual;
        enum store_outcome unwanted;
    } cases[] = {
        {"ann", NULL, OUTCOME_STORED, OUTCOME_SUPPRESSED},
        {"ben", nothing, OUTCOME_STORED, OUTCOME_SUPPRESSED},
        {"cid", no_comments, OUTCOME_SUPPRESSED, OUTCOME_SUPPRESSED},
        {"dan", all_comments, OUTCOME_STORED, OUTCOME_STORED},
    };
    struct store_row rows[2 * ARRAY_LEN(cases)];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store_user who = user_of(cases[i].user);
        if (cases[i].body != NULL) {
            (void)prefer(&harness, who, cases[i].body);
        }
        rows[2 * i] = comment_of(who, 1, "comment");
        rows[2 * i + 1] = comment_of(who, 2, "comment");
        rows[2 * i + 1].unwanted = true;
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = ARRAY_LEN(rows)};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(rows[2 * i].outcome, cases[i].usual, "%s", cases[i].user);
        cr_expect_eq(rows[2 * i + 1].outcome, cases[i].unwanted, "%s, unwanted", cases[i].user);
        uint64_t count = (cases[i].usual == OUTCOME_STORED) + (cases[i].unwanted == OUTCOME_STORED);
        expect_position(&harness, user_of(cases[i].user), count, count, count);
    }
    harness_close(&harness);
}

BOTH(numbers_have_no_holes_where_some_of_a_request_is_refused)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    (void)prefer(&harness, who, no_comments);
    static const struct {
        uint64_t key;
        const char *type;
        enum store_outcome outcome;
        uint64_t seq;
    } cases[] = {
        {1, "comment", OUTCOME_SUPPRESSED, 0},
        {2, "order", OUTCOME_STORED, 1},
        {1, "comment", OUTCOME_DUPLICATE, 0},
        {3, "comment", OUTCOME_SUPPRESSED, 0},
        {2, "order", OUTCOME_DUPLICATE, 1},
        {4, "comments", OUTCOME_STORED, 2},
    };
    struct store_row rows[ARRAY_LEN(cases)];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rows[i] = comment_of(who, cases[i].key, cases[i].type);
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = ARRAY_LEN(rows)};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(rows[i].outcome, cases[i].outcome, "%zu", i);
        cr_expect_eq(rows[i].seq, cases[i].seq, "%zu", i);
        bool stored = cases[i].outcome == OUTCOME_STORED;
        cr_expect_eq(rows[i].unread, stored ? cases[i].seq : 0, "%zu", i);
    }
    expect_position(&harness, who, 2, 2, 2);
    harness_close(&harness);
}

static const char *const four[] = {"ann", "ben", "cid", "dan"};
static const char *const wishes[] = {NULL, nothing, no_comments, all_comments};

/* Post of a type to a topic ("news"), a list ("list") or everybody (NULL). */
static void post_type(
    struct harness *harness, const char *target, uint64_t key, const char *type, bool unwanted)
{
    struct bytes users[ARRAY_LEN(four)];
    bool list = target && strcmp(target, "list") == 0;
    struct store_audience_post post = post_of(list ? NULL : target, key);
    for (size_t i = 0; i < ARRAY_LEN(four); i++) {
        users[i] = bytes_str(four[i]);
    }
    if (list) {
        post.kind = AUDIENCE_LIST;
        post.users = users;
        post.user_count = ARRAY_LEN(users);
    }
    post.type = bytes_str(type);
    post.unwanted = unwanted;
    post_many(harness, &post);
    cr_assert_eq(post.outcome, OUTCOME_STORED);
}

static void expect_count(struct harness *harness, size_t who, uint64_t count)
{
    expect_position(harness, user_of(four[who]), count, count, count);
    struct store_list list = {.base.op = STORE_LIST, .who = user_of(four[who]), .limit = 100};
    cr_assert_eq(harness_run(harness, 1, &list.base), 0);
    cr_expect_eq(list.count, count, "%s", four[who]);
    for (size_t i = 0; i < list.count; i++) {
        cr_expect_eq(list.items[i].seq, count - i);
    }
    store_request_finish(&list.base);
}

BOTH(of_a_post_to_many_nothing_is_made_for_who_does_not_want_its_type)
{
    struct harness harness;
    harness_open(&harness, url);
    static const char *const targets[] = {"news", NULL, "list"};
    /* By user: of the posts of a type that is wanted, and of one that is not. */
    static const uint64_t usual[] = {1, 1, 0, 1};
    static const uint64_t unwanted[] = {0, 0, 0, 1};
    uint64_t counts[ARRAY_LEN(four)] = {0};
    uint64_t key = 0;
    for (size_t i = 0; i < ARRAY_LEN(four); i++) {
        cr_expect(subscribe_to(&harness, four[i], "news"));
        if (wishes[i] != NULL) {
            (void)prefer(&harness, user_of(four[i]), wishes[i]);
        }
    }
    for (size_t t = 0; t < ARRAY_LEN(targets); t++) {
        post_type(&harness, targets[t], ++key, "comment", false);
        post_type(&harness, targets[t], ++key, "comment", true);
        post_type(&harness, targets[t], ++key, "order", false);
        for (size_t i = 0; i < ARRAY_LEN(four); i++) {
            counts[i] += usual[i] + unwanted[i] + 1;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(four); i++) {
        expect_count(&harness, i, counts[i]);
        (void)prefer(&harness, user_of(four[i]), all_comments);
        expect_count(&harness, i, counts[i]); /* what was passed is not made later */
        struct store_row row = comment_of(user_of(four[i]), 1000, "order");
        put_row(&harness, &row);
        cr_expect_eq(row.seq, counts[i] + 1);
        cr_expect_eq(row.rev, counts[i] + 1);
    }
    harness_close(&harness);
}

BOTH(numbers_have_no_holes_where_many_posts_to_many_are_refused)
{
    enum { POSTS = 1300, EACH = 100 }; /* more than a transaction passes */
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "cid", "news"));
    (void)prefer(&harness, user_of("cid"), no_comments);
    for (uint64_t key = 1; key <= POSTS; key++) {
        post_type(&harness, "news", key, key % EACH == 0 ? "order" : "comment", false);
    }
    struct store_row row = comment_of(user_of("cid"), 5000, "order");
    put_row(&harness, &row);
    cr_expect_eq(row.seq, POSTS / EACH + 1);
    expect_count(&harness, 2, POSTS / EACH + 1);
    harness_close(&harness);
}

BOTH(names_of_types_are_any_text)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    (void)prefer(&harness, who, "{\"types\": {\"a\\\"b.c $1'\": {\"inbox\": false}}}");
    struct store_row row = comment_of(who, 1, "a\"b.c $1'");
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_SUPPRESSED);
    row = comment_of(who, 2, "b");
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_STORED);
    harness_close(&harness);
}

BOTH(preferences_without_a_body_are_refused)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_preference write = {.base.op = STORE_PREFERENCE_WRITE, .who = user_of("alice")};
    cr_expect_eq(harness_run(&harness, 0, &write.base), STATUS_INVALID);
    store_request_finish(&write.base);
    harness_close(&harness);
}

BOTH(preferences_of_a_user_that_is_erased_go_and_are_told_to_have_changed)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    (void)prefer(&harness, who, no_comments);
    (void)prefer(&harness, user_of("bob"), no_comments);
    struct store_forget forget = {.base.op = STORE_FORGET, .who = who};
    cr_assert_eq(harness_run(&harness, 0, &forget.base), 0);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_PREFERENCES], 1);
    store_request_finish(&forget.base);
    expect_preferences(&harness, who, 2, "");
    expect_preferences(&harness, user_of("bob"), 1, no_comments);
    struct store_row row = comment_of(who, 1, "comment");
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_STORED);
    harness_close(&harness);
}
