/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_body - codings are rare in requests: most bodies are left as they came.
 */
#include "hub/net/http_body.h"

#include "codec/base/status.h"
#include "codec/http1.h"
#include "hub/net/gzip.h"

static unsigned refusal_of(int status)
{
    switch (status) {
    case 0:
        return 0;
    case STATUS_TOO_LARGE:
        return 413;
    case STATUS_NOMEM:
        return 503;
    default:
        return 400;
    }
}

static unsigned expand(size_t max, struct builder *body)
{
    struct builder text = {.max = max};
    int status = gzip_expand(builder_bytes(body), max, &text);
    if (status != 0) {
        builder_reset(&text);
        return refusal_of(status);
    }
    builder_reset(body);
    *body = text;
    return 0;
}

static void skip_mark(struct builder *body)
{
    static const struct bytes mark = {.at = "\xef\xbb\xbf", .len = 3};
    struct bytes text = builder_bytes(body);
    if (bytes_starts(text, mark)) {
        struct builder rest = {.max = text.len};
        builder_add(&rest, bytes_skip(text, mark.len));
        if (!builder_failed(&rest)) {
            builder_reset(body);
            *body = rest;
        }
    }
}

unsigned http_body_decode(const struct http1_request *head, size_t max, struct builder *body)
{
    struct bytes coding;
    int status = http1_header_once(head, "Content-Encoding", &coding);
    if (status == 0 && builder_bytes(body).len > 0 && !bytes_eq_nocase(coding, BYTES("identity"))) {
        if (!bytes_eq_nocase(coding, BYTES("gzip")) && !bytes_eq_nocase(coding, BYTES("x-gzip"))) {
            return 415;
        }
        unsigned refusal = expand(max, body);
        if (refusal != 0) {
            return refusal;
        }
    } else if (status != 0 && status != STATUS_NOT_FOUND) {
        return 415; /* several headers: several codings */
    }
    skip_mark(body);
    return 0;
}
