/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1 - strict parser of HTTP/1.x request heads, and writer of response heads (RFC 9112).
 *
 * Everything in a request is a slice of the input: it lives as long as the buffer it was
 * parsed from. Bodies are http1_chunked.h, query strings query.h.
 */
#ifndef CODEC_HTTP1_H
#define CODEC_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum {
    HTTP1_HEAD_MAX = 8192,
    HTTP1_HEADERS_DEFAULT = 64,
    HTTP1_HEADERS_MAX = 128,
};

/* Columns: NAME (as on the wire, case-sensitive). CONNECT and TRACE are answered 501. */
#define HTTP1_METHODS(X) X(GET) X(HEAD) X(POST) X(PUT) X(PATCH) X(DELETE) X(OPTIONS)

enum http1_method {
#define X(name) HTTP1_##name,
    HTTP1_METHODS(X)
#undef X
};

struct http1_header {
    struct bytes name;
    struct bytes value; /* without blanks around it */
};

struct http1_request {
    enum http1_method method;
    unsigned minor; /* HTTP/1.minor: 0 or 1 */
    struct bytes target; /* as sent */
    struct bytes path; /* "/..." undecoded, or "*" for OPTIONS */
    struct bytes query; /* behind the "?", undecoded; empty without one */
    struct bytes host; /* empty only in HTTP/1.0 */
    uint64_t content_length;
    bool has_content_length;
    bool chunked; /* the body is chunked; never together with a content length */
    bool keep_alive; /* HTTP/1.1 without "Connection: close" */
    bool expect_100; /* "Expect: 100-continue": answer before reading the body */
    bool has_upgrade; /* "Connection: upgrade" and an Upgrade header */
    size_t header_count;
    struct http1_header headers[HTTP1_HEADERS_MAX];
};

/*
 * A parser of one head; all zero at its start (with the limits, 0 = default). Kept between
 * calls on a growing input, so that no byte is looked at twice before the head is complete.
 */
struct http1_parser {
    size_t max_head; /* bytes, default HTTP1_HEAD_MAX */
    size_t max_headers; /* default HTTP1_HEADERS_DEFAULT, at most HTTP1_HEADERS_MAX */
    unsigned refusal; /* after a negative return: the HTTP status to answer, then close */
    /* private */
    size_t scanned;
    size_t line; /* where the line being scanned begins */
    size_t lines; /* complete ones */
};

/*
 * Parse the request head at the start of `input`, which begins with the same bytes at every
 * call for one head (it may have moved). Returns the length of the head (what follows is body
 * or the next request), 0 when more is needed, or a negative status with parser->refusal set:
 * 400, 414, 417, 431, 501 or 505. Refuses a head at the first byte that cannot be in one.
 */
MUST_CHECK int http1_parse(
    struct http1_parser *parser, struct bytes input, struct http1_request *ret_request);

/* The head's bytes, which were at `from`, have a copy at `to`: its slices lie there from now on. */
void http1_request_move(struct http1_request *request, struct bytes from, const char *to);

/* The method as text ("GET"). Any thread; static storage. */
struct bytes http1_method_text(enum http1_method method);

/*
 * Find a header that must not be repeated, ignoring case. Returns 0, STATUS_NOT_FOUND, or
 * STATUS_INVALID when there are several.
 */
MUST_CHECK int http1_header_once(
    const struct http1_request *request, const char *name, struct bytes *ret_value);

/*
 * Walk the headers of one name, ignoring case: start with *cursor = 0, call until false. For
 * list headers, whose values count as if joined by commas.
 */
bool http1_header_next(
    const struct http1_request *request, const char *name, size_t *cursor, struct bytes *ret_value);

/*
 * Take the next element of a comma-separated list off *list, blanks around it removed; empty
 * elements are returned, quoted strings are not cut. Returns false when the list is used up.
 */
bool http1_list_next(struct bytes *list, struct bytes *ret_element);

/* Whether any header of that name has `token` in its list, ignoring case. */
bool http1_has_token(const struct http1_request *request, const char *name, const char *token);

/* Whether `text` is a token of RFC 9110 section 5.6.2: one or more of its characters. Any thread.
 */
bool http1_is_token(struct bytes text);

/* The standard reason phrase of a status this program sends, or "Unknown". Any thread. */
const char *http1_reason(unsigned status);

/*
 * Append one header line, checked as above. For heads that are written piece by piece, after
 * http1_write_status_line; end with "\r\n".
 */
MUST_CHECK int http1_write_header(struct builder *out, struct bytes name, struct bytes value);

/* Append "HTTP/1.1 <status> <reason>\r\n". */
void http1_write_status_line(struct builder *out, unsigned status);

#endif
