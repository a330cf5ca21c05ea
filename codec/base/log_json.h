/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_json - private to log: the context of a record as members of a JSON object.
 */
#ifndef CODEC_BASE_LOG_JSON_H
#define CODEC_BASE_LOG_JSON_H

#include <stddef.h>

/*
 * Write `context`, blank-separated key=value pairs with values quoted as log_quote does, as
 * `,"key":value` for each. Numbers stay numbers, everything else is a string; bytes that are no
 * UTF-8 become U+FFFD. Never more than `size` bytes; a pair that does not fit ends it. Returns the
 * length.
 */
size_t log_json_write(const char *context, char *out, size_t size);

/* Write `text` as a JSON string; 0 when it does not fit into `size` bytes. */
size_t log_json_string(const char *text, size_t len, char *out, size_t size);

#endif
