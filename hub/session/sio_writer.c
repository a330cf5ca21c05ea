/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes packets of the session layer in the form of the configured parser, each as one chunk.
 */
#include "hub/session/sio_writer.h"

#include "codec/sio_mp.h"
#include "hub/session/session_core.h"

static bool is_packed(const struct session *session)
{
    return session->part->config->msgpack_parser;
}

/* Make a message of `packet`, which is reset, unless `status` says that it could not be written. */
static struct chunk *finish(const struct session *session, struct builder *packet, int status)
{
    struct chunk *chunk = status < 0 ? NULL : session_chunk(packet, is_packed(session));
    builder_reset(packet);
    return chunk;
}

struct chunk *sio_writer_connect(
    const struct session *session, struct bytes nsp, struct bytes sid, struct bytes pid)
{
    struct builder out = {0};
    (is_packed(session) ? sio_mp_write_connect : sio_write_connect)(&out, nsp, sid, pid);
    return finish(session, &out, 0);
}

struct chunk *sio_writer_refusal(
    const struct session *session, struct bytes nsp, struct bytes message, struct bytes data)
{
    struct builder out = {0};
    int status = 0;
    if (is_packed(session)) {
        status = sio_mp_write_connect_error(&out, nsp, message, data);
    } else {
        sio_write_connect_error(&out, nsp, message, data);
    }
    return finish(session, &out, status);
}

struct chunk *sio_writer_disconnect(const struct session *session, struct bytes nsp)
{
    struct builder out = {0};
    (is_packed(session) ? sio_mp_write_disconnect : sio_write_disconnect)(&out, nsp);
    return finish(session, &out, 0);
}

struct chunk *sio_writer_event(
    const struct session *session, const struct sio_head *head, const struct sio_event_out *event)
{
    struct builder out = {0};
    int status = 0;
    if (is_packed(session)) {
        status = sio_mp_write_event(&out, head, event);
    } else {
        sio_write_event(&out, head, event);
    }
    return finish(session, &out, status);
}
