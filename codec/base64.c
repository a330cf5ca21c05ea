/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three bytes at a time one way, four characters the other; one table tells the characters of both
 * alphabets apart.
 */
#include "codec/base64.h"

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/status.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(struct bytes data, const char *alphabet, char *at)
{
    const uint8_t *in = (const uint8_t *)data.at;
    size_t left = data.len;
    char *out = at;
    for (; left >= 3; left -= 3, in += 3) {
        *out++ = alphabet[in[0] >> 2];
        *out++ = alphabet[(in[0] & 0x03) << 4 | in[1] >> 4];
        *out++ = alphabet[(in[1] & 0x0f) << 2 | in[2] >> 6];
        *out++ = alphabet[in[2] & 0x3f];
    }
    if (left > 0) {
        *out++ = alphabet[in[0] >> 2];
        *out++ = alphabet[(in[0] & 0x03) << 4 | (left == 2 ? in[1] >> 4 : 0)];
    }
    if (left == 2) {
        *out++ = alphabet[(in[1] & 0x0f) << 2];
    }
    return (size_t)(out - at);
}

size_t base64_encode(struct bytes data, char *at)
{
    size_t len = encode(data, standard, at);
    while (len % 4 != 0) {
        at[len++] = '=';
    }
    return len;
}

size_t base64url_encode(struct bytes data, char *at)
{
    return encode(data, url, at);
}

/*
 * The six bits of each ASCII character, with a mark where it is of one alphabet only; BAD has both
 * marks.
 */
enum { STD = 64, URL = 128, BAD = STD | URL };

static const uint8_t values[128] = {192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192,
    192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192,
    192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 126, 192, 190, 192, 127, 52, 53, 54, 55,
    56, 57, 58, 59, 60, 61, 192, 192, 192, 192, 192, 192, 192, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 192, 192, 192, 192, 191, 192, 26, 27,
    28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
    192, 192, 192, 192, 192};

/*
 * Decode unpadded characters. In place is safe: output never passes the input that was read.
 * What was decoded so far is kept as bits of `word`, `bits` of them not yet written. `refused` is
 * the mark of the other alphabet.
 */
static int decode(struct bytes text, unsigned refused, char *at, size_t cap, size_t *ret_len)
{
    if (text.len % 4 == 1) {
        return STATUS_INVALID;
    }
    size_t len = text.len / 4 * 3 + (text.len % 4 > 0 ? text.len % 4 - 1 : 0);
    if (len > cap) {
        return STATUS_TOO_LARGE;
    }
    uint32_t word = 0;
    unsigned bits = 0;
    size_t out = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        unsigned value = c < sizeof(values) ? values[c] : BAD;
        if ((value & refused) != 0) {
            return STATUS_INVALID;
        }
        word = (word << 6 | (value & 0x3f)) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            at[out++] = (char)(word >> bits & 0xff);
        }
    }
    if ((word & ((1u << bits) - 1)) != 0) {
        return STATUS_INVALID;
    }
    *ret_len = len;
    return 0;
}

int base64_decode(struct bytes text, char *at, size_t cap, size_t *ret_len)
{
    if (text.len % 4 != 0) {
        return STATUS_INVALID;
    }
    for (int i = 0; i < 2 && text.len > 0 && text.at[text.len - 1] == '='; i++) {
        text.len--;
    }
    return decode(text, URL, at, cap, ret_len);
}

int base64url_decode(struct bytes text, char *at, size_t cap, size_t *ret_len)
{
    return decode(text, STD, at, cap, ret_len);
}
