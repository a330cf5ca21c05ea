/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file - a whole file, read at once: settings, keys, pages.
 */
#ifndef HUB_NET_FILE_H
#define HUB_NET_FILE_H

#include "codec/base/buf.h"
#include "codec/base/check.h"

/*
 * Append the content of the file at `path` to `content`, whose limit holds. STATUS_NOT_FOUND:
 * there is none; STATUS_IO: it cannot be read, errno says why; STATUS_TOO_LARGE: it does not fit.
 * On failure `content` holds what was read. Any thread; blocks.
 */
MUST_CHECK int file_read(const char *path, struct builder *content);

#endif
