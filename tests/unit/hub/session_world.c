/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_world - a session layer over tests/support/fake_hub.h and an application that keeps a
 * diary of what it was told.
 */
#include "tests/unit/hub/session_world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/identity.h"
#include "codec/claims.h"
#include "hub/session/session.h"
#include "hub/session/stream_request.h"
#include "hub/session/upgrade.h"

struct session_layer *world_layer;
struct session_config world_config;
struct socket *world_socket;
bool world_kick_on_open;
bool world_allow_origin;
struct recovery_fetch world_fetch;
unsigned world_verified;
uint64_t world_place;
bool world_end_on_place;

static struct builder diary;
static unsigned open_sockets;

static bool has(struct bytes text, const char *needle)
{
    return text.at != NULL && text.len > 0 &&
           memmem(text.at, text.len, needle, strlen(needle)) != NULL;
}

/* --- the application ----------------------------------------------------------------------- */

/* Who asks: as whom it was known before it moved or waited, or by its token, which is verified. */
static struct identity *identify(const struct app_connect *request, bool bob)
{
    if (request->identity != NULL) {
        return identity_ref(request->identity);
    }
    world_verified++;
    struct claims *claims =
        claims_new(&(struct claims_fields){.user = bob ? BYTES("bob") : BYTES("alice")});
    return identity_new(claims, false);
}

/* A token that is not decided here or now; no identity: it is. */
static struct app_verdict put_off(
    const struct shard *shard, const struct app_connect *request, struct bytes token)
{
    bool away = sched_shard(shard->sched) != 1;
    bool later = away && has(token, "later");
    if ((later || has(token, "wait")) && !request->final && !(away && has(token, "move"))) {
        world_fetch = (struct recovery_fetch){0};
        return (struct app_verdict){
            .kind = APP_WAIT, .fetch = &world_fetch, .identity = identify(request, false)};
    }
    if (later || (away && has(token, "move"))) {
        return (struct app_verdict){
            .kind = APP_MOVE, .shard = 1, .identity = identify(request, false)};
    }
    return (struct app_verdict){0};
}

static struct app_verdict on_connect(
    void *app, struct shard *shard, const struct app_connect *request)
{
    builder_printf(&diary,
        "connect %u %.*s auth=%.*s bearer=%.*s proto=%.*s query=%.*s from=%.*s %s\n",
        sched_shard(shard->sched), (int)request->nsp.len, request->nsp.at, (int)request->auth.len,
        request->auth.at, (int)request->bearer.len, request->bearer.at,
        (int)request->subprotocol_token.len, request->subprotocol_token.at,
        (int)request->query_token.len, request->query_token.at, (int)request->remote.len,
        request->remote.at,
        request->session && session_identity(request->session) ? "known" : "new");
    struct bytes given[] = {
        request->auth, request->bearer, request->subprotocol_token, request->query_token};
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        if (has(given[i], "refuse")) {
            return (struct app_verdict){
                .kind = APP_REFUSE, .message = "Invalid token", .code = ERROR_TOKEN_EXPIRED};
        }
        if (has(given[i], "flood")) {
            return (struct app_verdict){
                .kind = APP_REFUSE, .message = "Too many connections", .code = ERROR_RATE_LIMITED};
        }
        if (has(given[i], "starved")) {
            return (struct app_verdict){
                .kind = APP_REFUSE, .message = "Out of memory", .code = ERROR_UNAVAILABLE};
        }
        if (has(given[i], "forbidden")) {
            return (struct app_verdict){
                .kind = APP_REFUSE, .message = "Not you", .code = ERROR_FORBIDDEN};
        }
        struct app_verdict verdict = put_off(shard, request, given[i]);
        if (verdict.identity != NULL) {
            return verdict;
        }
        if (has(given[i], "expires") && sched_shard(shard->sched) == 1) {
            return (struct app_verdict){.kind = APP_REFUSE, .message = "Invalid token"};
        }
    }
    bool bob = false;
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        bob = bob || has(given[i], "bob");
    }
    return (struct app_verdict){.kind = APP_ACCEPT, .identity = identify(request, bob)};
}

