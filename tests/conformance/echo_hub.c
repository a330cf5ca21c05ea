/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echo_hub - the session layer with another application on top: what conformance suites talk to.
 *
 *     echo-hub --port N [--calm] [--recovery]
 *
 * Port 0: a free one; the line "public=127.0.0.1:N" tells which. Deadlines are as short as the
 * suites want them; `--calm` makes them those of the stock server, for clients that may be slow.
 * With `--recovery` clients that drop are continued, in both namespaces.
 *
 * Socket.IO on /socket.io/ as the suites want it (socketio-wire.md 7): namespaces / and /custom;
 * on connection `auth` with the auth object; `message` comes back as `message-back`,
 * `message-with-ack` in its ack. Further events of both namespaces, for our own tests: `ask` sends
 * `question` with its arguments and wants an ack, which comes back as `answer`; `expel` and `drop`
 * disconnect the sender for good and for a time; `burst` N sends N events. The same events on /ws.
 * On /msgpack.io/ the same with the MessagePack parser, on /deflate.io/ with messages from 64 bytes
 * on compressed. Engine.IO without Socket.IO on /engine.io/, where every message comes back, and on
 * /echo a WebSocket that does the same, compressed where the client offers it. Ends on SIGTERM and
 * SIGINT.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/socket.h"
#include "actors/identity.h"
#include "actors/recover/recovery.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/claims.h"
#include "codec/event.h"
#include "codec/json_scan.h"
#include "codec/sio_mp.h"
#include "codec/ws_accept.h"
#include "codec/ws_frame.h"
#include "hub/net/connection.h"
#include "hub/net/crypto.h"
#include "hub/net/http_server.h"
#include "hub/net/listener.h"
#include "hub/net/loop.h"
#include "hub/net/tls_context.h"
#include "hub/net/websocket.h"
#include "hub/session/session.h"
#include "hub/session/session_layer.h"
#include "hub/session/upgrade.h"

enum {
    ECHO_MESSAGE_BYTES = 16 << 20,
    ECHO_FRAGMENTS = 65537, /* Autobahn 9.3.1, 9.4.1 */
    ECHO_WAITING_BYTES = 1 << 20, /* of answers, before a peer of /echo is not read */
    OUTBOUND_BYTES = 64 << 20,
    MAX_PAYLOAD = 1000000,
    RECOVERY_MS = 120000,
    AUTH_TEXT_MAX = 128, /* of pid and offset */
};

static struct listener *listener;
static uint16_t port;
static bool recovery; /* --recovery */

/* --- the Socket.IO application ------------------------------------------------------------- */

/* The auth object of the CONNECT under way: `connect` and `opened` follow one another. */
static struct builder auth;

/* A text of the auth object; empty when it has none of this name. */
static struct bytes auth_text(struct bytes object, const char *name, char *at)
{
    struct bytes value;
    struct bytes text;
    if (object.len == 0 || json_scan_get(object, name, &value) != 0 ||
        json_scan_string(value, at, AUTH_TEXT_MAX, &text) != 0) {
        return bytes_of(NULL, 0);
    }
    return text;
}

/* The socket that the client had before, if it can be continued. */
static struct recoverable *claim(
    struct shard *shard, const struct app_connect *request, const struct identity *identity)
{
    char pid[AUTH_TEXT_MAX];
    char offset[AUTH_TEXT_MAX];
    return recovery_claim(shard, &(struct recovery_claim){
                                     .nsp = request->nsp,
                                     .identity = identity,
                                     .pid = auth_text(request->auth, "pid", pid),
                                     .offset = auth_text(request->auth, "offset", offset),
                                 });
}

static bool recovers(void *context, struct bytes nsp)
{
    return recovery;
}

static struct app_verdict on_connect(
    void *app, struct shard *shard, const struct app_connect *request)
{
    builder_clear(&auth);
    builder_add(&auth, request->auth.len > 0 ? request->auth : BYTES("{}"));
    struct claims *claims = claims_new(&(struct claims_fields){.user = BYTES("echo")});
    CHECK(claims);
    struct identity *identity = identity_new(claims, false);
    return (struct app_verdict){
        .kind = APP_ACCEPT, .identity = identity, .claimed = claim(shard, request, identity)};
}

