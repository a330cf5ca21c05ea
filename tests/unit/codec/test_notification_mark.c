/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be marked: the verbs, which rows are meant, and arguments that are refused.
 */
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/notification_mark.h"

#define ID "01890a5d-ac96-774b-bcce-b302099a8057"
#define TWENTY "aaaaaaaaaaaaaaaaaaaa"
#define SIXTY TWENTY TWENTY TWENTY
#define NOW UINT64_C(1700000000000)
#define DAY UINT64_C(86400000)

/* What is read of `argument`; the caller finishes it. */
static int parse(enum notification_verb verb, bool all, const char *argument,
    struct notification_marking *ret_marking, struct notification_marking_fault *ret_fault)
{
    return notification_marking_parse(verb, all, bytes_str(argument), NOW, ret_marking, ret_fault);
}

Test(notification_mark, says_which_rows_are_meant)
{
    static const struct {
        const char *argument;
        size_t ids;
        uint64_t up_to;
        uint64_t if_rev;
        const char *type;
    } cases[] = {
        {"\"" ID "\"", 1, 0, INT64_MAX, ""},
        {"[\"" ID "\",\"" ID "\"]", 2, 0, INT64_MAX, ""},
        {"{\"id\":\"" ID "\"}", 1, 0, INT64_MAX, ""},
        {"{\"ids\":[\"" ID "\"],\"ifRev\":0}", 1, 0, 0, ""},
        {"{\"upTo\":7,\"ifRev\":9}", 0, 7, 9, ""},
        {"{\"upTo\":7,\"type\":\"comment\"}", 0, 7, INT64_MAX, "comment"},
        {"{\"all\":true}", 0, UINT64_MAX, INT64_MAX, ""},
        {"{\"type\":\"c\\u00f6\",\"all\":true}", 0, UINT64_MAX, INT64_MAX, "c\xc3\xb6"},
    };
    struct notification_marking marking;
    struct notification_marking_fault fault;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(parse(NOTIFICATION_MARK_READ, false, cases[i].argument, &marking, &fault), 0,
            "%s: %s", cases[i].argument, fault.message);
        cr_expect_eq(marking.id_count, cases[i].ids, "%s", cases[i].argument);
        cr_expect_eq(marking.up_to, cases[i].up_to, "%s", cases[i].argument);
        cr_expect_eq(marking.if_rev, cases[i].if_rev, "%s", cases[i].argument);
        cr_expect(bytes_eq_str(bytes_of(marking.type, marking.type_len), cases[i].type));
        notification_marking_finish(&marking);
    }
    static const char *const alls[] = {"", "null", "{}", "{\"type\":\"a\",\"ifRev\":3}"};
    for (size_t i = 0; i < ARRAY_LEN(alls); i++) {
        cr_expect_eq(
            parse(NOTIFICATION_MARK_SEEN, true, alls[i], &marking, &fault), 0, "%s", alls[i]);
        cr_expect_eq(marking.up_to, UINT64_MAX);
        cr_expect_null(marking.ids);
    }
}

Test(notification_mark, names_what_is_at_fault)
{
    static const struct {
        const char *argument;
        const char *field;
        int status;
        bool all;
    } cases[] = {
        {"", "ids", STATUS_INVALID},
        {"7", "ids", STATUS_INVALID},
        {"{}", "ids", STATUS_INVALID},
        {"[]", "ids", STATUS_INVALID},
        {"[7]", "ids", STATUS_INVALID},
        {"\"x\"", "id", STATUS_INVALID},
        {"{\"id\":null}", "id", STATUS_INVALID},
        {"{\"ids\":[\"" ID "\"],\"upTo\":7}", "ids", STATUS_INVALID},
        {"{\"ids\":[\"" ID "\"],\"id\":\"" ID "\"}", "id", STATUS_INVALID},
        {"{\"ids\":[\"" ID "\"],\"type\":\"a\"}", "type", STATUS_INVALID},
        {"{\"all\":true,\"upTo\":7}", "ids", STATUS_INVALID},
        {"{\"all\":false}", "all", STATUS_INVALID},
        {"{\"all\":true,\"type\":\"\"}", "type", STATUS_INVALID},
        {"{\"all\":true,\"type\":\"a\\u0000\"}", "type", STATUS_INVALID},
        {"{\"upTo\":0}", "upTo", STATUS_INVALID},
        {"{\"upTo\":\"7\"}", "upTo", STATUS_INVALID},
        {"{\"upTo\":7,\"ifRev\":-1}", "ifRev", STATUS_INVALID},
        {"{\"upTo\":7,\"ifrev\":1}", "ifrev", STATUS_NOT_FOUND},
        {"{\"upTo\":7,\"until\":1}", "until", STATUS_NOT_FOUND},
        {"{\"ids\":[]}", "ids", STATUS_NOT_FOUND, true},
        {"{\"" SIXTY "\xc3\xa4\xc3\xb6\xc3\xbc\":1}", SIXTY "\xc3\xa4\xc3\xb6", STATUS_NOT_FOUND},
        {"{\"a" SIXTY "\xc3\xa4\xc3\xb6\":1}", "a" SIXTY "\xc3\xa4", STATUS_NOT_FOUND},
        {"[]", "", STATUS_INVALID, true},
        {"\"" ID "\"", "", STATUS_INVALID, true},
    };
    struct notification_marking marking;
    struct notification_marking_fault fault;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status =
            parse(NOTIFICATION_MARK_READ, cases[i].all, cases[i].argument, &marking, &fault);
        cr_expect_eq(status, cases[i].status, "%s: %d", cases[i].argument, status);
        cr_expect_str_eq(fault.field, cases[i].field, "%s: %s", cases[i].argument, fault.field);
        cr_expect_neq(fault.message[0], '\0');
        cr_expect_null(marking.ids, "nothing is left behind");
    }
}

