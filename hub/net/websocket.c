/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stage 4 (decode) of the data path.
 *
 * The scanner of codec/ws_frame.h tells each frame's length and refuses bad heads with the right
 * close code before wslay sees them. Then, by kind of frame:
 *  - data: fed to wslay as it arrives, never beyond the end of the frame (wslay takes all it is
 *    offered, and what it has taken is lost to a move); its chunk callback collects the message, so
 *    text is refused at its first bad byte;
 *  - ping: fed to wslay when whole and when it is to be answered; the pong goes to the outbox;
 *  - pong: skipped; close: read here, because wslay 1.1.1 accepts a body of one byte, refuses the
 *    codes 1012 to 1014, and checks a reason wrongly when it arrives in parts.
 * Whatever ends the WebSocket waits for the next turn when messages were delivered in this one:
 * their answers go first.
 * A receiver (wslay's context with the message being collected) is borrowed from the loop's pool
 * and given back when the connection stands between two messages.
 */
#include "hub/net/websocket.h"

#include "actors/deliver/outbox.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "codec/ws_deflate.h"
#include "codec/ws_frame.h"
#include "hub/net/connection.h"
#include "hub/net/deflate.h"
#include "hub/net/loop.h"
#include "hub/net/receiver.h"

enum {
    CONTROL_WINDOW_MS = 10000, /* unless configured */
    CLOSE_MS = 3000, /* unless configured */
};
enum state {
    OPEN,
    FAILED, /* `reason` is known, the close frame follows in the next turn */
    CLOSING, /* our close frame is sent, the peer's is awaited */
    ENDED, /* nothing is read any more */
    MOVING,
    CLOSE_LATER, /* moving; it was closed for `reason` meanwhile */
};

/* --- the receiver --- */

static struct loop *loop_of_websocket(const struct websocket *websocket)
{
    return connection_loop(websocket->connection);
}

static void borrow(struct websocket *websocket)
{
    if (websocket->receiver == NULL) {
        websocket->receiver = receiver_borrow(loop_of_websocket(websocket));
    }
}

static void give_back(struct websocket *websocket)
{
    if (websocket->receiver != NULL) {
        receiver_return(loop_of_websocket(websocket), websocket->receiver);
        websocket->receiver = NULL;
    }
}

/* Only a message or frame that is under way keeps a receiver. */
static void give_back_if_idle(struct websocket *websocket)
{
    if (websocket->receiver != NULL && receiver_is_idle(websocket->receiver)) {
        give_back(websocket);
    }
}

unsigned websocket_borrowed(struct loop *loop)
{
    return receiver_borrowed(loop);
}

/* --- sending --- */

static struct chunk *on_deflate(struct connection *connection, struct chunk *chunk)
{
    const struct websocket *websocket = connection_owner(connection);
    struct loop *loop = connection_loop(connection);
    return deflate_chunk(loop, websocket->limits, websocket->deflate_bits, chunk);
}

/* Put a close frame into the outbox. */
static void send_close(struct websocket *websocket, unsigned code, const char *text)
{
    char head[WS_FRAME_HEAD_MAX];
    char payload[WS_FRAME_CONTROL_MAX];
    size_t len = ws_frame_write_close(payload, code, bytes_str(text));
    struct builder frame = {0};
    builder_add(&frame, bytes_of(head, ws_frame_write_head(head, WS_CLOSE, false, len)));
    builder_add(&frame, bytes_of(payload, len));
    struct chunk *chunk = chunk_take(&frame);
    if (chunk != NULL) {
        struct connection *connection = websocket->connection;
        outbox_append_last(connection_outbox(connection),
            &loop_shard(connection_loop(connection))->dirty_outboxes, chunk);
        chunk_unref(chunk);
    }
}

static void send_reason(struct websocket *websocket, enum close_reason reason)
{
    unsigned code = close_code(reason);
    send_close(websocket, code > 0 ? code : WS_CLOSE_NO_STATUS, close_text(reason));
}

/* --- ending --- */

/* The peer broke a rule: the close frame goes behind what is answered already, then the end. */
static void fail_now(struct websocket *websocket)
{
    websocket->state = ENDED;
    if (websocket->ops->on_failing != NULL) {
        websocket->ops->on_failing(websocket, (enum close_reason)websocket->reason);
    }
    send_reason(websocket, websocket->reason);
    connection_close(websocket->connection, websocket->reason, true);
}

static void fail(struct websocket *websocket, enum close_reason reason, unsigned delivered)
{
    websocket->reason = (uint8_t)reason;
    if (delivered == 0) {
        fail_now(websocket);
    } else {
        websocket->state = FAILED;
        connection_again(websocket->connection);
    }
}

static enum close_reason reason_of(int status)
{
    switch (status) {
    case STATUS_TOO_LARGE:
        return CLOSE_FRAME_TOO_LARGE;
    case STATUS_FULL:
        return CLOSE_POLICY;
    case STATUS_UTF8:
        return CLOSE_NOT_UTF8;
    case STATUS_NOMEM:
        return CLOSE_NO_MEMORY;
    default:
        return CLOSE_PROTOCOL;
    }
}

void websocket_close(struct websocket *websocket, enum close_reason reason)
{
    struct connection *connection = websocket->connection;
    if (websocket->state == MOVING) {
        websocket->state = CLOSE_LATER;
        websocket->reason = (uint8_t)reason;
    }
    if (websocket->state != OPEN) {
        return;
    }
    if (reason == CLOSE_PEER || reason == CLOSE_TRANSPORT || reason == CLOSE_PING_TIMEOUT) {
        websocket->state = ENDED;
        connection_close(connection, reason, false);
        return;
    }
    websocket->reason = (uint8_t)reason;
    websocket->state = CLOSING;
    send_reason(websocket, reason);
    uint32_t ms = websocket->limits->close_timeout_ms;
    connection_expire(connection, reason, ms > 0 ? ms : CLOSE_MS);
}

void websocket_cut(struct websocket *websocket, enum close_reason reason)
{
    if (websocket->state == OPEN) {
        websocket->state = ENDED;
        websocket->reason = (uint8_t)reason;
        connection_close(websocket->connection, reason, true);
    }
}

/* --- frames --- */

/* What wslay refuses in a frame whose head the scanner has accepted is text that is no UTF-8. */
static int feed_data(struct websocket *websocket, struct bytes part, unsigned *delivered)
{
    struct receiver *receiver = websocket->receiver;
    bool fed = receiver_feed(receiver, part);
    if (!fed) {
        receiver->left = 0;
        return STATUS_UTF8;
    }
    receiver->left -= part.len;
    bool whole = receiver->left == 0 && receiver->last;
    int status = receiver_check(receiver, whole);
    if (status < 0) {
        return status;
    }
    if (whole) {
        receiver->last = false;
        ++*delivered;
        receiver->delivering = true;
        websocket->ops->on_message(websocket, receiver->binary, builder_bytes(&receiver->message));
        receiver->delivering = false;
        builder_clear(&receiver->message);
    }
    return 0;
}

/* Count a control frame; false when there were too many in the current window. */
static bool count_control(struct websocket *websocket)
{
    struct shard *shard = loop_shard(connection_loop(websocket->connection));
    uint32_t length = websocket->limits->control_window_ms;
    uint16_t window =
        (uint16_t)(sched_now(shard->sched) / (length > 0 ? length : CONTROL_WINDOW_MS));
    if (window != websocket->control_window) {
        websocket->control_window = window;
        websocket->control_count = 0;
    }
    if (websocket->control_count >= websocket->limits->control_frames) {
        return false;
    }
    websocket->control_count++;
    return true;
}

/* Answer a ping, unless as many pongs wait already as may. */
static int take_ping(struct websocket *websocket, struct bytes frame)
{
    if (connection_outbox(websocket->connection)->bytes == 0) {
        websocket->replies = 0;
    }
    if (websocket->replies >= websocket->limits->queued_replies) {
        return 0;
    }
    websocket->replies++;
    struct receiver *receiver = websocket->receiver;
    if (!receiver_answer_ping(receiver, frame)) {
        return STATUS_PROTO;
    }
    (void)connection_send(websocket->connection, &receiver->reply);
    return 0;
}

/* The peer closes: answer with its code, or refuse what it said. */
static int take_close(struct websocket *websocket, struct bytes frame, const struct ws_frame *head)
{
    char payload[WS_FRAME_CONTROL_MAX];
    for (size_t i = 0; i < head->payload_len; i++) {
        payload[i] = (char)(frame.at[head->head_len + i] ^ head->mask[i % 4]);
    }
    unsigned code;
    struct bytes reason;
    int status = ws_frame_read_close(bytes_of(payload, head->payload_len), &code, &reason);
    if (websocket->state == CLOSING) {
        websocket->state = ENDED;
        connection_close(websocket->connection, websocket->reason, true);
        return 0;
    }
    if (status < 0) {
        return status;
    }
    websocket->state = ENDED;
    send_close(websocket, code, NULL);
    connection_close(websocket->connection, CLOSE_PEER, true);
    return 0;
}

static int take_control(
    struct websocket *websocket, struct bytes frame, const struct ws_frame *head)
{
    if (head->opcode == WS_CLOSE) {
        return take_close(websocket, frame, head);
    }
    if (websocket->state == CLOSING) {
        return 0;
    }
    if (!count_control(websocket)) {
        return STATUS_FULL;
    }
    return head->opcode == WS_PING ? take_ping(websocket, frame) : 0;
}

/* A data frame is to be fed. */
static void begin_frame(struct receiver *receiver, const struct ws_frame *head)
{
    receiver->left = head->head_len + head->payload_len;
    receiver->last = head->fin;
    if (head->opcode != WS_CONTINUATION) {
        receiver->compressed = head->compressed;
        receiver->inflated = head->compressed ? ws_inflater_begin(&receiver->inflater) : 0;
    }
}

/*
 * Take the frame at the start of `input`, or what is there of a data frame. Returns how many bytes
 * were taken, 0 when more are needed (or the end has to wait for the next turn), or a status.
 */
static int take_frame(struct websocket *websocket, struct bytes input, unsigned *delivered)
{
    struct receiver *receiver = websocket->receiver;
    struct ws_frame head;
    int len = ws_frame_scan(&receiver->scanner, input, &head);
    if (len < 0) {
        return len;
    }
    bool control = ((unsigned)head.opcode & WS_CLOSE) != 0;
    if (head.head_len == 0 || (control && len == 0)) {
        return 0;
    }
    if (control) {
        if (head.opcode == WS_CLOSE && *delivered > 0) {
            connection_again(websocket->connection);
            return 0;
        }
        int status = take_control(websocket, bytes_of(input.at, (size_t)len), &head);
        return status < 0 ? status : len;
    }
    uint64_t whole = head.head_len + head.payload_len;
    if (len == 0) {
        /* The scanner counts a frame by its head alone and reads nothing behind it. */
        len = ws_frame_scan(&receiver->scanner, bytes_of(input.at, whole), &head);
        CHECK(len > 0 && (uint64_t)len == whole);
    }
    size_t part = input.len < whole ? input.len : (size_t)whole;
    begin_frame(receiver, &head);
    if (websocket->state == CLOSING) {
        receiver->left -= part;
        return (int)part;
    }
    int status = feed_data(websocket, bytes_of(input.at, part), delivered);
    return status < 0 ? status : (int)part;
}

/* Take more of the data frame that is under way. */
static int take_rest(struct websocket *websocket, struct bytes input, unsigned *delivered)
{
    struct receiver *receiver = websocket->receiver;
    size_t part = input.len < receiver->left ? input.len : (size_t)receiver->left;
    if (websocket->state == CLOSING) {
        receiver->left -= part;
        return (int)part;
    }
    int status = feed_data(websocket, bytes_of(input.at, part), delivered);
    return status < 0 ? status : (int)part;
}

/* Whether as many messages were delivered in this turn as may be. */
static bool has_had_its_turn(const struct websocket *websocket, unsigned delivered)
{
    uint32_t most = websocket->limits->events_per_turn;
    return websocket->state == OPEN && most > 0 && delivered >= most;
}

/* A message that does not compress is a little longer than what it stands for. */
static void set_limits(struct websocket *websocket)
{
    struct receiver *receiver = websocket->receiver;
    uint64_t most = websocket->limits->message_bytes;
    receiver->message.max = (size_t)most;
    receiver->scanner.allow_compressed = websocket->deflate_bits > 0;
    receiver->scanner.max_message =
        receiver->scanner.allow_compressed ? most + most / 8 + most / 64 + 64 : most;
    receiver->scanner.max_fragments = websocket->limits->fragments;
}

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct websocket *websocket = connection_owner(connection);
    unsigned delivered = 0;
    size_t used = 0;
    if (websocket->state == FAILED) {
        fail_now(websocket);
        return bytes.len;
    }
    while (used < bytes.len && (websocket->state == OPEN || websocket->state == CLOSING)) {
        if (has_had_its_turn(websocket, delivered)) {
            connection_again(connection);
            break;
        }
        borrow(websocket);
        struct receiver *receiver = websocket->receiver;
        set_limits(websocket);
        struct bytes input = bytes_skip(bytes, used);
        int taken = receiver->left > 0 ? take_rest(websocket, input, &delivered)
                                       : take_frame(websocket, input, &delivered);
        if (taken < 0 && websocket->state == OPEN) {
            fail(websocket, reason_of(taken), delivered);
        } else if (taken < 0) {
            websocket->state = ENDED;
            connection_close(connection, websocket->reason, true);
        }
        if (taken <= 0) {
            break;
        }
        used += (size_t)taken;
    }
    give_back_if_idle(websocket);
    return websocket->state == FAILED || websocket->state == ENDED ? bytes.len : used;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct websocket *websocket = connection_owner(connection);
    bool ours = websocket->state == CLOSING;
    websocket->state = ENDED;
    give_back(websocket);
    websocket->ops->on_closed(websocket, ours ? (enum close_reason)websocket->reason : reason);
}

