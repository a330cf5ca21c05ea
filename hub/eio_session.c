/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eio_session - private to the session layer: Engine.IO revision 4 over whole messages.
 */
#include "hub/eio_session.h"

#include "codec/base/rand.h"
#include "codec/base64.h"
#include "codec/eio.h"
#include "hub/heartbeat.h"
#include "hub/session_core.h"
#include "hub/sio_session.h"

enum { SID_BYTES = 15, SID_LEN = BASE64URL_LEN(SID_BYTES) };

/*
 * A session id is a secret that nobody can guess: 120 random bits. Over WebSocket nothing is ever
 * looked up by it, so it is not kept.
 */
static void draw_sid(char ret_sid[SID_LEN])
{
    char random[SID_BYTES];
    rand_secret(random, sizeof(random));
    base64url_encode(bytes_of(random, sizeof(random)), ret_sid);
}

void eio_session_open(struct session *session)
{
    const struct session_config *config = session->home->config;
    char sid[SID_LEN];
    draw_sid(sid);
    struct eio_open open = {
        .sid = bytes_of(sid, sizeof(sid)),
        .upgrades = false,
        .ping_interval_ms = config->ping_interval_ms,
        .ping_timeout_ms = config->ping_timeout_ms,
        .max_payload = config->after_auth.message_bytes,
    };
    struct builder out = {0};
    eio_write_open(&out, &open);
    (void)session_send_text(session, &out); /* the first append to an outbox is always taken */
    session_extra(session)->connect_due_ms = session_now(session) + config->connect_timeout_ms;
    session_arm(session);
}

static void on_text(struct session *session, struct bytes text)
{
    struct eio_packet packet;
    if (eio_decode_text(text, &packet) != 0) {
        session_end(session, CLOSE_PARSE);
        return;
    }
    if (packet.type == EIO_PONG) {
        heartbeat_pong(session);
        return;
    }
    heartbeat_other(session);
    switch (packet.type) {
    case EIO_MESSAGE:
        sio_session_text(session, packet.payload);
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

void eio_session_message(struct session *session, bool binary, struct bytes message)
{
    if (binary) {
        heartbeat_other(session);
        sio_session_binary(session, message);
    } else {
        on_text(session, message);
    }
}