Test(notification_mark, takes_a_thousand_ids_and_no_more)
{
    struct builder text = {0};
    struct notification_marking marking;
    struct notification_marking_fault fault;
    for (unsigned count = 1; count <= NOTIFICATION_MARK_IDS_MAX + 1; count++) {
        builder_str(&text, count == 1 ? "[\"" ID "\"" : ",\"" ID "\"");
    }
    builder_byte(&text, ']');
    struct bytes whole = builder_bytes(&text);
    cr_expect_eq(
        notification_marking_parse(NOTIFICATION_MARK_READ, false, whole, NOW, &marking, &fault),
        STATUS_TOO_LARGE);
    cr_expect_str_eq(fault.field, "ids");
    builder_truncate(&text, whole.len - sizeof(",\"" ID "\"]") + 1);
    builder_byte(&text, ']');
    cr_assert_eq(notification_marking_parse(
                     NOTIFICATION_MARK_READ, false, builder_bytes(&text), NOW, &marking, &fault),
        0);
    cr_expect_eq(marking.id_count, NOTIFICATION_MARK_IDS_MAX);
    notification_marking_finish(&marking);
    builder_reset(&text);
}

/* What a caller holds until the store answers is as large as what it sent. */
Test(notification_mark, takes_room_for_the_ids_that_there_are)
{
    struct notification_marking marking;
    struct notification_marking_fault fault;
    for (unsigned list = 0; list < 2; list++) {
        const char *argument = list ? "[\"" ID "\",\"" ID "\"]" : "\"" ID "\"";
        cr_assert_eq(parse(NOTIFICATION_MARK_READ, false, argument, &marking, &fault), 0);
        size_t room = malloc_usable_size(marking.ids);
        cr_expect_lt(room, 64, "%zu bytes for %zu ids", room, marking.id_count);
        notification_marking_finish(&marking);
    }
}

Test(notification_mark, is_refused_without_memory)
{
    static const char *const arguments[] = {
        "\"" ID "\"", "[\"" ID "\"]", "{\"id\":\"" ID "\"}", "{\"ids\":[\"" ID "\"],\"ifRev\":1}"};
    struct notification_marking marking;
    struct notification_marking_fault fault;
    for (size_t i = 0; i < ARRAY_LEN(arguments); i++) {
        mem_refuse(true);
        int status = parse(NOTIFICATION_MARK_READ, false, arguments[i], &marking, &fault);
        mem_refuse(false);
        cr_expect_eq(status, STATUS_NOMEM, "%s: %d", arguments[i], status);
        cr_expect_str_eq(fault.field, "", "nothing that was sent is at fault");
        cr_expect_null(marking.ids);
    }
}

Test(notification_mark, snoozes_until_a_time_to_come)
{
    static const struct {
        const char *until;
        uint64_t at; /* 0: refused; 1: it wakes */
    } cases[] = {
        {"1700000000001", NOW + 1},
        {"\"2023-11-14T22:13:21Z\"", NOW + 1000},
        {"1734560000000", NOW + 400 * DAY},
        {"1734560000001", 0},
        {"1700000000000", 0},
        {"-1", 0},
        {"\"soon\"", 0},
        {"true", 0},
        {"null", 1},
    };
    char text[128];
    struct notification_marking marking;
    struct notification_marking_fault fault;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)snprintf(text, sizeof(text), "{\"id\":\"" ID "\",\"until\":%s}", cases[i].until);
        int status = parse(NOTIFICATION_MARK_SNOOZE, false, text, &marking, &fault);
        cr_expect_eq(status, cases[i].at == 0 ? STATUS_INVALID : 0, "%s: %d", text, status);
        if (status != 0) {
            cr_expect_str_eq(fault.field, "until");
            continue;
        }
        bool wakes = cases[i].at == 1;
        cr_expect_eq(marking.verb, wakes ? NOTIFICATION_MARK_WAKE : NOTIFICATION_MARK_SNOOZE);
        cr_expect(wakes || marking.until == cases[i].at);
        notification_marking_finish(&marking);
    }
    cr_expect_eq(
        parse(NOTIFICATION_MARK_SNOOZE, false, "\"" ID "\"", &marking, &fault), STATUS_INVALID);
    cr_expect_str_eq(fault.field, "until");
}

Test(notification_mark, answers)
{
    struct notification_change changes[2];
    memset(changes, 0, sizeof(changes));
    changes[1].id[15] = 1;
    struct notification_marked marked = {
        .rev = 7, .unread = 3, .unseen = 2, .changes = changes, .change_count = 1};
    struct builder out = {0};
    notification_json_marked(&marked, &out);
    cr_expect(bytes_eq_str(builder_bytes(&out),
        "{\"ok\":true,\"rev\":7,\"unread\":3,\"unseen\":2,\"changed\":"
        "[\"00000000-0000-0000-0000-000000000000\"]}"));
    builder_clear(&out);
    marked.bulk = true;
    marked.late = changes + 1;
    marked.late_count = 1;
    notification_json_marked(&marked, &out);
    cr_expect(bytes_eq_str(builder_bytes(&out),
        "{\"ok\":true,\"rev\":7,\"unread\":3,\"unseen\":2,\"changed\":1,\"conflict\":"
        "[\"00000000-0000-0000-0000-000000000001\"]}"));
    builder_reset(&out);
}