static void on_opened(void *app, struct socket *socket)
{
    struct bytes nsp = socket_nsp(socket);
    builder_printf(&diary, "opened %.*s\n", (int)nsp.len, nsp.at);
    open_sockets++;
    world_socket = socket;
    if (world_kick_on_open) {
        socket->ops->disconnect(socket, CLOSE_FORBIDDEN);
        socket->ops->disconnect(socket, CLOSE_FORBIDDEN);
    }
}

static void on_event(void *app, struct socket *socket, const struct app_event *event)
{
    builder_printf(&diary, "event %.*s data=%.*s args=%.*s", (int)event->name.len, event->name.at,
        (int)event->data.len, event->data.at, (int)event->args.len, event->args.at);
    if (event->has_id) {
        builder_printf(&diary, " id=%llu", (unsigned long long)event->id);
    }
    for (unsigned i = 0; i < event->attachment_count; i++) {
        struct bytes bytes = buf_bytes(event->attachments[i]);
        builder_printf(&diary, " bin=%.*s", (int)bytes.len, bytes.at);
    }
    builder_byte(&diary, '\n');
    if (bytes_eq_str(event->name, "echo") && event->has_id) {
        socket_ack(socket, event->id, event->args);
    }
}

static void on_ack(void *app, struct socket *socket, uint64_t id, const struct app_answer *answer)
{
    struct bytes args = answer->args;
    builder_printf(&diary, "ack %llu %.*s", (unsigned long long)id, (int)args.len, args.at);
    for (unsigned i = 0; i < answer->attachment_count; i++) {
        struct bytes bytes = buf_bytes(answer->attachments[i]);
        builder_printf(&diary, " +%zu", bytes.len);
    }
    builder_byte(&diary, '\n');
}

static void on_closed(void *app, struct socket *socket, enum close_reason reason)
{
    struct bytes nsp = socket_nsp(socket);
    builder_printf(&diary, "closed %.*s %s\n", (int)nsp.len, nsp.at, close_name(reason));
    socket_detach(socket, reason);
    open_sockets--;
}

static void on_listen(void *app, struct socket *socket, const struct app_wishes *wishes)
{
    builder_printf(&diary, "listen rooms=%.*s events=%.*s place=%.*s inbox=%d\n",
        (int)wishes->rooms.len, wishes->rooms.at, (int)wishes->events.len, wishes->events.at,
        (int)wishes->place.len, wishes->place.at, wishes->inbox);
}

static void on_place(
    void *app, struct socket *socket, const struct app_wishes *wishes, struct builder *out)
{
    if (world_end_on_place && !socket->closing) {
        socket->ops->disconnect(socket, CLOSE_SLOW);
    }
    builder_u64(out, world_place);
}

static bool on_wants(void *app, const struct app_wishes *wishes, struct bytes name)
{
    return wishes->events.len == 0 || has(wishes->events, "all") || bytes_eq_str(name, "wanted") ||
           bytes_starts(name, BYTES("hub:"));
}

static bool on_has_namespace(void *app, struct bytes nsp)
{
    return bytes_eq_str(nsp, "/") || bytes_eq_str(nsp, "/custom") || bytes_eq_str(nsp, "/third");
}

static bool on_origin(void *context, const struct bytes *origins, size_t count, bool has_token)
{
    return world_allow_origin;
}

static void fake_sha1(struct bytes data, uint8_t digest[20])
{
    memset(digest, 0, 20);
}

static struct app_ops ops = {
    .connect = on_connect,
    .opened = on_opened,
    .event = on_event,
    .ack = on_ack,
    .closed = on_closed,
    .listen = on_listen,
    .place = on_place,
    .wants = on_wants,
    .has_namespace = on_has_namespace,
};

/* --- the world ----------------------------------------------------------------------------- */

