/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_scan - JSON text (RFC 8259) checked and taken apart in place: no tree, no recursion, no
 * allocation.
 *
 * json_scan_text or json_scan_value checks a text once, strictly. The other readers work on
 * what was checked and hand out slices of it; on other text they are safe, but may return
 * anything. All functions: any thread.
 */
#ifndef CODEC_JSON_SCAN_H
#define CODEC_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/depth.h"

enum {
    JSON_SCAN_DEPTH_DEFAULT = DEPTH_CLIENT,
    JSON_SCAN_DEPTH_MAX = 1024,
};

/* What is legal JSON but cannot be in a valid UTF-8 or C string. */
enum json_scan_flags {
    JSON_SCAN_NUL = 1u << 0, /* a string has a \u0000 */
    JSON_SCAN_SURROGATE = 1u << 1, /* a string has half a surrogate pair, escaped */
};

enum json_scan_kind {
    JSON_SCAN_INVALID,
    JSON_SCAN_NULL,
    JSON_SCAN_FALSE,
    JSON_SCAN_TRUE,
    JSON_SCAN_NUMBER,
    JSON_SCAN_STRING,
    JSON_SCAN_ARRAY,
    JSON_SCAN_OBJECT,
};

/*
 * Check that all of `text` is one value with at most blanks around it, containers nested at
 * most `max_depth` deep (1 to JSON_SCAN_DEPTH_MAX). Returns 0 with flags and the value without
 * the blanks (either may be NULL), STATUS_INVALID, STATUS_TOO_LARGE for the depth, or
 * STATUS_UTF8.
 */
MUST_CHECK int json_scan_text(
    struct bytes text, unsigned max_depth, struct bytes *ret_value, unsigned *ret_flags);

/* The kind of a value, from its first byte. */
enum json_scan_kind json_scan_kind(struct bytes value);

/* A walk over the elements of an array or the members of an object. */
struct json_scan_iter {
    /* private */
    const char *at;
    const char *end;
    bool started;
};

/* Start on an array or object. Returns false, with a walk that ends at once, on anything else. */
bool json_scan_iter_init(struct json_scan_iter *iter, struct bytes container);

/* Take the next element of an array; false at the end. */
bool json_scan_element(struct json_scan_iter *iter, struct bytes *ret_value);

/* Take the next member of an object, the key as a string with its quotes; false at the end. */
bool json_scan_member(struct json_scan_iter *iter, struct bytes *ret_key, struct bytes *ret_value);

/* What stands between the brackets of an array or object, without blanks around it. */
struct bytes json_scan_inside(struct bytes container);

/* What is left of the container behind the elements taken: no leading comma, no blanks around. */
struct bytes json_scan_rest(const struct json_scan_iter *iter);

/*
 * Find the member of an object whose unescaped key is `key`. Returns 0, STATUS_NOT_FOUND, or
 * STATUS_INVALID when the key is there twice or `object` is no object.
 */
MUST_CHECK int json_scan_get(struct bytes object, const char *key, struct bytes *ret_value);

/* A member that is looked for, and what became of it. */
struct json_scan_wanted {
    const char *key; /* unescaped */
    int status; /* as json_scan_get */
    struct bytes value; /* with status 0 */
};

/* Find `count` members of an object in one walk; each as json_scan_get would. */
void json_scan_get_all(struct bytes object, struct json_scan_wanted *wanted, size_t count);

/* A walk over the keys of all objects in a value, at any depth, in the order of the text. */
struct json_scan_walk {
    /* private */
    const char *at;
    const char *end;
    size_t depth;
    const char *open[DEPTH_WIRE];
};

/* Start on a value checked for a depth of at most DEPTH_WIRE. */
void json_scan_walk_init(struct json_scan_walk *walk, struct bytes value);

/* Take the next key, a string with its quotes; false at the end. */
bool json_scan_walk_key(struct json_scan_walk *walk, struct bytes *ret_key);

/* The whole object that the last key taken is a member of. */
struct bytes json_scan_walk_object(const struct json_scan_walk *walk);

/* Whether a string (with quotes) equals `text` once it is unescaped. */
bool json_scan_string_eq(struct bytes string, struct bytes text);

/*
 * Unescape a string (with quotes). Without escapes the result is a slice of `string`, else it
 * is written to `at`. Returns 0, STATUS_INVALID when it is no string, STATUS_TOO_LARGE when the
 * result has more than `cap` bytes, STATUS_UTF8 for half a surrogate pair. The result may
 * contain NUL bytes.
 */
MUST_CHECK int json_scan_string(struct bytes string, char *at, size_t cap, struct bytes *ret_text);

/* Unescape a string and append it. Returns as json_scan_string; STATUS_TOO_LARGE is the builder's.
 */
MUST_CHECK int json_scan_string_add(struct bytes string, struct builder *out);

/*
 * Read a number that is an integer without fraction and exponent. Returns 0, STATUS_INVALID for
 * anything else, or STATUS_TOO_LARGE when it does not fit the type. Nothing is ever rounded.
 */
MUST_CHECK int json_scan_u64(struct bytes number, uint64_t *ret_value);
MUST_CHECK int json_scan_i64(struct bytes number, int64_t *ret_value);

/* Read true or false. Returns 0 or STATUS_INVALID. */
MUST_CHECK int json_scan_bool(struct bytes value, bool *ret_value);

/*
 * Append `text` (valid UTF-8) as a JSON string with quotes. Escaped are the quote, the backslash
 * and control characters, as JSON.stringify does it.
 */
void json_scan_write_string(struct builder *out, struct bytes text);

#endif
