/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broadcasts on the adapter's channels: what is read can be written again, and names never leave
 * the input.
 */
#include "codec/adapter_wire.h"
#include "tests/fuzz/fuzz.h"

static void read_names(struct adapter_names names)
{
    struct bytes name;
    uint32_t count = names.count;
    while (adapter_names_next(&names, &name)) {
        count--;
    }
    CHECK(count == 0);
}

/* Names are all there, and a broadcast that makes an event can be written and read again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes payload = bytes_of(data, size);
    struct adapter_broadcast broadcast;
    enum adapter_channel channel;
    struct bytes nsp;
    struct bytes room;
    struct event *event;
    if (adapter_channel_parse(BYTES("s"), payload, &channel, &nsp, &room) == 0) {
        CHECK(nsp.len > 0 && fuzz_within(nsp, payload) && fuzz_within(room, payload));
    }
    if (adapter_broadcast_decode(payload, &broadcast) < 0) {
        return 0;
    }
    read_names(broadcast.rooms);
    read_names(broadcast.except);
    CHECK(fuzz_within(broadcast.data, payload));
    if (event_from_msgpack(broadcast.data, 0, &event) == 0) {
        struct builder out = {0};
        struct adapter_emit emit = {
            .uid = broadcast.uid,
            .nsp = broadcast.nsp,
            .event = event,
            .flags = broadcast.flags,
        };
        CHECK(adapter_broadcast_encode(&emit, &out) == 0);
        CHECK(adapter_broadcast_decode(builder_bytes(&out), &broadcast) == 0);
        CHECK(bytes_eq(broadcast.data, event->data) && broadcast.flags == emit.flags);
        builder_reset(&out);
        event_unref(event);
    }
    return 0;
}
