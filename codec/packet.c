/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a message into its packets and checks the first elements of each; MessagePack is turned into
 * JSON before.
 */
#include "codec/packet.h"

#include "codec/base/status.h"
#include "codec/mp.h"
#include "codec/names.h"

/* JSON is at most this much longer than the MessagePack it was made of (nil, control characters).
 */
enum { JSON_GROWTH = 8, JSON_SLACK = 64 };

static int read_name(struct bytes value, char at[EVENT_NAME_MAX], struct packet *packet)
{
    if (json_scan_kind(value) != JSON_SCAN_STRING) {
        return STATUS_PROTO;
    }
    int status = json_scan_string(value, at, EVENT_NAME_MAX, &packet->name);
    status = status < 0 ? status : names_check_event(packet->name);
    return status == STATUS_INVALID ? STATUS_PROTO : status;
}

/* Split the text of one packet; a name with escapes is decoded to `at`. */
static int split(struct bytes text, char at[EVENT_NAME_MAX], struct packet *ret_packet)
{
    struct json_scan_iter iter;
    struct bytes value;
    if (json_scan_kind(text) != JSON_SCAN_ARRAY || !json_scan_iter_init(&iter, text) ||
        !json_scan_element(&iter, &value)) {
        return STATUS_PROTO;
    }
    struct packet packet = {0};
    bool has_id = json_scan_kind(value) == JSON_SCAN_NUMBER;
    if (has_id && (json_scan_i64(value, &packet.id) < 0 || packet.id == 0 ||
                      packet.id > PACKET_ID_MAX || packet.id < -PACKET_ID_MAX)) {
        return STATUS_PROTO;
    }
    if (packet.id > 0 && !json_scan_element(&iter, &value)) {
        return STATUS_PROTO;
    }
    if (packet.id >= 0) {
        int status = read_name(value, at, &packet);
        if (status < 0) {
            return status;
        }
    }
    struct bytes inside = json_scan_inside(text);
    for (; json_scan_element(&iter, &value); packet.arg_count++) {
        if (packet.arg_count == 0) {
            packet.args = bytes_of(value.at, (size_t)(inside.at + inside.len - value.at));
        }
    }
    *ret_packet = packet;
    return 0;
}

static int to_json(struct packet_reader *reader, struct bytes message, struct bytes *ret_text)
{
    int status = mp_check(message, PACKET_DEPTH_MAX, NULL);
    if (status < 0) {
        return status;
    }
    reader->json.max = message.len * JSON_GROWTH + JSON_SLACK;
    status = mp_to_json(message, NULL, &reader->json);
    *ret_text = builder_bytes(&reader->json);
    return status;
}

static int check(struct packet_reader *reader, struct bytes text)
{
    struct json_scan_iter iter;
    struct bytes value;
    if (json_scan_kind(text) != JSON_SCAN_ARRAY || !json_scan_iter_init(&iter, text)) {
        return STATUS_PROTO;
    }
    reader->iter = iter;
    unsigned count = 0;
    for (; json_scan_element(&iter, &value); count++) {
        if (count == PACKET_COUNT_MAX) {
            return STATUS_TOO_LARGE;
        }
        struct packet packet;
        int status = split(value, reader->name, &packet);
        if (status < 0) {
            return status;
        }
    }
    return count > 0 ? 0 : STATUS_PROTO;
}

int packet_reader_init(struct packet_reader *reader, enum packet_form form, struct bytes message)
{
    *reader = (struct packet_reader){0};
    struct bytes text = {0};
    int status = form == PACKET_MSGPACK ? to_json(reader, message, &text)
                                        : json_scan_text(message, PACKET_DEPTH_MAX, &text, NULL);
    status = status < 0 ? status : check(reader, text);
    if (status < 0) {
        packet_reader_finish(reader);
    }
    return status;
}

bool packet_next(struct packet_reader *reader, struct packet *ret_packet)
{
    struct bytes value;
    return json_scan_element(&reader->iter, &value) && split(value, reader->name, ret_packet) == 0;
}

void packet_reader_finish(struct packet_reader *reader)
{
    builder_reset(&reader->json);
}
