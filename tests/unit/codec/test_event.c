/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events from each of their forms: names, arguments, attachments, and what is refused.
 */
#include <criterion/criterion.h>

#include "codec/base/status.h"
#include "codec/depth.h"
#include "codec/event.h"
#include "codec/mp.h"
#include "codec/names.h"
#include "tests/support/vectors.h"

TestSuite(event, .timeout = 60);

#define NAME_128                                                                                   \
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"                             \
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

#define OPEN_31 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
#define CLOSE_31 "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
#define OPEN_32 OPEN_31 "["
#define CLOSE_32 CLOSE_31 "]"

static void expect(const char *input, int status, const struct event *event, const char *shown)
{
    struct builder out = {0};
    if (status < 0) {
        builder_str(&out, status_name(status));
    } else {
        builder_str(&out, event->name_is_number ? "#" : "");
        vectors_quote(&out, event->name);
        builder_byte(&out, '(');
        vectors_quote(&out, event->args);
        builder_printf(&out, ")/%u", (unsigned)event->arg_count);
    }
    struct bytes got = builder_bytes(&out);
    cr_expect(bytes_eq_str(got, shown), "%s: %.*s", input, (int)got.len, got.at);
    builder_reset(&out);
}

Test(event, from_json)
{
    static const struct {
        const char *json;
        const char *shown;
    } cases[] = {
        {"[\"foo\"]", "foo()/0"},
        {" [ \"foo\" , 1 , {\"a\":[]} ] \n", "foo(1 , {\"a\":[]})/2"},
        {"[\"a\\u00e9\\n\",null]", "a\\xc3\\xa9\\x0a(null)/1"},
        {"[7,\"x\"]", "#7(\"x\")/1"},
        {"[-1.5e3]", "#-1.5e3()/0"},
        {"[\"" NAME_128 "\"]", NAME_128 "()/0"},
        {"[\"" NAME_128 "n\"]", "TOO_LARGE"},
        {"[\"\\u0061" NAME_128 "\"]", "TOO_LARGE"},
        {"[\"e\",\"\\ud800\"]", "e(\"\\\\ud800\")/1"},
        {"[\"\\ud800\"]", "UTF8"},
        {"[\"\"]", "INVALID"},
        {"[]", "INVALID"},
        {"[null]", "INVALID"},
        {"[[\"a\"]]", "INVALID"},
        {"{\"a\":1}", "INVALID"},
        {"\"a\"", "INVALID"},
        {"[\"a\",]", "INVALID"},
        {"[\"a\"", "INVALID"},
        {"", "INVALID"},
        {"[\"\xff\"]", "UTF8"},
        {"[\"e\"," OPEN_32 OPEN_31 "1" CLOSE_31 CLOSE_32 "]",
            "e(" OPEN_32 OPEN_31 "1" CLOSE_31 CLOSE_32 ")/1"}, /* DEPTH_ACCEPTED */
        {"[\"e\"," OPEN_32 OPEN_32 "1" CLOSE_32 CLOSE_32 "]", "TOO_LARGE"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event *event = NULL;
        int status = event_from_json(bytes_str(cases[i].json), NULL, 0, 0, &event);
        expect(cases[i].json, status, event, cases[i].shown);
        event_unref(event);
    }
}

Test(event, from_args)
{
    static const struct {
        const char *name;
        const char *args;
        const char *shown;
        const char *data;
    } cases[] = {
        {"foo", "[]", "foo()/0", "[\"foo\"]"},
        {"foo", " [ 1,2 ] ", "foo(1,2)/2", "[\"foo\",1,2]"},
        {"a\"\n", "[{}]", "a\"\\x0a({})/1", "[\"a\\\"\\n\",{}]"},
        {"foo", "[1],[2]", "INVALID", ""},
        {"foo", "[,]", "INVALID", ""},
        {"foo", "{}", "INVALID", ""},
        {"foo", "", "INVALID", ""},
        {"foo", "[", "INVALID", ""},
        {"", "[]", "INVALID", ""},
        {NAME_128 "n", "[]", "TOO_LARGE", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event *event = NULL;
        int status = event_from_args(
            bytes_str(cases[i].name), bytes_str(cases[i].args), EVENT_URGENT, &event);
        expect(cases[i].args, status, event, cases[i].shown);
        if (status == 0) {
            cr_expect(bytes_eq_str(event->data, cases[i].data), "%s", cases[i].args);
            cr_expect_eq(event->flags, EVENT_URGENT);
        }
        event_unref(event);
    }
}

Test(event, from_msgpack)
{
    static const struct {
        struct bytes packed;
        const char *shown;
        unsigned bins;
    } cases[] = {
        {{"\x92\xa2hi\x02", 5}, "hi(\\x02)/1", 0},
        {{"\x91\x2a", 2}, "#42()/0", 0},
        {{"\x91\xff", 2}, "#-1()/0", 0},
        {{"\x93\xa1"
          "b\xc4\x01x\x91\xc4\x00",
             9},
            "b(\\xc4\\x01x\\x91\\xc4\\x00)/2", 2},
        {{"\x90", 1}, "INVALID", 0},
        {{"\x91\xc0", 2}, "INVALID", 0},
        {{"\x91\xcb\x00\x00\x00\x00\x00\x00\x00\x00", 10}, "INVALID", 0},
        {{"\x91\xa0", 2}, "INVALID", 0},
        {{"\x81\xa1"
          "a\x01",
             4},
            "INVALID", 0},
        {{"\x92\xa1"
          "a",
             3},
            "INVALID", 0},
        {{"\x91\xa1"
          "aa",
             4},
            "INVALID", 0},
        {{"\xdd\x02\x00\x00\x00", 5}, "INVALID", 0},
        {{"\x91\xa1\xff", 3}, "UTF8", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event *event = NULL;
        int status = event_from_msgpack(cases[i].packed, 0, &event);
        expect("packed", status, event, cases[i].shown);
        if (status == 0) {
            cr_expect_eq(event->attachment_count, cases[i].bins);
            cr_expect_eq(event->flags, cases[i].bins > 0 ? EVENT_BINARY : 0);
            cr_expect_null(event->attachments);
        }
        event_unref(event);
    }
}

Test(event, placeholders_must_have_their_attachments)
{
    struct buf *bufs[11];
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++) {
        bufs[i] = buf_new(BYTES("x"));
        cr_assert_not_null(bufs[i]);
    }
    struct event *event;
    struct bytes good = BYTES("[\"e\",{\"a\":{\"_placeholder\":true,\"num\":1}}]");
    cr_assert_eq(event_from_json(good, bufs, 2, 0, &event), 0);
    cr_expect_eq(event->flags, EVENT_BINARY);
    buf_unref(bufs[1]);
    cr_expect(bytes_eq(buf_bytes(event->attachments[1]), BYTES("x")), "the event holds its own");
    cr_expect_eq(event_ref(event), event);
    event_unref(event);
    event_unref(event);
    bufs[1] = buf_new(BYTES("x"));
    struct bytes high = BYTES("[\"e\",{\"_placeholder\":true,\"num\":2}]");
    cr_expect_eq(event_from_json(high, bufs, 2, 0, &event), STATUS_INVALID);
    cr_expect_eq(event_from_json(good, bufs, 11, 0, &event), STATUS_TOO_LARGE);
    event_unref(NULL);
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++) {
        buf_unref(bufs[i]);
    }
}

static void append(struct event *event, const char *shown, const char *data)
{
    struct event *longer = NULL;
    cr_assert_eq(event_append_json(event, BYTES("\"a\\\"1\""), &longer), 0);
    expect(data, 0, longer, shown);
    struct builder out = {0};
    vectors_quote(&out, longer->data);
    struct bytes got = builder_bytes(&out);
    cr_expect(bytes_eq_str(got, data), "%.*s", (int)got.len, got.at);
    cr_expect_eq(longer->flags, event->flags);
    cr_expect_eq(longer->attachment_count, event->attachment_count);
    builder_reset(&out);
    event_unref(event);
    event_unref(longer);
}

static struct event *from_json(const char *json)
{
    struct event *event;
    cr_assert_eq(event_from_json(bytes_str(json), NULL, 0, EVENT_URGENT, &event), 0);
    return event;
}

static struct event *from_msgpack(struct bytes data)
{
    struct event *event;
    cr_assert_eq(event_from_msgpack(data, 0, &event), 0);
    return event;
}

Test(event, appends_a_text_to_the_arguments)
{
    append(from_json("[\"e\"]"), "e(\"a\\\\\"1\")/1", "[\"e\",\"a\\\\\"1\"]");
    append(from_json(" [\"\\u0065\", 1, [2] ] "), "e(1, [2] ,\"a\\\\\"1\")/3",
        "[\"\\\\u0065\", 1, [2] ,\"a\\\\\"1\"]");
    append(from_json("[7]"), "#7(\"a\\\\\"1\")/1", "[7,\"a\\\\\"1\"]");
    append(from_msgpack(BYTES("\x91\xa1\x65")), "e(\\xa3a\"1)/1", "\\x92\\xa1e\\xa3a\"1");
    append(from_msgpack(BYTES("\x92\xa1\x65\x01")), "e(\\x01\\xa3a\"1)/2",
        "\\x93\\xa1e\\x01\\xa3a\"1");
    append(from_msgpack(BYTES("\x92\x07\x01")), "#7(\\x01\\xa3a\"1)/2", "\\x93\\x07\\x01\\xa3a\"1");
    append(from_msgpack(BYTES("\x92\xa1\x65\xc4\x01\x09")), "e(\\xc4\\x01\\x09\\xa3a\"1)/2",
        "\\x93\\xa1e\\xc4\\x01\\x09\\xa3a\"1");
    /* One element more needs a longer head. */
    append(
        from_msgpack(BYTES("\x9f\xa1\x65\x01\x02\x03\x04\x05\x06\x07\x01\x02\x03\x04\x05\x06\x07")),
        "e(\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\xa3a\"1)/15",
        "\\xdc\\x00\\x10\\xa1e\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\x01\\x02\\x03\\x04\\x05\\x06\\x0"
        "7"
        "\\xa3a\"1");
}

Test(event, one_of_our_own_is_not_read_again)
{
    struct event *event = NULL;
    cr_assert_eq(event_from_own(BYTES("[\"unread\",{\"count\":1}]"), 6, EVENT_URGENT, &event), 0);
    expect("own", 0, event, "unread({\"count\":1})/1");
    cr_expect(bytes_eq_str(event->data, "[\"unread\",{\"count\":1}]"));
    cr_expect_eq(event->flags, EVENT_URGENT);
    event_unref(event);
    cr_assert_eq(event_from_own(BYTES("[\"hub:ping\"]"), 8, 0, &event), 0);
    expect("own", 0, event, "hub:ping()/0");
    event_unref(event);
    struct builder deep = {0};
    builder_str(&deep, "[\"n\",");
    for (unsigned i = 0; i < DEPTH_WIRE; i++) {
        builder_byte(&deep, '[');
    }
    for (unsigned i = 0; i < DEPTH_WIRE; i++) {
        builder_byte(&deep, ']');
    }
    builder_byte(&deep, ']');
    cr_assert_eq(event_from_own(builder_bytes(&deep), 1, 0, &event), 0);
    cr_expect_eq(event->arg_count, 1);
    event_unref(event);
    builder_reset(&deep);
    cr_expect_eq(event_from_own(BYTES("[\"" NAME_128 "n\"]"), 129, 0, &event), STATUS_TOO_LARGE);
}

Test(event, reserved_names_make_no_event)
{
    for (size_t i = 0; names_reserved[i] != NULL; i++) {
        struct bytes name = bytes_str(names_reserved[i]);
        struct event *event = NULL;
        struct builder json = {0};
        struct builder packed = {0};
        struct builder own = {0};
        builder_printf(&own, "[\"%s\"]", names_reserved[i]);
        builder_printf(&json, "[\"\\u%04x%s\",1]", (unsigned)name.at[0], name.at + 1);
        mp_pack_array(&packed, 1);
        mp_pack_str(&packed, name);
        cr_expect_eq(event_from_json(builder_bytes(&json), NULL, 0, 0, &event), STATUS_DENIED);
        cr_expect_eq(event_from_packet(builder_bytes(&json), NULL, 0, 0, &event), STATUS_DENIED);
        cr_expect_eq(event_from_args(name, BYTES("[]"), 0, &event), STATUS_DENIED);
        cr_expect_eq(event_from_elements(name, BYTES(""), 0, &event), STATUS_DENIED);
        cr_expect_eq(event_from_own(builder_bytes(&own), name.len, 0, &event), STATUS_DENIED);
        cr_expect_eq(event_from_msgpack(builder_bytes(&packed), 0, &event), STATUS_DENIED);
        builder_reset(&json);
        builder_reset(&packed);
        builder_reset(&own);
    }
}
