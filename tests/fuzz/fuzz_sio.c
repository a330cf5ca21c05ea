/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket.IO packets as text: what is read is written the same.
 */
#include "codec/json_scan.h"
#include "codec/names.h"
#include "codec/sio.h"
#include "codec/utf8.h"
#include "tests/fuzz/fuzz.h"

static bool is_event(const struct sio_packet *packet)
{
    return packet->type == SIO_EVENT || packet->type == SIO_BINARY_EVENT;
}

/* What was decoded, written and decoded again, is the same. */
static void check_round_trip(const struct sio_packet *packet)
{
    char at[SIO_EVENT_NAME_MAX];
    char at_again[SIO_EVENT_NAME_MAX];
    struct sio_event event = {0};
    struct sio_head head = {.nsp = packet->nsp,
        .has_id = packet->has_id,
        .id = packet->id,
        .attachments = packet->attachments};
    struct builder out = {0};
    if (is_event(packet)) {
        if (sio_event_split(packet->payload, at, &event) < 0) {
            return; /* a name too long, or not UTF-8 when unescaped */
        }
        CHECK(event.name_is_number || !names_event_reserved(event.name));
        sio_write_event(&out, &head,
            &(struct sio_event_out){
                .name = event.name, .name_is_number = event.name_is_number, .args = event.args});
    } else {
        sio_write_ack(&out, &head, json_scan_inside(packet->payload));
    }
    struct sio_packet again;
    CHECK(sio_decode(bytes_skip(builder_bytes(&out), 1), &again) == 0);
    CHECK(again.type == packet->type && again.attachments == packet->attachments);
    CHECK(bytes_eq(again.nsp, packet->nsp));
    CHECK(again.has_id == packet->has_id && again.id == packet->id);
    if (is_event(packet)) {
        struct sio_event event_again;
        CHECK(sio_event_split(again.payload, at_again, &event_again) == 0);
        CHECK(bytes_eq(event_again.name, event.name) && bytes_eq(event_again.args, event.args));
    } else {
        CHECK(bytes_eq(json_scan_inside(again.payload), json_scan_inside(packet->payload)));
    }
    builder_reset(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct sio_packet packet;
    if (sio_decode(input, &packet) < 0) {
        return 0;
    }
    CHECK(packet.attachments <= SIO_ATTACHMENTS_MAX && packet.id <= SIO_ID_MAX);
    CHECK(packet.nsp.len <= SIO_NSP_MAX && utf8_valid(packet.nsp));
    CHECK(fuzz_within(packet.payload, input) && utf8_valid(packet.payload));
    if (packet.type != SIO_CONNECT && packet.type != SIO_DISCONNECT) {
        check_round_trip(&packet);
    }
    return 0;
}
