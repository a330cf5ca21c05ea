/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade - HTTP requests that become sessions: Engine.IO's path, and the plain WebSocket's.
 */
#include "hub/session/upgrade.h"

#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/eio.h"
#include "codec/http1.h"
#include "codec/query.h"
#include "codec/ws_accept.h"
#include "codec/ws_frame.h"
#include "hub/net/connection.h"
#include "hub/net/http_server.h"
#include "hub/net/loop.h"
#include "hub/session/connect.h"
#include "hub/session/eio_session.h"
#include "hub/session/engine_reply.h"
#include "hub/session/handshake.h"
#include "hub/session/poll_call.h"
#include "hub/session/poll_names.h"
#include "hub/session/polling.h"
#include "hub/session/polling_state.h"
#include "hub/session/session_core.h"
#include "hub/session/session_life.h"
#include "hub/session/ws_transport.h"

enum { REMOTE_MAX = 46 };

/* Refuse what is no WebSocket handshake. */
static void refuse_handshake(struct http_request *request, unsigned status)
{
    struct bytes headers = {0};
    if (status == 426) {
        headers = BYTES("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n");
    }
    http_respond(request, status, "text/plain", headers, bytes_str(http1_reason(status)));
}

/*
 * Answer 101 and give the connection to a new session, which takes `extra`. NULL: it was answered
 * 400, or 503 without memory.
 */
static struct session *become_session(struct session_part *part, struct http_request *request,
    struct session_extra *extra, enum session_kind kind, struct ws_accept_answer *answer)
{
    struct session *session = session_create(part, kind, extra);
    if (!session) {
        session_extra_destroy(extra);
        handshake_refuse_starved(request);
        return NULL;
    }
    struct builder out = {0};
    int bits = engine_reply_upgrade(part->config, request, kind == SESSION_ENGINE, answer, &out);
    if (bits < 0) {
        session_destroy(session);
        builder_reset(&out);
        if (bits == STATUS_NOMEM) {
            handshake_refuse_starved(request);
        } else {
            refuse_handshake(request, 400);
        }
        return NULL;
    }
    struct connection *connection = request->connection;
    http_upgrade(request, builder_bytes(&out));
    builder_reset(&out);
    ws_transport_init(session, connection);
    websocket_set_deflate(&session->websocket, (unsigned)bits);
    return session;
}

/* --- Engine.IO ----------------------------------------------------------------------------- */

/* How a client may talk Engine.IO; a row for each value of the `transport` parameter. */
struct engine_transport {
    const char *name;
    bool polling; /* otherwise the request must be a WebSocket upgrade */
    void (*handshake)(struct session_part *part, struct http_request *request);
};

static void handshake_polling(struct session_part *part, struct http_request *request);
static void handshake_websocket(struct session_part *part, struct http_request *request);

static const struct engine_transport engine_transports[] = {
    {.name = "polling", .polling = true, .handshake = handshake_polling},
    {.name = "websocket", .handshake = handshake_websocket},
};

static const struct engine_transport *find_transport(
    const struct session_config *config, const struct http_request *request)
{
    char at[16];
    struct bytes name = handshake_parameter(request, "transport", at, sizeof(at));
    for (size_t i = 0; i < ARRAY_LEN(engine_transports); i++) {
        const struct engine_transport *transport = &engine_transports[i];
        bool off = transport->polling ? config->without_polling : config->without_websocket;
        if (!off && bytes_eq_str(name, transport->name)) {
            return transport;
        }
    }
    return NULL;
}

/* The session that a request names; false when it names none. What cannot be one is too long. */
static bool find_sid(
    const struct http_request *request, char *at, size_t cap, struct bytes *ret_sid)
{
    *ret_sid = bytes_of(NULL, 0);
    int status = query_get(request->query, "sid", at, cap, ret_sid);
    return status != STATUS_NOT_FOUND && (status != 0 || ret_sid->len > 0);
}

/* The checks of a handshake, in the order of stock servers. Returns an enum eio_error, or -1. */
static int check_handshake(const struct session_config *config, const struct http_request *request,
    const struct engine_transport *transport)
{
    char at[8];
    if (request->head->method != HTTP1_GET) {
        return EIO_ERROR_BAD_METHOD;
    }
    if (transport->polling == request->head->has_upgrade) {
        return EIO_ERROR_BAD_REQUEST;
    }
    if (!handshake_origin_allowed(config, request)) {
        return EIO_ERROR_FORBIDDEN;
    }
    if (!bytes_eq_str(handshake_parameter(request, "EIO", at, sizeof(at)), "4")) {
        return EIO_ERROR_BAD_VERSION;
    }
    return -1;
}

static struct session_part *home_of(struct session_layer *layer, const struct http_request *request)
{
    return session_layer_part(layer, loop_shard(request->loop));
}

