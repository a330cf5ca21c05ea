/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed messages: any bytes end with a status, in pieces as whole, and what we compress comes
 * back.
 */
#include "codec/ws_deflate.h"
#include "codec/ws_frame.h"
#include "tests/fuzz/fuzz.h"

enum { LIMIT = 20000 };

static int inflate_in(
    struct ws_inflater **inflater, struct bytes input, size_t cut, struct builder *out)
{
    CHECK(ws_inflater_begin(inflater) == 0);
    int status = ws_inflate(*inflater, bytes_of(input.at, cut), false, out);
    return status < 0 ? status : ws_inflate(*inflater, bytes_skip(input, cut), true, out);
}

/* Whole and in two pieces, the same comes of it. */
static void check_pieces(struct ws_inflater **inflater, struct bytes input)
{
    struct builder whole = {.max = LIMIT};
    struct builder pieces = {.max = LIMIT};
    int status = inflate_in(inflater, input, 0, &whole);
    /* Of two mistakes, either may be found first. */
    CHECK((inflate_in(inflater, input, input.len / 2, &pieces) < 0) == (status < 0));
    CHECK(status < 0 || bytes_eq(builder_bytes(&whole), builder_bytes(&pieces)));
    builder_reset(&whole);
    builder_reset(&pieces);
}

/* As a message it is packed and inflated again. */
static void check_round_trip(struct ws_inflater **inflater, struct bytes input)
{
    char head[WS_FRAME_HEAD_MAX];
    struct builder frame = {0};
    struct builder packed = {0};
    struct builder message = {0};
    struct ws_frame read;
    static struct ws_deflater *deflater; /* serves any number of messages, and is dear to make */
    deflater = deflater != NULL ? deflater : ws_deflater_create(1, 1);
    builder_add(&frame, bytes_of(head, ws_frame_write_head(head, WS_BINARY, false, input.len)));
    builder_add(&frame, input);
    int made = ws_deflate_frames(deflater, builder_bytes(&frame), 1, &packed);
    CHECK(made >= 0 && ws_frame_read_own(builder_bytes(&packed), &read) > 0);
    CHECK(read.compressed == (made == 1));
    struct bytes payload = bytes_skip(builder_bytes(&packed), read.head_len);
    if (made == 1) {
        CHECK(inflate_in(inflater, payload, payload.len / 3, &message) == 0);
        payload = builder_bytes(&message);
    }
    CHECK(bytes_eq(payload, input));
    builder_reset(&frame);
    builder_reset(&packed);
    builder_reset(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ws_inflater *inflater;
    check_pieces(&inflater, bytes_of(data, size));
    check_round_trip(&inflater, bytes_of(data, size));
    return 0;
}
