/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 6455 and RFC 7692 frame by frame against hub/net/websocket with wslay and zlib: what is
 * answered, in which order, why it ends, and that it does not matter how the bytes were cut. The
 * cases are those of tests/data/codec/websocket_cases.txt; what is made by rule is below.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "tests/support/vectors.h"
#include "tests/support/ws_rig.h"
#include "tests/support/ws_script.h"

TestSuite(ws_cases, .timeout = 300);

enum { FIN = 0x80, CHOP = 997, EACH_CUT_MAX = 300 };

static const struct ws_rig_options limits = {.limits = {.message_bytes = 65536,
                                                 .fragments = 64,
                                                 .control_frames = 20,
                                                 .queued_replies = 20,
                                                 .deflate_bytes = 20}};

/* --- running --- */

/* Let `input` arrive: `first` bytes, then by `chop` bytes (0: all that is left). */
static void receive(struct ws_rig *rig, struct bytes input, size_t first, size_t chop)
{
    size_t len = first;
    while (input.len > 0) {
        len = len == 0 || len > input.len ? input.len : len;
        ws_rig_receive(rig, bytes_of(input.at, len));
        input = bytes_skip(input, len);
        len = chop;
    }
}

static void run_cut(const char *title, const struct ws_rig_options *options, struct bytes input,
    size_t first, size_t chop, struct bytes expected)
{
    struct ws_rig rig;
    struct builder got = {0};
    ws_rig_open(&rig, options);
    receive(&rig, input, first, chop);
    ws_script_show(&rig, &got);
    cr_expect(bytes_eq(builder_bytes(&got), expected),
        "%s: first %zu, then by %zu: \"%.*s\", not \"%.*s\"", title, first, chop,
        (int)builder_bytes(&got).len, builder_bytes(&got).at, (int)expected.len, expected.at);
    ws_rig_finish(&rig);
    builder_reset(&got);
}

/* Run it whole, byte by byte, by 997 bytes, and cut once at every place. */
static void run_case(const char *title, const struct ws_rig_options *options, struct bytes input,
    struct bytes expected)
{
    run_cut(title, options, input, 0, 0, expected);
    if (input.len > CHOP) {
        run_cut(title, options, input, CHOP, CHOP, expected);
    }
    if (input.len <= (1 << 17)) {
        run_cut(title, options, input, 1, 1, expected);
    }
    for (size_t at = 1; at < input.len && input.len <= EACH_CUT_MAX; at++) {
        run_cut(title, options, input, at, 0, expected);
    }
    struct ws_rig_options moving = *options;
    moving.moves = true;
    run_cut(title, &moving, input, CHOP, CHOP, expected);
    run_cut(title, &moving, input, 3, 3, expected);
}

static void run_text(const char *title, struct bytes text, const char *expected)
{
    struct ws_rig_options options = limits;
    struct builder input = {0};
    ws_script_read(text, &options, &input);
    run_case(title, &options, builder_bytes(&input), bytes_str(expected));
    builder_reset(&input);
}

Test(ws_cases, each_case_of_the_file_is_answered_as_it_says)
{
    struct vectors vectors;
    vectors_load(&vectors, TESTS_DATA "/codec/websocket_cases.txt");
    for (size_t i = 0; i < vectors.count; i++) {
        struct builder expected = {0};
        builder_add(&expected, buf_bytes(vectors.items[i].expected));
        builder_byte(&expected, 0);
        run_text(
            vectors.items[i].title, buf_bytes(vectors.items[i].input), builder_bytes(&expected).at);
        builder_reset(&expected);
    }
    cr_expect_gt(vectors.count, 300);
    vectors_finish(&vectors);
}

/* --- 6: UTF-8 --- */

static const char *const valid[] = {
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", /* ends of
                                                                                       lengths */
    "\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd", /* around the surrogates */
    "\xef\xbf\xbe\xf0\x9f\xbf\xbe\xf0\x9f\xbf\xbf\xf3\xbf\xbf\xbf\xef\xb7\x90", /* non-characters */
    "\xe2\x82\xac\xf0\x9f\x98\x80z\xc3\xa9",
};

