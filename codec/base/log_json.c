/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes `key=value` context apart again and writes it as members, with all bytes of peers escaped.
 */
#include "codec/base/log_json.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { VALUE_MAX = 2048, ROWS = 9 };

/* Well-formed UTF-8 sequences (Unicode table 3-7): first byte, second byte, length. */
static const struct {
    unsigned char first_least, first_most, second_least, second_most, len;
} sequences[] = {
    {0x00, 0x7f, 0x00, 0xff, 1},
    {0xc2, 0xdf, 0x80, 0xbf, 2},
    {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3},
    {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4},
    {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* The length of the UTF-8 sequence at `at`, or 0. */
static size_t sequence_len(const unsigned char *at, size_t len)
{
    size_t row = 0;
    while (
        row < ROWS && (at[0] < sequences[row].first_least || at[0] > sequences[row].first_most)) {
        row++;
    }
    size_t need = row < ROWS ? sequences[row].len : SIZE_MAX;
    if (need > len) {
        return 0;
    }
    bool valid =
        need == 1 || (at[1] >= sequences[row].second_least && at[1] <= sequences[row].second_most);
    for (size_t i = 2; i < need; i++) {
        valid = valid && (at[i] & 0xc0) == 0x80;
    }
    return valid ? need : 0;
}

/* One character of a string, escaped; returns how many bytes of `at` it was. */
static size_t write_character(const unsigned char *at, size_t len, char ret_text[8])
{
    static const char digits[] = "0123456789abcdef";
    size_t taken = sequence_len(at, len);
    if (taken == 0) {
        memcpy(ret_text, "\xef\xbf\xbd", 4);
        return 1;
    }
    memset(ret_text, 0, 8);
    if (at[0] == '"' || at[0] == '\\') {
        ret_text[0] = '\\';
        ret_text[1] = (char)at[0];
    } else if (at[0] < 0x20 || at[0] == 0x7f) {
        memcpy(ret_text, "\\u00", 4);
        ret_text[4] = digits[at[0] >> 4];
        ret_text[5] = digits[at[0] & 15];
    } else {
        memcpy(ret_text, at, taken);
    }
    return taken;
}

size_t log_json_string(const char *text, size_t len, char *out, size_t size)
{
    size_t at = 0;
    if (size < 2) {
        return 0;
    }
    out[at++] = '"';
    for (size_t i = 0; i < len;) {
        char part[8];
        i += write_character((const unsigned char *)text + i, len - i, part);
        size_t part_len = strlen(part);
        if (at + part_len + 1 > size) {
            return 0;
        }
        memcpy(out + at, part, part_len);
        at += part_len;
    }
    out[at++] = '"';
    return at;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo log_quote from behind the opening quote on; `*at` ends up behind the closing one. */
static size_t unquote(const char **at, char value[VALUE_MAX])
{
    const char *text = *at;
    size_t len = 0;
    while (*text != '\0' && *text != '"' && len < VALUE_MAX) {
        if (text[0] == '\\' && text[1] == 'x' && hex_digit(text[2]) >= 0 &&
            hex_digit(text[3]) >= 0) {
            value[len++] = (char)(hex_digit(text[2]) << 4 | hex_digit(text[3]));
            text += 4;
        } else {
            text += text[0] == '\\' && text[1] != '\0';
            value[len++] = *text++;
        }
    }
    *at = text + (*text == '"');
    return len;
}

/* Whether `text` is a number as JSON writes it, without exponent (RFC 8259 section 6). */
static bool is_number(const char *text, size_t len)
{
    size_t i = len > 0 && text[0] == '-';
    size_t first = i;
    while (i < len && text[i] >= '0' && text[i] <= '9') {
        i++;
    }
    if (i == first || (text[first] == '0' && i - first > 1)) {
        return false;
    }
    if (i < len && text[i] == '.') {
        size_t point = i++;
        while (i < len && text[i] >= '0' && text[i] <= '9') {
            i++;
        }
        return i == len && i - point > 1;
    }
    return i == len;
}

/* The value at `*at`, which moves behind it; 0 when it does not fit. */
static size_t write_value(const char **at, char *out, size_t size)
{
    if (**at == '"') {
        char value[VALUE_MAX];
        ++*at;
        size_t len = unquote(at, value);
        return log_json_string(value, len, out, size);
    }
    const char *value = *at;
    size_t len = strcspn(value, " ");
    *at += len;
    if (!is_number(value, len)) {
        return log_json_string(value, len, out, size);
    }
    if (len > size) {
        return 0;
    }
    memcpy(out, value, len);
    return len;
}

size_t log_json_write(const char *context, char *out, size_t size)
{
    size_t len = 0;
    while (*context != '\0') {
        size_t key = strcspn(context, "= ");
        if (context[key] != '=') {
            context += key + (context[key] == ' '); /* no pair */
            continue;
        }
        size_t at = len;
        if (at + 1 >= size) {
            break;
        }
        out[at++] = ',';
        size_t name = log_json_string(context, key, out + at, size - at);
        at += name;
        if (name == 0 || at + 1 >= size) {
            break;
        }
        out[at++] = ':';
        context += key + 1;
        size_t value = write_value(&context, out + at, size - at);
        if (value == 0) {
            break;
        }
        len = at + value;
    }
    return len;
}
