/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eio - Engine.IO revision 4: packets, long-polling payloads, the handshake, error replies.
 */
#ifndef CODEC_EIO_H
#define CODEC_EIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* The digit on the wire is the value. */
enum eio_type {
    EIO_OPEN,
    EIO_CLOSE,
    EIO_PING,
    EIO_PONG,
    EIO_MESSAGE,
    EIO_UPGRADE,
    EIO_NOOP,
};

enum {
    EIO_SEPARATOR = 0x1e,
    EIO_ENCODER_PACKETS_MAX = 16, /* python-engineio refuses payloads with more */
};

struct eio_packet {
    enum eio_type type;
    bool binary; /* always a message */
    struct bytes payload; /* without the type digit */
};

/*
 * Read one text packet: a text message of a WebSocket. Returns 0, or STATUS_PROTO when it is
 * empty or does not begin with a digit from 0 to 6. The text is not checked for UTF-8 (the
 * WebSocket layer did).
 */
MUST_CHECK int eio_decode_text(struct bytes text, struct eio_packet *ret_packet);

/* The body of a long-polling POST, being taken apart. */
struct eio_payload {
    /* private */
    char *at;
    size_t len;
    size_t next;
    size_t max_packets;
    bool ended;
};

/*
 * Start on a body. The memory is the caller's, stays in use while packets are, and is written
 * to: binary packets are decoded in place. More than `max_packets` packets are refused.
 */
void eio_payload_init(struct eio_payload *payload, char *body, size_t len, size_t max_packets);

/*
 * Take the next packet. Returns 1 with a packet, 0 at the end, STATUS_PROTO for an empty body
 * or packet, an unknown type or bad base64, STATUS_UTF8 for bad text, STATUS_FULL for too many
 * packets. After a negative status the rest is not to be processed.
 */
MUST_CHECK int eio_payload_next(struct eio_payload *payload, struct eio_packet *ret_packet);

/* The body of an answer to a long-polling GET, being put together; `{.out = builder}`. */
struct eio_encoder {
    struct builder *out;
    size_t count; /* packets so far */
    size_t full_bytes; /* of the payload, from which on no packet of frames is added; 0: any */
};

/*
 * Append one complete text packet ("42[...]", type digit included; it holds no 0x1e byte).
 * Returns 0, STATUS_FULL when there are EIO_ENCODER_PACKETS_MAX packets already or the builder's
 * limit is reached: then nothing was appended and the packet waits for the next answer.
 */
MUST_CHECK int eio_encoder_text(struct eio_encoder *encoder, struct bytes packet);

/* Append one binary message, in base64. Returns as eio_encoder_text. */
MUST_CHECK int eio_encoder_binary(struct eio_encoder *encoder, struct bytes data);

/* What the open packet tells a client. */
struct eio_open {
    struct bytes sid; /* base64url characters */
    bool upgrades; /* offer "websocket" */
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;
    uint64_t max_payload;
};

/* Append the open packet: "0" and an object of exactly five members, in the known order. */
void eio_write_open(struct builder *out, const struct eio_open *open);

/* Columns: NAME, code, HTTP status, message. */
#define EIO_ERRORS(X)                                                                              \
    X(TRANSPORT_UNKNOWN, 0, 400, "Transport unknown")                                              \
    X(SID_UNKNOWN, 1, 400, "Session ID unknown")                                                   \
    X(BAD_METHOD, 2, 400, "Bad handshake method")                                                  \
    X(BAD_REQUEST, 3, 400, "Bad request")                                                          \
    X(FORBIDDEN, 4, 403, "Forbidden")                                                              \
    X(BAD_VERSION, 5, 400, "Unsupported protocol version")

enum eio_error {
#define X(name, code, http, message) EIO_ERROR_##name = (code),
    EIO_ERRORS(X)
#undef X
};

/* The HTTP status of an error in answer to a polling request (an upgrade gets 400). Any thread. */
unsigned eio_error_http(enum eio_error error);

/* The message of an error. Any thread; static storage. */
const char *eio_error_message(enum eio_error error);

/* Append the JSON body of an error; `message` (UTF-8) replaces the standard one unless empty. */
void eio_write_error(struct builder *out, enum eio_error error, struct bytes message);

#endif
