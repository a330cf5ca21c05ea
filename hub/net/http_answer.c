/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes status, headers and body into one buffer, and refuses headers that would begin a line of
 * their own.
 */
#include "hub/net/http_answer.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/http1.h"

/* Lines that end in CR LF, with no other control characters of that kind and no empty line. */
static bool are_header_lines(struct bytes headers)
{
    size_t line = 0;
    for (size_t i = 0; i < headers.len; i++) {
        char c = headers.at[i];
        if (c == '\r' && i + 1 < headers.len && headers.at[i + 1] == '\n' && i > line) {
            line = i + 2;
            i++;
        } else if (c == '\r' || c == '\n' || c == '\0') {
            return false;
        }
    }
    return line == headers.len;
}

static bool has_body(const struct http_answer *answer)
{
    return answer->status >= 200 && answer->status != 204 && answer->status != 304;
}

bool http_answer_is_behind(const struct http_answer *answer)
{
    return answer->lasting && !answer->head_only && has_body(answer);
}

static void write_framing(struct builder *out, const struct http_answer *answer)
{
    if (!has_body(answer)) {
        return;
    }
    if (answer->framing == HTTP_FRAMING_LENGTH) {
        builder_str(out, "Content-Length: ");
        builder_u64(out, answer->body.len);
        builder_str(out, "\r\n");
    } else if (answer->framing == HTTP_FRAMING_CHUNKED) {
        builder_str(out, "Transfer-Encoding: chunked\r\n");
    }
}

static bool write_answer(struct builder *out, const struct http_answer *answer)
{
    int status = 0;
    http1_write_status_line(out, answer->status);
    if (answer->content_type != NULL && has_body(answer)) {
        status = http1_write_header(out, BYTES("Content-Type"), bytes_str(answer->content_type));
    }
    write_framing(out, answer);
    if (!answer->keep_alive) {
        builder_str(out, "Connection: close\r\n");
    }
    if (answer->authenticated) {
        builder_str(out, HTTP_AUTHENTICATED ": 1\r\n");
    }
    if (answer->timed) {
        builder_printf(out, "X-Response-Time: %.3fms\r\n", (double)answer->took_ns / 1e6);
    }
    builder_add(out, answer->headers);
    builder_add(out, answer->cors);
    builder_str(out, "\r\n");
    if (has_body(answer) && !answer->head_only && !answer->lasting) {
        builder_add(out, answer->body);
    }
    return status == 0 && are_header_lines(answer->headers) && are_header_lines(answer->cors) &&
           !builder_failed(out);
}

#define TYPE "application/json"
#define RETRY "Retry-After: 1\r\n"
#define ERROR(code, message) "{\"error\":{\"code\":\"" code "\",\"message\":\"" message "\"}}"
#define REFUSED ERROR("unavailable", "Out of memory, try again")
#define UNTOLD ERROR("unknown", "Out of memory to say whether it is done")
#define UNFIT ERROR("internal", "The answer cannot be written")

struct failure {
    unsigned status;
    const char *headers;
    const char *body;
    const char *whole; /* for where there is no memory for a copy; no page may read it */
};

/* Nothing was done. */
static const struct failure refused = {503, RETRY, REFUSED,
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: " TYPE
    "\r\nContent-Length: 69\r\nConnection: close\r\n" RETRY "\r\n" REFUSED};

/* It may have been done. */
static const struct failure untold = {504, "", UNTOLD,
    "HTTP/1.1 504 Gateway Timeout\r\nContent-Type: " TYPE
    "\r\nContent-Length: 80\r\nConnection: close\r\n\r\n" UNTOLD};

/* The answer's own fault, not that of memory. */
static const struct failure unfit = {500, "", UNFIT, NULL};

_Static_assert(sizeof(REFUSED) - 1 == 69, "as Content-Length says");
_Static_assert(sizeof(UNTOLD) - 1 == 80, "as Content-Length says");

enum { STATUS_REFUSALS = 400 };

static struct http_answer answer_of(const struct failure *failure, const struct http_answer *answer)
{
    return (struct http_answer){
        .status = failure->status,
        .content_type = TYPE,
        .headers = bytes_str(failure->headers),
        .body = bytes_str(failure->body),
        .head_only = answer->head_only,
        .authenticated = answer->authenticated,
        .timed = answer->timed,
        .took_ns = answer->took_ns,
        .cors = are_header_lines(answer->cors) ? answer->cors : BYTES(""),
    };
}

static struct chunk *make_last(const struct failure *failure, bool head_only)
{
    struct bytes whole = bytes_str(failure->whole);
    whole.len -= head_only ? strlen(failure->body) : 0;
    return chunk_borrow(whole);
}

struct chunk *http_answer_make(struct http_answer *answer)
{
    bool may_be_done = answer->status < STATUS_REFUSALS || answer->status == untold.status;
    const struct failure *starved = answer->unsafe && may_be_done ? &untold : &refused;
    struct builder out = {0};
    if (!write_answer(&out, answer)) {
        *answer = answer_of(builder_status(&out) == STATUS_NOMEM ? starved : &unfit, answer);
        builder_reset(&out);
        (void)write_answer(&out, answer); /* the chunk tells */
    }
    struct chunk *chunk = chunk_take(&out);
    if (chunk == NULL) {
        *answer = answer_of(starved, answer);
        chunk = make_last(starved, answer->head_only);
    }
    return chunk;
}
