/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compresses the frames of a chunk once, and keeps the result with the chunk for the next receiver.
 */
#include "hub/net/packer.h"

#include "actors/deliver/outbox.h"
#include "codec/base/mem.h"
#include "codec/ws_deflate.h"
#include "hub/net/loop.h"
#include "hub/net/websocket_limits.h"

struct packer {
    struct loop_local local;
    struct ws_deflater *deflater; /* NULL: there was no memory */
};

static void destroy_packer(struct loop_local *local)
{
    struct packer *packer = container_of(local, struct packer, local);
    ws_deflater_destroy(packer->deflater);
    mem_free(packer);
}

/* Every WebSocket of a loop has the same settings for this. */
static struct packer *packer_of(struct loop *loop, const struct websocket_limits *limits)
{
    struct loop_local *local = loop_get_local(loop, LOOP_PACKER);
    if (local != NULL) {
        return container_of(local, struct packer, local);
    }
    struct packer *packer = mem_alloc(sizeof(*packer));
    packer->local.destroy = destroy_packer;
    packer->deflater = ws_deflater_create(limits->deflate_level, limits->deflate_memory);
    loop_set_local(loop, LOOP_PACKER, &packer->local);
    return packer;
}

/* NULL when nothing in it became smaller. */
static struct chunk *compress(struct packer *packer, size_t least, const struct chunk *chunk)
{
    struct builder out = {.max = UINT32_MAX};
    struct bytes frames = bytes_of(chunk->at, chunk->len);
    struct chunk *packed = NULL;
    if (packer->deflater != NULL && ws_deflate_frames(packer->deflater, frames, least, &out) > 0) {
        packed = chunk_take(&out);
    }
    builder_reset(&out);
    return packed;
}

struct chunk *packer_pack(
    struct loop *loop, const struct websocket_limits *limits, unsigned bits, struct chunk *chunk)
{
    /* In what is no longer than the window, no match is too far away. */
    bool fits = bits >= WS_DEFLATE_BITS_MAX || chunk->len <= UINT32_C(1) << bits;
    if (!fits || chunk->len < limits->deflate_bytes) {
        return chunk;
    }
    if (chunk->packed == NULL) {
        struct chunk *packed = compress(packer_of(loop, limits), limits->deflate_bytes, chunk);
        chunk->packed = packed != NULL ? packed : chunk;
    }
    return chunk->packed;
}
