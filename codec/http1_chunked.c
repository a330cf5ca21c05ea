/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One enum, its states in the order of the wire. Every framing byte is consumed by step();
 * content is handed out in runs.
 */
#include "codec/http1_chunked.h"

#include "codec/base/status.h"

enum state {
    SIZE, /* hexadecimal digits of a chunk's size */
    EXTENSION, /* up to the end of the size line */
    SIZE_LF, /* line feed of the size line */
    CONTENT, /* `left` bytes */
    CONTENT_CR, /* end of a chunk */
    CONTENT_LF,
    TRAILER, /* first byte of a trailer line or of the last, empty line */
    TRAILER_LINE,
    TRAILER_LF,
    END_LF, /* line feed of the last line */
    DONE,
};

enum { SIZE_DIGITS_MAX = 16 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static int on_size(struct http1_chunked *chunked, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        chunked->left = chunked->left << 4 | (unsigned)digit;
        return ++chunked->digits > SIZE_DIGITS_MAX ? STATUS_PROTO : 0;
    }
    if (chunked->digits == 0 || (c != '\r' && c != ';' && c != ' ' && c != '\t')) {
        return STATUS_PROTO;
    }
    chunked->state = c == '\r' ? SIZE_LF : EXTENSION;
    return 0;
}

/* A byte of an extension or trailer: text or tab. */
static int on_extra(struct http1_chunked *chunked, char c)
{
    if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f) {
        return STATUS_PROTO;
    }
    return ++chunked->extra > HTTP1_CHUNKED_EXTRA_MAX ? STATUS_TOO_LARGE : 0;
}

static int on_size_end(struct http1_chunked *chunked)
{
    chunked->digits = 0;
    if (chunked->left > chunked->max_body - chunked->total) {
        return STATUS_TOO_LARGE;
    }
    chunked->total += chunked->left;
    chunked->state = chunked->left > 0 ? CONTENT : TRAILER;
    return 0;
}

/* Go on to `next` when the byte is the one expected. */
static int expect(struct http1_chunked *chunked, char c, char wanted, enum state next)
{
    if (c != wanted) {
        return STATUS_PROTO;
    }
    chunked->state = next;
    return 0;
}

/* A byte of a line that is skipped: its end, or text. */
static int on_line(struct http1_chunked *chunked, char c, enum state line, enum state line_feed)
{
    chunked->state = c == '\r' ? line_feed : line;
    return c == '\r' ? 0 : on_extra(chunked, c);
}

/* One byte of framing. */
static int step(struct http1_chunked *chunked, char c)
{
    switch ((enum state)chunked->state) {
    case SIZE:
        return on_size(chunked, c);
    case EXTENSION:
        return on_line(chunked, c, EXTENSION, SIZE_LF);
    case SIZE_LF:
        return c == '\n' ? on_size_end(chunked) : STATUS_PROTO;
    case CONTENT_CR:
        return expect(chunked, c, '\r', CONTENT_LF);
    case CONTENT_LF:
        return expect(chunked, c, '\n', SIZE);
    case TRAILER:
        return on_line(chunked, c, TRAILER_LINE, END_LF);
    case TRAILER_LINE:
        return on_line(chunked, c, TRAILER_LINE, TRAILER_LF);
    case TRAILER_LF:
        return expect(chunked, c, '\n', TRAILER);
    case END_LF:
        return expect(chunked, c, '\n', DONE);
    case CONTENT:
    case DONE:
        break;
    }
    return 0;
}

int http1_chunked_feed(struct http1_chunked *chunked, struct bytes input, struct bytes *ret_data)
{
    *ret_data = bytes_of(NULL, 0);
    if (input.len > INT32_MAX) {
        input.len = INT32_MAX; /* what the result can count */
    }
    size_t used = 0;
    while (used < input.len && chunked->state != CONTENT && chunked->state != DONE) {
        int status = step(chunked, input.at[used++]);
        if (status < 0) {
            return status;
        }
    }
    if (chunked->state == CONTENT && used < input.len) {
        size_t run = input.len - used;
        if (run > chunked->left) {
            run = (size_t)chunked->left;
        }
        *ret_data = bytes_of(input.at + used, run);
        used += run;
        chunked->left -= run;
        chunked->state = chunked->left > 0 ? CONTENT : CONTENT_CR;
    }
    return (int)used;
}

bool http1_chunked_done(const struct http1_chunked *chunked)
{
    return chunked->state == DONE;
}
