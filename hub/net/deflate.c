/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compresses the frames of a chunk once, and keeps the result with the chunk for the next receiver.
 */
#include "hub/net/deflate.h"

#include "actors/deliver/outbox.h"
#include "codec/base/mem.h"
#include "codec/ws_deflate.h"
#include "hub/net/loop.h"
#include "hub/net/websocket_limits.h"

struct deflate {
    struct loop_local local;
    struct ws_deflater *deflater; /* NULL: there was no memory */
};

static void destroy(struct loop_local *local)
{
    struct deflate *deflate = container_of(local, struct deflate, local);
    ws_deflater_destroy(deflate->deflater);
    mem_free(deflate);
}

/* Every WebSocket of a loop has the same settings for this. */
static struct deflate *deflate_of(struct loop *loop, const struct websocket_limits *limits)
{
    struct loop_local *local = loop_get_local(loop, LOOP_DEFLATE);
    if (local != NULL) {
        return container_of(local, struct deflate, local);
    }
    struct deflate *deflate = mem_alloc(sizeof(*deflate));
    deflate->local.destroy = destroy;
    deflate->deflater = ws_deflater_create(limits->deflate_level, limits->deflate_memory);
    loop_set_local(loop, LOOP_DEFLATE, &deflate->local);
    return deflate;
}

/* NULL when nothing in it became smaller. */
static struct chunk *compress(struct deflate *deflate, size_t least, const struct chunk *chunk)
{
    struct builder out = {.max = UINT32_MAX};
    struct bytes frames = bytes_of(chunk->at, chunk->len);
    struct chunk *deflated = NULL;
    if (deflate->deflater != NULL &&
        ws_deflate_frames(deflate->deflater, frames, least, &out) > 0) {
        deflated = chunk_take(&out);
    }
    builder_reset(&out);
    return deflated;
}

struct chunk *deflate_chunk(
    struct loop *loop, const struct websocket_limits *limits, unsigned bits, struct chunk *chunk)
{
    /* In what is no longer than the window, no match is too far away. */
    bool fits = bits >= WS_DEFLATE_BITS_MAX || chunk->len <= UINT32_C(1) << bits;
    if (!fits || chunk->len < limits->deflate_bytes) {
        return chunk;
    }
    if (chunk->deflated == NULL) {
        struct chunk *deflated = compress(deflate_of(loop, limits), limits->deflate_bytes, chunk);
        chunk->deflated = deflated != NULL ? deflated : chunk;
    }
    return chunk->deflated;
}
