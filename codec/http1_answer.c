/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the status line and the headers of a node's answer, refusing whatever a node does not
 * write.
 */
#include "codec/http1_answer.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/http1.h"

static const struct bytes VERSION = {.at = "HTTP/1.1 ", .len = 9};
enum { STATUS_DIGITS = 3 };

/* Take a line off the head, which ends in CR LF; false when that has another control character. */
static bool take_line(struct bytes *head, struct bytes *ret_line)
{
    const char *end = memchr(head->at, '\n', head->len);
    size_t len = (size_t)(end - head->at);
    if (len == 0 || head->at[len - 1] != '\r') {
        return false;
    }
    for (size_t i = 0; i < len - 1; i++) {
        unsigned char c = (unsigned char)head->at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    *ret_line = bytes_of(head->at, len - 1);
    *head = bytes_skip(*head, len + 1);
    return true;
}

static bool parse_status(struct bytes line, unsigned *ret_status)
{
    uint64_t status;
    size_t least = VERSION.len + STATUS_DIGITS;
    if (line.len < least || !bytes_starts(line, VERSION) ||
        (line.len > least && line.at[least] != ' ') ||
        bytes_to_u64(bytes_of(line.at + VERSION.len, STATUS_DIGITS), 599, &status) != 0) {
        return false;
    }
    *ret_status = (unsigned)status;
    return status == 101 || status >= 200;
}

static bool split(struct bytes line, struct bytes *ret_name, struct bytes *ret_value)
{
    const char *colon = line.len > 0 ? memchr(line.at, ':', line.len) : NULL;
    if (!colon) {
        return false;
    }
    struct bytes name = bytes_of(line.at, (size_t)(colon - line.at));
    struct bytes value = bytes_skip(line, name.len + 1);
    while (value.len > 0 && (value.at[0] == ' ' || value.at[0] == '\t')) {
        value = bytes_skip(value, 1);
    }
    while (value.len > 0 && (value.at[value.len - 1] == ' ' || value.at[value.len - 1] == '\t')) {
        value.len--;
    }
    *ret_name = name;
    *ret_value = value;
    return http1_is_token(name);
}

/* What a header says about the framing; false when it must not be there. */
static bool note_header(
    struct http1_answer *answer, bool *has_length, struct bytes name, struct bytes value)
{
    if (bytes_eq_nocase(name, BYTES("Content-Length"))) {
        bool again = *has_length;
        *has_length = true;
        return !again && bytes_to_u64(value, UINT32_MAX, &answer->content_length) == 0;
    }
    if (bytes_eq_nocase(name, BYTES("Connection")) && bytes_eq_nocase(value, BYTES("close"))) {
        answer->keep_alive = false;
    }
    return !bytes_eq_nocase(name, BYTES("Transfer-Encoding"));
}

static bool parse_lines(struct bytes head, struct http1_answer *answer)
{
    struct bytes line;
    struct bytes name;
    struct bytes value;
    bool has_length = false;
    if (!take_line(&head, &line) || !parse_status(line, &answer->status)) {
        return false;
    }
    answer->lines = bytes_of(head.at, head.len - 2);
    while (head.len > 2) {
        if (!take_line(&head, &line) || !split(line, &name, &value) ||
            !note_header(answer, &has_length, name, value)) {
            return false;
        }
    }
    bool bodyless = answer->status == 101 || answer->status == 204 || answer->status == 304;
    if (bodyless) {
        answer->content_length = 0;
    }
    return bodyless || has_length;
}

int http1_answer_parse(struct bytes input, size_t max_head, struct http1_answer *ret_answer)
{
    struct http1_answer answer = {.keep_alive = true};
    struct bytes seen = bytes_of(input.at, input.len < max_head ? input.len : max_head);
    const char *end = seen.len > 0 ? memmem(seen.at, seen.len, "\r\n\r\n", 4) : NULL;
    if (!end) {
        return input.len >= max_head ? STATUS_TOO_LARGE : 0;
    }
    size_t len = (size_t)(end - input.at) + 4;
    if (!parse_lines(bytes_of(input.at, len), &answer)) {
        return STATUS_PROTO;
    }
    *ret_answer = answer;
    return (int)len;
}

bool http1_answer_next(struct bytes *lines, struct bytes *ret_name, struct bytes *ret_value)
{
    struct bytes line;
    return lines->len > 0 && take_line(lines, &line) && split(line, ret_name, ret_value);
}
