/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stage 8: what was written for one peer goes into its outbox; it leaves at the end of the turn.
 */
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "hub/net/connection.h"
#include "hub/net/loop.h"

bool connection_send(struct connection *connection, struct builder *builder)
{
    struct chunk *chunk = chunk_take(builder);
    if (chunk == NULL) {
        return false;
    }
    struct shard *shard = loop_shard(connection_loop(connection));
    bool taken =
        outbox_append(connection_outbox(connection), &shard->dirty_outboxes, chunk, 0, chunk->len);
    chunk_unref(chunk);
    return taken;
}