/* A request of a session that polls; one that is to be upgraded must be a good handshake. */
static void call_session(struct session_part *part, struct http_request *request, struct bytes sid,
    const struct engine_transport *transport)
{
    struct ws_accept accept;
    if (!transport->polling && request->head->has_upgrade &&
        ws_accept_check(request->head, &accept) != 0) {
        refuse_handshake(request, accept.refusal);
        return;
    }
    poll_call_begin(part, request, sid, transport->polling);
}

void upgrade_engine(struct session_layer *layer, struct http_request *request)
{
    struct session_part *part = home_of(layer, request);
    const struct session_config *config = part->config;
    if (engine_reply_preflight(config, request)) {
        return;
    }
    const struct engine_transport *transport = find_transport(config, request);
    if (!transport) {
        engine_reply_error(config, request, EIO_ERROR_TRANSPORT_UNKNOWN);
        return;
    }
    char at[64];
    struct bytes sid;
    if (find_sid(request, at, sizeof(at), &sid)) {
        call_session(part, request, sid, transport);
        return;
    }
    int error = check_handshake(config, request, transport);
    if (error >= 0) {
        handshake_log_refusal(part, request, (enum eio_error)error);
        engine_reply_error(config, request, (enum eio_error)error);
    } else if (part->refusing) {
        handshake_refuse_draining(request);
    } else {
        transport->handshake(part, request);
    }
}

void upgrade_engine_waiting(struct session_layer *layer, struct http_request *request)
{
    struct session_part *part = home_of(layer, request);
    const struct engine_transport *transport = find_transport(part->config, request);
    char at[64];
    struct bytes sid;
    if (transport && transport->polling && request->head->method == HTTP1_POST &&
        !request->head->has_upgrade && find_sid(request, at, sizeof(at), &sid)) {
        poll_call_waiting(part, request, sid);
    }
}

void upgrade_engine_refuse(
    struct session_layer *layer, struct http_request *request, unsigned status)
{
    poll_call_refused(home_of(layer, request), request, status);
}

static bool has_origin(const struct http_request *request)
{
    size_t cursor = 0;
    struct bytes origin;
    return http1_header_next(request->head, "Origin", &cursor, &origin);
}

static void handshake_polling(struct session_part *part, struct http_request *request)
{
    char remote[REMOTE_MAX];
    connection_remote(request->connection, remote);
    struct session_extra *extra =
        handshake_remember(request, bytes_of(NULL, 0), part->config->query_token);
    struct poll_session *poll = extra ? polling_new(part, bytes_str(remote)) : NULL;
    if (!poll) {
        session_extra_destroy(extra);
        handshake_refuse_starved(request);
        return;
    }
    struct session *session = &poll->session;
    session_init(session, part, SESSION_ENGINE, extra);
    polling_begin(session);
    session->cross_domain = has_origin(request);
    struct bytes sid = poll_names_sid(session);
    struct builder open = {0};
    eio_session_open(session, sid, true, &open);
    engine_reply_open(part->config, request, sid, builder_bytes(&open));
    builder_reset(&open);
}

static void handshake_websocket(struct session_part *part, struct http_request *request)
{
    const struct session_config *config = part->config;
    struct ws_accept accept;
    if (ws_accept_check(request->head, &accept) != 0) {
        refuse_handshake(request, accept.refusal);
        return;
    }
    struct session_extra *extra =
        handshake_remember(request, bytes_of(NULL, 0), config->query_token);
    if (!extra) {
        handshake_refuse_starved(request);
        return;
    }
    struct ws_accept_answer answer = {
        .key = accept.key, .protocol = ws_accept_first_protocol(request->head)};
    bool cross_domain = has_origin(request); /* the request does not outlive what follows */
    struct session *session = become_session(part, request, extra, SESSION_ENGINE, &answer);
    if (session) {
        char sid[SID_LEN]; /* nothing is ever looked up by it over WebSocket: it is not kept */
        struct builder open = {0};
        session->cross_domain = cross_domain;
        poll_names_draw(part, sid);
        eio_session_open(session, bytes_of(sid, sizeof(sid)), false, &open);
        (void)session_send_text(session, &open); /* the first append to an outbox is always taken */
    }
}

/* --- the plain WebSocket ------------------------------------------------------------------- */

struct plain_offer {
    enum session_kind kind;
    struct bytes protocol; /* empty: none of ours was offered */
    struct bytes token;
};

