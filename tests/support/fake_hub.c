/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_hub - stands in for loop, connection, websocket and http_server under the session layer.
 */
#include "tests/support/fake_hub.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/deliver/outbox.h"
#include "codec/base/buf.h"
#include "codec/http1.h"
#include "hub/net/connection.h"
#include "hub/net/http_answer.h"
#include "hub/net/http_server.h"
#include "hub/net/loop.h"
#include "hub/net/websocket.h"

enum { PEERS_MAX = 64, OUTBOX_HIGH = 2048, OUTBOX_MAX = 16384 };

struct loop {
    struct shard shard;
};

struct connection {
    struct outbox outbox;
    struct loop *loop;
    struct websocket *websocket; /* NULL: not upgraded, or gone */
    const struct connection_ops *ops; /* of who has it without a WebSocket; NULL: nobody */
    void *owner;
    uint32_t acks_ms;
    connection_arrived_fn arrived; /* while that one moves */
    struct builder written;
    size_t taken; /* of written */
    int pauses;
    bool stalled;
    bool authenticated;
    bool closing;
    bool cut;
    bool fails;
    enum close_reason reason;
    struct fake_answer answer;
    bool moving;
    unsigned target;
    struct http1_request head;
    struct http_request request;
    char *text; /* of the request */
};

static struct actor_system *the_system;
static struct loop loops[FAKE_SHARDS];
static struct connection peers[PEERS_MAX];
static unsigned peer_count;
static uint64_t now_ms;
static bool moves_fail;
static bool pressed; /* shard 1 handles no messages */

/* --- the world ----------------------------------------------------------------------------- */

static void wake(void *context)
{
}

void fake_begin(uint64_t mono_ms)
{
    now_ms = mono_ms;
    peer_count = 0;
    pressed = false;
    moves_fail = false;
    the_system = actor_system_create(FAKE_SHARDS);
    for (unsigned i = 0; i < FAKE_SHARDS; i++) {
        struct shard *shard = &loops[i].shard;
        *shard = (struct shard){.sched = actor_system_sched(the_system, i), .loop = &loops[i]};
        list_init(&shard->dirty_outboxes);
        rand_init(&shard->rand, 1);
        sched_bind(shard->sched, wake, NULL, shard);
        sched_set_time(shard->sched, now_ms, now_ms);
        timer_wheel_init(sched_timers(shard->sched), now_ms);
    }
}

void fake_end_peers(void)
{
    for (unsigned i = 0; i < peer_count; i++) {
        if (peers[i].websocket || peers[i].ops || peers[i].request.gone) {
            fake_gone(i, CLOSE_TRANSPORT);
        }
        peers[i].outbox.busy = false; /* as a connection that ends */
        outbox_finish(&peers[i].outbox);
        builder_reset(&peers[i].written);
        free(peers[i].text);
    }
}

void fake_end(void)
{
    actor_system_destroy(the_system);
}

struct shard *fake_shard(unsigned index)
{
    return &loops[index].shard;
}

/* Bring a moving connection to its shard. */
static void finish_move(struct connection *connection)
{
    struct websocket *websocket = connection->websocket;
    connection->moving = false;
    cr_assert_eq(connection->outbox.bytes, 0, "it moves only when nothing waits");
    if (connection->arrived != NULL) {
        connection->loop = &loops[connection->target];
        connection->arrived(connection->owner, connection->fails ? NULL : connection);
        return;
    }
    if (connection->fails) {
        connection->websocket = NULL;
        websocket->ops->on_moved(websocket, false);
        return;
    }
    connection->loop = &loops[connection->target];
    websocket->ops->on_moved(websocket, true);
}

static void turn(void)
{
    for (unsigned i = 0; i < FAKE_SHARDS; i++) {
        struct sched *sched = loops[i].shard.sched;
        sched_set_time(sched, now_ms, now_ms);
        timer_wheel_advance(sched_timers(sched), now_ms);
        if (i == 0 || !pressed) {
            while (sched_run(sched, 1000)) {
            }
        }
        outbox_flush_all(&loops[i].shard.dirty_outboxes);
        sched_flush(sched);
    }
    for (unsigned i = 0; i < peer_count; i++) {
        if (peers[i].moving && !peers[i].stalled) {
            finish_move(&peers[i]);
        }
    }
}

void fake_pass(uint64_t ms)
{
    now_ms += ms;
    for (unsigned i = 0; i < 4; i++) {
        turn();
    }
}

/* --- pressure ------------------------------------------------------------------------------ */

static struct bytes key_of_stone(const struct msg *msg)
{
    return BYTES("stone");
}

