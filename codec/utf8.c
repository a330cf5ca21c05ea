/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state machine that takes text in any pieces, with a fast way over ASCII.
 */
#include "codec/utf8.h"

#include "codec/base/status.h"

/* Past the ASCII characters at `at`, eight at a time. */
static const unsigned char *skip_ascii(const unsigned char *at, const unsigned char *end)
{
    uint64_t eight;
    while (end - at >= (ptrdiff_t)sizeof(eight)) {
        memcpy(&eight, at, sizeof(eight));
        if ((eight & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
        at += sizeof(eight);
    }
    while (at < end && *at < 0x80) {
        at++;
    }
    return at;
}

/*
 * Begin a character of several bytes. Only the byte behind the first has a range of its own:
 * it excludes overlong forms (E0, F0), surrogates (ED) and what is above U+10FFFF (F4).
 */
static bool start(struct utf8 *utf8, unsigned char first)
{
    utf8->low = 0x80;
    utf8->high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) {
        utf8->missing = 1;
    } else if (first >= 0xe0 && first <= 0xef) {
        utf8->missing = 2;
        utf8->low = first == 0xe0 ? 0xa0 : 0x80;
        utf8->high = first == 0xed ? 0x9f : 0xbf;
    } else if (first >= 0xf0 && first <= 0xf4) {
        utf8->missing = 3;
        utf8->low = first == 0xf0 ? 0x90 : 0x80;
        utf8->high = first == 0xf4 ? 0x8f : 0xbf;
    } else {
        return false;
    }
    return true;
}

static bool proceed(struct utf8 *utf8, unsigned char byte)
{
    if (byte < utf8->low || byte > utf8->high) {
        return false;
    }
    utf8->low = 0x80;
    utf8->high = 0xbf;
    utf8->missing--;
    return true;
}

int utf8_feed(struct utf8 *utf8, struct bytes chunk)
{
    const unsigned char *at = (const unsigned char *)chunk.at;
    const unsigned char *end = chunk.len > 0 ? at + chunk.len : at;
    while (at < end) {
        if (utf8->missing > 0) {
            if (!proceed(utf8, *at)) {
                return STATUS_UTF8;
            }
            at++;
            continue;
        }
        at = skip_ascii(at, end);
        if (at < end && !start(utf8, *at++)) {
            return STATUS_UTF8;
        }
    }
    return 0;
}

bool utf8_complete(const struct utf8 *utf8)
{
    return utf8->missing == 0;
}

bool utf8_valid(struct bytes text)
{
    struct utf8 utf8 = {0};
    return utf8_feed(&utf8, text) == 0 && utf8_complete(&utf8);
}

size_t utf8_char_len(struct bytes text)
{
    if (text.len == 0) {
        return 0;
    }
    const unsigned char *at = (const unsigned char *)text.at;
    struct utf8 utf8;
    if (at[0] < 0x80) {
        return 1;
    }
    if (!start(&utf8, at[0]) || text.len <= utf8.missing) {
        return 0;
    }
    size_t len = 1;
    while (utf8.missing > 0) {
        if (!proceed(&utf8, at[len++])) {
            return 0;
        }
    }
    return len;
}

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

size_t utf8_count(struct bytes text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += !is_continuation(text.at[i]);
    }
    return count;
}

size_t utf8_fit(struct bytes text, size_t max)
{
    if (text.len <= max) {
        return text.len;
    }
    while (max > 0 && is_continuation(text.at[max])) {
        max--;
    }
    return max;
}

size_t utf8_put(uint32_t code_point, char *at)
{
    if (code_point < 0x80) {
        at[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        at[0] = (char)(0xc0 | code_point >> 6);
        at[1] = (char)(0x80 | (code_point & 0x3f));
        return 2;
    }
    if (code_point < 0x10000) {
        at[0] = (char)(0xe0 | code_point >> 12);
        at[1] = (char)(0x80 | (code_point >> 6 & 0x3f));
        at[2] = (char)(0x80 | (code_point & 0x3f));
        return 3;
    }
    at[0] = (char)(0xf0 | code_point >> 18);
    at[1] = (char)(0x80 | (code_point >> 12 & 0x3f));
    at[2] = (char)(0x80 | (code_point >> 6 & 0x3f));
    at[3] = (char)(0x80 | (code_point & 0x3f));
    return 4;
}
