/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of json_scan.h that deals with the values of strings and numbers.
 */
#include "codec/base/status.h"
#include "codec/json_lex.h"
#include "codec/json_scan.h"
#include "codec/utf8.h"

/* The characters between the quotes. */
static bool unquote(struct bytes string, struct bytes *ret_inside)
{
    if (string.len < 2 || string.at[0] != '"' || string.at[string.len - 1] != '"') {
        return false;
    }
    *ret_inside = bytes_of(string.at + 1, string.len - 2);
    return true;
}

/* Unescape what is at the backslash `*at`, and step over it. Returns the length in `out`. */
static int unescape(const char **at, const char *end, char out[UTF8_MAX_LEN])
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char *name = end - *at >= 2 ? memchr(names, (*at)[1], sizeof(names) - 1) : NULL;
    if (name != NULL) {
        *at += 2;
        out[0] = values[name - names];
        return 1;
    }
    int32_t unit = json_lex_escaped_unit(*at, end);
    if (unit < 0) {
        return STATUS_INVALID;
    }
    *at += 6;
    uint32_t code_point = (uint32_t)unit;
    if (json_lex_is_high_surrogate(unit)) {
        int32_t low = json_lex_escaped_unit(*at, end);
        if (!json_lex_is_low_surrogate(low)) {
            return STATUS_UTF8;
        }
        *at += 6;
        code_point = 0x10000 + (((uint32_t)unit & 0x3ff) << 10 | ((uint32_t)low & 0x3ff));
    } else if (json_lex_is_low_surrogate(unit)) {
        return STATUS_UTF8;
    }
    return (int)utf8_put(code_point, out);
}

/* A string as a sequence of pieces: runs without escapes, and single escapes. */
struct pieces {
    const char *at;
    const char *end;
    char escape[UTF8_MAX_LEN];
};

/* The next piece, valid until the one after it. Returns 1, 0 at the end, or a status. */
static int next_piece(struct pieces *pieces, struct bytes *ret_piece)
{
    size_t left = (size_t)(pieces->end - pieces->at);
    if (left == 0) {
        return 0;
    }
    if (*pieces->at == '\\') {
        int len = unescape(&pieces->at, pieces->end, pieces->escape);
        if (len < 0) {
            return len;
        }
        *ret_piece = bytes_of(pieces->escape, (size_t)len);
        return 1;
    }
    const char *backslash = memchr(pieces->at, '\\', left);
    const char *end = backslash != NULL ? backslash : pieces->end;
    *ret_piece = bytes_of(pieces->at, (size_t)(end - pieces->at));
    pieces->at = end;
    return 1;
}

bool json_scan_string_eq(struct bytes string, struct bytes text)
{
    struct bytes inside;
    if (!unquote(string, &inside) || inside.len < text.len) {
        return false;
    }
    struct pieces pieces = {.at = inside.at, .end = inside.at + inside.len};
    struct bytes piece;
    int status;
    while ((status = next_piece(&pieces, &piece)) > 0) {
        if (!bytes_starts(text, piece)) {
            return false;
        }
        text = bytes_skip(text, piece.len);
    }
    return status == 0 && text.len == 0;
}

int json_scan_string(struct bytes string, char *at, size_t cap, struct bytes *ret_text)
{
    struct bytes inside;
    if (!unquote(string, &inside)) {
        return STATUS_INVALID;
    }
    if (inside.len == 0 || memchr(inside.at, '\\', inside.len) == NULL) {
        if (inside.len > cap) {
            return STATUS_TOO_LARGE;
        }
        *ret_text = inside;
        return 0;
    }
    struct pieces pieces = {.at = inside.at, .end = inside.at + inside.len};
    struct bytes piece;
    size_t len = 0;
    int status;
    while ((status = next_piece(&pieces, &piece)) > 0) {
        if (piece.len > cap - len) {
            return STATUS_TOO_LARGE;
        }
        memcpy(at + len, piece.at, piece.len);
        len += piece.len;
    }
    if (status < 0) {
        return status;
    }
    *ret_text = bytes_of(at, len);
    return 0;
}

int json_scan_string_add(struct bytes string, struct builder *out)
{
    struct bytes inside;
    if (!unquote(string, &inside)) {
        return STATUS_INVALID;
    }
    struct pieces pieces = {.at = inside.at, .end = inside.at + inside.len};
    struct bytes piece;
    int status;
    while ((status = next_piece(&pieces, &piece)) > 0) {
        builder_add(out, piece);
    }
    if (status < 0) {
        return status;
    }
    return builder_status(out);
}

int json_scan_u64(struct bytes number, uint64_t *ret_value)
{
    return bytes_to_u64(number, UINT64_MAX, ret_value);
}

int json_scan_i64(struct bytes number, int64_t *ret_value)
{
    bool negative = number.len > 0 && number.at[0] == '-';
    uint64_t value;
    uint64_t max = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    int status = bytes_to_u64(negative ? bytes_skip(number, 1) : number, max, &value);
    if (status < 0) {
        return status;
    }
    *ret_value = (int64_t)(negative ? -value : value);
    return 0;
}

int json_scan_bool(struct bytes value, bool *ret_value)
{
    bool yes = bytes_eq(value, BYTES("true"));
    if (!yes && !bytes_eq(value, BYTES("false"))) {
        return STATUS_INVALID;
    }
    *ret_value = yes;
    return 0;
}

/* Append the escape of one character that cannot stand for itself. */
static void write_escape(struct builder *out, char c)
{
    static const char names[] = "btnvfr"; /* of the characters 8 to 13; 11 has no name in JSON */
    if (c == '"' || c == '\\') {
        builder_byte(out, '\\');
        builder_byte(out, c);
    } else if (c >= '\b' && c <= '\r' && c != '\v') {
        builder_byte(out, '\\');
        builder_byte(out, names[c - '\b']);
    } else {
        static const char digits[] = "0123456789abcdef";
        char escape[] = {'\\', 'u', '0', '0', digits[c >> 4 & 0xf], digits[c & 0xf]};
        builder_add(out, bytes_of(escape, sizeof(escape)));
    }
}

void json_scan_write_string(struct builder *out, struct bytes text)
{
    builder_byte(out, '"');
    const char *at = text.at;
    const char *end = text.len > 0 ? at + text.len : at;
    while (at < end) {
        const char *special = json_lex_skip_plain(at, end, false);
        builder_add(out, bytes_of(at, (size_t)(special - at)));
        at = special;
        if (at < end) {
            write_escape(out, *at++);
        }
    }
    builder_byte(out, '"');
}