/* What is good of it, then the first byte that is bad, then more. */
static const struct {
    const char *good;
    const char *bad;
} invalid[] = {
    {"", "\x80"},
    {"", "\xbf\x80\xbf"},
    {"\x41", "\x80"},
    {"\xe1\x80\x80", "\x80"}, /* lonely */
    {"\xc2", " "},
    {"\xdf", " "},
    {"\xe0", " "},
    {"\xe1", " "},
    {"\xef\xa0", " "},
    {"\xf0", " "},
    {"\xf1\x80", " "},
    {"\xf4\x80\x80", " "},
    {"\xc2", "\xc2\x80"}, /* the rest is missing */
    {"", "\xc0\x80"},
    {"", "\xc0\xaf"},
    {"", "\xc1\xbf"},
    {"\xe0", "\x80\x80"},
    {"\xe0", "\x9f\xbf"},
    {"\xf0", "\x80\x80\x80"},
    {"\xf0", "\x8f\xbf\xbf"}, /* overlong */
    {"\xed", "\xa0\x80"},
    {"\xed", "\xad\xbf"},
    {"\xed", "\xb0\x80"},
    {"\xed", "\xbf\xbf"},
    {"\xed", "\xa0\x80\xed\xb0\x80"}, /* surrogates */
    {"\xf4", "\x90\x80\x80"},
    {"", "\xf5\x80\x80\x80"},
    {"", "\xf7\xbf\xbf\xbf"}, /* too high */
    {"", "\xf8\x88\x80\x80\x80"},
    {"", "\xfd\xbf\xbf\xbf\xbf\xbf"},
    {"", "\xfe"},
    {"", "\xff"},
};

/* Append `text` as fragments of one byte; with pings between them where `pings`. */
static void add_bytewise(struct builder *out, struct bytes text, bool pings)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned first = (i == 0 ? 1U : 0U) | (i + 1 == text.len ? FIN : 0U);
        ws_rig_add_client(out, first, bytes_of(text.at + i, 1));
        if (pings && i + 1 < text.len) {
            ws_rig_add_client(out, 0x8a, BYTES("pong"));
        }
    }
}

static void show_text(struct builder *out, struct bytes text, const char *end)
{
    builder_str(out, "T ");
    vectors_quote(out, text);
    builder_printf(out, "|%s", end);
}

Test(ws_cases, text_is_utf8_however_it_is_cut)
{
    struct ws_rig_options options = limits;
    options.limits.control_frames = 100;
    for (size_t i = 0; i < ARRAY_LEN(valid); i++) {
        for (unsigned way = 0; way < 3; way++) {
            struct builder input = {0};
            struct builder expected = {0};
            if (way == 0) {
                ws_rig_add_client(&input, 0x81, bytes_str(valid[i]));
            } else {
                add_bytewise(&input, bytes_str(valid[i]), way == 2);
            }
            show_text(&expected, bytes_str(valid[i]), "open");
            run_case(valid[i], &options, builder_bytes(&input), builder_bytes(&expected));
            builder_reset(&input);
            builder_reset(&expected);
        }
    }
}

/* Everything before the bad byte is taken; it alone ends the connection, wherever it stands. */
static void fail_fast(unsigned first, struct bytes good, struct bytes bad)
{
    struct ws_rig rig;
    struct builder frame = {0};
    struct builder text = {0};
    builder_add(&text, good);
    builder_add(&text, bad);
    builder_str(&text, " and more of it");
    ws_rig_add_client(&frame, first, builder_bytes(&text));
    struct bytes all = builder_bytes(&frame);
    size_t before = all.len - builder_bytes(&text).len + good.len;
    ws_rig_open(&rig, &limits);
    ws_rig_receive(&rig, bytes_of(all.at, before));
    cr_expect_eq(rig.closed, 0, "closed before the bad byte");
    ws_rig_receive(&rig, bytes_of(all.at + before, 1));
    cr_expect_eq(rig.closed, 1, "not closed at the bad byte");
    cr_expect_eq(rig.reason, CLOSE_NOT_UTF8);
    ws_rig_finish(&rig);
    builder_reset(&frame);
    builder_reset(&text);
}

static void refuse(struct bytes good, struct bytes bad)
{
    static const char refusal[] = "X 1007 text is not valid UTF-8|not_utf8";
    struct builder text = {0};
    builder_add(&text, good);
    builder_add(&text, bad);
    for (unsigned way = 0; way < 4; way++) {
        struct builder input = {0};
        struct builder expected = {0};
        if (way == 1) {
            ws_rig_add_client(&input, 0x81, BYTES("Hello"));
            builder_str(&expected, "T Hello|");
        }
        if (way < 2) {
            ws_rig_add_client(&input, 0x81, builder_bytes(&text));
        } else {
            add_bytewise(&input, builder_bytes(&text), way == 3);
        }
        ws_rig_add_client(&input, 0x81, BYTES("behind"));
        builder_str(&expected, refusal);
        run_case("invalid text", &limits, builder_bytes(&input), builder_bytes(&expected));
        builder_reset(&input);
        builder_reset(&expected);
    }
    builder_reset(&text);
}