/* Messages to an actor that is not there. */
static const struct behaviour stone_behaviour = {.name = "stone", .id = BEHAVIOUR_MAX - 1};
static const struct msg_kind stone_kind = {
    .name = "stone.fall", .behaviour = &stone_behaviour, .lane = LANE_NORMAL, .key = key_of_stone};

void fake_press(bool on)
{
    pressed = on;
    for (unsigned i = 0; on && i < SCHED_LINE_BOUND; i++) {
        msg_send_named(loops[0].shard.sched, 1, msg_create(sizeof(struct msg), &stone_kind));
    }
}

/* --- connection and loop ------------------------------------------------------------------- */

struct shard *loop_shard(struct loop *loop)
{
    return &loop->shard;
}

struct outbox *connection_outbox(struct connection *connection)
{
    return &connection->outbox;
}

struct loop *connection_loop(const struct connection *connection)
{
    return connection->loop;
}

void connection_remote(const struct connection *connection, char ret_text[46])
{
    strcpy(ret_text, "192.0.2.7");
}

void connection_pause(struct connection *connection)
{
    connection->pauses++;
}

void connection_resume(struct connection *connection)
{
    cr_assert_gt(connection->pauses, 0);
    connection->pauses--;
}

void connection_authenticated(struct connection *connection)
{
    connection->authenticated = true;
}

void connection_expect_acks(struct connection *connection, uint32_t ms)
{
    connection->acks_ms = ms;
}

void connection_own(struct connection *connection, const struct connection_ops *ops, void *owner)
{
    connection->ops = ops;
    connection->owner = owner;
}

void *connection_owner(const struct connection *connection)
{
    return connection->owner;
}

void connection_close(struct connection *connection, enum close_reason reason, bool flush)
{
    connection->cut |= !connection->closing && !flush;
    if (!connection->closing) {
        connection->closing = true;
        connection->reason = reason;
    }
}

void connection_move(
    struct connection *connection, unsigned shard, connection_arrived_fn arrived, void *context)
{
    cr_assert(!connection->moving);
    cr_assert_lt(shard, FAKE_SHARDS);
    connection->ops = NULL;
    connection->owner = context;
    connection->arrived = arrived;
    connection->moving = true;
    connection->target = shard;
}

void http_authenticated(struct http_request *request)
{
    connection_authenticated(request->connection);
}

static void on_flush(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    struct iovec iov[16];
    size_t count;
    while (!connection->stalled && (count = outbox_peek(outbox, iov, 16, SIZE_MAX)) > 0) {
        size_t len = 0;
        for (size_t i = 0; i < count; i++) {
            builder_add(&connection->written, bytes_of(iov[i].iov_base, iov[i].iov_len));
            len += iov[i].iov_len;
        }
        outbox_consume(outbox, len);
    }
}

static void on_relieved(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    if (connection->websocket && connection->websocket->ops->on_relieved) {
        connection->websocket->ops->on_relieved(connection->websocket);
    }
}

static void on_overflowed(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    if (connection->websocket && connection->websocket->ops->on_slow) {
        (void)connection->websocket->ops->on_slow(connection->websocket, 0, true);
    }
}

static const struct outbox_ops outbox_ops = {
    .flush = on_flush, .relieved = on_relieved, .overflowed = on_overflowed};

struct outbox_limits connection_outbox_limits(const struct shard *shard)
{
    (void)shard;
    return (struct outbox_limits){.high = OUTBOX_HIGH, .max = OUTBOX_MAX};
}

/* --- websocket ----------------------------------------------------------------------------- */

void websocket_init(struct websocket *websocket, struct connection *connection,
    const struct websocket_limits *limits, const struct websocket_ops *ops)
{
    websocket->ops = ops;
    websocket->connection = connection;
    websocket->limits = limits;
    connection->websocket = websocket;
}

void websocket_set_deflate(struct websocket *websocket, unsigned bits)
{
    websocket->deflate_bits = (uint8_t)bits;
}

void websocket_adopt(
    struct websocket *websocket, struct websocket *from, const struct websocket_ops *ops)
{
    *websocket = *from;
    websocket->ops = ops;
    websocket->connection->websocket = websocket;
}

void websocket_set_limits(struct websocket *websocket, const struct websocket_limits *limits)
{
    websocket->limits = limits;
}

void websocket_close(struct websocket *websocket, enum close_reason reason)
{
    struct connection *connection = websocket->connection;
    if (!connection->closing) {
        connection->closing = true;
        connection->reason = reason;
    }
}

