/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes status, headers and body into one buffer, and refuses headers that would begin a line of
 * their own.
 */
#include "hub/net/http_answer.h"

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

static bool write_answer(struct builder *out, const struct http_answer *answer)
{
    int status = 0;
    http1_write_status_line(out, answer->status);
    if (answer->content_type != NULL && has_body(answer)) {
        status = http1_write_header(out, BYTES("Content-Type"), bytes_str(answer->content_type));
    }
    if (has_body(answer)) {
        builder_str(out, "Content-Length: ");
        builder_u64(out, answer->body.len);
        builder_str(out, "\r\n");
    }
    if (!answer->keep_alive) {
        builder_str(out, "Connection: close\r\n");
    }
    if (answer->authenticated) {
        builder_str(out, HTTP_AUTHENTICATED ": 1\r\n");
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

#define NO_MEMORY "{\"error\":{\"code\":\"unavailable\",\"message\":\"Out of memory, try again\"}}"
#define NO_ANSWER "{\"error\":{\"code\":\"internal\",\"message\":\"The answer cannot be written\"}}"
#define TYPE "application/json"
#define RETRY "Retry-After: 1\r\n"

/* What is sent in the place of an answer that cannot be written. */
static struct http_answer failure_of(const struct http_answer *answer, bool starved)
{
    return (struct http_answer){
        .status = starved ? 503 : 500,
        .content_type = TYPE,
        .headers = starved ? BYTES(RETRY) : BYTES(""),
        .body = starved ? BYTES(NO_MEMORY) : BYTES(NO_ANSWER),
        .head_only = answer->head_only,
        .authenticated = answer->authenticated,
        .cors = are_header_lines(answer->cors) ? answer->cors : BYTES(""),
    };
}

/* The same, where there is no memory for a copy of it: 503, and no page may read it. */
static struct chunk *make_last(bool head_only)
{
    static const char last[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: " TYPE
        "\r\nContent-Length: 69\r\nConnection: close\r\n" RETRY "\r\n" NO_MEMORY;
    _Static_assert(sizeof(NO_MEMORY) - 1 == 69, "as Content-Length says");
    size_t body = head_only ? sizeof(NO_MEMORY) - 1 : 0;
    return chunk_borrow(bytes_of(last, sizeof(last) - 1 - body));
}

struct chunk *http_answer_make(struct http_answer *answer)
{
    struct builder out = {0};
    if (!write_answer(&out, answer)) {
        *answer = failure_of(answer, builder_status(&out) == STATUS_NOMEM);
        builder_reset(&out);
        (void)write_answer(&out, answer); /* the chunk tells */
    }
    struct chunk *chunk = chunk_take(&out);
    if (chunk == NULL) {
        *answer = failure_of(answer, true);
        chunk = make_last(answer->head_only);
    }
    return chunk;
}
