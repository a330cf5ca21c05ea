/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the plain WebSocket: of each packet with a name comes an event, unless the name is
 * reserved.
 */
#include "codec/base/status.h"
#include "codec/names.h"
#include "codec/packet.h"
#include "tests/fuzz/fuzz.h"

/* An event comes of it, unless its name is one that Socket.IO keeps for itself. */
static void make_event(const struct packet *packet)
{
    struct event *event;
    int status = event_from_elements(packet->name, packet->args, 0, &event);
    if (names_event_reserved(packet->name)) {
        CHECK(status == STATUS_DENIED);
        return;
    }
    CHECK(status == 0);
    CHECK(event->arg_count == packet->arg_count && bytes_eq(event->name, packet->name));
    event_unref(event);
}

/* Every packet of an accepted message is read, and one with a name makes an event. */
static void read_message(enum packet_form form, struct bytes message)
{
    struct packet_reader reader;
    struct packet packet;
    unsigned count = 0;
    if (packet_reader_init(&reader, form, message) < 0) {
        return;
    }
    for (; packet_next(&reader, &packet); count++) {
        CHECK(packet.id <= PACKET_ID_MAX && packet.id >= -PACKET_ID_MAX);
        CHECK((packet.id < 0) == (packet.name.len == 0));
        CHECK(form == PACKET_MSGPACK || fuzz_within(packet.args, message));
        if (packet.id >= 0) {
            make_event(&packet);
        }
    }
    CHECK(count > 0 && count <= PACKET_COUNT_MAX);
    packet_reader_finish(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_message(PACKET_JSON, bytes_of(data, size));
    read_message(PACKET_MSGPACK, bytes_of(data, size));
    return 0;
}
