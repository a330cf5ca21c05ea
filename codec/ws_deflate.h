/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_deflate - messages of WebSockets, compressed one by one (permessage-deflate, RFC 7692, without
 * context between messages). The one file of codec/ that knows zlib.
 *
 * A deflater and an inflater are scratch memory: both serve any number of connections, the first
 * one message at a time, the second as long as a message is incomplete.
 */
#ifndef CODEC_WS_DEFLATE_H
#define CODEC_WS_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { WS_DEFLATE_BITS_MAX = 15 }; /* of the window that the deflater uses */

struct ws_deflater;
struct ws_inflater;

/* Make a deflater of zlib's `level` (1 to 9) and `memory` level (1 to 9: 2^(memory + 9) bytes, and
 * 128 KiB). NULL when there is no memory. */
MUST_CHECK struct ws_deflater *ws_deflater_create(int level, int memory);

/* Free it; NULL is allowed. */
void ws_deflater_destroy(struct ws_deflater *deflater);

/*
 * Append the frames of `frames`, which are a server's, whole messages each, with the payload of
 * every text and binary message of at least `least` bytes compressed, where that makes it smaller.
 * Returns how many are. STATUS_PROTO for other bytes, STATUS_TOO_LARGE; then `out` is as it was.
 */
MUST_CHECK int ws_deflate_frames(
    struct ws_deflater *deflater, struct bytes frames, size_t least, struct builder *out);

/* Make ready for a message; the inflater itself, too, where there is none. STATUS_NOMEM. */
MUST_CHECK int ws_inflater_begin(struct ws_inflater **inflater);

/* Free it; NULL is allowed. */
void ws_inflater_destroy(struct ws_inflater *inflater);

/*
 * Append what `part`, the next bytes of a compressed message, stands for; `last`: it ends there.
 * STATUS_INVALID for what is no deflate stream, or a cut
 * one; STATUS_TOO_LARGE at the builder's limit, beyond which at most 4 KiB were inflated. What
 * comes after a failure, or the last part, begins with ws_inflater_begin.
 */
MUST_CHECK int ws_inflate(
    struct ws_inflater *inflater, struct bytes part, bool last, struct builder *out);

#endif