static void on_drained(struct connection *connection)
{
    struct websocket *websocket = connection_owner(connection);
    if (websocket->state == OPEN && websocket->ops->on_drained != NULL) {
        websocket->ops->on_drained(websocket);
    }
}

static void on_relieved(struct connection *connection)
{
    struct websocket *websocket = connection_owner(connection);
    if (websocket->state == OPEN && websocket->ops->on_relieved != NULL) {
        websocket->ops->on_relieved(websocket);
    }
}

static bool on_slow(struct connection *connection, uint64_t ms, bool overflow)
{
    struct websocket *websocket = connection_owner(connection);
    if (websocket->state != OPEN) {
        return overflow; /* a deadline is set, or comes with what follows */
    }
    return websocket->ops->on_slow != NULL && websocket->ops->on_slow(websocket, ms, overflow);
}

static const struct connection_ops ops = {
    .on_bytes = on_bytes,
    .on_closed = on_closed,
    .on_drained = on_drained,
    .on_relieved = on_relieved,
    .on_slow = on_slow,
    .deflate = on_deflate,
};

void websocket_init(struct websocket *websocket, struct connection *connection,
    const struct websocket_limits *limits, const struct websocket_ops *websocket_ops)
{
    *websocket = (struct websocket){
        .ops = websocket_ops, .connection = connection, .limits = limits, .state = OPEN};
    /* Only heads and control frames wait; one read may bring many of them. */
    connection_set_limit(connection, 128 << 10);
    connection_own(connection, &ops, websocket);
}

