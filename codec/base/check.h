/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check - assertions that stay on in release builds, and small compiler helpers.
 *
 * CHECK is for programming errors only: nothing a peer, Redis or the database sends may
 * ever reach one. CHECK_SLOW is compiled in only with -DPEAL_CHECK_SLOW.
 */
#ifndef CODEC_BASE_CHECK_H
#define CODEC_BASE_CHECK_H

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define TEST_SEAM /* for tests alone: the product never calls it (tests/check_dead.py) */
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

#define CHECK(condition)                                                                           \
    (__builtin_expect(!!(condition), 1) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

#ifdef PEAL_CHECK_SLOW
#define CHECK_SLOW(condition) CHECK(condition)
#else
#define CHECK_SLOW(condition) ((void)0)
#endif

/* The object of type `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* Print where and what failed to standard error and abort. Any thread. */
_Noreturn void check_failed(const char *condition, const char *file, int line);

#endif
