/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rand - unpredictable bytes from the kernel, identifiers made of them, and a seedable
 * generator for tests and jitter.
 */
#ifndef CODEC_BASE_RAND_H
#define CODEC_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

enum { UUID_TEXT_LEN = 36 };

/* A generator whose sequence follows from its seed; not for secrets. */
struct rand {
    /* private */
    uint64_t state;
};

/* Start the sequence of `seed`. */
void rand_init(struct rand *rand, uint64_t seed);

/* The next 64 bits. */
uint64_t rand_u64(struct rand *rand);

/* A number in [0, bound), bound > 0. */
uint64_t rand_below(struct rand *rand, uint64_t bound);

/* Fill `at` with unpredictable bytes, pooled per thread; aborts if the kernel has none. */
void rand_secret(void *at, size_t len);

/*
 * Write a UUID version 7 (RFC 9562 5.7) of `wall_ms` as 16 bytes, with the low 12 bits of `slot` as
 * its rand_a (5.7 leaves them to us; 62 bits are unpredictable). Any thread.
 */
void uuid7_make(uint64_t wall_ms, uint32_t slot, uint8_t ret_uuid[16]);

/* Write the 36-character text of a UUID, without NUL. */
void uuid_format(const uint8_t uuid[16], char ret_text[UUID_TEXT_LEN]);

/* Parse the 36-character text (either case); STATUS_INVALID otherwise. */
int uuid_parse(const char *text, size_t len, uint8_t ret_uuid[16]);

#endif
