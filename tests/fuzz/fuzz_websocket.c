/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's bytes against the WebSocket of the hub, with wslay and zlib behind it and an echo
 * behind that. However the bytes are cut: the end is told once, nothing stays borrowed, and what
 * was delivered, answered and sent as the reason is what a simple decoder of the whole says. Where
 * allocations fail, it ends for that.
 *
 * The input: four bytes (window bits and which allocation fails; after how many messages the hub
 * closes, or moves; limits; how it is cut), then frames as they travel, or, with the highest bit of
 * the limits, a script that makes valid ones: first byte, kind, length, and so much payload.
 */
#include <string.h>

#include "codec/base/rand.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/ws_reference.h"
#include "tests/support/ws_rig.h"

enum { HEAD = 4, SCRIPT = 0x80, SENT_MAX = 1 << 20 };
enum { REPEATED = 1, PACKED = 2, BARE = 4, REPEATS = 200 };

static struct ws_rig_options read_options(const uint8_t *head)
{
    static const uint32_t sizes[] = {64, 125, 1000, 66000};
    unsigned after = head[1] & 0x0f;
    bool moves = (head[1] & 0x10) != 0;
    unsigned bits = head[0] & 0x0f;
    return (struct ws_rig_options){
        .limits = {.message_bytes = sizes[head[2] & 3],
            .fragments = (head[2] >> 2 & 3) * 3,
            .control_frames = 1 + (head[2] >> 4 & 3) * 5,
            .queued_replies = 100,
            .events_per_turn = head[1] >> 6,
            .deflate_bytes = 10},
        .deflate_bits = bits < 8 ? 0 : bits,
        .close_after = moves ? 0 : after,
        .move_every = moves ? after : 0,
        .moves = (head[1] & 0x20) != 0,
    };
}

/* One frame of the script at the start of `script`, appended; returns what was used. */
static size_t add_scripted(struct bytes script, struct builder *out)
{
    unsigned first = (uint8_t)script.at[0];
    unsigned kind = (uint8_t)script.at[1];
    size_t len = (uint8_t)script.at[2];
    struct bytes rest = bytes_skip(script, 3);
    struct builder payload = {0};
    len = len < rest.len ? len : rest.len;
    for (unsigned i = 0; i < ((kind & REPEATED) != 0 ? REPEATS : 1); i++) {
        builder_add(&payload, bytes_of(rest.at, len));
    }
    if ((kind & BARE) != 0) {
        ws_rig_add_server(out, first, builder_bytes(&payload));
    } else if ((kind & PACKED) != 0) {
        ws_rig_add_packed(out, first, builder_bytes(&payload));
    } else {
        ws_rig_add_client(out, first, builder_bytes(&payload));
    }
    builder_reset(&payload);
    return 3 + len;
}

static void write_input(struct bytes input, bool scripted, struct builder *out)
{
    while (scripted && input.len > 3) {
        input = bytes_skip(input, add_scripted(input, out));
    }
    if (!scripted) {
        builder_add(out, input);
    }
}

/* Whether the reference allows this end, and what was sent, with the reason where one is due. */
static void compare(const struct ws_rig *rig, struct ws_reference *reference)
{
    struct builder sent = {0};
    bool ended_by_it = (reference->ends >> rig->reason & 1) != 0;
    CHECK(ended_by_it || (reference->open && rig->reason == CLOSE_PEER));
    CHECK(rig->delivered == reference->delivered);
    bool mistake = rig->reason != CLOSE_PEER && rig->reason != CLOSE_NORMAL;
    size_t before = builder_bytes(&reference->sent).len;
    if (mistake) {
        ws_rig_add_close(&reference->sent, rig->reason);
    }
    CHECK(ws_rig_unpack(builder_bytes(&rig->sent), &sent));
    CHECK(bytes_eq(builder_bytes(&sent), builder_bytes(&reference->sent)));
    builder_rewind(&reference->sent, before);
    builder_reset(&sent);
}

static void receive(struct ws_rig *rig, struct bytes input, struct rand *rand)
{
    while (input.len > 0) {
        size_t most = rand == NULL ? input.len : input.len < 40 ? input.len : 40;
        size_t len = rand == NULL ? most : 1 + rand_below(rand, most);
        ws_rig_receive(rig, bytes_of(input.at, len));
        input = bytes_skip(input, len);
    }
}

/* With allocations that fail: it ends, for that or as it would, once, and leaves nothing. */
static void run_failing(const struct ws_rig_options *options, struct bytes input, unsigned after,
    const struct ws_reference *reference)
{
    struct ws_rig rig;
    ws_rig_open(&rig, options);
    (void)ws_rig_fail(after, 2);
    receive(&rig, input, NULL);
    bool failed = ws_rig_fail(0, 0) > 0;
    bool right = (reference->ends >> rig.reason & 1) != 0;
    CHECK(rig.closed == 0 || right || (failed && rig.reason == CLOSE_NO_MEMORY));
    CHECK(rig.delivered <= reference->delivered);
    ws_rig_finish(&rig);
}

static void run(const struct ws_rig_options *options, struct bytes input, struct rand *rand,
    struct ws_reference *reference)
{
    struct ws_rig rig;
    ws_rig_open(&rig, options);
    receive(&rig, input, rand);
    CHECK(builder_bytes(&rig.sent).len < SENT_MAX);
    struct builder sent = rig.sent; /* finishing frees it */
    rig.sent = (struct builder){0};
    ws_rig_finish(&rig);
    rig.sent = sent;
    compare(&rig, reference);
    builder_reset(&rig.sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD) {
        return 0;
    }
    struct ws_rig_options options = read_options(data);
    struct builder input = {0};
    struct ws_reference reference;
    struct rand rand;
    write_input(bytes_of(data + HEAD, size - HEAD), (data[2] & SCRIPT) != 0, &input);
    ws_reference_decide(&reference, &options, builder_bytes(&input));
    rand_init(&rand, data[3]);
    run(&options, builder_bytes(&input), NULL, &reference);
    run(&options, builder_bytes(&input), &rand, &reference);
    run_failing(&options, builder_bytes(&input), data[0] >> 4, &reference);
    ws_reference_finish(&reference);
    builder_reset(&input);
    return 0;
}
