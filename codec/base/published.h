/* SPDX-License-Identifier: Apache-2.0 */
/*
 * published - a copy of a shard's words for other threads.
 *
 * The one way to let another thread see what a shard counts: the owner counts in plain words of its
 * own, and copies them once in a while; everybody else reads the copy, word by word. Each word
 * stands alone: nothing is concluded from two.
 */
#ifndef CODEC_BASE_PUBLISHED_H
#define CODEC_BASE_PUBLISHED_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* How many words a structure has, which is of uint64_t alone. */
#define PUBLISHED_WORDS(type) (sizeof(type) / sizeof(uint64_t))

/* Copy `count` words for others to read. The owner's thread. */
void published_write(_Atomic(uint64_t) *copy, const void *words, size_t count);

/* Read what was published last. Any thread. */
void published_read(const _Atomic(uint64_t) *copy, size_t count, void *ret_words);

#endif
