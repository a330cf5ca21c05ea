/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - JSON as a tree, for what is small and rare: request bodies, token claims, key sets.
 *
 * The hot path scans text in place instead (json_scan.h). A tree refuses duplicate keys and
 * integers beyond 63 bits. Values are borrowed from their document and live as long as it.
 */
#ifndef CODEC_JSON_H
#define CODEC_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct json;

enum json_type {
    JSON_TYPE_NULL,
    JSON_TYPE_BOOL,
    JSON_TYPE_INTEGER,
    JSON_TYPE_REAL,
    JSON_TYPE_STRING,
    JSON_TYPE_ARRAY,
    JSON_TYPE_OBJECT,
};

/*
 * Parse `text`, at most `max_len` bytes, nested at most 32 deep. The caller destroys the document.
 * STATUS_TOO_LARGE, STATUS_INVALID, STATUS_UTF8, STATUS_NOMEM.
 */
MUST_CHECK int json_parse(struct bytes text, size_t max_len, struct json **ret_document);

/* Make a document to build in: an empty object or array. Aborts when out of memory. */
MUST_CHECK struct json *json_create_object(void);
MUST_CHECK struct json *json_create_array(void);

/* Free a document made by the functions above (never a value inside one); NULL is allowed. */
void json_destroy(struct json *document);

/* What a value is. */
enum json_type json_type(const struct json *value);

/* The member `key` of an object; NULL when there is none or `object` is no object. */
const struct json *json_get(const struct json *object, const char *key);

/* How many elements or members there are; 0 for scalars. */
size_t json_count(const struct json *value);

/* The element `index` of an array; NULL when there is none. */
const struct json *json_at(const struct json *array, size_t index);

/*
 * Walk the members of an object in document order: start with `*cursor` NULL; false after the last.
 */
bool json_next_member(
    const struct json *object, void **cursor, struct bytes *ret_key, const struct json **ret_value);

/* Read a scalar. STATUS_INVALID for another type. */
MUST_CHECK int json_string(const struct json *value, struct bytes *ret_text);
MUST_CHECK int json_integer(const struct json *value, int64_t *ret_number);
MUST_CHECK int json_bool(const struct json *value, bool *ret_bool);

/* A number, integer or not. */
MUST_CHECK int json_number(const struct json *value, double *ret_number);

/* Read a member. STATUS_NOT_FOUND when there is none, STATUS_INVALID for another type. */
MUST_CHECK int json_get_string(const struct json *object, const char *key, struct bytes *ret_text);
MUST_CHECK int json_get_integer(const struct json *object, const char *key, int64_t *ret_number);
MUST_CHECK int json_get_bool(const struct json *object, const char *key, bool *ret_bool);

/* Set a member of an object that is being built, replacing an earlier one. STATUS_UTF8, NOMEM. */
MUST_CHECK int json_set_string(struct json *object, const char *key, struct bytes text);
MUST_CHECK int json_set_integer(struct json *object, const char *key, int64_t number);
MUST_CHECK int json_set_bool(struct json *object, const char *key, bool value);

/* Set a member to, or append to an array, a document, which it takes, also on failure. */
MUST_CHECK int json_set(struct json *object, const char *key, struct json *taken);
MUST_CHECK int json_append(struct json *array, struct json *taken);

/* Append a string to an array. STATUS_UTF8, STATUS_NOMEM. */
MUST_CHECK int json_append_string(struct json *array, struct bytes text);

/* Append the compact text of a value. STATUS_TOO_LARGE is the builder's. */
MUST_CHECK int json_print(const struct json *value, struct builder *out);

#endif