/* Emit `name` with arguments as JSON text `a,b`, and what its placeholders stand for. */
static void emit(struct socket *socket, const char *name, struct bytes args,
    struct buf *const *attachments, unsigned attachment_count)
{
    struct builder data = {0};
    builder_byte(&data, '[');
    json_scan_write_string(&data, bytes_str(name));
    if (args.len > 0) {
        builder_byte(&data, ',');
        builder_add(&data, args);
    }
    builder_byte(&data, ']');
    struct event *event = NULL;
    unsigned flags = attachment_count > 0 ? EVENT_BINARY : 0;
    if (event_from_json(builder_bytes(&data), attachments, attachment_count, flags, &event) == 0) {
        (void)socket_emit(socket, event);
    }
    event_unref(event);
    builder_reset(&data);
}

static void on_opened(void *app, struct socket *socket)
{
    emit(socket, "auth", builder_bytes(&auth), NULL, 0);
}

static void add_frame(struct builder *out, enum ws_opcode opcode, struct bytes body)
{
    char head[WS_FRAME_HEAD_MAX];
    builder_add(out, bytes_of(head, ws_frame_write_head(head, opcode, false, body.len)));
    builder_add(out, body);
}

/* Answer with the arguments as they came, binary ones too. */
static void answer(struct socket *socket, const struct app_event *event)
{
    if (event->attachment_count == 0) {
        (void)socket_ack(socket, event->id, event->args);
        return;
    }
    struct sio_head head = {.nsp = socket_nsp(socket),
        .has_id = true,
        .id = event->id,
        .attachments = event->attachment_count};
    bool msgpack = socket->format == WIRE_SIO_MSGPACK;
    struct builder packet = {0};
    if (msgpack) {
        CHECK(sio_mp_write_ack(&packet, &head, event->args, event->attachments) == 0);
    } else {
        sio_write_ack(&packet, &head, event->args);
    }
    struct builder frames = {0};
    add_frame(&frames, msgpack ? WS_BINARY : WS_TEXT, builder_bytes(&packet));
    builder_reset(&packet);
    for (unsigned i = 0; i < event->attachment_count && !msgpack; i++) {
        add_frame(&frames, WS_BINARY, buf_bytes(event->attachments[i]));
    }
    struct chunk *chunk = chunk_take(&frames);
    if (chunk) {
        (void)socket_send(socket, chunk);
        chunk_unref(chunk);
    }
}

static void emit_burst(struct socket *socket, struct bytes count)
{
    uint64_t number = 0;
    if (bytes_to_u64(count, 100, &number) != 0) {
        return;
    }
    for (uint64_t i = 0; i < number; i++) {
        struct builder args = {0};
        builder_u64(&args, i);
        emit(socket, "one", builder_bytes(&args), NULL, 0);
        builder_reset(&args);
    }
}

static void on_event(void *app, struct socket *socket, const struct app_event *event)
{
    if (bytes_eq_str(event->name, "message")) {
        emit(socket, "message-back", event->args, event->attachments, event->attachment_count);
    } else if (bytes_eq_str(event->name, "message-with-ack") && event->has_id) {
        answer(socket, event);
    } else if (bytes_eq_str(event->name, "ask")) {
        uint64_t id;
        if (session_ask(socket, BYTES("question"), event->args, &id) != 0) {
            emit(socket, "answer", BYTES("null"), NULL, 0);
        }
    } else if (bytes_eq_str(event->name, "burst")) {
        emit_burst(socket, event->args);
    } else if (bytes_eq_str(event->name, "expel")) {
        socket->ops->disconnect(socket, CLOSE_FORBIDDEN);
    } else if (bytes_eq_str(event->name, "drop")) {
        socket->ops->disconnect(socket, CLOSE_SLOW);
    }
}

