/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies of Redis by vectors, in any pieces and up to the limits.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "hub/redis/redis_reader.h"
#include "tests/support/seed.h"

enum { REPLY_MAX = 1 << 20 };

TestSuite(redis_reader, .timeout = 60);

/* One line of text for a reply: *[+OK,:3,$4"text",-"ERR …",nil]. */
static void show(const struct bus_reply *reply, struct builder *out)
{
    switch (reply->type) {
    case BUS_NIL:
        builder_str(out, "nil");
        break;
    case BUS_INTEGER:
        builder_byte(out, ':');
        builder_i64(out, reply->integer);
        break;
    case BUS_STATUS:
    case BUS_ERROR:
    case BUS_STRING:
        builder_byte(out, reply->type == BUS_STRING ? '$' : reply->type == BUS_ERROR ? '-' : '+');
        builder_add(out, reply->text);
        break;
    case BUS_ARRAY:
        builder_byte(out, '[');
        for (size_t i = 0; i < reply->count; i++) {
            builder_str(out, i > 0 ? "," : "");
            show(reply->items[i], out);
        }
        builder_byte(out, ']');
        break;
    }
}

/*
 * Feed `input` in pieces (cut after each byte whose draw says so; `rand` NULL: whole; step 1: byte
 * by byte) and append every reply to `out`, separated by '|'; returns the last status.
 */
static int run(struct bytes input, size_t step, struct rand *rand, struct builder *out)
{
    struct redis_reader *reader = redis_reader_create(REPLY_MAX);
    int status = 0;
    while (input.len > 0 && status >= 0) {
        size_t len = rand != NULL ? (size_t)rand_below(rand, 12) + 1 : step;
        len = len < input.len ? len : input.len;
        status = redis_reader_feed(reader, bytes_of(input.at, len));
        input = bytes_skip(input, len);
        const struct bus_reply *reply = NULL;
        while (status >= 0 && (status = redis_reader_next(reader, &reply)) == 1) {
            show(reply, out);
            builder_byte(out, '|');
        }
    }
    if (status < 0) {
        const struct bus_reply *reply = NULL;
        cr_assert_eq(redis_reader_next(reader, &reply), status, "the failure must stay");
        cr_assert_eq(redis_reader_feed(reader, BYTES("+OK\r\n")), status);
    }
    redis_reader_destroy(reader);
    return status;
}

