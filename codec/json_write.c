/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_write - the byte in front tells whether a comma is due: none behind a bracket that opens.
 */
#include "codec/json_write.h"

#include "codec/base/check.h"
#include "codec/base/rand.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"

void json_write_open(struct builder *out, char bracket)
{
    builder_byte(out, bracket);
}

void json_write_close(struct builder *out, char bracket)
{
    builder_byte(out, bracket);
}

void json_write_key(struct builder *out, const char *key)
{
    size_t len = strlen(key);
    char *start = builder_reserve(out, len + sizeof(",\"\":") - 1);
    if (start == NULL) {
        return;
    }
    char *at = start;
    if (start[-1] != '{') {
        *at++ = ',';
    }
    *at++ = '"';
    memcpy(at, key, len);
    at += len;
    *at++ = '"';
    *at++ = ':';
    builder_commit(out, (size_t)(at - start));
}

void json_write_next(struct builder *out)
{
    char *at = builder_reserve(out, 1);
    if (at != NULL && at[-1] != '[') {
        *at = ',';
        builder_commit(out, 1);
    }
}

void json_write_text(struct builder *out, const char *key, struct bytes text)
{
    json_write_key(out, key);
    json_scan_write_string(out, text);
}

void json_write_u64(struct builder *out, const char *key, uint64_t value)
{
    json_write_key(out, key);
    builder_u64(out, value);
}

void json_write_bool(struct builder *out, const char *key, bool value)
{
    json_write_key(out, key);
    builder_add(out, value ? BYTES("true") : BYTES("false"));
}

void json_write_json(struct builder *out, const char *key, struct bytes value)
{
    json_write_key(out, key);
    builder_add(out, value.len > 0 ? value : BYTES("null"));
}

void json_write_time(struct builder *out, const char *key, uint64_t ms)
{
    json_write_key(out, key);
    if (ms == 0 || ms > (uint64_t)ISO_TIME_MAX) {
        builder_add(out, BYTES("null"));
        return;
    }
    builder_byte(out, '"');
    if (iso_time_write((int64_t)ms, out) < 0) {
        CHECK(!"the range was checked");
    }
    builder_byte(out, '"');
}

static void add_uuid(struct builder *out, const uint8_t uuid[16])
{
    char text[UUID_TEXT_LEN + 2];
    text[0] = '"';
    uuid_format(uuid, text + 1);
    text[sizeof(text) - 1] = '"';
    builder_add(out, bytes_of(text, sizeof(text)));
}

void json_write_uuid(struct builder *out, const char *key, const uint8_t uuid[16])
{
    json_write_key(out, key);
    add_uuid(out, uuid);
}

void json_write_uuid_item(struct builder *out, const uint8_t uuid[16])
{
    json_write_next(out);
    add_uuid(out, uuid);
}