static void on_ack(void *app, struct socket *socket, uint64_t id, const struct app_answer *answer)
{
    emit(socket, "answer", json_scan_inside(answer->args), NULL, 0);
}

static void on_closed(void *app, struct socket *socket, enum close_reason reason)
{
    socket_detach(socket, reason);
}

static bool on_has_namespace(void *app, struct bytes nsp)
{
    return bytes_eq_str(nsp, "/") || bytes_eq_str(nsp, "/custom");
}

static const struct app_ops app_ops = {
    .connect = on_connect,
    .opened = on_opened,
    .event = on_event,
    .ack = on_ack,
    .closed = on_closed,
    .has_namespace = on_has_namespace,
};

#define ENGINE_LIMITS(deflate)                                                                     \
    {                                                                                              \
        .message_bytes = MAX_PAYLOAD, .fragments = 64, .control_frames = 20, .queued_replies = 16, \
        .deflate_bytes = (deflate), .deflate_level = 6, .deflate_memory = 8                        \
    }

static struct bytes cors_value(void *context, struct bytes origin, bool *ret_credentials)
{
    return BYTES("*");
}

static void on_raw_message(
    void *context, struct session *session, bool binary, struct bytes message)
{
    (void)session_send_raw(session, binary, message);
}

#define ENGINE_SETTINGS(deflate)                                                                   \
    .app = {.ops = &app_ops}, .cors_value = cors_value, .sha1 = crypto_sha1,                       \
    .before_auth = ENGINE_LIMITS(deflate), .after_auth = ENGINE_LIMITS(deflate),                   \
    .polling_bytes = MAX_PAYLOAD, .ping_interval_ms = 300, .ping_timeout_ms = 200,                 \
    .upgrade_timeout_ms = 1000, .connect_timeout_ms = 1000, .attachments_timeout_ms = 1000,        \
    .attachments_bytes = SIO_ATTACHMENTS_MAX * MAX_PAYLOAD

/* What is served below an Engine.IO path: a session layer of its own. */
static struct engine {
    const char *path;
    struct session_config config;
    struct session_layer *layer;
} engines[] = {
    {.path = "/socket.io/", .config = {ENGINE_SETTINGS(0)}},
    {.path = "/engine.io/", .config = {ENGINE_SETTINGS(0), .raw_message = on_raw_message}},
    {.path = "/msgpack.io/", .config = {ENGINE_SETTINGS(0), .msgpack_parser = true}},
    {.path = "/deflate.io/", .config = {ENGINE_SETTINGS(64)}},
};

/* --- /echo --------------------------------------------------------------------------------- */

struct echo {
    struct websocket websocket;
    bool paused;
};

static void on_echo_message(struct websocket *websocket, bool binary, struct bytes message)
{
    struct echo *echo = container_of(websocket, struct echo, websocket);
    struct connection *connection = websocket->connection;
    struct outbox *outbox = connection_outbox(connection);
    struct builder frame = {0};
    add_frame(&frame, binary ? WS_BINARY : WS_TEXT, message);
    struct chunk *chunk = chunk_take(&frame);
    if (!chunk) {
        websocket_close(websocket, CLOSE_FRAME_TOO_LARGE);
        return;
    }
    struct shard *shard = loop_shard(connection_loop(connection));
    (void)outbox_append(outbox, &shard->dirty_outboxes, chunk, 0, chunk->len);
    chunk_unref(chunk);
    /* Only then is on_drained certain to come: while the kernel takes no more. */
    if (!echo->paused && outbox->busy && outbox->bytes > ECHO_WAITING_BYTES) {
        echo->paused = true;
        connection_pause(connection);
    }
}

static void on_echo_drained(struct websocket *websocket)
{
    struct echo *echo = container_of(websocket, struct echo, websocket);
    if (echo->paused) {
        echo->paused = false;
        connection_resume(websocket->connection);
    }
}

static void on_echo_closed(struct websocket *websocket, enum close_reason reason)
{
    mem_free(container_of(websocket, struct echo, websocket));
}

