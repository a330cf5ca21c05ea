/* SPDX-License-Identifier: Apache-2.0 */
/*
 * script_feed - gives a decoder the same input whole, byte by byte and at random cuts, and
 * expects the same outcome each time.
 *
 * What it gives is always a fresh allocation of exactly that size, so that a sanitizer sees
 * a read beyond it, and a decoder that keeps a pointer into an earlier piece is found.
 */
#ifndef TESTS_SUPPORT_SCRIPT_FEED_H
#define TESTS_SUPPORT_SCRIPT_FEED_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"

struct script_feed;

/* Decode what the feed gives and append to `out`, in one line, what came of it. */
typedef void (*script_feed_decode_fn)(struct script_feed *feed, struct builder *out);

/* The next piece of the input, valid until the next call; false when there is no more. */
bool script_feed_piece(struct script_feed *feed, struct bytes *ret_piece);

/* One piece more: all of the input so far, at a new address; false when there is no more. */
bool script_feed_grow(struct script_feed *feed, struct bytes *ret_so_far);

/* Run the vectors of tests/data/<file>, each in all the ways. */
void script_feed_file(const char *file, script_feed_decode_fn decode);

/* Run one input in all the ways. Failures name the title, the way, and the seed of the cuts. */
void script_feed_input(
    const char *title, struct bytes input, struct bytes expected, script_feed_decode_fn decode);

#endif
