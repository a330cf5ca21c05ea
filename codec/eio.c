/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads packets and payloads, and writes packets, payloads, the handshake and the errors of stock
 * servers.
 */
#include "codec/eio.h"

#include "codec/base/status.h"
#include "codec/base64.h"
#include "codec/json_scan.h"
#include "codec/utf8.h"

/* ---- decoding ---- */

int eio_decode_text(struct bytes text, struct eio_packet *ret_packet)
{
    if (text.len == 0 || text.at[0] < '0' || text.at[0] > '6') {
        return STATUS_PROTO;
    }
    *ret_packet = (struct eio_packet){
        .type = (enum eio_type)(text.at[0] - '0'),
        .payload = bytes_skip(text, 1),
    };
    return 0;
}

void eio_payload_init(struct eio_payload *payload, char *body, size_t len, size_t max_packets)
{
    *payload = (struct eio_payload){.at = body, .len = len, .max_packets = max_packets};
}

/* Take line ends out of `len` bytes of base64: the Java client writes it in lines, as MIME does. */
static size_t join_lines(char *at, size_t len)
{
    if (len == 0 || memchr(at, '\n', len) == NULL) {
        return len;
    }
    size_t kept = 0;
    for (size_t i = 0; i < len; i++) {
        if (at[i] != '\n' && at[i] != '\r') {
            at[kept++] = at[i];
        }
    }
    return kept;
}

/* A binary packet: "b" and base64, decoded over itself. */
static int decode_binary(char *at, size_t len, struct eio_packet *ret_packet)
{
    size_t decoded;
    size_t joined = join_lines(at + 1, len - 1);
    if (base64_decode(bytes_of(at + 1, joined), at + 1, len, &decoded) < 0) {
        return STATUS_PROTO;
    }
    *ret_packet = (struct eio_packet){
        .type = EIO_MESSAGE,
        .binary = true,
        .payload = bytes_of(at + 1, decoded),
    };
    return 0;
}

static int decode_packet(char *at, size_t len, struct eio_packet *ret_packet)
{
    if (len > 0 && at[0] == 'b') {
        return decode_binary(at, len, ret_packet);
    }
    int status = eio_decode_text(bytes_of(at, len), ret_packet);
    if (status < 0) {
        return status;
    }
    return utf8_valid(ret_packet->payload) ? 0 : STATUS_UTF8;
}

int eio_payload_next(struct eio_payload *payload, struct eio_packet *ret_packet)
{
    if (payload->ended) {
        return 0;
    }
    if (payload->len == 0) {
        return STATUS_PROTO;
    }
    if (payload->max_packets == 0) {
        return STATUS_FULL;
    }
    payload->max_packets--;
    char *at = payload->at + payload->next;
    size_t left = payload->len - payload->next;
    char *separator = left > 0 ? memchr(at, EIO_SEPARATOR, left) : NULL;
    size_t len = separator != NULL ? (size_t)(separator - at) : left;
    payload->ended = separator == NULL;
    payload->next += len + 1;
    int status = decode_packet(at, len, ret_packet);
    return status < 0 ? status : 1;
}

/* ---- encoding ---- */

/* Room for one more packet of `len` bytes, its separator written; NULL when there is none. */
static char *begin_packet(struct eio_encoder *encoder, size_t len)
{
    if (encoder->count == EIO_ENCODER_PACKETS_MAX || builder_failed(encoder->out)) {
        return NULL;
    }
    size_t separator = encoder->count > 0;
    struct builder *out = encoder->out;
    size_t used = builder_bytes(out).len;
    if (out->max > 0 && (used > out->max || len + separator > out->max - used)) {
        return NULL;
    }
    char *at = builder_reserve(out, len + separator);
    if (at != NULL && separator > 0) {
        *at++ = EIO_SEPARATOR;
    }
    return at;
}

static void end_packet(struct eio_encoder *encoder, size_t len)
{
    builder_commit(encoder->out, len + (encoder->count > 0));
    encoder->count++;
}

int eio_encoder_text(struct eio_encoder *encoder, struct bytes packet)
{
    CHECK_SLOW(packet.len > 0 && memchr(packet.at, EIO_SEPARATOR, packet.len) == NULL);
    char *at = begin_packet(encoder, packet.len);
    if (at == NULL) {
        return STATUS_FULL;
    }
    memcpy(at, packet.at, packet.len);
    end_packet(encoder, packet.len);
    return 0;
}

int eio_encoder_binary(struct eio_encoder *encoder, struct bytes data)
{
    size_t len = 1 + BASE64_LEN(data.len);
    char *at = begin_packet(encoder, len);
    if (at == NULL) {
        return STATUS_FULL;
    }
    at[0] = 'b';
    base64_encode(data, at + 1);
    end_packet(encoder, len);
    return 0;
}

void eio_write_open(struct builder *out, const struct eio_open *open)
{
    builder_str(out, "0{\"sid\":");
    json_scan_write_string(out, open->sid);
    builder_str(out, open->upgrades ? ",\"upgrades\":[\"websocket\"]" : ",\"upgrades\":[]");
    builder_str(out, ",\"pingInterval\":");
    builder_u64(out, open->ping_interval_ms);
    builder_str(out, ",\"pingTimeout\":");
    builder_u64(out, open->ping_timeout_ms);
    builder_str(out, ",\"maxPayload\":");
    builder_u64(out, open->max_payload);
    builder_byte(out, '}');
}

/* ---- tables ---- */

unsigned eio_error_http(enum eio_error error)
{
    switch (error) {
#define X(name, code, http, message)                                                               \
    case EIO_ERROR_##name:                                                                         \
        return (http);
        EIO_ERRORS(X)
#undef X
    }
    return 400;
}

const char *eio_error_message(enum eio_error error)
{
    switch (error) {
#define X(name, code, http, message)                                                               \
    case EIO_ERROR_##name:                                                                         \
        return (message);
        EIO_ERRORS(X)
#undef X
    }
    return "Bad request";
}

void eio_write_error(struct builder *out, enum eio_error error, struct bytes message)
{
    builder_str(out, "{\"code\":");
    builder_u64(out, (uint64_t)error);
    builder_str(out, ",\"message\":");
    json_scan_write_string(out, message.len > 0 ? message : bytes_str(eio_error_message(error)));
    builder_byte(out, '}');
}
