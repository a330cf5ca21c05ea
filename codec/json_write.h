/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_write - what Peal writes as JSON itself: objects member by member, arrays item by item.
 *
 * Commas, quotes and escapes are set here and nowhere else. Everything is appended to a builder,
 * whose failure is sticky. `key` is plain ASCII without quotes and backslashes. Between
 * json_write_open and json_write_close of an object stand members, and values that a caller
 * appends itself behind json_write_key.
 */
#ifndef CODEC_JSON_WRITE_H
#define CODEC_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"

/* Append the bracket that opens an object or an array: '{' or '['; and the one that closes it. */
void json_write_open(struct builder *out, char bracket);
void json_write_close(struct builder *out, char bracket);

/* Append the name of the next member; its value follows. */
void json_write_key(struct builder *out, const char *key);

/* Append what stands between items of an array, in front of each of them. */
void json_write_next(struct builder *out);

/* Append a member: a text, a number, true or false. */
void json_write_text(struct builder *out, const char *key, struct bytes text);
void json_write_u64(struct builder *out, const char *key, uint64_t value);
void json_write_bool(struct builder *out, const char *key, bool value);

/* Append a member whose value is JSON text already, null where that is empty. */
void json_write_json(struct builder *out, const char *key, struct bytes value);

/* Append a member with a time in ISO 8601; `ms` since the epoch, 0 or beyond what has a form: null.
 */
void json_write_time(struct builder *out, const char *key, uint64_t ms);

/* Append a member with a UUID, and one as an item. */
void json_write_uuid(struct builder *out, const char *key, const uint8_t uuid[16]);
void json_write_uuid_item(struct builder *out, const uint8_t uuid[16]);

#endif
