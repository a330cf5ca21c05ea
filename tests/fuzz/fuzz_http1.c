/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads of requests and answers and chunked bodies, whole and in pieces; nothing is read outside of
 * the input.
 */
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/http1_answer.h"
#include "codec/http1_chunked.h"
#include "codec/query.h"
#include "codec/ws_accept.h"
#include "tests/fuzz/fuzz.h"

/* Everything a server asks of a request. */
static void use_request(const struct http1_request *request, struct bytes input)
{
    char at[64];
    struct bytes value;
    struct bytes name;
    struct bytes query = request->query;
    CHECK(request->header_count <= HTTP1_HEADERS_DEFAULT);
    CHECK(!(request->chunked && request->has_content_length));
    CHECK(fuzz_within(request->query, input) && fuzz_within(request->host, input));
    for (size_t i = 0; i < request->header_count; i++) {
        CHECK(http1_is_token(request->headers[i].name));
        CHECK(fuzz_within(request->headers[i].value, input));
        CHECK(request->headers[i].value.len == 0 ||
              memchr(request->headers[i].value.at, '\n', request->headers[i].value.len) == NULL);
    }
    while (query_next(&query, &name, &value)) {
        (void)(query_decode(value, at, sizeof(at), &value) == 0);
    }
    struct ws_accept accept;
    struct ws_accept_walk walk = {0};
    struct ws_accept_deflate offer;
    if (ws_accept_check(request, &accept) == 0) {
        CHECK(accept.key.len == 24 && accept.refusal == 0);
    } else {
        CHECK(accept.refusal == 400 || accept.refusal == 405 || accept.refusal == 426);
    }
    while (ws_accept_next_deflate(request, &walk, &offer) > 0) {
        CHECK(offer.server_bits == 0 || (offer.server_bits >= 8 && offer.server_bits <= 15));
    }
}

static void check_head(struct bytes input)
{
    struct http1_parser whole = {0};
    struct http1_parser pieces = {0};
    struct http1_request request;
    int len = http1_parse(&whole, input, &request);
    int piecewise = 0;
    for (size_t i = 1; i <= input.len && piecewise == 0; i++) {
        struct http1_request again;
        piecewise = http1_parse(&pieces, bytes_of(input.at, i), &again);
    }
    CHECK(len == piecewise && whole.refusal == pieces.refusal);
    CHECK(len >= 0 ? whole.refusal == 0 : whole.refusal >= 400);
    if (len > 0) {
        use_request(&request, bytes_of(input.at, (size_t)len));
    }
}

/* Decode in pieces of `size` bytes to `out`; return the last result, and what was consumed. */
static int dechunk(struct bytes input, size_t size, struct builder *out, size_t *ret_used)
{
    struct http1_chunked chunked = {.max_body = 2000};
    size_t used = 0;
    int status = 0;
    for (size_t from = 0; from < input.len; from += size) {
        size_t left = input.len - from;
        struct bytes piece = bytes_of(input.at + from, left < size ? left : size);
        struct bytes data;
        while ((status = http1_chunked_feed(&chunked, piece, &data)) > 0) {
            CHECK(fuzz_within(data, piece));
            builder_add(out, data);
            piece = bytes_skip(piece, (size_t)status);
            used += (size_t)status;
        }
        if (status < 0) {
            break;
        }
    }
    CHECK(builder_bytes(out).len <= 2000);
    *ret_used = status < 0 ? 0 : used;
    return http1_chunked_done(&chunked) ? 1 : status;
}

static void check_chunked(struct bytes input)
{
    struct builder whole = {0};
    struct builder pieces = {0};
    size_t used_whole;
    size_t used_pieces;
    int status_whole = dechunk(input, input.len, &whole, &used_whole);
    int status_pieces = dechunk(input, 1, &pieces, &used_pieces);
    CHECK(status_whole == status_pieces && used_whole == used_pieces);
    CHECK(bytes_eq(builder_bytes(&whole), builder_bytes(&pieces)));
    builder_reset(&whole);
    builder_reset(&pieces);
}

static void check_answer(struct bytes input)
{
    struct http1_answer answer;
    struct bytes name;
    struct bytes value;
    int len = http1_answer_parse(input, HTTP1_HEAD_MAX, &answer);
    CHECK(len <= (int)input.len);
    if (len <= 0) {
        return;
    }
    CHECK(answer.status >= 101 && answer.status <= 599);
    CHECK(fuzz_within(answer.lines, input));
    while (http1_answer_next(&answer.lines, &name, &value)) {
        CHECK(http1_is_token(name) && fuzz_within(value, input));
    }
    CHECK(answer.lines.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    check_head(input);
    check_answer(input);
    if (size > 0) {
        check_chunked(input);
    }
    return 0;
}
