/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of clients: the scanner comes to the same end by byte as at once, and close payloads are
 * written as read.
 */
#include <string.h>

#include "codec/base/status.h"
#include "codec/utf8.h"
#include "codec/ws_frame.h"
#include "tests/fuzz/fuzz.h"

struct outcome {
    int status;
    size_t used;
    size_t frames;
    uint64_t need;
};

/* Scan with `step` more bytes each time. */
static struct outcome scan(struct bytes input, size_t step)
{
    struct ws_scanner scanner = {.max_message = 1000, .max_fragments = 4};
    struct outcome outcome = {0};
    struct ws_frame frame = {.need = 2};
    for (size_t end = step; end - step < input.len; end += step) {
        size_t so_far = end < input.len ? end : input.len;
        int len;
        while ((len = ws_frame_scan(&scanner,
                    bytes_of(input.at + outcome.used, so_far - outcome.used), &frame)) > 0) {
            CHECK((uint64_t)len == frame.head_len + frame.payload_len);
            CHECK((size_t)len <= so_far - outcome.used && frame.payload_len <= 1000);
            outcome.used += (size_t)len;
            outcome.frames++;
        }
        CHECK(len < 0 || frame.need > so_far - outcome.used);
        if (len < 0) {
            CHECK(len == STATUS_PROTO || len == STATUS_UTF8 || len == STATUS_FULL ||
                  len == STATUS_TOO_LARGE);
            outcome.status = len;
            return outcome;
        }
    }
    outcome.need = frame.need;
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct outcome whole = scan(input, size > 0 ? size : 1);
    struct outcome bytewise = scan(input, 1);
    CHECK(whole.status == bytewise.status && whole.used == bytewise.used);
    CHECK(whole.frames == bytewise.frames && whole.need == bytewise.need);

    unsigned code;
    struct bytes reason;
    char at[WS_FRAME_CONTROL_MAX];
    if (ws_frame_read_close(input, &code, &reason) == 0) {
        CHECK(utf8_valid(reason));
        size_t len = ws_frame_write_close(at, code, reason);
        CHECK(len <= size && (len == 0 || memcmp(at, data, len) == 0));
        CHECK(len == size || size > WS_FRAME_CONTROL_MAX);
    }
    return 0;
}