Test(ws_cases, text_that_is_none_is_refused_at_the_byte_that_decides)
{
    for (size_t i = 0; i < ARRAY_LEN(invalid); i++) {
        struct bytes bad = bytes_str(invalid[i].bad);
        const char *before[] = {"", "\xce\xba"};
        for (size_t k = 0; k < ARRAY_LEN(before); k++) {
            struct builder good = {0};
            builder_str(&good, before[k]);
            builder_str(&good, invalid[i].good);
            refuse(builder_bytes(&good), bad);
            fail_fast(0x81, builder_bytes(&good), bad);
            fail_fast(0x01, builder_bytes(&good), bad);
            builder_reset(&good);
        }
    }
}

Test(ws_cases, text_that_ends_inside_a_character_is_refused_where_the_message_ends)
{
    static const char *const cut[] = {"\xc2", "\xdf", "\xe0", "\xe0\xa0", "\xef\xbf", "\xf0",
        "\xf0\x90", "\xf0\x90\x80", "\xf4\x8f\xbf", "\xce\xba\xe1\xbd"};
    for (size_t i = 0; i < ARRAY_LEN(cut); i++) {
        refuse(BYTES("abc"), bytes_str(cut[i]));
        struct ws_rig rig;
        struct builder frame = {0};
        ws_rig_add_client(&frame, 0x01, bytes_str(cut[i]));
        ws_rig_open(&rig, &limits);
        ws_rig_receive(&rig, builder_bytes(&frame));
        cr_expect_eq(rig.closed, 0, "it may go on");
        builder_clear(&frame);
        ws_rig_add_client(&frame, 0x80, BYTES(""));
        ws_rig_receive(&rig, builder_bytes(&frame));
        cr_expect_eq(rig.reason, CLOSE_NOT_UTF8);
        ws_rig_finish(&rig);
        builder_reset(&frame);
    }
}

/* --- 9, 10, 12, 13: sizes --- */

/* Text that compresses, but not to nothing. */
static void fill(struct builder *out, size_t len, uint64_t seed)
{
    struct rand rand;
    rand_init(&rand, seed);
    while (builder_bytes(out).len < len) {
        builder_printf(out, "{\"type\":\"chat\",\"n\":%u} ", (unsigned)rand_below(&rand, 99));
    }
    builder_rewind(out, len);
}

/* Append `payload` as a message in fragments of `part` bytes (0: one frame). */
static void add_message(struct builder *out, unsigned opcode, struct bytes payload, size_t part)
{
    bool first = true;
    do {
        size_t len = part == 0 || part > payload.len ? payload.len : part;
        unsigned fin = len == payload.len ? FIN : 0U;
        ws_rig_add_client(out, fin | (first ? opcode : 0U), bytes_of(payload.at, len));
        payload = bytes_skip(payload, len);
        first = false;
    } while (payload.len > 0);
}

/* A message as it is sent, and as it comes back. */
struct echo {
    struct builder input;
    struct builder expected;
};

static void finish_echo(struct echo *echo)
{
    builder_reset(&echo->input);
    builder_reset(&echo->expected);
}

/* What comes back is what was sent. */
static void run_echo(const struct ws_rig_options *options, const struct echo *echo, size_t chop,
    const char *title, size_t len)
{
    struct ws_rig rig;
    struct builder plain = {0};
    ws_rig_open(&rig, options);
    receive(&rig, builder_bytes(&echo->input), chop, chop);
    cr_assert(ws_rig_unpack(builder_bytes(&rig.sent), &plain), "%s of %zu", title, len);
    cr_expect(bytes_eq(builder_bytes(&plain), builder_bytes(&echo->expected)),
        "%s of %zu by %zu: %zu bytes back", title, len, chop, builder_bytes(&plain).len);
    cr_expect_eq(rig.closed, 0);
    ws_rig_finish(&rig);
    builder_reset(&plain);
}

