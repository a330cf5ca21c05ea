/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks `name=value` pairs and decodes percent signs, refusing what a browser does not write.
 */
#include "codec/query.h"

#include "codec/base/status.h"
#include "codec/utf8.h"

/* Take what stands before `c`, or everything, off *text. */
static struct bytes take_until(struct bytes *text, char c)
{
    const char *end = text->len > 0 ? memchr(text->at, c, text->len) : NULL;
    struct bytes part = *text;
    if (end == NULL) {
        *text = bytes_of(NULL, 0);
        return part;
    }
    part.len = (size_t)(end - text->at);
    *text = bytes_skip(*text, part.len + 1);
    return part;
}

bool query_next(struct bytes *query, struct bytes *ret_name, struct bytes *ret_value)
{
    while (query->len > 0) {
        struct bytes parameter = take_until(query, '&');
        if (parameter.len > 0) {
            *ret_name = take_until(&parameter, '=');
            *ret_value = parameter;
            return true;
        }
    }
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Take one decoded byte off *raw, which is not empty; -1 for a broken escape. */
static int take_byte(struct bytes *raw, bool plus_is_blank)
{
    char c = raw->at[0];
    if (c != '%') {
        *raw = bytes_skip(*raw, 1);
        return c == '+' && plus_is_blank ? ' ' : (unsigned char)c;
    }
    int high = raw->len >= 3 ? hex_digit(raw->at[1]) : -1;
    int low = raw->len >= 3 ? hex_digit(raw->at[2]) : -1;
    if (high < 0 || low < 0) {
        return -1;
    }
    *raw = bytes_skip(*raw, 3);
    return high << 4 | low;
}

static int decode(
    struct bytes raw, bool plus_is_blank, char *at, size_t cap, struct bytes *ret_text)
{
    size_t len = 0;
    while (raw.len > 0) {
        int byte = take_byte(&raw, plus_is_blank);
        if (byte <= 0) {
            return STATUS_INVALID;
        }
        if (len == cap) {
            return STATUS_TOO_LARGE;
        }
        at[len++] = (char)byte;
    }
    if (!utf8_valid(bytes_of(at, len))) {
        return STATUS_UTF8;
    }
    *ret_text = bytes_of(at, len);
    return 0;
}

int query_decode(struct bytes raw, char *at, size_t cap, struct bytes *ret_text)
{
    return decode(raw, true, at, cap, ret_text);
}

int query_decode_path(struct bytes raw, char *at, size_t cap, struct bytes *ret_text)
{
    return decode(raw, false, at, cap, ret_text);
}

static bool decodes_to(struct bytes raw, struct bytes text)
{
    while (raw.len > 0 && text.len > 0) {
        if (take_byte(&raw, true) != (unsigned char)text.at[0]) {
            return false;
        }
        text = bytes_skip(text, 1);
    }
    return raw.len == 0 && text.len == 0;
}

int query_get(struct bytes query, const char *name, char *at, size_t cap, struct bytes *ret_value)
{
    struct bytes found = {0};
    bool has = false;
    struct bytes parameter;
    struct bytes value;
    while (query_next(&query, &parameter, &value)) {
        if (decodes_to(parameter, bytes_str(name))) {
            found = value;
            has = true;
        }
    }
    return has ? query_decode(found, at, cap, ret_value) : STATUS_NOT_FOUND;
}
