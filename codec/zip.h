/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zip - bytes that are kept, deflated as a whole (RFC 1950), and what they stood for. Any thread.
 */
#ifndef CODEC_ZIP_H
#define CODEC_ZIP_H

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* Deflate `content`. NULL: it does not become smaller, or there is no memory for it. */
MUST_CHECK struct buf *zip_pack(struct bytes content);

/*
 * Append what `packed` stands for, which must be `len` bytes. STATUS_INVALID: it is something else,
 * of which not more than `len` bytes were made; STATUS_NOMEM. Then `out` is as it was.
 */
MUST_CHECK int zip_unpack(struct bytes packed, size_t len, struct builder *out);

#endif
