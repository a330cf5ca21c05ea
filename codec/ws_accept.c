/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks come first, in the order in which a request is refused; then the two list headers;
 * then the answer.
 */
#include "codec/ws_accept.h"

#include "codec/base/status.h"
#include "codec/base64.h"
#include "codec/http1.h"

#define PROTOCOL_HEADER "Sec-WebSocket-Protocol"
#define EXTENSIONS_HEADER "Sec-WebSocket-Extensions"
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */

enum { KEY_BYTES = 16, KEY_LEN = BASE64_LEN(KEY_BYTES), WINDOW_MIN = 8, WINDOW_MAX = 15 };

/* ---- the request ---- */

/* Version 13 is the only one. A number, or several, means a client of another time: 426. */
static unsigned check_version(const struct http1_request *request)
{
    struct bytes version;
    int status = http1_header_once(request, "Sec-WebSocket-Version", &version);
    if (status == STATUS_NOT_FOUND) {
        return 426;
    }
    if (status < 0) {
        return 400;
    }
    for (size_t i = 0; i < version.len; i++) {
        if (version.at[i] == '\0' || strchr("0123456789, ", version.at[i]) == NULL) {
            return 400;
        }
    }
    return bytes_eq(version, BYTES("13")) ? 0 : 426;
}

static bool check_key(const struct http1_request *request, struct bytes *ret_key)
{
    char decoded[BASE64_DECODED_MAX(KEY_LEN)];
    size_t len;
    return http1_header_once(request, "Sec-WebSocket-Key", ret_key) == 0 &&
           ret_key->len == KEY_LEN &&
           base64_decode(*ret_key, decoded, sizeof(decoded), &len) == 0 && len == KEY_BYTES;
}

static bool check_protocols(const struct http1_request *request)
{
    struct bytes seen[WS_ACCEPT_PROTOCOLS_MAX];
    size_t count = 0;
    struct ws_accept_walk walk = {0};
    struct bytes protocol;
    while (ws_accept_next_protocol(request, &walk, &protocol)) {
        if (count == ARRAY_LEN(seen) || !http1_is_token(protocol)) {
            return false;
        }
        for (size_t i = 0; i < count; i++) {
            if (bytes_eq(seen[i], protocol)) {
                return false;
            }
        }
        seen[count++] = protocol;
    }
    return true;
}

/* The status to refuse with, or 0. */
static unsigned check(const struct http1_request *request, struct ws_accept *accept)
{
    if (request->method != HTTP1_GET) {
        return 405;
    }
    if (request->minor != 1 || request->chunked || request->content_length > 0 ||
        !request->has_upgrade || !http1_has_token(request, "Upgrade", "websocket")) {
        return 400;
    }
    unsigned refusal = check_version(request);
    if (refusal != 0) {
        return refusal;
    }
    return check_key(request, &accept->key) && check_protocols(request) ? 0 : 400;
}

int ws_accept_check(const struct http1_request *request, struct ws_accept *ret_accept)
{
    *ret_accept = (struct ws_accept){0};
    ret_accept->refusal = check(request, ret_accept);
    switch (ret_accept->refusal) {
    case 0:
        return 0;
    case 426:
        return STATUS_UNSUPPORTED;
    default:
        return STATUS_PROTO;
    }
}

/* ---- lists ---- */

/* The next element of the header `name`, which may be split over several lines. */
static bool next_element(const struct http1_request *request, const char *name,
    struct ws_accept_walk *walk, struct bytes *ret_element)
{
    for (;;) {
        if (walk->in_list && http1_list_next(&walk->list, ret_element)) {
            return true;
        }
        walk->in_list = http1_header_next(request, name, &walk->cursor, &walk->list);
        if (!walk->in_list) {
            return false;
        }
    }
}

bool ws_accept_next_protocol(
    const struct http1_request *request, struct ws_accept_walk *walk, struct bytes *ret_protocol)
{
    return next_element(request, PROTOCOL_HEADER, walk, ret_protocol);
}

struct bytes ws_accept_first_protocol(const struct http1_request *request)
{
    struct ws_accept_walk walk = {0};
    struct bytes protocol;
    return ws_accept_next_protocol(request, &walk, &protocol) ? protocol : bytes_of(NULL, 0);
}

/* Take what stands before the first `c`, or everything, off *text; at is NULL afterwards. */
static struct bytes take_until(struct bytes *text, char c)
{
    const char *end = text->len > 0 ? memchr(text->at, c, text->len) : NULL;
    struct bytes part = *text;
    if (end == NULL) {
        *text = bytes_of(NULL, 0);
    } else {
        part.len = (size_t)(end - text->at);
        *text = bytes_skip(*text, part.len + 1);
    }
    return bytes_trim(part, " \t");
}

/* "name", "name=value" or "name="value"", where the unquoted value must be a token too. */
static bool split_parameter(struct bytes parameter, struct bytes *ret_name, struct bytes *ret_value)
{
    *ret_name = take_until(&parameter, '=');
    *ret_value = parameter;
    if (parameter.at == NULL) {
        return http1_is_token(*ret_name);
    }
    struct bytes value = bytes_trim(parameter, " \t");
    if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"') {
        value = bytes_of(value.at + 1, value.len - 2);
    }
    *ret_value = value;
    return http1_is_token(*ret_name) && http1_is_token(value);
}