void world_begin(void)
{
    world_config = (struct session_config){
        .app = {.ops = &ops},
        .origin_allowed = on_origin,
        .sha1 = fake_sha1,
        .before_auth = {.message_bytes = 100},
        .after_auth = {.message_bytes = 1000},
        .ping_interval_ms = WORLD_PING_INTERVAL,
        .ping_timeout_ms = WORLD_PING_TIMEOUT,
        .upgrade_timeout_ms = WORLD_CONNECT_TIMEOUT,
        .connect_timeout_ms = WORLD_CONNECT_TIMEOUT,
        .attachments_timeout_ms = WORLD_ATTACHMENTS_TIMEOUT,
        .attachments_bytes = 20,
        .query_token = true,
    };
    world_allow_origin = true;
    world_verified = 0;
    world_place = 1;
    world_end_on_place = false;
    open_sockets = 0;
    diary = (struct builder){0};
    /* Near the point where the low 32 bits of the time wrap. */
    fake_begin(UINT32_MAX - UINT64_C(700));
    world_layer = session_layer_create(&world_config, FAKE_SHARDS);
    for (unsigned i = 0; i < FAKE_SHARDS; i++) {
        session_layer_start(world_layer, fake_shard(i));
    }
}

void world_end(void)
{
    fake_end_peers();
    for (unsigned i = 0; i < FAKE_SHARDS; i++) {
        session_layer_stop(world_layer, fake_shard(i), CLOSE_DRAINING);
    }
    cr_assert_eq(open_sockets, 0, "%u sockets were never closed", open_sockets);
    for (unsigned i = 0; i < FAKE_SHARDS; i++) {
        cr_assert_eq(session_layer_count(world_layer, fake_shard(i)), 0);
    }
    fake_end();
    session_layer_destroy(world_layer);
    builder_reset(&diary);
    world_kick_on_open = false;
}

const char *world_diary(void)
{
    static char text[8192];
    struct bytes written = builder_bytes(&diary);
    cr_assert_lt(written.len, sizeof(text));
    memcpy(text, written.len > 0 ? written.at : "", written.len);
    text[written.len] = '\0';
    builder_clear(&diary);
    return text;
}

unsigned world_request(const char *query, const char *headers)
{
    char head[600];
    snprintf(head, sizeof(head),
        "GET /socket.io/?%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n",
        query, headers);
    unsigned peer = fake_request(world_layer, upgrade_engine, head);
    cr_assert_eq(fake_answer(peer)->status, 101);
    return peer;
}

unsigned world_fresh_peer(void)
{
    return world_request("EIO=4&transport=websocket", "");
}

unsigned world_peer(void)
{
    unsigned peer = world_fresh_peer();
    cr_assert_eq(fake_sent(peer)[0], '0');
    return peer;
}

unsigned world_joined_peer(void)
{
    unsigned peer = world_peer();
    fake_text(peer, "40");
    cr_assert_eq(strncmp(fake_sent(peer), "40{\"sid\":", 9), 0);
    world_diary();
    return peer;
}

unsigned world_plain(const char *protocols)
{
    char head[512];
    snprintf(head, sizeof(head),
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Protocol: %s\r\n\r\n",
        protocols);
    return fake_request(world_layer, upgrade_plain, head);
}

unsigned world_stream(const char *query, const char *headers)
{
    char head[6000];
    snprintf(
        head, sizeof(head), "GET /api/v1/stream?%s HTTP/1.1\r\nHost: h\r\n%s\r\n", query, headers);
    return fake_request(world_layer, stream_request, head);
}

void world_assert_open(unsigned peer)
{
    enum close_reason reason;
    cr_assert(!fake_is_closing(peer, &reason), "closing: %s", close_name(reason));
}

void world_assert_closing(unsigned peer, enum close_reason reason)
{
    enum close_reason actual;
    cr_assert(fake_is_closing(peer, &actual), "not closing");
    cr_assert_eq(actual, reason, "closing: %s", close_name(actual));
}