void websocket_cut(struct websocket *websocket, enum close_reason reason)
{
    websocket->connection->cut |= !websocket->connection->closing;
    websocket_close(websocket, reason);
}

void websocket_move(struct websocket *websocket, unsigned shard)
{
    struct connection *connection = websocket->connection;
    cr_assert(!connection->moving);
    cr_assert_lt(shard, FAKE_SHARDS);
    connection->moving = true;
    connection->target = shard;
}

/* --- http_server --------------------------------------------------------------------------- */

static void copy_text(char *at, size_t size, struct bytes text)
{
    cr_assert_lt(text.len, size);
    memcpy(at, text.at ? text.at : "", text.len);
    at[text.len] = '\0';
}

void http_respond(struct http_request *request, unsigned status, const char *content_type,
    struct bytes headers, struct bytes body)
{
    struct fake_answer *answer = &request->connection->answer;
    cr_assert_eq(answer->status, 0, "a request is answered once");
    answer->status = status;
    copy_text(answer->type, sizeof(answer->type), bytes_str(content_type ? content_type : ""));
    copy_text(answer->head, sizeof(answer->head), headers);
    copy_text(answer->body, sizeof(answer->body), body);
}

void http_respond_error(
    struct http_request *request, enum error_code code, const char *message, const char *field)
{
    char body[512];
    int len = snprintf(body, sizeof(body), "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}",
        errors_text(code), message);
    http_respond(request, errors_status(code), "application/json", bytes_of(NULL, 0),
        bytes_of(body, (size_t)len));
}

void http_close(struct http_request *request, struct bytes response, enum close_reason reason)
{
    struct connection *connection = request->connection;
    struct fake_answer *answer = &connection->answer;
    cr_assert_eq(answer->status, 0, "a request is answered once");
    static const char end_of_head[] = "\r\n\r\n";
    char *end = memmem(response.at, response.len, end_of_head, sizeof(end_of_head) - 1);
    cr_assert(end, "no head");
    size_t head = (size_t)(end - response.at) + sizeof(end_of_head) - 1;
    answer->status = 101;
    copy_text(answer->head, sizeof(answer->head), bytes_of(response.at, head));
    copy_text(answer->body, sizeof(answer->body), bytes_skip(response, head));
    connection->closing = true;
    connection->reason = reason;
}

void http_upgrade(struct http_request *request, struct bytes response)
{
    struct fake_answer *answer = &request->connection->answer;
    cr_assert_eq(answer->status, 0, "a request is answered once");
    answer->status = 101;
    copy_text(answer->head, sizeof(answer->head), response);
}

bool http_hand_over(struct http_request *request, struct http_answer *answer)
{
    struct fake_answer *told = &request->connection->answer;
    cr_assert_eq(told->status, 0, "a request is answered once");
    told->status = answer->status;
    copy_text(told->type, sizeof(told->type), bytes_str(answer->content_type));
    copy_text(told->head, sizeof(told->head), answer->headers);
    return true;
}

unsigned fake_post(
    struct session_layer *layer, fake_handler_fn handler, const char *head, const char *body)
{
    cr_assert_lt(peer_count, PEERS_MAX);
    struct connection *connection = &peers[peer_count];
    *connection = (struct connection){.loop = &loops[0], .text = strdup(head), .fails = moves_fail};
    struct outbox_limits limits = connection_outbox_limits(NULL);
    outbox_init(&connection->outbox, &outbox_ops, &limits);
    struct http1_parser parser = {0};
    int status = http1_parse(&parser, bytes_str(connection->text), &connection->head);
    cr_assert_eq(status, (int)strlen(head), "test request: %d", status);
    connection->request = (struct http_request){
        .connection = connection,
        .loop = connection->loop,
        .head = &connection->head,
        .path = connection->head.path,
        .query = connection->head.query,
        .body = bytes_str(body),
    };
    handler(layer, &connection->request);
    unsigned peer = peer_count++;
    fake_pass(0);
    return peer;
}

unsigned fake_request(struct session_layer *layer, fake_handler_fn handler, const char *head)
{
    return fake_post(layer, handler, head, "");
}

const struct fake_answer *fake_answer(unsigned peer)
{
    return &peers[peer].answer;
}

/* --- the peer ------------------------------------------------------------------------------ */

void fake_message(unsigned peer, bool binary, struct bytes message)
{
    struct connection *connection = &peers[peer];
    cr_assert(connection->websocket, "the connection has gone");
    /* As the real one: nothing is delivered after websocket_close, or while it moves. */
    if (!connection->closing && !connection->moving) {
        connection->websocket->ops->on_message(connection->websocket, binary, message);
    }
    fake_pass(0);
}

