/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of Socket.IO nodes: what is accepted is whole, lies within its text and can be answered.
 */
#include "codec/adapter_request.h"
#include "codec/event.h"
#include "codec/json_scan.h"
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

/* Its id, which is all that an answer repeats, makes good JSON and MessagePack. */
static void check_answers(struct bytes id)
{
    struct builder out = {0};
    CHECK(adapter_answer_done(id, &out) == 0);
    CHECK(json_scan_text(builder_bytes(&out), 2, NULL, NULL) == 0);
    builder_clear(&out);
    CHECK(adapter_answer_ack(id, BYTES("\xc0"), &out) == 0);
    CHECK(mp_check(builder_bytes(&out), 2, NULL) == 0);
    builder_reset(&out);
}

/* What is accepted is whole, lies within its text, and can be answered where it asks to be. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adapter_request request;
    struct json_scan_iter sockets;
    struct buf *packed;
    if (adapter_fetched_begin(bytes_of(data, size), bytes_of(NULL, 0), &sockets) == 0) {
        char at[NAMES_USER_MAX];
        struct bytes user;
        while (adapter_fetched_next(&sockets, at, &user)) {
            CHECK(user.len <= NAMES_USER_MAX);
        }
    }
    if (adapter_request_take(bytes_of(data, size), &packed) < 0) {
        return 0;
    }
    if (adapter_request_decode(buf_bytes(packed), &request) == 0) {
        CHECK(request.type < ADAPTER_REQUEST_TYPES);
        read_names(request.options.rooms);
        read_names(request.options.except);
        read_names(request.targets);
        CHECK(request.id.len <= ADAPTER_ID_MAX);
        CHECK(fuzz_within(request.uid, buf_bytes(packed)));
        CHECK(fuzz_within(request.sid, buf_bytes(packed)));
        if (request.id.len > 0) {
            check_answers(request.id);
        }
        struct event *event;
        if (request.type == ADAPTER_BROADCAST_ACK &&
            event_from_msgpack(request.packet.data, 0, &event) == 0) {
            event_unref(event);
        }
    }
    buf_unref(packed);
    return 0;
}
