/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ways by zlib's functions for what lies in memory as a whole.
 */
#include "codec/zip.h"

#include <zlib.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { LEVEL = 1 }; /* what is kept for a while is written as often as it is read */

struct buf *zip_pack(struct bytes content)
{
    uLongf len = content.len; /* what would be longer is of no use */
    Bytef *at = content.len > 0 ? mem_try_alloc(content.len) : NULL;
    struct buf *packed = NULL;
    if (at != NULL && compress2(at, &len, (const Bytef *)content.at, content.len, LEVEL) == Z_OK &&
        len < content.len) {
        packed = buf_new(bytes_of(at, len));
    }
    mem_free(at);
    return packed;
}

int zip_unpack(struct bytes packed, size_t len, struct builder *out)
{
    uLongf made = len;
    char *at = builder_reserve(out, len);
    if (at == NULL) {
        return STATUS_NOMEM;
    }
    int status = uncompress((Bytef *)at, &made, (const Bytef *)packed.at, packed.len);
    if (status == Z_MEM_ERROR) {
        return STATUS_NOMEM;
    }
    if (status != Z_OK || made != len) {
        return STATUS_INVALID;
    }
    builder_commit(out, len);
    return 0;
}
