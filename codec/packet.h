/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet - what arrives in one message on the plain WebSocket: an array of packets.
 *
 * A packet is `["event", …args]` with an optional positive id in front, or `[-id, result]`, the
 * answer to one. MessagePack messages are turned into JSON text first (bin into base64 text), so
 * that the application sees JSON only.
 */
#ifndef CODEC_PACKET_H
#define CODEC_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/depth.h"
#include "codec/event.h"
#include "codec/json_scan.h"

enum { PACKET_COUNT_MAX = 64, PACKET_DEPTH_MAX = DEPTH_CLIENT };

/* Ids are integers that every client can hold exactly. */
#define PACKET_ID_MAX ((int64_t)9007199254740991)

enum packet_form { PACKET_JSON, PACKET_MSGPACK };

/* One packet; its slices are valid until the next packet_next or packet_reader_finish. */
struct packet {
    int64_t id; /* 0 none, positive a request, negative the answer to request -id */
    struct bytes name; /* decoded; empty in an answer */
    struct bytes args; /* JSON text of the elements behind the name (or id): `a,b` */
    uint32_t arg_count;
};

/* Walks the packets of one message. */
struct packet_reader {
    /* private */
    struct json_scan_iter iter;
    struct builder json; /* MessagePack only: the whole message as JSON */
    char name[EVENT_NAME_MAX];
};

/*
 * Begin with `message`, which stays borrowed until packet_reader_finish: checks all of it. At
 * least one and at most PACKET_COUNT_MAX packets, each complete and well-formed, nesting at most
 * PACKET_DEPTH_MAX; then packet_next cannot fail. STATUS_INVALID (no JSON or MessagePack),
 * STATUS_PROTO (not an array of packets), STATUS_UTF8, STATUS_TOO_LARGE (depth, count, name, size).
 * The reader needs no finish after a failure.
 */
MUST_CHECK int packet_reader_init(
    struct packet_reader *reader, enum packet_form form, struct bytes message);

/* The next packet, or false after the last. */
bool packet_next(struct packet_reader *reader, struct packet *ret_packet);

/* Free what the reader holds. */
void packet_reader_finish(struct packet_reader *reader);

#endif
