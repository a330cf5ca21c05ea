/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be asked of a slice that is more than a line: equality without case, decimal numbers,
 * what lies between blanks.
 */
#include "codec/base/bytes.h"

#include <string.h>

#include "codec/base/status.h"

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

bool bytes_eq_nocase(struct bytes a, struct bytes b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower((unsigned char)a.at[i]) != lower((unsigned char)b.at[i])) {
            return false;
        }
    }
    return true;
}

int bytes_to_u64(struct bytes a, uint64_t max, uint64_t *ret_value)
{
    if (a.len == 0 || (a.len > 1 && a.at[0] == '0')) {
        return STATUS_INVALID;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < a.len; i++) {
        if (a.at[i] < '0' || a.at[i] > '9') {
            return STATUS_INVALID;
        }
        unsigned digit = (unsigned)(a.at[i] - '0');
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return STATUS_TOO_LARGE;
        }
    }
    if (value > max) {
        return STATUS_TOO_LARGE;
    }
    *ret_value = value;
    return 0;
}

static bool is_among(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

struct bytes bytes_trim(struct bytes a, const char *blanks)
{
    while (a.len > 0 && is_among(a.at[0], blanks)) {
        a = bytes_skip(a, 1);
    }
    while (a.len > 0 && is_among(a.at[a.len - 1], blanks)) {
        a.len--;
    }
    return a;
}