static void on_echo_request(struct http_request *request, void *context)
{
    static const struct websocket_ops ops = {
        .on_message = on_echo_message, .on_closed = on_echo_closed, .on_drained = on_echo_drained};
    static const struct websocket_limits limits = {.message_bytes = ECHO_MESSAGE_BYTES,
        .fragments = ECHO_FRAGMENTS,
        .control_frames = 100000,
        .queued_replies = 64,
        .deflate_bytes = 1,
        .deflate_level = 1,
        .deflate_memory = 8};
    struct ws_accept accept;
    if (ws_accept_check(request->head, &accept) != 0) {
        http_respond(request, accept.refusal, "text/plain", BYTES(""), BYTES("WebSocket only\n"));
        return;
    }
    struct builder out = {0};
    struct builder extensions = {0};
    int bits = ws_accept_deflate(request->head, &extensions);
    if (bits < 0) {
        http_respond(request, 400, "text/plain", BYTES(""), BYTES("Malformed extensions\n"));
        return;
    }
    struct ws_accept_answer answer = {
        .key = accept.key, .sha1 = crypto_sha1, .extensions = builder_bytes(&extensions)};
    CHECK(ws_accept_write(&out, &answer) == 0);
    builder_reset(&extensions);
    struct connection *connection = request->connection;
    http_upgrade(request, builder_bytes(&out));
    builder_reset(&out);
    struct echo *echo = mem_alloc(sizeof(*echo));
    websocket_init(&echo->websocket, connection, &limits, &ops);
    websocket_set_deflate(&echo->websocket, (unsigned)bits);
}

/* --- the program --------------------------------------------------------------------------- */

static struct session_layer *layer_of(const struct http_request *request)
{
    size_t i = 0;
    while (!bytes_starts(request->path, bytes_str(engines[i].path))) {
        i++; /* only their paths are routed */
    }
    return engines[i].layer;
}

static void on_engine_request(struct http_request *request, void *context)
{
    upgrade_engine(layer_of(request), request);
}

static void on_engine_waiting(struct http_request *request, void *context)
{
    upgrade_engine_waiting(layer_of(request), request);
}

static void on_engine_refuse(struct http_request *request, unsigned status, void *context)
{
    upgrade_engine_refuse(layer_of(request), request, status);
}

static void on_plain_request(struct http_request *request, void *context)
{
    upgrade_plain(engines[0].layer, request);
}

#define ENGINE_ROUTE(prefix)                                                                       \
    {                                                                                              \
        .method = "*", .path = (prefix), .handler = on_engine_request, .max_body = MAX_PAYLOAD,    \
        .waiting = on_engine_waiting, .refuse = on_engine_refuse                                   \
    }

static const struct http_route routes[] = {
    ENGINE_ROUTE("/socket.io/*"),
    ENGINE_ROUTE("/engine.io/*"),
    ENGINE_ROUTE("/msgpack.io/*"),
    ENGINE_ROUTE("/deflate.io/*"),
    {.method = "GET", .path = "/ws", .handler = on_plain_request},
    {.method = "GET", .path = "/echo", .handler = on_echo_request},
    {0},
};

static const struct http_server_config http_config = {
    .routes = routes,
    .max_head_bytes = 8192,
    .max_headers = 64,
    .head_timeout_ms = 5000,
    .body_timeout_ms = 5000,
    .idle_timeout_ms = 5000,
};

static const char *tls_files[2]; /* certificate and key; NULL: no TLS */
static struct tls_context *tls;

static void on_accept(struct connection *connection, void *context)
{
    http_serve(connection, &http_config);
}

static int on_start(struct loop *loop, void *context)
{
    struct shard *shard = loop_shard(loop);
    shard_open_nsp(shard, BYTES("/"));
    shard_open_nsp(shard, BYTES("/custom"));
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        session_layer_start(engines[i].layer, shard);
    }
    struct listener_config config = {.host = "*", .port = port, .tls = tls, .on_accept = on_accept};
    int status = listener_open(loop, &config, &listener);
    if (status == 0) {
        port = listener_port(listener);
    }
    return status;
}