void websocket_set_deflate(struct websocket *websocket, unsigned bits)
{
    websocket->deflate_bits = (uint8_t)bits;
    connection_outbox(websocket->connection)->deflates = bits > 0;
}

void websocket_adopt(
    struct websocket *websocket, struct websocket *from, const struct websocket_ops *websocket_ops)
{
    CHECK(from->receiver == NULL || !from->receiver->delivering);
    *websocket = *from;
    websocket->ops = websocket_ops;
    *from = (struct websocket){0};
    connection_own(websocket->connection, &ops, websocket);
}

void websocket_set_limits(struct websocket *websocket, const struct websocket_limits *limits)
{
    websocket->limits = limits;
}

/* --- moving --- */

static void on_arrived(void *context, struct connection *connection)
{
    struct websocket *websocket = context;
    if (connection == NULL) {
        websocket->state = ENDED;
        if (websocket->receiver != NULL) {
            receiver_destroy(websocket->receiver);
            websocket->receiver = NULL;
        }
        websocket->ops->on_moved(websocket, false);
    } else {
        bool close_now = websocket->state == CLOSE_LATER;
        websocket->connection = connection;
        websocket->state = OPEN;
        if (websocket->receiver != NULL) {
            receiver_arrive(connection_loop(connection));
        }
        connection_own(connection, &ops, websocket);
        websocket_set_deflate(websocket, websocket->deflate_bits);
        websocket->ops->on_moved(websocket, true);
        if (close_now) {
            websocket_close(websocket, websocket->reason);
        }
    }
}

void websocket_move(struct websocket *websocket, unsigned shard)
{
    /* Inside on_message the receiver is in use: on_bytes gives it back. */
    if (websocket->receiver != NULL && !websocket->receiver->delivering) {
        give_back_if_idle(websocket);
        if (websocket->receiver != NULL) {
            receiver_leave(connection_loop(websocket->connection));
        }
    }
    websocket->state = websocket->state == OPEN ? MOVING : CLOSE_LATER;
    connection_move(websocket->connection, shard, on_arrived, websocket);
}
