/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sio_session - private to the session layer: Socket.IO revision 5 on an Engine.IO session.
 *
 * Whatever breaks the protocol ends the whole session (socketio-wire.md 2), with one exception:
 * what was in flight when we had sent a socket away is dropped in silence.
 */
#include "hub/session/sio_session.h"

#include "actors/close.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/server_events.h"
#include "codec/sio.h"
#include "codec/sio_mp.h"
#include "hub/session/connect.h"
#include "hub/session/deadlines.h"
#include "hub/session/session_core.h"
#include "hub/session/session_life.h"
#include "hub/session/sio_writer.h"

/* JSON is at most this much longer than the MessagePack it was made of (nil, control characters).
 */
enum { JSON_GROWTH = 8, JSON_SLACK = 64 };

/* --- answers to CONNECT -------------------------------------------------------------------- */

bool sio_session_welcome(struct session *session, struct bytes nsp, struct socket *socket)
{
    struct bytes sid = bytes_of(socket->sid, SOCKET_SID_LEN);
    return session_send_made(session, sio_writer_connect(session, nsp, sid, socket_pid(socket)));
}

void sio_session_refuse(
    struct session *session, struct bytes nsp, struct bytes message, const char *code)
{
    struct builder data = {0};
    if (code) {
        builder_str(&data, "{\"code\":");
        json_scan_write_string(&data, bytes_str(code));
        builder_byte(&data, '}');
    }
    /* Lost only by a peer that does not read. */
    (void)session_send_made(
        session, sio_writer_refusal(session, nsp, message, builder_bytes(&data)));
    builder_reset(&data);
    if (++session_extra(session)->refusals >= SESSION_REFUSALS_MAX) {
        session_end(session, CLOSE_TOO_MANY);
    }
}

/* --- leaving ------------------------------------------------------------------------------- */

/* Send hub:closing and DISCONNECT; false when there was no room or memory for both. */
static bool tell_closing(struct session *session, struct socket *socket, enum close_reason reason)
{
    struct event *closing =
        server_events_closing(close_code(reason), bytes_str(close_text(reason)));
    bool sent = closing != NULL && socket_emit(socket, closing);
    event_unref(closing);

    struct chunk *chunk = sio_writer_disconnect(session, socket_nsp(socket));
    sent = sent && chunk && socket_send(socket, chunk);
    if (chunk) {
        chunk_unref(chunk);
    }
    return sent;
}

static void tell_one(struct session *session, struct socket *socket, void *context)
{
    if (!socket->closing) {
        socket->left = true;
        (void)tell_closing(session, socket, *(enum close_reason *)context); /* so does the frame */
    }
}

void sio_session_tell_closing(struct session *session, enum close_reason reason)
{
    session_each_socket(session, tell_one, &reason);
}

void sio_session_expel(struct session *session, struct socket *socket, enum close_reason reason)
{
    if (!tell_closing(session, socket, reason)) {
        session_end(session, reason); /* its outbox is full: it cannot be told */
        return;
    }
    socket->closing = true;
    socket->left = true;
    session->expelled = 1;
    session->reason = reason;
    session_drop_later(session);
}

/*
 * The socket a packet is for. NULL: there is none, and the session has been ended, unless the
 * packet may have been under way when we sent that socket away.
 */
static struct socket *addressee(struct session *session, struct bytes nsp)
{
    struct socket *socket = session_find_socket(session, nsp);
    if (socket && !socket->closing) {
        return socket;
    }
    if (!session->expelled) {
        session_end(session, CLOSE_PARSE);
    }
    return NULL;
}

static void on_disconnect(struct session *session, const struct sio_packet *packet)
{
    struct socket *socket = addressee(session, packet->nsp);
    if (socket) {
        socket->left = true;
        session_drop_socket(session, socket, CLOSE_PEER);
        if (session->part->config->rejoin_timeout_ms > 0) { /* nobody counts it meanwhile */
            session_await_join(session, session->part->config->rejoin_timeout_ms);
        }
        session_trim(session);
    }
}

/* --- EVENT and ACK ------------------------------------------------------------------------- */

static void on_event(
    struct session *session, const struct sio_packet *packet, struct buf *const *attachments)
{
    struct socket *socket = addressee(session, packet->nsp);
    if (!socket) {
        return;
    }
    char name[SIO_EVENT_NAME_MAX];
    struct sio_event event;
    if (sio_event_split(packet->payload, name, &event) != 0) {
        session_end(session, CLOSE_PARSE);
        return;
    }
    struct app_event app_event = {
        .name = event.name,
        .data = packet->payload,
        .args = event.args,
        .has_id = packet->has_id,
        .id = packet->id,
        .attachments = attachments,
        .attachment_count = packet->attachments,
    };
    session->part->shard->stats.events_in++;
    const struct app *app = &session->part->config->app;
    app->ops->event(app->context, socket, &app_event);
}

static void on_ack(
    struct session *session, const struct sio_packet *packet, struct buf *const *attachments)
{
    struct socket *socket = addressee(session, packet->nsp);
    if (!socket) {
        return;
    }
    if (!packet->has_id) {
        session_end(session, CLOSE_PARSE);
        return;
    }
    const struct app *app = &session->part->config->app;
    struct app_answer answer = {
        .args = packet->payload,
        .attachments = attachments,
        .attachment_count = packet->attachments,
    };
    app->ops->ack(app->context, socket, packet->id, &answer);
}

