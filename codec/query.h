/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query - query strings and percent-encoding of URLs (application/x-www-form-urlencoded of the
 * WHATWG URL standard, decoded strictly).
 *
 * All functions: any thread.
 */
#ifndef CODEC_QUERY_H
#define CODEC_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

/*
 * Take the next "name=value" off *query, undecoded; a parameter without "=" has an empty
 * value, empty parameters are skipped. Returns false when there are no more.
 */
bool query_next(struct bytes *query, struct bytes *ret_name, struct bytes *ret_value);

/*
 * Find the last parameter whose decoded name is `name`, and decode its value to `at`. Returns
 * 0, STATUS_NOT_FOUND, or what query_decode returns.
 */
MUST_CHECK int query_get(
    struct bytes query, const char *name, char *at, size_t cap, struct bytes *ret_value);

/*
 * Decode a parameter: "%hh", and "+" as a blank. Returns 0, STATUS_INVALID for a broken escape
 * or a NUL, STATUS_UTF8, or STATUS_TOO_LARGE when it does not fit in `cap` bytes. `at` may be
 * raw.at itself.
 */
MUST_CHECK int query_decode(struct bytes raw, char *at, size_t cap, struct bytes *ret_text);

/* Like query_decode for a segment of a path, where "+" stands for itself. */
MUST_CHECK int query_decode_path(struct bytes raw, char *at, size_t cap, struct bytes *ret_text);

#endif
