/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64 - RFC 4648: standard with padding (section 4) and the URL alphabet without (section 5).
 *
 * Decoding is strict: no blanks, no missing or extra padding, no bits set behind the last byte.
 * All functions: any thread.
 */
#ifndef CODEC_BASE64_H
#define CODEC_BASE64_H

#include <stddef.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* Lengths of the encodings of `n` bytes, and room enough for the decoding of `n` characters. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)
#define BASE64URL_LEN(n) (((n)*4 + 2) / 3)
#define BASE64_DECODED_MAX(n) (((n) + 3) / 4 * 3)

/* Encode to `at`, which has room for BASE64_LEN(data.len); return the length. No NUL is added. */
size_t base64_encode(struct bytes data, char *at);

/* Encode to `at`, which has room for BASE64URL_LEN(data.len); return the length. */
size_t base64url_encode(struct bytes data, char *at);

/*
 * Decode to `at`, which may be text.at itself. Returns 0, STATUS_INVALID, or STATUS_TOO_LARGE
 * when more than `cap` bytes would be written (nothing is then).
 */
MUST_CHECK int base64_decode(struct bytes text, char *at, size_t cap, size_t *ret_len);

/* Like base64_decode for the URL alphabet without padding. */
MUST_CHECK int base64url_decode(struct bytes text, char *at, size_t cap, size_t *ret_len);

#endif
