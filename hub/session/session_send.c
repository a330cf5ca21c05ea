/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_send - private to the session layer: messages into the outbox of a session.
 */
#include "hub/session/session_send.h"

#include "codec/ws_frame.h"
#include "hub/session/session_core.h"

struct chunk *session_chunk(const struct builder *body, bool binary)
{
    if (builder_failed(body)) {
        return NULL;
    }
    struct bytes payload = builder_bytes(body);
    char head[WS_FRAME_HEAD_MAX];
    size_t head_len = ws_frame_write_head(head, binary ? WS_BINARY : WS_TEXT, false, payload.len);
    struct builder frame = {.max = WS_FRAME_HEAD_MAX + payload.len};
    builder_add(&frame, bytes_of(head, head_len));
    builder_add(&frame, payload);
    return chunk_take(&frame);
}

bool session_send_chunk(struct session *session, struct chunk *chunk)
{
    return outbox_append(
        session_outbox(session), &session->home->shard->dirty_outboxes, chunk, 0, chunk->len);
}

bool session_send_made(struct session *session, struct chunk *chunk)
{
    if (!chunk) {
        return false;
    }
    bool sent = session_send_chunk(session, chunk);
    chunk_unref(chunk);
    return sent;
}

bool session_send_text(struct session *session, struct builder *text)
{
    struct chunk *chunk = session_chunk(text, false);
    builder_reset(text);
    return session_send_made(session, chunk);
}