/* --- binary packets ------------------------------------------------------------------------ */

/* Keep a binary packet until its attachments are there. */
static void begin_assembly(
    struct session *session, const struct sio_packet *packet, struct bytes text)
{
    if (!addressee(session, packet->nsp) && session_is_over(session)) {
        return;
    }
    struct buf *copy = buf_new(text);
    if (!copy) {
        session_end(session, CLOSE_NO_MEMORY);
        return;
    }
    struct session_assembly *assembly = &session_extra(session)->assembly;
    assembly->text = copy;
    assembly->expected = packet->attachments;
    assembly->due_ms = session_now(session) + session->part->config->attachments_timeout_ms;
    deadlines_arm(session);
}

/* All attachments are there: the packet happens now. */
static void finish_assembly(struct session *session)
{
    struct session_assembly assembly = session->extra->assembly;
    session->extra->assembly = (struct session_assembly){0};
    session_trim(session);
    deadlines_arm(session);
    struct sio_packet packet;
    int status = sio_decode(buf_bytes(assembly.text), &packet);
    CHECK(status == 0); /* it was decoded once, when it arrived */
    if (packet.type == SIO_BINARY_EVENT) {
        on_event(session, &packet, assembly.attachments);
    } else {
        on_ack(session, &packet, assembly.attachments);
    }
    buf_unref(assembly.text);
    for (unsigned i = 0; i < assembly.count; i++) {
        buf_unref(assembly.attachments[i]);
    }
}

static void take_attachment(struct session *session, struct bytes data)
{
    struct session_assembly *assembly = session->extra ? &session->extra->assembly : NULL;
    if (!assembly || !assembly->text) {
        session_end(session, CLOSE_PARSE);
        return;
    }
    assembly->bytes += data.len;
    if (assembly->bytes > session->part->config->attachments_bytes) {
        session_too_large(session);
        return;
    }
    struct buf *attachment = buf_new(data);
    if (!attachment) {
        session_end(session, CLOSE_NO_MEMORY);
        return;
    }
    assembly->attachments[assembly->count++] = attachment;
    if (assembly->count == assembly->expected) {
        finish_assembly(session);
    }
}

/* --- dispatch ------------------------------------------------------------------------------ */

/* `raw` is the packet as it came; `attachments` are there only where they stand in it. */
static void dispatch(struct session *session, const struct sio_packet *packet, struct bytes raw,
    struct buf *const *attachments)
{
    switch (packet->type) {
    case SIO_CONNECT:
        connect_ask(session, packet->nsp, packet->payload);
        break;
    case SIO_DISCONNECT:
        on_disconnect(session, packet);
        break;
    case SIO_EVENT:
        on_event(session, packet, attachments);
        break;
    case SIO_ACK:
        on_ack(session, packet, attachments);
        break;
    case SIO_BINARY_EVENT:
    case SIO_BINARY_ACK:
        begin_assembly(session, packet, raw);
        break;
    case SIO_CONNECT_ERROR:
        session_end(session, CLOSE_PARSE);
        break;
    }
}

static void take_text(struct session *session, struct bytes text)
{
    struct sio_packet packet;
    if (sio_decode(text, &packet) != 0) {
        session_end(session, CLOSE_PARSE);
        return;
    }
    dispatch(session, &packet, text, NULL);
}

/* A packet of the MessagePack parser: what is binary in it becomes attachments. */
static void take_map(struct session *session, struct bytes message)
{
    struct builder text = {.max = message.len * JSON_GROWTH + JSON_SLACK};
    struct bytes found[SIO_ATTACHMENTS_MAX];
    struct mp_bins bins = {.at = found, .max = SIO_ATTACHMENTS_MAX};
    struct buf *attachments[SIO_ATTACHMENTS_MAX] = {NULL};
    struct sio_packet packet;
    bool good = sio_mp_decode(message, &text, &bins, &packet) == 0;
    for (uint32_t i = 0; good && i < bins.count; i++) {
        attachments[i] = buf_new(found[i]);
        good = attachments[i] != NULL;
    }
    if (good) {
        dispatch(session, &packet, message, attachments);
    } else {
        session_end(session, CLOSE_PARSE);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(attachments); i++) {
        buf_unref(attachments[i]);
    }
    builder_reset(&text);
}

void sio_session_text(struct session *session, struct bytes text)
{
    if (session->part->config->msgpack_parser) {
        session_end(session, CLOSE_PARSE); /* the client has another parser */
        return;
    }
    if (session->extra && session->extra->assembly.text) {
        session_end(session, CLOSE_PARSE); /* an attachment was due */
        return;
    }
    take_text(session, text);
}

void sio_session_binary(struct session *session, struct bytes data)
{
    (session->part->config->msgpack_parser ? take_map : take_attachment)(session, data);
}

struct chunk *sio_session_question(
    const struct session *session, struct socket *socket, const struct sio_event_out *event)
{
    struct sio_head head = {.nsp = socket_nsp(socket), .has_id = true, .id = session->asked};
    return sio_writer_event(session, &head, event);
}
