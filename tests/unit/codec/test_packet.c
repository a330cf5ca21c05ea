/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of the plain WebSocket in both formats, by vectors.
 */
#include <criterion/criterion.h>
#include <inttypes.h>

#include "codec/base/status.h"
#include "codec/packet.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(packet, .timeout = 60);

static void show(struct packet_reader *reader, struct builder *out)
{
    struct packet packet;
    const char *between = "";
    while (packet_next(reader, &packet)) {
        builder_printf(out, "%s%" PRId64 "\"", between, packet.id);
        vectors_quote(out, packet.name);
        builder_str(out, "\"(");
        vectors_quote(out, packet.args);
        builder_byte(out, ')');
        if (packet.arg_count > 0) {
            builder_printf(out, "/%u", (unsigned)packet.arg_count);
        }
        between = " ";
    }
}

static void decode(enum packet_form form, struct script_feed *feed, struct builder *out)
{
    struct bytes message = {0};
    struct packet_reader reader;
    int status = packet_reader_init(&reader, form, message);
    while (script_feed_grow(feed, &message)) {
        status = packet_reader_init(&reader, form, message);
        builder_clear(out);
        if (status == 0) {
            show(&reader, out);
            packet_reader_finish(&reader);
        }
    }
    if (status < 0) {
        builder_printf(out, "error %s", status_name(status));
    }
}

static void decode_json(struct script_feed *feed, struct builder *out)
{
    decode(PACKET_JSON, feed, out);
}

static void decode_msgpack(struct script_feed *feed, struct builder *out)
{
    decode(PACKET_MSGPACK, feed, out);
}

Test(packet, json_vectors)
{
    script_feed_file("codec/packet.txt", decode_json);
}

Test(packet, msgpack_vectors)
{
    script_feed_file("codec/packet_msgpack.txt", decode_msgpack);
}

/* Each control character of one byte is six in JSON: the most that text can grow. */
Test(packet, msgpack_that_grows_most_fits)
{
    enum { LEN = 60000 };
    static char message[LEN + 8] = "\x91\x92\xa1"
                                   "a\xda\xea\x60";
    memset(message + 7, 1, LEN);
    struct packet_reader reader;
    struct packet packet;
    cr_assert_eq(packet_reader_init(&reader, PACKET_MSGPACK, bytes_of(message, LEN + 7)), 0);
    cr_assert(packet_next(&reader, &packet));
    cr_expect_eq(packet.args.len, LEN * 6 + 2);
    cr_expect_not(packet_next(&reader, &packet));
    packet_reader_finish(&reader);
}
