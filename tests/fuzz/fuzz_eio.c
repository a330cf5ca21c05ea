/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine.IO payloads: packets lie within the body, and what is read is written the same.
 */
#include <string.h>

#include "codec/eio.h"
#include "codec/utf8.h"
#include "tests/fuzz/fuzz.h"

enum { PACKETS_MAX = EIO_ENCODER_PACKETS_MAX };

/* A body that decodes whole is what the encoder makes of its packets, but for base64 in lines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct builder out = {0};
    struct eio_encoder encoder = {.out = &out};
    struct eio_payload payload;
    struct eio_packet packet;
    int status;
    char *body = malloc(size ? size : 1);
    CHECK(body != NULL);
    memcpy(body, data, size);
    eio_payload_init(&payload, body, size, PACKETS_MAX);
    while ((status = eio_payload_next(&payload, &packet)) > 0) {
        CHECK(fuzz_within(packet.payload, bytes_of(body, size)));
        if (packet.binary) {
            CHECK(packet.type == EIO_MESSAGE);
            CHECK(eio_encoder_binary(&encoder, packet.payload) == 0);
            continue;
        }
        CHECK(utf8_valid(packet.payload));
        struct bytes whole = bytes_of(packet.payload.at - 1, packet.payload.len + 1);
        struct eio_packet again;
        CHECK(eio_decode_text(whole, &again) == 0 && again.type == packet.type);
        CHECK(eio_encoder_text(&encoder, whole) == 0);
    }
    bool lines = size > 0 && memchr(data, '\n', size) != NULL;
    CHECK(status < 0 || lines || bytes_eq(builder_bytes(&out), bytes_of(data, size)));
    builder_reset(&out);
    free(body);
    return 0;
}
