/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/api_answer.h"

#include <zlib.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "hub/config.h"
#include "hub/hub.h"
#include "hub/hub_settings.h"
#include "hub/loop.h"

enum { UNAVAILABLE_RETRY_S = 1, GZIP_WINDOW = 15 + 16, GZIP_LEVEL = 5, GZIP_MEMORY = 8 };

static const struct {
    unsigned status;
    const char *text;
} codes[] = {[API_OK] = {200, "ok"},
#define X(name, status, text) [API_##name] = {status, text},
    API_CODES(X)
#undef X
};

unsigned api_code_status(enum api_code code)
{
    CHECK((size_t)code < ARRAY_LEN(codes));
    return codes[code].status;
}

void api_error_write(const struct api_error *error, struct builder *out)
{
    builder_printf(out, "\"error\":{\"code\":\"%s\",\"message\":", codes[error->code].text);
    json_scan_write_string(out, bytes_str(error->message));
    if (error->field != NULL) {
        builder_str(out, ",\"field\":");
        json_scan_write_string(out, bytes_str(error->field));
    }
}

void api_refuse(struct http_request *request, const struct api_error *error)
{
    struct builder body = {0};
    struct builder headers = {0};
    builder_byte(&body, '{');
    api_error_write(error, &body);
    builder_str(&body, "}}");
    if (error->code == API_UNAUTHORIZED) {
        builder_str(&headers, "WWW-Authenticate: Bearer realm=\"peal\"\r\n");
    }
    if (error->retry_s > 0) {
        builder_printf(&headers, "Retry-After: %u\r\n", error->retry_s);
    }
    http_respond(request, api_code_status(error->code), "application/json", builder_bytes(&headers),
        builder_bytes(&body));
    builder_reset(&headers);
    builder_reset(&body);
}

void api_refuse_unavailable(struct http_request *request)
{
    api_refuse(request, &(struct api_error){.code = API_UNAVAILABLE,
                            .message = "The store is not available, try again",
                            .retry_s = UNAVAILABLE_RETRY_S});
}

/* Compression. */

/* Whether a quality value (RFC 9110 12.4.2) is zero: "0", "0.0", "0.000". */
static bool is_zero_quality(struct bytes parameter)
{
    if (parameter.len < 3 || (parameter.at[0] | 0x20) != 'q' || parameter.at[1] != '=') {
        return false;
    }
    for (size_t i = 2; i < parameter.len; i++) {
        if (parameter.at[i] != '0' && parameter.at[i] != '.') {
            return false;
        }
    }
    return true;
}

static struct bytes trim(struct bytes text)
{
    while (text.len > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text = bytes_skip(text, 1);
    }
    while (text.len > 0 && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

/* Whether an element of Accept-Encoding ("gzip;q=0.5") is gzip and not refused by its quality. */
static bool is_gzip(struct bytes element, bool *ret_refused)
{
    const char *end = element.len > 0 ? memchr(element.at, ';', element.len) : NULL;
    size_t name_len = end != NULL ? (size_t)(end - element.at) : element.len;
    if (!bytes_eq_nocase(trim(bytes_of(element.at, name_len)), BYTES("gzip"))) {
        return false;
    }
    *ret_refused = end != NULL && is_zero_quality(trim(bytes_skip(element, name_len + 1)));
    return true;
}

static bool accepts_gzip(const struct http1_request *head)
{
    size_t cursor = 0;
    struct bytes value;
    while (http1_header_next(head, "accept-encoding", &cursor, &value)) {
        struct bytes element;
        bool refused;
        while (http1_list_next(&value, &element)) {
            if (is_gzip(element, &refused)) {
                return !refused;
            }
        }
    }
    return false;
}

static bool wants_gzip(const struct http_request *request, size_t len)
{
    const struct hub *hub = api_shard(request)->hub;
    struct bytes value;
    size_t cursor = 0;
    return len >= hub->config->http_gzip_bytes && accepts_gzip(request->head) &&
           !http1_header_next(request->head, "x-no-compression", &cursor, &value);
}

/* Append `text` compressed; false when it did not get smaller or memory ran out. */
static bool compress_text(struct bytes text, struct builder *out)
{
    z_stream stream = {0};
    if (text.len > UINT32_MAX || deflateInit2(&stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW,
                                     GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
        return false;
    }
    char *at = builder_reserve(out, text.len);
    bool done = false;
    if (at != NULL) {
        stream.next_in = (Bytef *)(uintptr_t)text.at;
        stream.avail_in = (uInt)text.len;
        stream.next_out = (Bytef *)at;
        stream.avail_out = (uInt)text.len;
        done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
        builder_commit(out, done ? (size_t)stream.total_out : 0);
    }
    deflateEnd(&stream);
    return done;
}

void api_answer(
    struct http_request *request, unsigned status, struct bytes headers, struct builder *json)
{
    if (builder_failed(json)) {
        builder_reset(json);
        api_refuse_unavailable(request);
        return;
    }
    struct builder packed = {0};
    struct builder lines = {0};
    struct bytes body = builder_bytes(json);
    builder_add(&lines, headers);
    if (body.len >= api_shard(request)->settings->config->http_gzip_bytes) {
        builder_str(&lines, "Vary: Accept-Encoding\r\n");
    }
    if (wants_gzip(request, body.len) && compress_text(body, &packed)) {
        body = builder_bytes(&packed);
        builder_str(&lines, "Content-Encoding: gzip\r\n");
    }
    http_respond(request, status, "application/json", builder_bytes(&lines), body);
    builder_reset(&lines);
    builder_reset(&packed);
    builder_reset(json);
}

/* Answering later. */

static void on_gone(struct http_request *request)
{
    struct api_call *call = request->user;
    call->request = NULL;
}

void api_call_hold(struct api_call *call, struct http_request *request)
{
    call->request = request;
    request->user = call;
    request->gone = on_gone;
}

struct hub_shard *api_shard(const struct http_request *request)
{
    return hub_shard_of(loop_shard(request->loop));
}
