/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_lex - the smallest parts of JSON text, shared by json_scan.c and json_string.c only.
 */
#ifndef CODEC_JSON_LEX_H
#define CODEC_JSON_LEX_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_LEX_ONES UINT64_C(0x0101010101010101)
#define JSON_LEX_HIGHS UINT64_C(0x8080808080808080)

/* In each byte of `word`, the high bit where the byte is zero; exact for the lowest such byte. */
static inline uint64_t json_lex_zero_bytes(uint64_t word)
{
    return (word - JSON_LEX_ONES) & ~word & JSON_LEX_HIGHS;
}

/* Past the characters that stand for themselves in a string; `stop_high` ends at non-ASCII too. */
static inline const char *json_lex_skip_plain(const char *at, const char *end, bool stop_high)
{
    uint64_t high = stop_high ? JSON_LEX_HIGHS : 0;
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        word = le64toh(word);
        uint64_t special = json_lex_zero_bytes(word ^ JSON_LEX_ONES * '"') |
                           json_lex_zero_bytes(word ^ JSON_LEX_ONES * '\\') |
                           ((word - JSON_LEX_ONES * 0x20) & ~word & JSON_LEX_HIGHS) | (word & high);
        if (special != 0) {
            return at + __builtin_ctzll(special) / 8;
        }
        at += 8;
    }
    while (at < end && (unsigned char)*at >= 0x20 && *at != '"' && *at != '\\' &&
           !(stop_high && (unsigned char)*at >= 0x80)) {
        at++;
    }
    return at;
}

static inline const char *json_lex_skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    return at;
}

static inline int json_lex_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The code unit of "\uXXXX" at `at`, or -1 when there is none. */
static inline int32_t json_lex_escaped_unit(const char *at, const char *end)
{
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') {
        return -1;
    }
    int32_t unit = 0;
    for (int i = 2; i < 6; i++) {
        int digit = json_lex_hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

static inline bool json_lex_is_high_surrogate(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static inline bool json_lex_is_low_surrogate(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

#endif