void fake_text(unsigned peer, const char *text)
{
    fake_message(peer, false, bytes_str(text));
}

void fake_bytes(unsigned peer, struct bytes bytes)
{
    struct connection *connection = &peers[peer];
    cr_assert(connection->ops != NULL, "nobody has the connection");
    if (!connection->closing && !connection->moving) {
        cr_assert_eq(connection->ops->on_bytes(connection, bytes), bytes.len);
    }
    fake_pass(0);
}

/* Take a frame head at `at`; returns its length. */
static size_t read_head(const uint8_t *at, size_t len, bool *ret_binary, size_t *ret_body)
{
    cr_assert_geq(len, 2);
    cr_assert((at[0] & 0x80) != 0, "whole messages only");
    *ret_binary = (at[0] & 0x0f) == 2;
    *ret_body = at[1];
    if (at[1] < 126) {
        return 2;
    }
    cr_assert_eq(at[1], 126);
    *ret_body = (size_t)at[2] << 8 | at[3];
    return 4;
}

const char *fake_sent(unsigned peer)
{
    static char text[8192];
    struct connection *connection = &peers[peer];
    struct bytes written = builder_bytes(&connection->written);
    text[0] = '\0';
    if (written.len == connection->taken) {
        return text;
    }
    struct bytes rest = bytes_skip(written, connection->taken);
    bool binary;
    size_t body;
    size_t head = read_head((const uint8_t *)rest.at, rest.len, &binary, &body);
    cr_assert_leq(head + body, rest.len);
    connection->taken += head + body;
    if (!binary) {
        copy_text(text, sizeof(text), bytes_of(rest.at + head, body));
        return text;
    }
    strcpy(text, "b:");
    for (size_t i = 0; i < body; i++) {
        snprintf(text + 2 + 2 * i, 3, "%02x", (unsigned)(uint8_t)rest.at[head + i]);
    }
    return text;
}

const char *fake_body(unsigned peer)
{
    static char text[65536];
    struct connection *connection = &peers[peer];
    struct bytes rest = bytes_skip(builder_bytes(&connection->written), connection->taken);
    connection->taken += rest.len;
    copy_text(text, sizeof(text), rest);
    return text;
}

void fake_stall(unsigned peer, bool stalled)
{
    struct connection *connection = &peers[peer];
    connection->stalled = stalled;
    connection->outbox.busy = stalled;
    if (!stalled) {
        on_flush(&connection->outbox);
    }
    if (!stalled && connection->ops != NULL && connection->ops->on_drained != NULL) {
        connection->ops->on_drained(connection);
    }
    fake_pass(0);
}

void fake_gone(unsigned peer, enum close_reason reason)
{
    struct connection *connection = &peers[peer];
    struct websocket *websocket = connection->websocket;
    if (connection->request.gone) {
        connection->request.gone(&connection->request);
        fake_pass(0);
        return;
    }
    if (connection->ops != NULL) {
        const struct connection_ops *ops = connection->ops;
        connection->ops = NULL;
        ops->on_closed(connection, connection->closing ? connection->reason : reason);
        return;
    }
    cr_assert(websocket);
    connection->websocket = NULL;
    if (connection->moving) {
        connection->moving = false;
        websocket->ops->on_moved(websocket, false);
        return;
    }
    websocket->ops->on_closed(websocket, connection->closing ? connection->reason : reason);
}

bool fake_is_closing(unsigned peer, enum close_reason *ret_reason)
{
    *ret_reason = peers[peer].reason;
    return peers[peer].closing;
}

bool fake_is_cut(unsigned peer)
{
    return peers[peer].cut;
}

bool fake_has_owner(unsigned peer)
{
    return peers[peer].websocket != NULL || peers[peer].ops != NULL;
}

bool fake_is_paused(unsigned peer)
{
    return peers[peer].pauses > 0;
}

bool fake_is_authenticated(unsigned peer)
{
    return peers[peer].authenticated;
}

uint32_t fake_message_limit(unsigned peer)
{
    return peers[peer].websocket->limits->message_bytes;
}

uint32_t fake_acks_ms(unsigned peer)
{
    return peers[peer].acks_ms;
}

unsigned fake_peer_shard(unsigned peer)
{
    return sched_shard(peers[peer].loop->shard.sched);
}

void fake_fail_moves(void)
{
    moves_fail = true;
}

void fake_fail_move(unsigned peer)
{
    peers[peer].fails = true;
}
