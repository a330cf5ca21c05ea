/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sio - Socket.IO revision 5: text packets with the standard JSON parser.
 *
 * Decoding starts behind the Engine.IO digit "4"; the encoders write whole Engine.IO text
 * packets, with it, so that what they make can be sent and shared as it is.
 */
#ifndef CODEC_SIO_H
#define CODEC_SIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/depth.h"

/* The digit on the wire is the value. */
enum sio_type {
    SIO_CONNECT,
    SIO_DISCONNECT,
    SIO_EVENT,
    SIO_ACK,
    SIO_CONNECT_ERROR,
    SIO_BINARY_EVENT,
    SIO_BINARY_ACK,
};

enum {
    SIO_ATTACHMENTS_MAX = 10,
    SIO_PLACEHOLDERS_MAX = 32, /* in a packet: each may stand for a whole attachment again */
    SIO_NSP_MAX = 255, /* bytes */
    SIO_EVENT_NAME_MAX = 255, /* bytes */
    SIO_DEPTH_MAX = DEPTH_CLIENT, /* of JSON containers */
};

/* The highest ack id that is answered. From 2^53 on JavaScript rounds, and so does sio_decode. */
#define SIO_ID_MAX (UINT64_C(1) << 60)

struct sio_packet {
    enum sio_type type;
    unsigned attachments; /* binary messages that follow; 0 unless binary */
    struct bytes nsp; /* "/" when the text has none */
    bool has_id;
    uint64_t id;
    struct bytes payload; /* JSON without blanks around it, or empty */
    unsigned json_flags; /* enum json_scan_flags of the payload */
};

/*
 * Read the text part of a packet as a server does. Returns 0, or what ends the connection:
 * STATUS_PROTO for any violation of the grammar, the payload rules, reserved event names,
 * or placeholders (each `num` an integer under the count; at most SIO_PLACEHOLDERS_MAX);
 * STATUS_TOO_LARGE for a limit above; STATUS_UTF8. CONNECT_ERROR is a violation: only servers send
 * it.
 */
MUST_CHECK int sio_decode(struct bytes text, struct sio_packet *ret_packet);

/* The array of an event, split. */
struct sio_event {
    struct bytes name; /* unescaped; the digits of a number as they came */
    bool name_is_number;
    struct bytes args; /* the elements behind the name, "a,b,c"; may be empty */
};

/*
 * Split the payload of an event that sio_decode accepted. A name with escapes is decoded to
 * `at` (SIO_EVENT_NAME_MAX bytes), others are slices of the payload. Returns 0, STATUS_PROTO
 * for anything but an array that begins with a number or string, STATUS_TOO_LARGE for a longer
 * name, STATUS_UTF8 for one with half a surrogate pair.
 */
MUST_CHECK int sio_event_split(
    struct bytes payload, char at[SIO_EVENT_NAME_MAX], struct sio_event *ret_event);

/*
 * Check the placeholders of a binary packet's JSON at any depth: returns how many there are, or
 * STATUS_PROTO when an object with a `_placeholder` member is not a placeholder with a `num`
 * from 0 to count - 1, or there are more than SIO_PLACEHOLDERS_MAX. Several may have one number:
 * the same attachment at each place.
 */
MUST_CHECK int sio_placeholders_check(struct bytes payload, unsigned count);

/* Where a packet that is to be written goes. */
struct sio_head {
    struct bytes nsp; /* empty or "/" is omitted */
    bool has_id;
    uint64_t id;
    unsigned attachments; /* above 0: the binary variant */
};

/* Append "40{"sid":...}", with "pid" unless that is empty. Ids are base64url characters. */
void sio_write_connect(struct builder *out, struct bytes nsp, struct bytes sid, struct bytes pid);

/* Append "44{"message":...}", with "data" (JSON) unless that is empty. */
void sio_write_connect_error(
    struct builder *out, struct bytes nsp, struct bytes message, struct bytes data);

/* Append "41", with the namespace. */
void sio_write_disconnect(struct builder *out, struct bytes nsp);

/* What an event carries. */
struct sio_event_out {
    struct bytes name; /* UTF-8, unescaped; a number's digits with name_is_number */
    bool name_is_number;
    struct bytes args; /* JSON elements "a,b,c", copied as they are; may be empty */
    struct bytes offset; /* recovery offset, appended as a last string unless empty */
};

/* Append an EVENT, or a BINARY_EVENT when head->attachments is not 0. */
void sio_write_event(
    struct builder *out, const struct sio_head *head, const struct sio_event_out *event);

/* Append an ACK of head->id (has_id is implied) with JSON elements "a,b,c", or BINARY_ACK. */
void sio_write_ack(struct builder *out, const struct sio_head *head, struct bytes args);

#endif
