/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8 - validation of UTF-8 text, whole or in chunks (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF).
 */
#ifndef CODEC_UTF8_H
#define CODEC_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { UTF8_MAX_LEN = 4 };

/* The state of a validation between two chunks; all zero at the start of a text. */
struct utf8 {
    /* private */
    uint8_t missing; /* continuation bytes still to come */
    uint8_t low; /* range of the next one */
    uint8_t high;
};

/*
 * Check the next chunk of a text. Returns 0, or STATUS_UTF8 as soon as a byte cannot continue
 * any valid text; the state is of no use after that.
 */
MUST_CHECK int utf8_feed(struct utf8 *utf8, struct bytes chunk);

/* Whether the text may end here: no character is cut in two. */
bool utf8_complete(const struct utf8 *utf8);

/* Whether `text` is valid as a whole. Any thread. */
bool utf8_valid(struct bytes text);

/*
 * The length of the character at the start of `text`, 1 to UTF8_MAX_LEN, or 0 when it is not
 * valid, cut off, or `text` is empty. Any thread.
 */
size_t utf8_char_len(struct bytes text);

/* The number of code points in `text`, which must be valid. Any thread. */
size_t utf8_count(struct bytes text);

/*
 * The length of the longest beginning of `text` (valid) that has at most `max` bytes and cuts
 * no character. Any thread.
 */
size_t utf8_fit(struct bytes text, size_t max);

/*
 * Write the code point (at most U+10FFFF and no surrogate) to `at` and return its length, 1 to
 * UTF8_MAX_LEN. Any thread.
 */
size_t utf8_put(uint32_t code_point, char *at);

#endif
