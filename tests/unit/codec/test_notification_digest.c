/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a row remembers of its posts: bounded, cut between characters, and refused where it is none.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/announce.h"
#include "codec/notification.h"
#include "codec/notification_digest.h"
#include "codec/notification_json.h"

static struct notification_digest_entry entry_of(const char *title)
{
    return (struct notification_digest_entry){.id = {1, 2, 3},
        .at = 1000,
        .priority = NOTIFICATION_HIGH,
        .title = bytes_str(title),
        .message = BYTES("m"),
        .data = BYTES("[1]")};
}

/* `list` with one more; `list` is the builder's before. */
static void add(struct builder *list, const struct notification_digest_entry *entry)
{
    struct builder out = {0};
    notification_digest_add(builder_bytes(list), entry, &out);
    builder_reset(list);
    *list = out;
}

Test(notification_digest, the_last_ten_stay)
{
    struct builder list = {0};
    char title[8];
    for (unsigned i = 0; i < 25; i++) {
        (void)snprintf(title, sizeof(title), "%u", i);
        struct notification_digest_entry entry = entry_of(title);
        add(&list, &entry);
        cr_assert(notification_digest_is_valid(builder_bytes(&list)));
    }
    struct bytes left = builder_bytes(&list);
    struct notification_digest_entry got;
    for (unsigned i = 25; i > 15; i--) {
        (void)snprintf(title, sizeof(title), "%u", i - 1);
        cr_assert(notification_digest_take(&left, &got));
        cr_expect(bytes_eq_str(got.title, title));
        cr_expect(got.id[2] == 3 && got.at == 1000 && got.priority == NOTIFICATION_HIGH);
        cr_expect(bytes_eq_str(got.data, "[1]"));
    }
    cr_expect_not(notification_digest_take(&left, &got));
    builder_reset(&list);
}

Test(notification_digest, posts_are_taken_out_and_changed_by_their_id)
{
    struct builder list = {0};
    static const char *const titles[] = {"a", "b", "c"};
    for (uint8_t i = 0; i < 3; i++) {
        struct notification_digest_entry entry = entry_of(titles[i]);
        entry.id[0] = i;
        add(&list, &entry);
    }
    static const struct {
        uint8_t id;
        const char *left;
    } cases[] = {{0, "cb"}, {1, "ca"}, {2, "ba"}, {3, "cba"}};
    struct notification_digest_entry got;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const uint8_t id[NOTIFICATION_ID_LEN] = {cases[i].id, 2, 3};
        struct builder out = {0};
        notification_digest_without(builder_bytes(&list), id, &out);
        cr_expect(notification_digest_is_valid(builder_bytes(&out)));
        struct bytes left = builder_bytes(&out);
        for (size_t k = 0; notification_digest_take(&left, &got); k++) {
            cr_expect(got.title.at[0] == cases[i].left[k], "%zu, %zu", i, k);
        }
        cr_expect_eq(left.len, 0);
        builder_reset(&out);
    }
    struct notification_digest_entry other = entry_of("new");
    other.message = BYTES("n");
    other.data = BYTES("");
    other.priority = NOTIFICATION_LOW;
    other.at = 7;
    struct builder out = {0};
    notification_digest_change(builder_bytes(&list), (const uint8_t[NOTIFICATION_ID_LEN]){1, 2, 3},
        NOTIFICATION_EDIT_TITLE | NOTIFICATION_EDIT_DATA, &other, &out);
    struct bytes left = builder_bytes(&out);
    cr_assert(notification_digest_take(&left, &got) && bytes_eq_str(got.title, "c"));
    cr_assert(notification_digest_take(&left, &got) && bytes_eq_str(got.title, "new"));
    cr_expect(bytes_eq_str(got.message, "m") && got.data.len == 0);
    cr_expect(got.priority == NOTIFICATION_HIGH && got.at == 1000 && got.id[0] == 1);
    cr_assert(notification_digest_take(&left, &got) && bytes_eq_str(got.title, "a"));
    builder_reset(&out);
    builder_reset(&list);
    notification_digest_without((struct bytes){0}, (const uint8_t[NOTIFICATION_ID_LEN]){1}, &out);
    notification_digest_change((struct bytes){0}, (const uint8_t[NOTIFICATION_ID_LEN]){1},
        NOTIFICATION_EDIT_ALL, &other, &out);
    cr_expect_eq(builder_bytes(&out).len, 0);
    builder_reset(&out);
}

