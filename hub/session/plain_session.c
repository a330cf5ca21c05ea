/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain_session - private to the session layer: the plain WebSocket (`/ws`), arrays of packets.
 *
 * One socket in the namespace "/", accepted before the upgrade. `hub:ping` and `hub:pong` stand in
 * for the WebSocket's own pings, which browsers do not show.
 */
#include "hub/session/plain_session.h"

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/packet.h"
#include "codec/server_events.h"
#include "codec/sio.h"
#include "codec/wire.h"
#include "hub/session/connect.h"
#include "hub/session/deadlines.h"
#include "hub/session/session_core.h"
#include "hub/session/session_life.h"

/* --- packets ------------------------------------------------------------------------------- */

static void on_answer(struct session *session, const struct packet *packet)
{
    struct builder args = {0};
    builder_byte(&args, '[');
    builder_add(&args, packet->args);
    builder_byte(&args, ']');
    const struct app *app = &session->part->config->app;
    if (!builder_failed(&args)) {
        struct app_answer answer = {.args = builder_bytes(&args)};
        app->ops->ack(app->context, &session->first, (uint64_t)-packet->id, &answer);
    }
    builder_reset(&args);
}

static void on_event(struct session *session, const struct packet *packet)
{
    struct builder data = {0};
    builder_byte(&data, '[');
    json_scan_write_string(&data, packet->name);
    if (packet->args.len > 0) {
        builder_byte(&data, ',');
        builder_add(&data, packet->args);
    }
    builder_byte(&data, ']');
    struct app_event event = {
        .name = packet->name,
        .data = builder_bytes(&data),
        .args = packet->args,
        .has_id = packet->id > 0,
        .id = packet->id > 0 ? (uint64_t)packet->id : 0,
    };
    session->part->shard->stats.events_in++;
    const struct app *app = &session->part->config->app;
    if (!builder_failed(&data)) {
        app->ops->event(app->context, &session->first, &event);
    } else {
        session_end(session, CLOSE_NO_MEMORY);
    }
    builder_reset(&data);
}

static void on_packet(struct session *session, const struct packet *packet)
{
    if (packet->id == 0 && bytes_eq(packet->name, BYTES("hub:pong"))) {
        deadlines_pong(session);
        return;
    }
    deadlines_other(session);
    if (packet->id < 0) {
        on_answer(session, packet);
    } else {
        on_event(session, packet);
    }
}

static enum close_reason reason_of(int status)
{
    switch (status) {
    case STATUS_UTF8:
        return CLOSE_NOT_UTF8;
    case STATUS_TOO_LARGE:
        return CLOSE_TOO_LARGE;
    case STATUS_NOMEM:
        return CLOSE_NO_MEMORY;
    default:
        return CLOSE_BAD_REQUEST;
    }
}

static void take_message(struct session *session, bool binary, struct bytes message)
{
    bool msgpack = session->kind == SESSION_MSGPACK;
    if (binary != msgpack) {
        session_end(session, CLOSE_BAD_REQUEST);
        return;
    }
    struct packet_reader reader;
    int status = packet_reader_init(&reader, msgpack ? PACKET_MSGPACK : PACKET_JSON, message);
    if (status != 0) {
        session_end(session, reason_of(status));
        return;
    }
    struct packet packet;
    while (!session_is_over(session) && packet_next(&reader, &packet)) {
        on_packet(session, &packet);
    }
    packet_reader_finish(&reader);
}

/* --- what goes out ------------------------------------------------------------------------- */

/* The 101 has said it. */
static bool welcome(struct session *session, struct bytes nsp, struct socket *socket)
{
    return true;
}

/* It was accepted before its upgrade: the token has expired since. */
static void refuse(
    struct session *session, struct bytes nsp, struct bytes message, const char *code)
{
    session_end(session, CLOSE_UNAUTHORIZED);
}

/* `[[id,"name",args]]` */
static struct chunk *make_question(
    const struct session *session, struct socket *socket, const struct sio_event_out *event)
{
    struct builder out = {0};
    builder_printf(&out, "[[%u,", (unsigned)session->asked);
    json_scan_write_string(&out, event->name);
    if (event->args.len > 0) {
        builder_byte(&out, ',');
        builder_add(&out, event->args);
    }
    builder_str(&out, "]]");
    struct chunk *chunk = session_chunk(&out, false);
    builder_reset(&out);
    return chunk;
}

static struct chunk *encode_ping(enum wire_format format)
{
    struct event *ping = server_events_ping();
    struct builder frame = {0};
    int status = ping == NULL ? STATUS_NOMEM : wire_event(format, BYTES("/"), ping, &frame);
    CHECK(status == 0); /* a shard starts */
    event_unref(ping);
    return chunk_take(&frame);
}

static struct chunk *make_ping(void)
{
    return encode_ping(WIRE_JSON);
}

static struct chunk *make_packed_ping(void)
{
    return encode_ping(WIRE_MSGPACK);
}

const struct protocol plain_json_protocol = {
    .message = take_message,
    .arrived = connect_arrived,
    .welcome = welcome,
    .refuse = refuse,
    .question = make_question,
    .ping = make_ping,
};

const struct protocol plain_msgpack_protocol = {
    .message = take_message,
    .arrived = connect_arrived,
    .welcome = welcome,
    .refuse = refuse,
    .ping = make_packed_ping,
};
