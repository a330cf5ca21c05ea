/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wslay context that connections borrow while a message is incomplete.
 *
 * Order of this file: wslay's callbacks, the pool, feeding.
 */
#include "hub/net/receiver.h"

#include <wslay/wslay.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/utf8.h"
#include "codec/ws_deflate.h"
#include "hub/net/loop.h"

enum {
    POOL_MAX = 32, /* spare receivers of a loop */
    KEEP_BYTES = 16 << 10, /* a spare receiver's memory for messages */
};

struct pool {
    struct loop_local local;
    struct list spare;
    unsigned spare_count;
    unsigned borrowed;
};

/* --- wslay's callbacks: their context is the receiver --- */

static ssize_t on_recv(
    wslay_event_context_ptr wslay, uint8_t *at, size_t size, int flags, void *context)
{
    struct receiver *receiver = context;
    size_t len = receiver->input.len < size ? receiver->input.len : size;
    if (len == 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(at, receiver->input.at, len);
    receiver->input = bytes_skip(receiver->input, len);
    return (ssize_t)len;
}

static ssize_t on_send(
    wslay_event_context_ptr wslay, const uint8_t *at, size_t len, int flags, void *context)
{
    struct receiver *receiver = context;
    builder_add(&receiver->reply, bytes_of(at, len));
    return (ssize_t)len;
}

static void on_frame(wslay_event_context_ptr wslay,
    const struct wslay_event_on_frame_recv_start_arg *frame, void *context)
{
    struct receiver *receiver = context;
    if (frame->opcode == WSLAY_TEXT_FRAME || frame->opcode == WSLAY_BINARY_FRAME) {
        receiver->binary = frame->opcode == WSLAY_BINARY_FRAME;
    }
}

static void on_chunk(wslay_event_context_ptr wslay,
    const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *context)
{
    struct receiver *receiver = context;
    struct bytes part = bytes_of(chunk->data, chunk->data_length);
    if (receiver->left == 0) {
        return; /* of a ping */
    }
    if (!receiver->compressed) {
        builder_add(&receiver->message, part);
    } else if (receiver->inflated == 0) {
        receiver->inflated = ws_inflate(receiver->inflater, part, false, &receiver->message);
    }
}

static const struct wslay_event_callbacks callbacks = {
    .recv_callback = on_recv,
    .send_callback = on_send,
    .on_frame_recv_start_callback = on_frame,
    .on_frame_recv_chunk_callback = on_chunk,
};

/* --- the pool --- */

void receiver_destroy(struct receiver *receiver)
{
    wslay_event_context_free(receiver->wslay);
    ws_inflater_destroy(receiver->inflater);
    builder_reset(&receiver->message);
    builder_reset(&receiver->reply);
    mem_free(receiver);
}

static void destroy_pool(struct loop_local *local)
{
    struct pool *pool = container_of(local, struct pool, local);
    CHECK(pool->borrowed == 0);
    struct list *link;
    while ((link = list_pop(&pool->spare)) != NULL) {
        receiver_destroy(container_of(link, struct receiver, link));
    }
    mem_free(pool);
}

static struct pool *pool_of(struct loop *loop)
{
    struct loop_local *local = loop_get_local(loop, LOOP_WEBSOCKETS);
    if (local != NULL) {
        return container_of(local, struct pool, local);
    }
    struct pool *pool = mem_alloc(sizeof(*pool));
    pool->local.destroy = destroy_pool;
    list_init(&pool->spare);
    loop_set_local(loop, LOOP_WEBSOCKETS, &pool->local);
    return pool;
}

unsigned receiver_borrowed(struct loop *loop)
{
    return pool_of(loop)->borrowed;
}

static struct receiver *make_receiver(void)
{
    struct receiver *receiver = mem_alloc(sizeof(*receiver));
    list_init(&receiver->link);
    CHECK(wslay_event_context_server_init(&receiver->wslay, &callbacks, receiver) == 0);
    wslay_event_config_set_no_buffering(receiver->wslay, 1);
    wslay_event_config_set_max_recv_msg_length(receiver->wslay, INT32_MAX);
    /* Only the scanner knows for whom; text behind it is checked here, inflated. */
    wslay_event_config_set_allowed_rsv_bits(receiver->wslay, WSLAY_RSV1_BIT);
    return receiver;
}

struct receiver *receiver_borrow(struct loop *loop)
{
    struct pool *pool = pool_of(loop);
    struct list *link = list_pop(&pool->spare);
    pool->borrowed++;
    if (link == NULL) {
        return make_receiver();
    }
    pool->spare_count--;
    return container_of(link, struct receiver, link);
}

void receiver_return(struct loop *loop, struct receiver *receiver)
{
    struct pool *pool = pool_of(loop);
    pool->borrowed--;
    if (!receiver_is_idle(receiver) || receiver->broken || pool->spare_count >= POOL_MAX) {
        receiver_destroy(receiver);
        return;
    }
    receiver->scanner = (struct ws_scanner){0};
    if (receiver->message.cap > KEEP_BYTES) {
        builder_reset(&receiver->message);
    }
    builder_clear(&receiver->message);
    list_prepend(&pool->spare, &receiver->link);
    pool->spare_count++;
}

void receiver_leave(struct loop *loop)
{
    pool_of(loop)->borrowed--;
}

void receiver_arrive(struct loop *loop)
{
    pool_of(loop)->borrowed++;
}

/* --- feeding --- */

bool receiver_feed(struct receiver *receiver, struct bytes part)
{
    receiver->input = part;
    while (receiver->input.len > 0) {
        size_t before = receiver->input.len;
        if (wslay_event_recv(receiver->wslay) != 0 ||
            !wslay_event_get_read_enabled(receiver->wslay) || receiver->input.len == before) {
            receiver->broken = true;
            return false;
        }
    }
    return true;
}

int receiver_check(struct receiver *receiver, bool whole)
{
    if (builder_failed(&receiver->message)) {
        return builder_status(&receiver->message);
    }
    if (!receiver->compressed || receiver->inflated < 0 || !whole) {
        return receiver->inflated;
    }
    int status = ws_inflate(receiver->inflater, bytes_of(NULL, 0), true, &receiver->message);
    bool bad_text =
        status == 0 && !receiver->binary && !utf8_valid(builder_bytes(&receiver->message));
    return bad_text ? STATUS_UTF8 : status;
}

bool receiver_answer_ping(struct receiver *receiver, struct bytes frame)
{
    if (receiver_feed(receiver, frame) && wslay_event_send(receiver->wslay) == 0) {
        return true;
    }
    receiver->broken = true;
    return false;
}
