/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_tree - a `struct json_tree` is a json_t of jansson under another name, so that its header
 * stays in this file.
 */
#include "codec/json_tree.h"

#include <jansson.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"

enum { DEPTH_MAX = 32 };

static json_t *tree(const struct json_tree *value)
{
    return (json_t *)(uintptr_t)value;
}

static struct json_tree *opaque(json_t *value)
{
    return (struct json_tree *)(void *)value;
}

static const struct json_tree *borrowed(json_t *value)
{
    return (const struct json_tree *)(void *)value;
}

int json_tree_parse(struct bytes text, size_t max_len, struct json_tree **ret_document)
{
    if (text.len > max_len) {
        return STATUS_TOO_LARGE;
    }
    struct bytes value;
    int status = json_scan_text(text, DEPTH_MAX, &value, NULL);
    if (status < 0) {
        return status;
    }
    json_error_t error;
    json_t *document =
        json_loadb(value.at, value.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (document == NULL) {
        return json_error_code(&error) == json_error_out_of_memory ? STATUS_NOMEM : STATUS_INVALID;
    }
    *ret_document = opaque(document);
    return 0;
}

void json_tree_destroy(struct json_tree *document)
{
    json_decref(tree(document));
}

enum json_tree_type json_tree_type(const struct json_tree *value)
{
    switch (json_typeof(tree(value))) {
    case JSON_OBJECT:
        return JSON_TREE_OBJECT;
    case JSON_ARRAY:
        return JSON_TREE_ARRAY;
    case JSON_STRING:
        return JSON_TREE_STRING;
    case JSON_INTEGER:
        return JSON_TREE_INTEGER;
    case JSON_REAL:
        return JSON_TREE_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_TREE_BOOL;
    case JSON_NULL:
        break;
    }
    return JSON_TREE_NULL;
}

const struct json_tree *json_tree_get(const struct json_tree *object, const char *key)
{
    return borrowed(json_object_get(tree(object), key));
}

size_t json_tree_count(const struct json_tree *value)
{
    return json_is_array(tree(value)) ? json_array_size(tree(value))
                                      : json_object_size(tree(value));
}

const struct json_tree *json_tree_at(const struct json_tree *array, size_t index)
{
    return borrowed(json_array_get(tree(array), index));
}

int json_tree_string(const struct json_tree *value, struct bytes *ret_text)
{
    if (!json_is_string(tree(value))) {
        return STATUS_INVALID;
    }
    *ret_text = bytes_of(json_string_value(tree(value)), json_string_length(tree(value)));
    return 0;
}

int json_tree_integer(const struct json_tree *value, int64_t *ret_number)
{
    if (!json_is_integer(tree(value))) {
        return STATUS_INVALID;
    }
    *ret_number = json_integer_value(tree(value));
    return 0;
}

int json_tree_number(const struct json_tree *value, double *ret_number)
{
    if (!json_is_number(tree(value))) {
        return STATUS_INVALID;
    }
    *ret_number = json_number_value(tree(value));
    return 0;
}
