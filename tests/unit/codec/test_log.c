/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the log as text and as JSON, which no bytes of a peer can forge.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/log_json.h"
#include "codec/json_scan.h"

TestSuite(log, .timeout = 60);

static char last[16384];

static void keep(enum log_level level, const char *line, size_t len)
{
    (void)level;
    cr_assert_lt(len, sizeof(last));
    memcpy(last, line, len);
    last[len] = '\0';
    cr_assert_eq(last[len - 1], '\n');
    cr_assert_eq(strchr(last, '\n'), last + len - 1, "one line: %s", last);
}

/* The record without its time, which has 24 characters. */
static const char *without_time(size_t skip)
{
    return last + skip + 24;
}

Test(log, text_is_a_line_and_json_an_object)
{
    log_set_sink(keep);
    log_warn("AN-ID", "it happened", "n=%d who=%s", 7, log_quote(BYTES("a b")));
    cr_expect_str_eq(without_time(0), " warn AN-ID it happened n=7 who=\"a b\"\n");
    log_info("AN-ID", "alone", "%s", "");
    cr_expect_str_eq(without_time(0), " info AN-ID alone\n");
    log_set_format(LOG_AS_JSON);
    log_warn("AN-ID", "it \"happened\"", "n=%d who=%s", 7, log_quote(BYTES("a b")));
    cr_expect_str_eq(without_time(strlen("{\"time\":\"")),
        "\",\"level\":\"warn\",\"id\":\"AN-ID\",\"message\":\"it \\\"happened\\\"\",\"n\":7,"
        "\"who\":\"a b\"}\n");
    log_info("AN-ID", "alone", "%s", "");
    cr_expect_str_eq(without_time(strlen("{\"time\":\"")),
        "\",\"level\":\"info\",\"id\":\"AN-ID\",\"message\":\"alone\"}\n");
}

Test(log, context_becomes_members)
{
    static const struct {
        const char *context;
        const char *members;
    } cases[] = {
        {"", ""},
        {"a=1 b=-2.5 c=x", ",\"a\":1,\"b\":-2.5,\"c\":\"x\""},
        {"a=01 b=1. c=.5 d=- e=1e5 f=", /* no numbers of JSON */
            ",\"a\":\"01\",\"b\":\"1.\",\"c\":\".5\",\"d\":\"-\",\"e\":\"1e5\",\"f\":\"\""},
        {"public=0.0.0.0:3000", ",\"public\":\"0.0.0.0:3000\""},
        {"a=\"x y=z\" b=2", ",\"a\":\"x y=z\",\"b\":2"},
        {"a=\"q\\\"q\\\\q\" b=2", ",\"a\":\"q\\\"q\\\\q\",\"b\":2"},
        {"a=\"\\x0a\\x00\\x7f\"", ",\"a\":\"\\u000a\\u0000\\u007f\""},
        {"a=\"\\xc3\\xbc\\xe2\\x82\\xac\\xf0\\x9f\\x99\\x82\"", ",\"a\":\"ü€🙂\""},
        {"a=\"\\xff\\xc0\\x80\\xed\\xa0\\x80\"",
            ",\"a\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"a=\"cut", ",\"a\":\"cut\""},
        {"a=\"cut\\", ",\"a\":\"cut\\\\\""},
        {"stray a=1", ",\"a\":1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[512];
        size_t len = log_json_write(cases[i].context, out, sizeof(out) - 1);
        out[len] = '\0';
        cr_expect_str_eq(out, cases[i].members, "%s", cases[i].context);
        /* A pair that does not fit is left out whole, and nothing is written beyond the end. */
        for (size_t size = 0; size < len; size++) {
            memset(out, '#', sizeof(out));
            size_t shorter = log_json_write(cases[i].context, out, size);
            cr_expect_leq(shorter, size);
            cr_expect_eq(out[size], '#', "%s at %zu", cases[i].context, size);
            cr_expect_eq(strncmp(out, cases[i].members, shorter), 0);
        }
    }
}

Test(log, no_bytes_of_a_peer_forge_a_record)
{
    char bytes[256];
    log_set_sink(keep);
    log_set_format(LOG_AS_JSON);
    for (unsigned first = 0; first < 256; first++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (char)(first + i * 7);
        }
        log_info("AN-ID", "peer", "said=%s n=1", log_quote(bytes_of(bytes, first % 60)));
        struct bytes value;
        struct bytes number;
        cr_assert_eq(json_scan_text(bytes_str(last), 4, &value, NULL), 0, "%s", last);
        cr_assert_eq(json_scan_get(value, "n", &number), 0, "%s", last);
        cr_assert(bytes_eq(number, BYTES("1")));
    }
}