Test(notification_digest, texts_are_cut_between_characters_and_separators_go)
{
    struct builder text = {0};
    struct builder list = {0};
    for (unsigned i = 0; i < NOTIFICATION_DIGEST_TITLE; i++) {
        builder_str(&text, i == 3 ? "\x1f" : i == 5 ? "\x1e" : "\xf0\x9f\x94\x94");
    }
    struct notification_digest_entry entry = entry_of("");
    entry.title = builder_bytes(&text);
    add(&list, &entry);
    struct bytes left = builder_bytes(&list);
    struct notification_digest_entry got;
    cr_assert(notification_digest_take(&left, &got));
    cr_expect_eq(got.title.len, text.len, "it fits");
    cr_expect(got.title.at[12] == ' ' && got.title.at[17] == ' ');
    builder_str(&text, "x");
    entry.title = builder_bytes(&text);
    builder_reset(&list);
    add(&list, &entry);
    left = builder_bytes(&list);
    cr_assert(notification_digest_take(&left, &got));
    cr_expect_eq(got.title.len, text.len - 1 - 4 + 3, "the last character gave way");
    cr_expect(bytes_eq_str(bytes_skip(got.title, got.title.len - 3), "\xe2\x80\xa6"));
    builder_reset(&text);
    builder_reset(&list);
}

Test(notification_digest, the_newest_gets_other_content)
{
    struct builder list = {0};
    struct builder out = {0};
    struct notification_digest_entry first = entry_of("first");
    struct notification_digest_entry second = entry_of("second");
    struct notification_digest_entry content = {
        .title = BYTES("new"), .priority = NOTIFICATION_LOW};
    second.at = 2000;
    add(&list, &first);
    add(&list, &second);
    notification_digest_renew(builder_bytes(&list), &content, &out);
    struct bytes left = builder_bytes(&out);
    struct notification_digest_entry got;
    cr_assert(notification_digest_take(&left, &got));
    cr_expect(bytes_eq_str(got.title, "new") && got.at == 2000 && got.data.len == 0);
    cr_assert(notification_digest_take(&left, &got));
    cr_expect(bytes_eq_str(got.title, "first"));
    builder_reset(&list);
    builder_reset(&out);
}

#define ID "01020304-0506-7708-890a-0b0c0d0e0f10"
#define GOOD                                                                                       \
    ID "\x1f"                                                                                      \
       "5\x1f"                                                                                     \
       "1\x1f"                                                                                     \
       "t\x1f"                                                                                     \
       "m\x1f"

Test(notification_digest, what_is_none_is_refused)
{
    static const char *const bad[] = {"x", "\x1e", GOOD "{\x1e" GOOD, GOOD "\x1e", GOOD "1 2",
        GOOD "{",
        ID "\x1f"
           "5\x1f"
           "4\x1f"
           "t\x1f"
           "m\x1f",
        ID "\x1f"
           "-1\x1f"
           "1\x1f"
           "t\x1f"
           "m\x1f",
        "0" GOOD,
        ID "\x1f"
           "5\x1f"
           "1\x1f"
           "t"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_not(notification_digest_is_valid(bytes_str(bad[i])), "%zu", i);
    }
    cr_expect(notification_digest_is_valid(BYTES("")));
    cr_expect(notification_digest_is_valid(BYTES(GOOD "\x1e" GOOD "null")));
    struct builder many = {0};
    for (unsigned i = 0; i <= NOTIFICATION_DIGEST_MAX; i++) {
        builder_str(&many, i > 0 ? "\x1e" GOOD : GOOD);
    }
    cr_expect_not(notification_digest_is_valid(builder_bytes(&many)), "too many");
    builder_reset(&many);
}

Test(notification_digest, goes_over_the_bus_and_out_as_json)
{
    struct announce told = {.version = 1,
        .kind = ANNOUNCE_NEW,
        .user = BYTES("u"),
        .item = {.type = BYTES("t"), .count = 2, .digest = BYTES(GOOD "\x1e" GOOD "[7]")}};
    struct announce got;
    struct builder wire = {0};
    struct builder json = {0};
    announce_encode(&told, &wire);
    cr_assert_eq(announce_decode(builder_bytes(&wire), &got), 0);
    cr_expect(bytes_eq(got.item.digest, told.item.digest));
    notification_json_item(&got.item, &json);
    static const char wanted[] =
        "\"count\":2,\"digest\":[{\"id\":\"" ID "\",\"title\":\"t\",\"message\":\"m\",\"data\":[7],"
        "\"priority\":\"medium\",\"createdAt\":\"1970-01-01T00:00:00.005Z\"},{\"id\":\"" ID "\","
        "\"title\":\"t\",\"message\":\"m\",\"priority\":\"medium\","
        "\"createdAt\":\"1970-01-01T00:00:00.005Z\"}]}";
    struct bytes text = builder_bytes(&json);
    cr_expect(memmem(text.at, text.len, wanted, sizeof(wanted) - 1) != NULL, "%.*s", (int)text.len,
        text.at);
    builder_reset(&wire);
    told.item.digest = BYTES(GOOD "\x1e");
    announce_encode(&told, &wire);
    cr_expect_lt(announce_decode(builder_bytes(&wire), &got), 0, "a peer that is not sound");
    builder_reset(&wire);
    builder_reset(&json);
}
