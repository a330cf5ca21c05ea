/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eio_session - private to the session layer: Engine.IO revision 4 over whole messages.
 */
#include "hub/session/eio_session.h"

#include "codec/eio.h"
#include "codec/ws_frame.h"
#include "hub/session/connect.h"
#include "hub/session/deadlines.h"
#include "hub/session/session.h"
#include "hub/session/session_core.h"
#include "hub/session/session_life.h"
#include "hub/session/sid.h"
#include "hub/session/sio_session.h"

void eio_session_open(struct session *session, struct bytes sid, bool polling, struct builder *out)
{
    const struct session_config *config = session->part->config;
    struct eio_open open = {
        .sid = sid,
        .upgrades = polling && !config->without_websocket,
        .ping_interval_ms = config->ping_interval_ms,
        .ping_timeout_ms = config->ping_timeout_ms,
        .max_payload = polling ? config->polling_bytes : config->after_auth.message_bytes,
    };
    eio_write_open(out, &open);
    if (!config->raw_message) { /* from now on a namespace must be joined in time */
        session_extra(session)->connect_due_ms = session_now(session) + config->connect_timeout_ms;
    }
    session_start(session);
}

bool session_send_raw(struct session *session, bool binary, struct bytes message)
{
    char head[WS_FRAME_HEAD_MAX];
    size_t len = message.len + !binary;
    struct builder frame = {.max = WS_FRAME_HEAD_MAX + len};
    builder_add(&frame,
        bytes_of(head, ws_frame_write_head(head, binary ? WS_BINARY : WS_TEXT, false, len)));
    if (!binary) {
        builder_byte(&frame, '0' + EIO_MESSAGE);
    }
    builder_add(&frame, message);
    struct chunk *chunk = chunk_take(&frame);
    bool sent = chunk && session_send_chunk(session, chunk);
    if (chunk) {
        chunk_unref(chunk);
    }
    return sent;
}

static void on_message(struct session *session, const struct eio_packet *packet)
{
    const struct session_config *config = session->part->config;
    if (config->raw_message) {
        config->raw_message(config->context, session, packet->binary, packet->payload);
    } else if (packet->binary) {
        sio_session_binary(session, packet->payload);
    } else {
        sio_session_text(session, packet->payload);
    }
}

static void on_text(struct session *session, const struct eio_packet *packet)
{
    if (packet->type == EIO_PONG) {
        deadlines_pong(session);
        return;
    }
    deadlines_other(session);
    switch (packet->type) {
    case EIO_MESSAGE:
        on_message(session, packet);
        break;
    case EIO_PING: /* only the server pings in revision 4 */
        session_end(session, CLOSE_PARSE);
        break;
    case EIO_CLOSE:
        session_end(session, CLOSE_NORMAL);
        break;
    case EIO_OPEN:
    case EIO_PONG:
    case EIO_UPGRADE:
    case EIO_NOOP:
        break; /* meaningless on an open session, and ignored as stock servers do */
    }
}

static void take_packet(struct session *session, const struct eio_packet *packet)
{
    if (packet->binary) {
        deadlines_other(session);
        on_message(session, packet);
    } else {
        on_text(session, packet);
    }
}

static void take_message(struct session *session, bool binary, struct bytes message)
{
    struct eio_packet packet = {.type = EIO_MESSAGE, .binary = binary, .payload = message};
    if (!binary && eio_decode_text(message, &packet) != 0) {
        session_end(session, CLOSE_PARSE);
        return;
    }
    take_packet(session, &packet);
}

static struct chunk *make_ping(void)
{
    struct builder text = {0};
    builder_byte(&text, '0' + EIO_PING);
    struct chunk *chunk = session_chunk(&text, false);
    builder_reset(&text);
    return chunk;
}

const struct protocol eio_protocol = {
    .hides_codes = true,
    .message = take_message,
    .packet = take_packet,
    .arrived = connect_arrived,
    .welcome = sio_session_welcome,
    .refuse = sio_session_refuse,
    .tell_closing = sio_session_tell_closing,
    .expel = sio_session_expel,
    .question = sio_session_question,
    .ping = make_ping,
};
