/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and finds the marker in hexadecimal, in any encoding around it.
 */
#include "tests/bench/marker.h"

enum { TIME_AT = 3, TIME_DIGITS = 16, NUMBER_AT = 19, NUMBER_DIGITS = 8, END_AT = 27 };

static void write_hex(uint64_t value, unsigned digits, char *at)
{
    for (unsigned i = digits; i > 0; i--) {
        at[i - 1] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

static uint64_t read_hex(const char *at, unsigned digits)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < digits; i++) {
        unsigned char digit = (unsigned char)at[i];
        value = value << 4 | (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return value;
}

void marker_write(const struct marker *marker, char *at)
{
    memcpy(at, "pb:", TIME_AT);
    write_hex(marker->due_ns, TIME_DIGITS, at + TIME_AT);
    write_hex(marker->number, NUMBER_DIGITS, at + NUMBER_AT);
    at[END_AT] = ':';
}

bool marker_read(const char *at, struct marker *ret_marker)
{
    if (memcmp(at, "pb:", TIME_AT) != 0 || at[END_AT] != ':') {
        return false;
    }
    ret_marker->due_ns = read_hex(at + TIME_AT, TIME_DIGITS);
    ret_marker->number = (uint32_t)read_hex(at + NUMBER_AT, NUMBER_DIGITS);
    return true;
}

size_t marker_find(struct bytes text)
{
    struct marker marker;
    for (size_t from = 0; from + MARKER_LEN <= text.len;) {
        const char *at = memmem(text.at + from, text.len - from, "pb:", TIME_AT);
        if (at == NULL || (size_t)(at - text.at) + MARKER_LEN > text.len) {
            return text.len;
        }
        if (marker_read(at, &marker)) {
            return (size_t)(at - text.at);
        }
        from = (size_t)(at - text.at) + 1;
    }
    return text.len;
}