static const struct {
    const char *input;
    int status;
    const char *replies;
} vectors[] = {
    {"+OK\r\n", 0, "+OK|"},
    {"+\r\n-\r\n", 0, "+|-|"},
    {"-ERR no\r\n:1\r\n", 0, "-ERR no|:1|"},
    {":-9223372036854775808\r\n:9223372036854775807\r\n", 0,
        ":-9223372036854775808|:9223372036854775807|"},
    {"$0\r\n\r\n$4\r\na\r\nb\r\n$-1\r\n", 0, "$|$a\r\nb|nil|"},
    {"*0\r\n*-1\r\n*1\r\n*0\r\n", 0, "[]|nil|[[]]|"},
    {"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n", 0, "[$message,$c,$hi]|"},
    {"*2\r\n*2\r\n:1\r\n*1\r\n+a\r\n$-1\r\n", 0, "[[:1,[+a]],nil]|"},
    {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 0, "[[[[[[[:1]]]]]]]|"},
    /* incomplete */
    {"$5\r\nabc", 0, ""},
    {"*2\r\n:1\r\n", 0, ""},
    {"+OK\r\n+O", 0, "+OK|"},
    /* malformed */
    {"HTTP/1.1 400 Bad Request\r\n", STATUS_PROTO, ""},
    {"\r\n", STATUS_PROTO, ""},
    {"+OK\r\n%1\r\n", STATUS_PROTO, "+OK|"},
    {":1\r\n:x1\r\n", STATUS_PROTO, ":1|"},
    {":\r\n", STATUS_PROTO, ""},
    {":9223372036854775808\r\n", STATUS_PROTO, ""},
    {"$x\r\n", STATUS_PROTO, ""},
    {"$-2\r\n", STATUS_PROTO, ""},
    {"$9223372036854775807\r\n", STATUS_TOO_LARGE, ""},
    {"$1048577\r\n", STATUS_TOO_LARGE, ""},
    {"*1\r\n$2000000000\r\n", STATUS_TOO_LARGE, ""},
    {"$1048576\r\n", 0, ""},
    {"$99999999999999999999\r\n", STATUS_PROTO, ""},
    {"*-2\r\n", STATUS_PROTO, ""},
    {"*x\r\n", STATUS_PROTO, ""},
    {"*4294967296\r\n", STATUS_PROTO, ""},
    {"*9223372036854775807\r\n", STATUS_PROTO, ""},
    {"*2147483647\r\n", STATUS_TOO_LARGE, ""},
    {"*1000000\r\n", STATUS_TOO_LARGE, ""},
    {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", STATUS_PROTO, ""},
};

static void check_run(size_t vector, size_t step, struct rand *rand, const char *how)
{
    struct builder out = {.max = 65536};
    int status = run(bytes_str(vectors[vector].input), step, rand, &out);
    cr_expect_eq(
        status, vectors[vector].status, "vector %zu, %s: %s", vector, how, status_name(status));
    cr_expect(bytes_eq_str(builder_bytes(&out), vectors[vector].replies), "vector %zu, %s: %.*s",
        vector, how, (int)builder_bytes(&out).len, builder_bytes(&out).at);
    builder_reset(&out);
}

Test(redis_reader, reads_each_vector_whole_by_byte_and_in_random_pieces)
{
    uint64_t seed = seed_draw();
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        check_run(i, SIZE_MAX, NULL, "whole");
        check_run(i, 1, NULL, "byte by byte");
        for (uint64_t round = 0; round < 20; round++) {
            char how[64];
            snprintf(how, sizeof(how), "seed %llu", (unsigned long long)(seed + round));
            struct rand rand;
            rand_init(&rand, seed + round);
            check_run(i, 0, &rand, how);
        }
    }
}

/* Feed `piece` again and again; the number of bytes until the reader refuses. */
static size_t feed_until_refused(const char *head, const char *piece, int *ret_status)
{
    struct redis_reader *reader = redis_reader_create(REPLY_MAX);
    struct bytes next = bytes_str(head);
    size_t fed = 0;
    int status = 0;
    while (status >= 0 && fed < 16 * (size_t)REPLY_MAX) {
        const struct bus_reply *reply = NULL;
        status = redis_reader_feed(reader, next);
        fed += next.len;
        next = bytes_str(piece);
        if (status == 0) {
            status = redis_reader_next(reader, &reply);
            cr_assert_neq(status, 1);
        }
    }
    redis_reader_destroy(reader);
    *ret_status = status;
    return fed;
}

Test(redis_reader, bounds_what_it_waits_for)
{
    static char block[4097];
    memset(block, 'x', sizeof(block) - 1);
    int status = 0;
    cr_expect_leq(feed_until_refused("$2000000000\r\n", block, &status), 4096);
    cr_expect_eq(status, STATUS_TOO_LARGE);
    cr_expect_leq(feed_until_refused("+", block, &status), 128 * 1024);
    cr_expect_eq(status, STATUS_PROTO);
    cr_expect_leq(feed_until_refused("*100000\r\n", "$3\r\nabc\r\n", &status), REPLY_MAX);
    cr_expect_eq(status, STATUS_TOO_LARGE, "the tree itself is bounded");
}

Test(redis_reader, reads_replies_up_to_the_limit)
{
    struct redis_reader *reader = redis_reader_create(REPLY_MAX);
    size_t len = REPLY_MAX;
    char *text = malloc(len + 32);
    int head = snprintf(text, 32, "$%zu\r\n", len);
    memset(text + head, 'y', len);
    memcpy(text + head + len, "\r\n", 2);
    for (int i = 0; i < 3; i++) {
        const struct bus_reply *reply = NULL;
        cr_assert_eq(redis_reader_feed(reader, bytes_of(text, (size_t)head + len + 2)), 0);
        cr_assert_eq(redis_reader_next(reader, &reply), 1);
        cr_assert_eq(reply->text.len, len);
        cr_assert_eq(redis_reader_next(reader, &reply), 0);
    }
    free(text);
    redis_reader_destroy(reader);
}
