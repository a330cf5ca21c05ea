/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as messages and windows of every format, with binary, acks, and what does not fit.
 */
#include <criterion/criterion.h>
#include <inttypes.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/packet.h"
#include "codec/wire.h"
#include "tests/support/random_value.h"

TestSuite(wire, .timeout = 120);

enum { TEXT = 0x81, BINARY = 0x82, WINDOW_MAX = 40 };

#define WALL UINT64_C(1700000000123)

/* Take the frame at the start of `*rest`: its first byte and payload. */
static struct bytes take_frame(struct bytes *rest, uint8_t *ret_first)
{
    const uint8_t *at = (const uint8_t *)rest->at;
    cr_assert(rest->len >= 2);
    size_t head = 2;
    uint64_t len = at[1];
    if (len > 125) {
        cr_assert(len < 128, "masked");
        head = len == 126 ? 4 : 10;
        len = 0;
        for (size_t i = 2; i < head; i++) {
            len = len << 8 | at[i];
        }
    }
    cr_assert(rest->len - head >= len, "frame of %" PRIu64 " in %zu", len, rest->len);
    *ret_first = at[0];
    struct bytes payload = bytes_of(rest->at + head, (size_t)len);
    *rest = bytes_skip(*rest, head + (size_t)len);
    return payload;
}

static struct event *event_of(const char *json)
{
    struct event *event;
    cr_assert_eq(event_from_json(bytes_str(json), NULL, 0, 0, &event), 0, "%s", json);
    return event;
}

/* What an event says, whatever form, blanks and escapes it is in. */
static void say(const struct event *event, struct builder *out)
{
    struct builder packed = {0};
    cr_assert_eq(wire_add(WIRE_MSGPACK, BYTES("/"), event, &packed), 0);
    cr_assert_eq(mp_to_json(builder_bytes(&packed), NULL, out), 0);
    builder_reset(&packed);
}

