/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_answer - strict parser of the heads of HTTP/1.1 answers, as another node writes them.
 *
 * Everything is a slice of the input. Answers that end with the connection, or come in chunks, are
 * refused: a node states the length of each.
 */
#ifndef CODEC_HTTP1_ANSWER_H
#define CODEC_HTTP1_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct http1_answer {
    unsigned status; /* 101, or 200 to 599 */
    uint64_t content_length; /* 0 for 101, 204 and 304 */
    bool keep_alive;
    struct bytes lines; /* the header lines, each with its CR LF */
};

/*
 * Parse the head at the start of `input`. Returns its length, 0 when more is needed,
 * STATUS_TOO_LARGE above `max_head` bytes, or STATUS_PROTO.
 */
MUST_CHECK int http1_answer_parse(
    struct bytes input, size_t max_head, struct http1_answer *ret_answer);

/* Take the next header off `*lines` of an answer; false when there are no more. */
bool http1_answer_next(struct bytes *lines, struct bytes *ret_name, struct bytes *ret_value);

#endif