Test(ws_cases, messages_of_all_sizes_in_fragments_and_reads_of_all_sizes)
{
    enum { LARGEST = 16 << 20 };
    static const size_t sizes[] = {65536, 262144, 1 << 20, 4 << 20, LARGEST};
    static const size_t parts[] = {0, 1300, 4096, 65536, 1 << 20};
    static const size_t chops[] = {0, 64, 1 << 11};
    struct ws_rig_options options = limits;
    options.limits.message_bytes = LARGEST;
    options.limits.fragments = 65537;
    for (size_t i = 0; i < ARRAY_LEN(sizes) * ARRAY_LEN(parts); i++) {
        size_t len = sizes[i / ARRAY_LEN(parts)];
        struct echo echo = {0};
        struct builder payload = {0};
        unsigned opcode = 1 + i % 2;
        fill(&payload, len, i);
        add_message(&echo.input, opcode, builder_bytes(&payload), parts[i % ARRAY_LEN(parts)]);
        ws_rig_add_server(&echo.expected, FIN | opcode, builder_bytes(&payload));
        size_t chop = len <= (1 << 20) ? chops[i % ARRAY_LEN(chops)] : 0;
        run_echo(&options, &echo, chop, "message", len);
        builder_reset(&payload);
        finish_echo(&echo);
    }
}

Test(ws_cases, as_many_fragments_as_may_be_and_one_more)
{
    enum { MOST = 65537 };
    struct ws_rig_options options = limits;
    options.limits.fragments = MOST;
    options.limits.message_bytes = 1 << 20;
    for (size_t more = 0; more < 2; more++) {
        struct ws_rig rig;
        struct builder input = {0};
        struct builder payload = {0};
        fill(&payload, MOST + more, 1);
        add_message(&input, WS_BINARY, builder_bytes(&payload), 1);
        ws_rig_open(&rig, &options);
        ws_rig_receive(&rig, builder_bytes(&input));
        cr_expect_eq(rig.delivered, 1 - more);
        cr_expect_eq(rig.closed, more);
        cr_expect(more == 0 || rig.reason == CLOSE_POLICY);
        ws_rig_finish(&rig);
        builder_reset(&input);
        builder_reset(&payload);
    }
}

/* Append a compressed message in fragments of `part` bytes (0: one frame), and what comes back. */
static void add_packed(struct echo *echo, unsigned opcode, struct bytes payload, size_t part)
{
    struct builder frame = {0};
    struct builder body = {0};
    ws_rig_add_packed(&frame, FIN | opcode, payload);
    struct bytes whole = builder_bytes(&frame);
    bool packed = ((unsigned char)whole.at[0] & 0x40) != 0;
    unsigned char len = (unsigned char)whole.at[1] & 0x7f;
    size_t head = 2 + (len == 126 ? 2U : len == 127 ? 8U : 0U) + 4;
    for (size_t i = head; i < whole.len; i++) {
        builder_byte(&body, (char)(whole.at[i] ^ whole.at[head - 4 + (i - head) % 4]));
    }
    add_message(&echo->input, opcode | (packed ? 0x40U : 0U), builder_bytes(&body), part);
    ws_rig_add_server(&echo->expected, FIN | opcode, payload);
    builder_reset(&frame);
    builder_reset(&body);
}

Test(ws_cases, compressed_messages_of_all_sizes_in_all_windows)
{
    static const size_t sizes[] = {0, 16, 64, 256, 1024, 4096, 8192, 32768, 131072};
    static const size_t parts[] = {0, 1, 256};
    struct ws_rig_options options = limits;
    options.limits.message_bytes = 1 << 20;
    options.limits.fragments = 65537;
    for (unsigned bits = 8; bits <= 15; bits++) {
        options.deflate_bits = bits;
        for (size_t i = 0; i < ARRAY_LEN(sizes) * ARRAY_LEN(parts); i++) {
            struct echo echo = {0};
            size_t len = sizes[i / ARRAY_LEN(parts)];
            for (unsigned n = 0; n < 3; n++) { /* no context goes from one to the next */
                struct builder payload = {0};
                fill(&payload, len, n / 2);
                add_packed(&echo, 1 + n % 2, builder_bytes(&payload), parts[i % ARRAY_LEN(parts)]);
                builder_reset(&payload);
            }
            run_echo(&options, &echo, 0, "compressed message", len);
            run_echo(&options, &echo, CHOP, "compressed message", len);
            finish_echo(&echo);
        }
    }
}

