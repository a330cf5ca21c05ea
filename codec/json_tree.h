/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_tree - JSON as a tree, for what is small and rare: the claims of tokens.
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

/* Read a scalar. STATUS_INVALID for another type. */
MUST_CHECK int json_tree_string(const struct json_tree *value, struct bytes *ret_text);
MUST_CHECK int json_tree_integer(const struct json_tree *value, int64_t *ret_number);

/* A number, integer or not. */
MUST_CHECK int json_tree_number(const struct json_tree *value, double *ret_number);

#endif
