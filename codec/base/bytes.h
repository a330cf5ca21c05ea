/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes - a borrowed slice of memory: pointer and length, no ownership, no NUL.
 */
#ifndef CODEC_BASE_BYTES_H
#define CODEC_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const char *at; /* may be NULL when len is 0 */
    size_t len;
};

/* A slice of a string literal. */
#define BYTES(literal) ((struct bytes){.at = (literal), .len = sizeof(literal) - 1})

/* The slice of `len` bytes at `at`. */
static inline struct bytes bytes_of(const void *at, size_t len)
{
    return (struct bytes){.at = at, .len = len};
}

/* The slice of a NUL-terminated string; an empty slice for NULL. */
static inline struct bytes bytes_str(const char *str)
{
    return (struct bytes){.at = str, .len = str ? strlen(str) : 0};
}

/* Whether both have the same length and content. */
static inline bool bytes_eq(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* Whether `a` equals the NUL-terminated string `str`. */
static inline bool bytes_eq_str(struct bytes a, const char *str)
{
    return bytes_eq(a, bytes_str(str));
}

/* Whether `a` begins with `prefix`. */
static inline bool bytes_starts(struct bytes a, struct bytes prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.at, prefix.at, prefix.len) == 0);
}

/* What is left of `a` after its first `n` bytes; `n` at most a.len. */
static inline struct bytes bytes_skip(struct bytes a, size_t n)
{
    /* Nothing of nothing: C17 has no NULL + 0 (6.5.6). Compilers make an addition of it. */
    return (struct bytes){.at = n > 0 ? a.at + n : a.at, .len = a.len - n};
}

/* Whether equal ignoring ASCII case. */
bool bytes_eq_nocase(struct bytes a, struct bytes b);

/*
 * Parse all of `a` as a decimal number without sign, blanks or leading zeros ("0" is fine).
 * Returns STATUS_INVALID for anything else and STATUS_TOO_LARGE above `max`.
 */
int bytes_to_u64(struct bytes a, uint64_t max, uint64_t *ret_value);

/* The part of `a` without the characters of `blanks` at both ends. */
struct bytes bytes_trim(struct bytes a, const char *blanks);

#endif
