/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_accept - the server's side of the WebSocket opening handshake (RFC 6455 section 4.2).
 */
#ifndef CODEC_WS_ACCEPT_H
#define CODEC_WS_ACCEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct http1_request;

enum {
    WS_ACCEPT_KEY_LEN = 28,
    WS_ACCEPT_PROTOCOLS_MAX = 32,
};

/* Write the SHA-1 digest of `data` to `digest`. */
typedef void (*ws_accept_sha1_fn)(struct bytes data, uint8_t digest[20]);

struct ws_accept {
    struct bytes key; /* Sec-WebSocket-Key, known to be 16 bytes in base64 */
    unsigned refusal; /* after a negative return: 400, 405 or 426 */
};

/*
 * Check an upgrade request: GET, HTTP/1.1, no body, the token lists, version 13, the key, and a
 * list of at most WS_ACCEPT_PROTOCOLS_MAX different subprotocols. Returns 0, or a negative
 * status with ret_accept->refusal set. A 426 is answered with "Sec-WebSocket-Version: 13".
 */
MUST_CHECK int ws_accept_check(const struct http1_request *request, struct ws_accept *ret_accept);

/* Where a walk over the elements of a list header is; all zero at its start. */
struct ws_accept_walk {
    /* private */
    size_t cursor;
    struct bytes list;
    bool in_list;
};

/* Take the next offered subprotocol, in the client's order; false when there are no more. */
bool ws_accept_next_protocol(
    const struct http1_request *request, struct ws_accept_walk *walk, struct bytes *ret_protocol);

/* The first offered subprotocol, which stock Engine.IO servers select; empty: none is offered. */
struct bytes ws_accept_first_protocol(const struct http1_request *request);

/* An offer of permessage-deflate (RFC 7692 section 7.1). Bits are 8 to 15, or 0 when absent. */
struct ws_accept_deflate {
    bool server_no_context_takeover;
    bool client_no_context_takeover;
    bool client_max_window_bits; /* offered, with or without a value */
    uint8_t server_bits;
    uint8_t client_bits;
};

/*
 * Take the client's next acceptable offer of permessage-deflate. Returns 1 with an offer, 0
 * when there are no more, or STATUS_INVALID when the header is malformed. Other extensions and
 * offers with unknown, repeated or impossible parameters are passed over, as the RFC asks.
 */
MUST_CHECK int ws_accept_next_deflate(const struct http1_request *request,
    struct ws_accept_walk *walk, struct ws_accept_deflate *ret_offer);

/*
 * Take the first acceptable offer of permessage-deflate, without context between messages either
 * way, and append the answer to it. Returns the bits of the window that compressed messages to this
 * client may use (8 to 15), 0 when there is no such offer, or STATUS_INVALID when the header is
 * malformed.
 */
MUST_CHECK int ws_accept_deflate(const struct http1_request *request, struct builder *out);

/* What goes into the answer 101. */
struct ws_accept_answer {
    struct bytes key; /* the client's */
    ws_accept_sha1_fn sha1;
    struct bytes protocol; /* one of those offered, or empty */
    struct bytes extensions; /* what was negotiated, or empty */
    struct bytes lines; /* further header lines, each with its CR LF, or empty */
};

/* Append the complete 101 response. Returns what http1_write_response returns. */
MUST_CHECK int ws_accept_write(struct builder *out, const struct ws_accept_answer *answer);

#endif