/* A flag without value. Returns false when it has one or is set already. */
static bool set_flag(struct bytes value, bool *flag)
{
    bool acceptable = value.at == NULL && !*flag;
    *flag = true;
    return acceptable;
}

static bool set_bits(struct bytes value, uint8_t *bits)
{
    uint64_t number;
    if (bytes_to_u64(value, WINDOW_MAX, &number) < 0 || number < WINDOW_MIN || *bits != 0) {
        return false;
    }
    *bits = (uint8_t)number;
    return true;
}

/* Returns false for a parameter that makes the offer unacceptable. */
static bool set_parameter(struct ws_accept_deflate *offer, struct bytes name, struct bytes value)
{
    if (bytes_eq_nocase(name, BYTES("server_no_context_takeover"))) {
        return set_flag(value, &offer->server_no_context_takeover);
    }
    if (bytes_eq_nocase(name, BYTES("client_no_context_takeover"))) {
        return set_flag(value, &offer->client_no_context_takeover);
    }
    if (bytes_eq_nocase(name, BYTES("server_max_window_bits"))) {
        return set_bits(value, &offer->server_bits);
    }
    if (bytes_eq_nocase(name, BYTES("client_max_window_bits"))) {
        bool repeated = offer->client_max_window_bits;
        offer->client_max_window_bits = true;
        return !repeated && (value.at == NULL || set_bits(value, &offer->client_bits));
    }
    return false;
}

/* Returns 1 for an acceptable offer, 0 for another extension or offer, or STATUS_INVALID. */
static int parse_extension(struct bytes element, struct ws_accept_deflate *ret_offer)
{
    struct ws_accept_deflate offer = {0};
    struct bytes extension = take_until(&element, ';');
    if (!http1_is_token(extension)) {
        return STATUS_INVALID;
    }
    bool acceptable = bytes_eq_nocase(extension, BYTES("permessage-deflate"));
    while (element.at != NULL) {
        struct bytes name;
        struct bytes value;
        if (!split_parameter(take_until(&element, ';'), &name, &value)) {
            return STATUS_INVALID;
        }
        acceptable = acceptable && set_parameter(&offer, name, value);
    }
    if (acceptable) {
        *ret_offer = offer;
    }
    return acceptable;
}

int ws_accept_next_deflate(const struct http1_request *request, struct ws_accept_walk *walk,
    struct ws_accept_deflate *ret_offer)
{
    struct bytes element;
    while (next_element(request, EXTENSIONS_HEADER, walk, &element)) {
        int status = element.len > 0 ? parse_extension(element, ret_offer) : 0;
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

int ws_accept_deflate(const struct http1_request *request, struct builder *out)
{
    struct ws_accept_walk walk = {0};
    struct ws_accept_deflate offer;
    int found = ws_accept_next_deflate(request, &walk, &offer);
    if (found <= 0) {
        return found;
    }
    builder_str(out, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    if (offer.server_bits == 0) {
        return WINDOW_MAX;
    }
    builder_printf(out, "; server_max_window_bits=%u", (unsigned)offer.server_bits);
    return offer.server_bits;
}

/* ---- the answer ---- */

static void ws_accept_key(struct bytes key, ws_accept_sha1_fn sha1, char at[WS_ACCEPT_KEY_LEN])
{
    char text[KEY_LEN + sizeof(GUID) - 1];
    uint8_t digest[20];
    CHECK(key.len == KEY_LEN);
    memcpy(text, key.at, KEY_LEN);
    memcpy(text + KEY_LEN, GUID, sizeof(GUID) - 1);
    sha1(bytes_of(text, sizeof(text)), digest);
    base64_encode(bytes_of(digest, sizeof(digest)), at);
}

static int write_headers(struct builder *out, const struct ws_accept_answer *answer)
{
    char accept[WS_ACCEPT_KEY_LEN];
    ws_accept_key(answer->key, answer->sha1, accept);
    struct http1_header headers[] = {
        {BYTES("Upgrade"), BYTES("websocket")},
        {BYTES("Connection"), BYTES("Upgrade")},
        {BYTES("Sec-WebSocket-Accept"), bytes_of(accept, sizeof(accept))},
        {BYTES(PROTOCOL_HEADER), answer->protocol},
        {BYTES(EXTENSIONS_HEADER), answer->extensions},
    };
    int status = 0;
    for (size_t i = 0; i < ARRAY_LEN(headers) && status == 0; i++) {
        if (headers[i].value.len > 0) {
            status = http1_write_header(out, headers[i].name, headers[i].value);
        }
    }
    return status;
}

int ws_accept_write(struct builder *out, const struct ws_accept_answer *answer)
{
    size_t start = builder_bytes(out).len;
    http1_write_status_line(out, 101);
    int status = write_headers(out, answer);
    if (status < 0) {
        builder_truncate(out, start);
        return status;
    }
    builder_add(out, answer->lines);
    builder_str(out, "\r\n");
    return builder_status(out);
}