static void on_stop(struct loop *loop, void *context)
{
    listener_close(listener);
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        session_layer_stop(engines[i].layer, loop_shard(loop), CLOSE_DRAINING);
    }
}

static void block_signals(sigset_t *ret_ending)
{
    sigemptyset(ret_ending);
    sigaddset(ret_ending, SIGTERM);
    sigaddset(ret_ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, ret_ending, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void be_calm(void)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        engines[i].config.ping_interval_ms = 25000;
        engines[i].config.ping_timeout_ms = 20000;
        engines[i].config.upgrade_timeout_ms = 10000;
        engines[i].config.connect_timeout_ms = 45000;
        engines[i].config.attachments_timeout_ms = 45000;
    }
}

static bool open_tls(void)
{
    struct builder error = {0};
    const struct tls_options options = {.names = {"--tls CERT", "--tls KEY", ""},
        .certs = &tls_files[0],
        .keys = &tls_files[1],
        .count = 1,
        .ca = "",
        .http = true,
        .ticket_secret = BYTES("of one process")};
    int status = tls_context_new(&options, &error, &tls);
    struct bytes text = builder_bytes(&error);
    if (status != 0) {
        fprintf(stderr, "echo-hub: %.*s\n", (int)text.len, text.at);
    }
    builder_reset(&error);
    return status == 0;
}

static bool parse_arguments(int argc, char **argv)
{
    uint64_t number;
    bool right = argc >= 3 && strcmp(argv[1], "--port") == 0 &&
                 bytes_to_u64(bytes_str(argv[2]), UINT16_MAX, &number) == 0;
    for (int i = 3; right && i < argc; i++) {
        if (strcmp(argv[i], "--calm") == 0) {
            be_calm();
        } else if (strcmp(argv[i], "--recovery") == 0) {
            recovery = true;
        } else if (strcmp(argv[i], "--tls") == 0 && i + 2 < argc) {
            tls_files[0] = argv[i + 1];
            tls_files[1] = argv[i + 2];
            i += 2;
        } else {
            right = false;
        }
    }
    if (!right) {
        fprintf(stderr, "usage: echo-hub --port N [--calm] [--recovery] [--tls CERT KEY]\n");
        return false;
    }
    port = (uint16_t)number;
    return true;
}

int main(int argc, char **argv)
{
    static const struct actor_config actor_config = {.node = "echo",
        .epoch = "",
        .tick_ms = 100,
        .events_per_tick = 8,
        .outbound_bytes = OUTBOUND_BYTES,
        .slow_consumer_ms = 30000,
        .recovery = {.age_ms = RECOVERY_MS,
            .replay_ms = RECOVERY_MS,
            .bytes = OUTBOUND_BYTES,
            .events = 100000,
            .sessions = 1000},
        .recovers = recovers};
    if (!parse_arguments(argc, argv)) {
        return 2;
    }
    if (tls_files[0] != NULL && !open_tls()) {
        return 2;
    }
    sigset_t ending;
    block_signals(&ending);
    struct actor_system *system = actor_system_create(1);
    struct shard shard;
    shard_init(&shard, actor_system_sched(system, 0), &actor_config);
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        engines[i].layer = session_layer_create(&engines[i].config, 1);
    }
    struct loop *loop;
    struct loop_config loop_config = {
        .system = system, .shard = &shard, .on_start = on_start, .on_stop = on_stop};
    if (loop_create(&loop_config, &loop) != 0 || loop_start(loop) != 0) {
        return 1;
    }
    printf("public=127.0.0.1:%u\n", (unsigned)port);
    fflush(stdout);
    int received;
    sigwait(&ending, &received);
    loop_stop(loop);
    loop_join(loop);
    loop_destroy(loop);
    actor_system_destroy(system);
    shard_finish(&shard);
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        session_layer_destroy(engines[i].layer);
    }
    builder_reset(&auth);
    tls_context_unref(tls);
    return 0;
}
