/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes status, headers and body into one buffer, and refuses headers that would begin a line of
 * their own.
 */
#include "hub/net/http_answer.h"

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

bool http_answer_write(struct builder *out, const struct http_answer *answer)
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
