/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket.IO packets as MessagePack: what is read is written the same.
 */
#include "codec/json_scan.h"
#include "codec/names.h"
#include "codec/sio_mp.h"
#include "codec/utf8.h"
#include "tests/fuzz/fuzz.h"

/* What was decoded, written and decoded again, is the same. */
static void check_round_trip(const struct sio_packet *packet, struct buf *const *attachments)
{
    char at[SIO_EVENT_NAME_MAX];
    struct sio_event event;
    struct sio_head head = {.nsp = packet->nsp,
        .has_id = packet->has_id,
        .id = packet->id,
        .attachments = packet->attachments};
    struct builder out = {0};
    if (packet->type == SIO_EVENT) {
        if (packet->attachments > 0 || sio_event_split(packet->payload, at, &event) < 0) {
            return; /* a name too long, or binary, which this writer does not take */
        }
        CHECK(event.name_is_number || !names_event_reserved(event.name));
        CHECK(sio_mp_write_event(&out, &head,
                  &(struct sio_event_out){.name = event.name,
                      .name_is_number = event.name_is_number,
                      .args = event.args}) == 0);
    } else {
        CHECK(sio_mp_write_ack(&out, &head, json_scan_inside(packet->payload), attachments) == 0);
    }
    struct builder text = {0};
    struct bytes found[SIO_ATTACHMENTS_MAX];
    struct mp_bins bins = {.at = found, .max = SIO_ATTACHMENTS_MAX};
    struct sio_packet again;
    CHECK(sio_mp_decode(builder_bytes(&out), &text, &bins, &again) == 0);
    CHECK(again.type == packet->type && again.attachments == packet->attachments);
    CHECK(bytes_eq(again.nsp, packet->nsp) && again.id == packet->id);
    CHECK(bytes_eq(again.payload, packet->payload));
    builder_reset(&text);
    builder_reset(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct builder text = {0};
    struct bytes found[SIO_ATTACHMENTS_MAX];
    struct buf *attachments[SIO_ATTACHMENTS_MAX] = {NULL};
    struct mp_bins bins = {.at = found, .max = SIO_ATTACHMENTS_MAX};
    struct sio_packet packet;
    if (sio_mp_decode(input, &text, &bins, &packet) == 0) {
        CHECK(packet.attachments <= SIO_ATTACHMENTS_MAX && packet.id <= SIO_ID_MAX);
        CHECK(packet.nsp.len <= SIO_NSP_MAX && utf8_valid(packet.nsp));
        CHECK(fuzz_within(packet.nsp, input) && fuzz_within(packet.payload, builder_bytes(&text)));
        for (uint32_t i = 0; i < packet.attachments; i++) {
            CHECK(fuzz_within(found[i], input));
            attachments[i] = buf_new(found[i]);
        }
        if (packet.type == SIO_EVENT || packet.type == SIO_ACK) {
            check_round_trip(&packet, attachments);
        }
        for (uint32_t i = 0; i < packet.attachments; i++) {
            buf_unref(attachments[i]);
        }
    }
    builder_reset(&text);
    return 0;
}
