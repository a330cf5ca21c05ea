/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_tree - JSON as a tree, for what is small and rare: request bodies, token claims, key sets.
 *
 * The hot path scans text in place instead (json_scan.h). A tree refuses duplicate keys and
 * integers beyond 63 bits, and strings with \u0000. Values are borrowed from their document and
 * live as long as it.
 */
#ifndef CODEC_JSON_TREE_H
#define CODEC_JSON_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct json_tree;

enum json_tree_type {
    JSON_TREE_NULL,
    JSON_TREE_BOOL,
    JSON_TREE_INTEGER,
    JSON_TREE_REAL,
    JSON_TREE_STRING,
    JSON_TREE_ARRAY,
    JSON_TREE_OBJECT,
};

/*
 * Parse `text`, at most `max_len` bytes, nested at most 32 deep. The caller destroys the document.
 * STATUS_TOO_LARGE, STATUS_INVALID, STATUS_UTF8, STATUS_NOMEM.
 */
MUST_CHECK int json_tree_parse(struct bytes text, size_t max_len, struct json_tree **ret_document);

/* Make a document to build in: an empty object or array. Aborts when out of memory. */
MUST_CHECK struct json_tree *json_tree_create_object(void);
MUST_CHECK struct json_tree *json_tree_create_array(void);

/* Free a document made by the functions above (never a value inside one); NULL is allowed. */
void json_tree_destroy(struct json_tree *document);

/* What a value is. */
enum json_tree_type json_tree_type(const struct json_tree *value);

/* The member `key` of an object; NULL when there is none or `object` is no object. */
const struct json_tree *json_tree_get(const struct json_tree *object, const char *key);

/* How many elements or members there are; 0 for scalars. */
size_t json_tree_count(const struct json_tree *value);

/* The element `index` of an array; NULL when there is none. */
const struct json_tree *json_tree_at(const struct json_tree *array, size_t index);

/*
 * Walk the members of an object in document order: start with `*cursor` NULL; false after the last.
 */
bool json_tree_next_member(const struct json_tree *object, void **cursor, struct bytes *ret_key,
    const struct json_tree **ret_value);

/* Read a scalar. STATUS_INVALID for another type. */
MUST_CHECK int json_tree_string(const struct json_tree *value, struct bytes *ret_text);
MUST_CHECK int json_tree_integer(const struct json_tree *value, int64_t *ret_number);
MUST_CHECK int json_tree_bool(const struct json_tree *value, bool *ret_bool);

/* A number, integer or not. */
MUST_CHECK int json_tree_number(const struct json_tree *value, double *ret_number);

/* Read a member. STATUS_NOT_FOUND when there is none, STATUS_INVALID for another type. */
MUST_CHECK int json_tree_get_string(
    const struct json_tree *object, const char *key, struct bytes *ret_text);
MUST_CHECK int json_tree_get_integer(
    const struct json_tree *object, const char *key, int64_t *ret_number);
MUST_CHECK int json_tree_get_bool(const struct json_tree *object, const char *key, bool *ret_bool);

/* Set a member of an object that is being built, replacing an earlier one. STATUS_UTF8, NOMEM. */
MUST_CHECK int json_tree_set_string(struct json_tree *object, const char *key, struct bytes text);
MUST_CHECK int json_tree_set_integer(struct json_tree *object, const char *key, int64_t number);
MUST_CHECK int json_tree_set_bool(struct json_tree *object, const char *key, bool value);

/* Set a member to, or append to an array, a document, which it takes, also on failure. */
MUST_CHECK int json_tree_set(struct json_tree *object, const char *key, struct json_tree *taken);
MUST_CHECK int json_tree_append(struct json_tree *array, struct json_tree *taken);

/* Append a string to an array. STATUS_UTF8, STATUS_NOMEM. */
MUST_CHECK int json_tree_append_string(struct json_tree *array, struct bytes text);

/* Append the compact text of a value. STATUS_TOO_LARGE is the builder's. */
MUST_CHECK int json_tree_print(const struct json_tree *value, struct builder *out);

#endif