/* Whether what leaves for `payload`, sent back with this window, is compressed. */
static bool leaves_packed(unsigned bits, struct bytes payload)
{
    struct ws_rig_options options = limits;
    struct ws_rig rig;
    struct builder input = {0};
    struct ws_frame frame;
    options.deflate_bits = bits;
    ws_rig_add_client(&input, 0x81, payload);
    ws_rig_open(&rig, &options);
    ws_rig_receive(&rig, builder_bytes(&input));
    cr_assert(ws_frame_read_own(builder_bytes(&rig.sent), &frame) > 0);
    ws_rig_finish(&rig);
    builder_reset(&input);
    return frame.compressed;
}

Test(ws_cases, nothing_leaves_compressed_that_a_small_window_could_not_hold)
{
    struct builder payload = {0};
    fill(&payload, 60000, 1);
    struct bytes all = builder_bytes(&payload);
    for (unsigned bits = 8; bits <= 15; bits++) {
        size_t window = (size_t)1 << bits;
        cr_expect(leaves_packed(bits, bytes_of(all.at, window - 10)), "%u bits", bits);
        cr_expect_eq(leaves_packed(bits, bytes_of(all.at, window + 1)), bits == 15, "%u", bits);
    }
    cr_expect_not(leaves_packed(15, bytes_of(all.at, 10)), "smaller than deflate_bytes");
    cr_expect_not(leaves_packed(0, all), "not negotiated");
    builder_reset(&payload);
}

/* --- 7: the hub closes --- */

Test(ws_cases, the_hub_closes_once_and_waits_for_the_answer)
{
    static const struct {
        const char *behind; /* its close frame */
        bool answered;
    } cases[] = {
        {"", false},
        {"T b|P c|b d", false},
        {"T b|X \x03\xe8", true},
        {"X", true},
        {"R \xff\xff\xff\xff", true}, /* rules are no longer kept: it ends */
        {"T/83 x", true},
        {"X \x03", true},
        {"X \x03\xe8|T a|X", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ws_rig_options options = limits;
        struct ws_rig rig;
        struct builder input = {0};
        struct builder got = {0};
        options.close_after = 1;
        ws_script_read(BYTES("T a"), &options, &input);
        ws_script_read(bytes_str(cases[i].behind), &options, &input);
        ws_rig_open(&rig, &options);
        receive(&rig, builder_bytes(&input), 1, 1);
        cr_expect_eq(rig.closed, cases[i].answered, "%s", cases[i].behind);
        ws_rig_expire(&rig);
        ws_script_show(&rig, &got);
        cr_expect(bytes_eq(builder_bytes(&got), BYTES("T a|X 1000 closed|normal")), "%s: %.*s",
            cases[i].behind, (int)builder_bytes(&got).len, builder_bytes(&got).at);
        ws_rig_finish(&rig);
        builder_reset(&input);
        builder_reset(&got);
    }
}

/* --- allocations --- */

/* What a client says, with the n-th allocation and some behind it failing; how many failed. */
static unsigned run_failing(
    const struct ws_rig_options *options, struct bytes input, unsigned n, unsigned *ret_whole)
{
    struct ws_rig rig;
    ws_rig_open(&rig, options);
    (void)ws_rig_fail(n, 1 + n % 3);
    receive(&rig, input, 100, 100);
    unsigned failed = ws_rig_fail(0, 0);
    bool refused = rig.closed > 0 && rig.reason == CLOSE_NO_MEMORY;
    cr_expect(refused || rig.closed == 0 || rig.reason == CLOSE_PEER, "allocation %u: %s", n,
        close_name(rig.reason));
    *ret_whole += !refused;
    ws_rig_finish(&rig);
    return failed;
}

Test(ws_cases, an_allocation_that_fails_ends_this_websocket_alone)
{
    struct ws_rig_options options = limits;
    struct echo echo = {0};
    struct builder payload = {0};
    options.deflate_bits = 15;
    fill(&payload, 20000, 1);
    for (unsigned i = 0; i < 3; i++) {
        add_message(&echo.input, WS_TEXT, builder_bytes(&payload), 3000);
        ws_rig_add_client(&echo.input, 0x89, BYTES("ping"));
        add_packed(&echo, WS_BINARY, builder_bytes(&payload), 500);
    }
    unsigned whole = 0;
    unsigned n = 0;
    while (run_failing(&options, builder_bytes(&echo.input), n, &whole) > 0) {
        cr_assert_lt(++n, 10000);
    }
    cr_expect_gt(n, 4, "%u allocations", n);
    cr_expect_lt(whole, n, "some of them end it");
    run_text("as if nothing had been", BYTES("T Hello|P x|X \x03\xe8"), "T Hello|Q x|X 1000|peer");
    builder_reset(&payload);
    finish_echo(&echo);
}