Test(wire, single_messages)
{
    static const struct {
        enum wire_format format;
        const char *nsp;
        const char *json;
        uint8_t first;
        struct bytes payload;
    } cases[] = {
        {WIRE_SIO, "/", "[\"foo\"]", TEXT, {"42[\"foo\"]", 9}},
        {WIRE_SIO, "/admin", "[\"bar\"]", TEXT, {"42/admin,[\"bar\"]", 16}},
        {WIRE_SIO, "/", "[ \"a\" , 1.0 ]", TEXT, {"42[ \"a\" , 1.0 ]", 15}},
        {WIRE_SIO, "/", "[5]", TEXT, {"42[5]", 5}},
        {WIRE_SIO_BATCH, "/", "[\"foo\"]", TEXT, {"42[\"foo\"]", 9}},
        {WIRE_SIO_MSGPACK, "/", "[\"foo\"]", BINARY,
            {"\x83\xa4type\x02\xa4"
             "data\x91\xa3"
             "foo\xa3nsp\xa1/",
                23}},
        {WIRE_JSON, "/", "[\"hub:ping\"]", TEXT, {"[[\"hub:ping\"]]", 14}},
        {WIRE_JSON, "/", "[5,1e2]", TEXT, {"[[\"5\",1e2]]", 11}},
        {WIRE_MSGPACK, "/", "[\"hi\",2]", BINARY, {"\x91\x92\xa2hi\x02", 6}},
        {WIRE_MSGPACK, "/", "[5,\"\\ud83d\"]", BINARY,
            {"\x91\x92\xa1"
             "5\xa3\xef\xbf\xbd",
                8}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event *event = event_of(cases[i].json);
        struct builder out = {0};
        uint8_t first;
        cr_expect_eq(wire_event(cases[i].format, bytes_str(cases[i].nsp), event, &out), 0);
        struct bytes rest = builder_bytes(&out);
        struct bytes payload = take_frame(&rest, &first);
        cr_expect_eq(first, cases[i].first);
        cr_expect_eq(rest.len, 0);
        cr_expect(
            bytes_eq(payload, cases[i].payload), "%zu: %.*s", i, (int)payload.len, payload.at);
        builder_reset(&out);
        event_unref(event);
    }
}

Test(wire, acks)
{
    static const struct {
        enum wire_format format;
        const char *nsp;
        uint64_t id;
        struct bytes payload;
    } cases[] = {
        {WIRE_SIO, "/", 0, {"430[{\"ok\":true}]", 16}},
        {WIRE_SIO_BATCH, "/admin", 13, {"43/admin,13[{\"ok\":true}]", 24}},
        {WIRE_SIO_MSGPACK, "/admin", 13,
            {"\x84\xa4type\x03\xa2id\x0d\xa4"
             "data\x91\x81\xa2ok\xc3\xa3nsp\xa6/admin",
                33}},
        {WIRE_JSON, "/", 7, {"[[-7,{\"ok\":true}]]", 18}},
        {WIRE_MSGPACK, "/", 7, {"\x91\x92\xf9\x81\xa2ok\xc3", 8}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct builder out = {0};
        uint8_t first;
        cr_expect_eq(wire_ack(cases[i].format, bytes_str(cases[i].nsp), cases[i].id,
                         BYTES("{\"ok\":true}"), &out),
            0);
        struct bytes rest = builder_bytes(&out);
        struct bytes payload = take_frame(&rest, &first);
        cr_expect(
            bytes_eq(payload, cases[i].payload), "%zu: %.*s", i, (int)payload.len, payload.at);
        cr_expect_eq(rest.len, 0);
        builder_reset(&out);
    }
    struct builder out = {0};
    cr_expect_eq(wire_ack(WIRE_JSON, BYTES("/"), UINT64_MAX, BYTES("1"), &out), STATUS_TOO_LARGE);
    cr_expect_eq(wire_ack(WIRE_MSGPACK, BYTES("/"), 1, BYTES("{"), &out), STATUS_INVALID);
    cr_expect_eq(builder_bytes(&out).len, 0);
    builder_reset(&out);
}

Test(wire, an_event_may_ask_for_an_ack)
{
    static const struct {
        const char *nsp;
        uint64_t id;
        const char *json;
        const char *text;
    } cases[] = {
        {"/", 0, "[\"foo\"]", "420[\"foo\"]"},
        {"/", 65536, "[\"foo\",1]", "4265536[\"foo\",1]"},
        {"/admin", 12, "[\"bar\"]", "42/admin,12[\"bar\"]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event *event = event_of(cases[i].json);
        struct builder out = {0};
        uint8_t first;
        cr_expect_eq(wire_ask(WIRE_SIO, bytes_str(cases[i].nsp), cases[i].id, event, &out), 0);
        struct bytes rest = builder_bytes(&out);
        struct bytes payload = take_frame(&rest, &first);
        cr_expect_eq(first, TEXT);
        cr_expect_eq(rest.len, 0);
        cr_expect(bytes_eq_str(payload, cases[i].text), "%.*s", (int)payload.len, payload.at);
        builder_reset(&out);
        event_unref(event);
    }
    static const char packed[] = "\x92\xa1"
                                 "e\xc4\x01\x01";
    struct event *event;
    struct builder out = {0};
    uint8_t first;
    cr_assert_eq(event_from_msgpack(bytes_of(packed, sizeof(packed) - 1), 0, &event), 0);
    cr_expect_eq(wire_ask(WIRE_JSON, BYTES("/"), 7, event, &out), STATUS_UNSUPPORTED);
    cr_expect_eq(wire_ask(WIRE_SIO_BATCH, BYTES("/"), 7, event, &out), 0);
    struct bytes rest = builder_bytes(&out);
    cr_expect(
        bytes_eq_str(take_frame(&rest, &first), "451-7[\"e\",{\"_placeholder\":true,\"num\":0}]"));
    cr_expect(bytes_eq_str(take_frame(&rest, &first), "\x01"));
    builder_clear(&out);
    cr_expect_eq(wire_ask(WIRE_SIO_MSGPACK, BYTES("/"), 7, event, &out), 0);
    rest = builder_bytes(&out);
    cr_expect(bytes_eq(take_frame(&rest, &first), BYTES("\x84\xa4type\x02\xa2id\x07\xa4"
                                                        "data\x92\xa1"
                                                        "e\xc4\x01\x01\xa3nsp\xa1/")));
    builder_reset(&out);
    event_unref(event);
}

Test(wire, binary_is_attached_or_becomes_text)
{
    static const char packed[] = "\x94\xa3"
                                 "baz\xc4\x01\x01\x81\xa1k\xc4\x02\x02\x03\xc4\x00";
    struct buf *bufs[3] = {buf_new(BYTES("\x01")), buf_new(BYTES("\x02\x03")), buf_new(BYTES(""))};
    struct event *events[2];
    struct bytes json = BYTES("[\"baz\",{\"_placeholder\":true,\"num\":0},{\"k\":{\"_placeholder\":"
                              "true,\"num\":1}},{\"_placeholder\":true,\"num\":2}]");
    cr_assert_eq(event_from_msgpack(bytes_of(packed, sizeof(packed) - 1), 0, &events[0]), 0);
    cr_assert_eq(event_from_json(json, bufs, 3, 0, &events[1]), 0);
    for (size_t i = 0; i < 2; i++) {
        struct builder out = {0};
        uint8_t first;
        cr_expect_eq(wire_event(WIRE_SIO, BYTES("/n"), events[i], &out), 0);
        struct bytes rest = builder_bytes(&out);
        struct bytes text = take_frame(&rest, &first);
        cr_expect_eq(first, TEXT);
        cr_expect(bytes_starts(text, BYTES("453-/n,[")));
        cr_expect(bytes_eq(bytes_skip(text, 7), json));
        for (size_t k = 0; k < 3; k++) {
            struct bytes bin = take_frame(&rest, &first);
            cr_expect_eq(first, BINARY);
            cr_expect(bytes_eq(bin, buf_bytes(bufs[k])));
        }
        cr_expect_eq(rest.len, 0);
        builder_clear(&out);
        cr_expect_eq(wire_event(WIRE_JSON, BYTES("/"), events[i], &out), 0);
        cr_expect(bytes_eq(bytes_skip(builder_bytes(&out), 2),
            BYTES("[[\"baz\",\"AQ==\",{\"k\":\"AgM=\"},\"\"]]")));
        builder_clear(&out);
        cr_expect_eq(wire_add(WIRE_SIO_BATCH, BYTES("/"), events[i], &out), 0);
        cr_expect(bytes_eq(builder_bytes(&out),
            BYTES("{\"event\":\"baz\",\"args\":[\"AQ==\",{\"k\":\"AgM=\"},\"\"]}")));
        builder_clear(&out);
        cr_expect_eq(wire_add(WIRE_MSGPACK, BYTES("/"), events[i], &out), 0);
        cr_expect(bytes_eq(builder_bytes(&out), bytes_of(packed, sizeof(packed) - 1)));
        builder_reset(&out);
        event_unref(events[i]);
        buf_unref(bufs[i]);
    }
    buf_unref(bufs[2]);
}

/* Binary stands in its place, and a date is what clients with that parser take for one. */
Test(wire, msgpack_parser_takes_binary_and_dates)
{
    static const char packed[] = "\x94\xa1"
                                 "e\xc4\x01\x07\xd6\xff\x00\x00\x00\x01\xd4\x00\x00";
    static const char expected[] =
        "\x83\xa4type\x02\xa4"
        "data\x94\xa1"
        "e\xc4\x01\x07\xd7\x00\0\0\0\0\0\0\x03\xe8\xd4\x00\x00\xa3nsp\xa2/n";
    struct event *event;
    struct builder out = {0};
    uint8_t first;
    cr_assert_eq(event_from_msgpack(bytes_of(packed, sizeof(packed) - 1), 0, &event), 0);
    cr_expect_eq(wire_event(WIRE_SIO_MSGPACK, BYTES("/n"), event, &out), 0);
    struct bytes rest = builder_bytes(&out);
    cr_expect(bytes_eq(take_frame(&rest, &first), bytes_of(expected, sizeof(expected) - 1)));
    cr_expect_eq(first, BINARY);
    cr_expect_eq(rest.len, 0);
    builder_reset(&out);
    event_unref(event);
}

Test(wire, ten_attachments_go_and_eleven_do_not)
{
    for (uint32_t bins = 9; bins <= 12; bins++) {
        struct builder packed = {0};
        struct builder out = {0};
        struct event *event;
        mp_pack_array(&packed, bins + 1);
        mp_pack_str(&packed, BYTES("e"));
        for (uint32_t i = 0; i < bins; i++) {
            mp_pack_bin(&packed, BYTES("x"));
        }
        cr_assert_eq(event_from_msgpack(builder_bytes(&packed), 0, &event), 0);
        builder_str(&out, "kept");
        int status = wire_event(WIRE_SIO, BYTES("/"), event, &out);
        cr_expect_eq(status, bins > 10 ? STATUS_TOO_LARGE : 0, "%u", (unsigned)bins);
        if (bins > 10) {
            cr_expect(bytes_eq(builder_bytes(&out), BYTES("kept")));
        } else {
            uint8_t first;
            struct bytes rest = bytes_skip(builder_bytes(&out), 4);
            struct bytes text = take_frame(&rest, &first);
            cr_expect(bytes_starts(text, bins == 10 ? BYTES("4510-[") : BYTES("459-[")));
        }
        cr_expect_eq(wire_event(WIRE_JSON, BYTES("/"), event, &out), 0);
        builder_reset(&packed);
        builder_reset(&out);
        event_unref(event);
    }
}

/* Whatever the limit, a window holds whole items only, and failing changes nothing. */
Test(wire, what_does_not_fit_leaves_no_trace)
{
    static const char packed[] = "\x93\xa1"
                                 "e\xc4\x03xyz\xa5hello";
    struct event *events[2] = {event_of("[\"e\",{\"a\":[1,2,3]},\"hello\"]")};
    cr_assert_eq(event_from_msgpack(bytes_of(packed, sizeof(packed) - 1), 0, &events[1]), 0);
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        for (size_t max = 1; max < 200; max++) {
            struct builder items = {.max = max};
            size_t before = 0;
            int status = 0;
            for (unsigned i = 0; status == 0; i++) {
                before = builder_bytes(&items).len;
                status = wire_add((enum wire_format)format, BYTES("/"), events[i % 2], &items);
            }
            cr_expect_eq(status, STATUS_TOO_LARGE);
            cr_expect_eq(builder_bytes(&items).len, before);
            cr_expect_not(builder_failed(&items));
            builder_reset(&items);
        }
    }
    event_unref(events[0]);
    event_unref(events[1]);
}

/* An event that was understood by a receiver must say the same as the one that was sent. */
static void expect_same(
    const struct event *sent, struct event *received, uint64_t seed, enum wire_format format)
{
    struct builder a = {0};
    struct builder b = {0};
    say(sent, &a);
    say(received, &b);
    cr_assert(bytes_eq(builder_bytes(&a), builder_bytes(&b)),
        "format %d, PEAL_SEED=%" PRIu64 "\n%.*s\n%.*s", format, seed, (int)builder_bytes(&a).len,
        builder_bytes(&a).at, (int)builder_bytes(&b).len, builder_bytes(&b).at);
    builder_reset(&a);
    builder_reset(&b);
    event_unref(received);
}

/* Read one Socket.IO packet and its binary frames. */
static struct event *read_sio(struct bytes *rest, struct bytes nsp)
{
    struct buf *bufs[EVENT_ATTACHMENTS_MAX];
    struct event *event = NULL;
    unsigned count = 0;
    uint8_t first;
    struct bytes text = take_frame(rest, &first);
    cr_assert_eq(first, TEXT);
    cr_assert(text.at[0] == '4' && (text.at[1] == '2' || text.at[1] == '5'));
    bool binary = text.at[1] == '5';
    for (text = bytes_skip(text, 2); binary && text.at[0] != '-'; text = bytes_skip(text, 1)) {
        count = count * 10 + (unsigned)(text.at[0] - '0');
    }
    text = bytes_skip(text, binary);
    if (nsp.len > 1) {
        cr_assert(bytes_starts(text, nsp) && text.at[nsp.len] == ',');
        text = bytes_skip(text, nsp.len + 1);
    }
    cr_assert(count <= EVENT_ATTACHMENTS_MAX && binary == (count > 0));
    for (unsigned i = 0; i < count; i++) {
        bufs[i] = buf_new(take_frame(rest, &first));
        cr_assert(first == BINARY && bufs[i] != NULL);
    }
    cr_assert_eq(event_from_json(text, bufs, count, 0, &event), 0);
    for (unsigned i = 0; i < count; i++) {
        buf_unref(bufs[i]);
    }
    return event;
}

/* Read one packet of the MessagePack parser. */
static struct event *read_map(struct bytes *rest, struct bytes nsp)
{
    uint8_t first;
    uint32_t pairs;
    struct event *event = NULL;
    struct mp_reader reader = {.rest = take_frame(rest, &first)};
    cr_assert_eq(first, BINARY);
    cr_assert_eq(mp_map(&reader, &pairs), 0);
    cr_assert_eq(pairs, 3);
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes key;
        struct bytes value;
        cr_assert_eq(mp_str(&reader, &key), 0);
        cr_assert_eq(mp_slice(&reader, MP_DEPTH_MAX, &value), 0);
        if (bytes_eq(key, BYTES("type"))) {
            cr_assert(bytes_eq(value, BYTES("\x02")));
        } else if (bytes_eq(key, BYTES("nsp"))) {
            cr_assert(bytes_eq(bytes_skip(value, 1), nsp));
        } else {
            cr_assert(bytes_eq(key, BYTES("data")));
            cr_assert_eq(event_from_msgpack(value, 0, &event), 0);
        }
    }
    cr_assert_eq(reader.rest.len, 0);
    return event;
}

/* A window under test, and where its items start. */
struct window {
    enum wire_format format;
    struct bytes nsp;
    struct event *events[WINDOW_MAX];
    size_t starts[WINDOW_MAX];
    unsigned count;
    struct builder items;
    uint64_t seed;
};

static void read_plain(const struct window *window, struct bytes payload, unsigned from)
{
    struct packet_reader reader;
    struct packet packet;
    enum packet_form form = window->format == WIRE_JSON ? PACKET_JSON : PACKET_MSGPACK;
    cr_assert_eq(packet_reader_init(&reader, form, payload), 0, "PEAL_SEED=%" PRIu64, window->seed);
    for (unsigned i = from; i < window->count; i++) {
        struct event *event = NULL;
        cr_assert(packet_next(&reader, &packet));
        cr_assert_eq(packet.id, 0);
        cr_assert_eq(event_from_elements(packet.name, packet.args, 0, &event), 0);
        expect_same(window->events[i], event, window->seed, window->format);
    }
    cr_assert_not(packet_next(&reader, &packet));
    packet_reader_finish(&reader);
}

static void read_batch(const struct window *window, struct bytes payload, unsigned from)
{
    struct event *event;
    struct bytes messages;
    struct bytes item;
    struct bytes value;
    uint64_t timestamp;
    struct json_scan_iter iter;
    payload = bytes_skip(payload, 2 + (window->nsp.len > 1 ? window->nsp.len + 1 : 0));
    cr_assert_eq(
        event_from_json(payload, NULL, 0, 0, &event), 0, "PEAL_SEED=%" PRIu64, window->seed);
    cr_assert(bytes_eq(event->name, BYTES("batch_update")) && event->arg_count == 1);
    cr_assert_eq(json_scan_get(event->args, "timestamp", &value), 0);
    cr_assert(json_scan_u64(value, &timestamp) == 0 && timestamp == WALL);
    cr_assert_eq(json_scan_get(event->args, "messages", &messages), 0);
    cr_assert(json_scan_iter_init(&iter, messages));
    for (unsigned i = from; i < window->count; i++) {
        char at[EVENT_NAME_MAX];
        struct bytes name;
        struct event *received;
        cr_assert(json_scan_element(&iter, &item));
        cr_assert_eq(json_scan_get(item, "event", &value), 0);
        cr_assert_eq(json_scan_string(value, at, sizeof(at), &name), 0);
        cr_assert_eq(json_scan_get(item, "args", &value), 0);
        cr_assert_eq(event_from_args(name, value, 0, &received), 0);
        expect_same(window->events[i], received, window->seed, window->format);
    }
    cr_assert_not(json_scan_element(&iter, &item));
    event_unref(event);
}

/* The window without its first `from` items, put together as a member that skips them gets it. */
static void check_suffix(const struct window *window, unsigned from)
{
    struct builder whole = {0};
    uint8_t first;
    size_t skip = window->starts[from];
    if (from > 0) {
        skip += wire_separator(window->format);
    }
    struct bytes items = bytes_skip(builder_bytes(&window->items), skip);
    wire_open(window->format, window->nsp, items.len, window->count - from, WALL, &whole);
    builder_add(&whole, items);
    wire_close(window->format, WALL, &whole);
    struct bytes rest = builder_bytes(&whole);
    if (!wire_framed(window->format)) {
        cr_assert(bytes_eq(rest, items), "no head and no tail");
        for (unsigned i = from; i < window->count; i++) {
            struct event *event = window->format == WIRE_SIO ? read_sio(&rest, window->nsp)
                                                             : read_map(&rest, window->nsp);
            expect_same(window->events[i], event, window->seed, window->format);
        }
    } else {
        struct bytes payload = take_frame(&rest, &first);
        cr_assert_eq(first, window->format == WIRE_MSGPACK ? BINARY : TEXT);
        if (window->format == WIRE_SIO_BATCH) {
            read_batch(window, payload, from);
        } else {
            read_plain(window, payload, from);
        }
    }
    cr_assert_eq(rest.len, 0);
    builder_reset(&whole);
}

static struct event *random_event(struct rand *rand)
{
    struct builder text = {0};
    struct event *event = NULL;
    uint32_t args = (uint32_t)rand_below(rand, 4);
    if (rand_below(rand, 2)) {
        mp_pack_array(&text, args + 1);
        if (rand_below(rand, 4)) {
            mp_pack_str(&text, BYTES("na\"m\\e"));
        } else {
            mp_pack_i64(&text, (int64_t)rand_below(rand, 1000) - 500);
        }
        for (uint32_t i = 0; i < args; i++) {
            random_value_msgpack(rand, 3, &text);
        }
        cr_assert_eq(event_from_msgpack(builder_bytes(&text), 0, &event), 0);
    } else {
        builder_str(&text, rand_below(rand, 4) ? "[\"n\\u0061m\\\\e\"" : " [ 12");
        for (uint32_t i = 0; i < args; i++) {
            builder_str(&text, ", ");
            random_value_json(rand, 3, &text);
        }
        builder_byte(&text, ']');
        cr_assert_eq(event_from_json(builder_bytes(&text), NULL, 0, 0, &event), 0);
    }
    builder_reset(&text);
    return event;
}

static void fill(struct window *window, struct rand *rand)
{
    unsigned wanted = 1 + (unsigned)rand_below(rand, WINDOW_MAX);
    for (unsigned i = 0; i < wanted; i++) {
        struct event *event = random_event(rand);
        size_t start = builder_bytes(&window->items).len;
        int status = wire_add(window->format, window->nsp, event, &window->items);
        if (status < 0) {
            cr_assert(status == STATUS_TOO_LARGE && event->attachment_count > 10);
            event_unref(event);
            continue;
        }
        window->starts[window->count] = start;
        window->events[window->count++] = event;
    }
}

Test(wire, any_suffix_of_a_window_is_a_window)
{
    uint64_t seed = random_value_seed();
    struct rand rand;
    rand_init(&rand, seed);
    for (unsigned round = 0; round < 100; round++) {
        struct window window = {
            .format = (enum wire_format)(round % WIRE_FORMAT_COUNT),
            .nsp = rand_below(&rand, 2) ? BYTES("/") : BYTES("/admin"),
            .seed = seed,
        };
        fill(&window, &rand);
        for (unsigned from = 0; from < window.count; from++) {
            check_suffix(&window, from);
        }
        for (unsigned i = 0; i < window.count; i++) {
            event_unref(window.events[i]);
        }
        builder_reset(&window.items);
    }
}