/* The first of our subprotocols in the client's order, and the token beside it. */
static struct plain_offer read_offer(const struct http_request *request)
{
    struct plain_offer offer = {0};
    struct bytes prefix = BYTES("peal.token.");
    struct ws_accept_walk walk = {0};
    struct bytes protocol;
    while (ws_accept_next_protocol(request->head, &walk, &protocol)) {
        if (bytes_starts(protocol, prefix)) {
            offer.token = bytes_skip(protocol, prefix.len);
        } else if (offer.protocol.len == 0 && bytes_eq_str(protocol, "peal.json.v1")) {
            offer.protocol = protocol;
            offer.kind = SESSION_JSON;
        } else if (offer.protocol.len == 0 && bytes_eq_str(protocol, "peal.msgpack.v1")) {
            offer.protocol = protocol;
            offer.kind = SESSION_MSGPACK;
        }
    }
    return offer;
}

/* How an application's refusal is told, by its code; the last row is for every other. */
struct plain_refusal {
    enum error_code code;
    enum close_reason reason;
};

static const struct plain_refusal *find_refusal(enum error_code code)
{
    static const struct plain_refusal rows[] = {
        {ERROR_FORBIDDEN, CLOSE_FORBIDDEN},
        {ERROR_RATE_LIMITED, CLOSE_TOO_MANY},
        {ERROR_UNAVAILABLE, CLOSE_DRAINING},
        {ERROR_UNAUTHORIZED, CLOSE_UNAUTHORIZED},
    };
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(rows) && code != rows[i].code) {
        i++;
    }
    return &rows[i];
}

/*
 * Answer 101 and a close frame: pages are not shown the status of a refused handshake, and would
 * take the hub for one that is away. No session is made.
 */
static void refuse_closing(struct session_part *part, struct http_request *request,
    const struct plain_offer *offer, struct bytes key, enum close_reason reason,
    const char *message)
{
    const struct ws_accept_answer answer = {
        .key = key, .sha1 = part->config->sha1, .protocol = offer->protocol};
    struct builder out = {0};
    if (ws_accept_write(&out, &answer) != 0) {
        builder_reset(&out);
        refuse_handshake(request, 400);
        return;
    }
    char payload[WS_FRAME_CONTROL_MAX];
    char head[WS_FRAME_HEAD_MAX];
    size_t len = ws_frame_write_close(payload, close_code(reason), bytes_str(message));
    builder_add(&out, bytes_of(head, ws_frame_write_head(head, WS_CLOSE, false, len)));
    builder_add(&out, bytes_of(payload, len));
    http_close(request, builder_bytes(&out), reason);
    builder_reset(&out);
}

/* What a page can send is only a subprotocol: who shows the token there is told by a close code. */
static void refuse_plain(struct session_part *part, struct http_request *request,
    const struct plain_offer *offer, struct bytes key, const struct app_verdict *verdict)
{
    const struct plain_refusal *refusal = find_refusal(verdict->code);
    if (offer->token.len > 0) {
        refuse_closing(part, request, offer, key, refusal->reason, verdict->message);
    } else {
        http_respond_error(request, refusal->code, verdict->message, NULL);
    }
}

/* Open the session that the application has accepted, here or on the user's shard. */
static void open_plain(struct session_part *part, struct http_request *request,
    struct session_extra *extra, struct app_verdict *verdict, const struct plain_offer *offer,
    struct bytes key)
{
    struct ws_accept_answer answer = {.key = key, .protocol = offer->protocol};
    struct session *session = become_session(part, request, extra, offer->kind, &answer);
    if (!session) {
        identity_unref(verdict->identity);
        return;
    }
    session_start(session);
    connect_decided(session, verdict);
}

void upgrade_plain(struct session_layer *layer, struct http_request *request)
{
    struct session_part *part = session_layer_part(layer, loop_shard(request->loop));
    const struct session_config *config = part->config;
    if (part->refusing) {
        handshake_refuse_draining(request);
        return;
    }
    struct ws_accept accept;
    if (ws_accept_check(request->head, &accept) != 0) {
        refuse_handshake(request, accept.refusal);
        return;
    }
    struct plain_offer offer = read_offer(request);
    if (offer.protocol.len == 0) {
        http_respond_error(request, ERROR_BAD_REQUEST,
            "Subprotocol peal.json.v1 or peal.msgpack.v1 is required", NULL);
        return;
    }
    struct session_extra *extra = handshake_remember(request, offer.token, config->query_token);
    if (!extra) {
        handshake_refuse_starved(request);
        return;
    }
    struct app_connect asked = extra->request;
    asked.nsp = BYTES("/");
    if (!handshake_origin_allowed(config, request)) {
        session_extra_destroy(extra);
        handshake_log_refusal(part, request, EIO_ERROR_FORBIDDEN);
        http_respond_error(request, ERROR_FORBIDDEN, "Origin not allowed", NULL);
        return;
    }
    struct app_verdict verdict = config->app.ops->connect(config->app.context, part->shard, &asked);
    if (verdict.kind == APP_REFUSE) {
        session_extra_destroy(extra);
        refuse_plain(part, request, &offer, accept.key, &verdict);
        return;
    }
    open_plain(part, request, extra, &verdict, &offer, accept.key);
}
