/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the loop and the connection under hub/net/websocket, and lets allocations fail when told
 * to.
 */
#include "tests/support/ws_rig.h"

#include <string.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/outbox.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/ws_deflate.h"
#include "hub/net/connection.h"
#include "hub/net/loop.h"

enum { SHARDS = 2, START_MS = 5000, READ_MAX = 65536, DEFLATE_LEVEL = 6, DEFLATE_MEMORY = 8 };

struct loop {
    struct shard shard;
    struct loop_local *locals[LOOP_SLOT_COUNT];
};

struct connection {
    struct outbox outbox;
    struct loop *loop;
    struct ws_rig *rig;
    const struct connection_ops *ops;
    void *owner;
    struct builder kept; /* what was not consumed */
    uint32_t limit;
    bool again;
    bool closing;
    bool expires;
    enum close_reason reason; /* of closing, or expiring */
    connection_arrived_fn arrived; /* it moves */
    void *context;
    unsigned target;
};

static struct loop loops[SHARDS];
static struct actor_system *the_system;

static void on_wake(void *context)
{
    (void)context;
}

/* Made once: a rig leaves nothing in it but spare receivers. */
static void make_world(void)
{
    static const struct actor_config config = {.node = "n", .outbound_bytes = 64 << 20};
    if (the_system != NULL) {
        return;
    }
    the_system = actor_system_create(SHARDS);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &loops[i].shard;
        struct sched *sched = actor_system_sched(the_system, i);
        sched_bind(sched, on_wake, NULL, shard);
        shard_init(shard, sched, &config);
        sched_set_time(sched, START_MS, START_MS);
    }
}

/* --- allocations --- */

void *__real_mem_try_alloc(size_t size);
void *__real_mem_try_realloc(void *ptr, size_t size);
void *__wrap_mem_try_alloc(size_t size);
void *__wrap_mem_try_realloc(void *ptr, size_t size);

static struct {
    bool inside; /* the WebSocket is at work, not the rig */
    unsigned after;
    unsigned count;
    unsigned failed;
} failing;

static bool is_to_fail(void)
{
    if (!failing.inside || failing.count == 0) {
        return false;
    }
    if (failing.after > 0) {
        failing.after--;
        return false;
    }
    failing.count--;
    failing.failed++;
    return true;
}

void *__wrap_mem_try_alloc(size_t size)
{
    return is_to_fail() ? NULL : __real_mem_try_alloc(size);
}

void *__wrap_mem_try_realloc(void *ptr, size_t size)
{
    return is_to_fail() ? NULL : __real_mem_try_realloc(ptr, size);
}

unsigned ws_rig_fail(unsigned after, unsigned count)
{
    unsigned failed = failing.failed;
    failing.after = after;
    failing.count = count;
    failing.failed = 0;
    return failed;
}

/* --- loop --- */

struct shard *loop_shard(struct loop *loop)
{
    return &loop->shard;
}

void loop_set_local(struct loop *loop, enum loop_slot slot, struct loop_local *local)
{
    loop->locals[slot] = local;
}

struct loop_local *loop_get_local(const struct loop *loop, enum loop_slot slot)
{
    return loop->locals[slot];
}

/* --- connection --- */

static void flush(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    while (outbox->bytes > 0) {
        struct iovec range = outbox_first(outbox);
        builder_add(&connection->rig->sent, bytes_of(range.iov_base, range.iov_len));
        outbox_consume(outbox, range.iov_len);
    }
}

static struct chunk *pack(struct outbox *outbox, struct chunk *chunk)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    return connection->ops->deflate(connection, chunk);
}

static struct connection *make_connection(struct ws_rig *rig, struct loop *loop)
{
    static const struct outbox_ops ops = {.flush = flush, .deflate = pack};
    struct connection *connection = mem_alloc(sizeof(*connection));
    struct outbox_limits limits = {.high = 256 << 20, .max = 512 << 20};
    connection->loop = loop;
    connection->rig = rig;
    outbox_init(&connection->outbox, &ops, &limits);
    return connection;
}

static void free_connection(struct connection *connection)
{
    outbox_finish(&connection->outbox);
    builder_reset(&connection->kept);
    mem_free(connection);
}

struct loop *connection_loop(const struct connection *connection)
{
    return connection->loop;
}

struct outbox *connection_outbox(struct connection *connection)
{
    return &connection->outbox;
}

void *connection_owner(const struct connection *connection)
{
    return connection->owner;
}

void connection_own(struct connection *connection, const struct connection_ops *ops, void *owner)
{
    connection->ops = ops;
    connection->owner = owner;
    connection->again = builder_bytes(&connection->kept).len > 0;
}

void connection_set_limit(struct connection *connection, uint32_t max_bytes)
{
    connection->limit = max_bytes;
}

void connection_again(struct connection *connection)
{
    connection->again = true;
}

void connection_expire(struct connection *connection, enum close_reason reason, uint32_t ms)
{
    connection->expires = ms > 0;
    connection->reason = reason;
}

/* In this world nothing is left to flush when its turn comes. */
void connection_close(struct connection *connection, enum close_reason reason, bool flushed)
{
    (void)flushed;
    if (!connection->closing) {
        connection->closing = true;
        connection->reason = reason;
    }
}

void connection_move(
    struct connection *connection, unsigned shard, connection_arrived_fn arrived, void *context)
{
    CHECK(connection->arrived == NULL && shard < SHARDS);
    connection->arrived = arrived;
    connection->context = context;
    connection->target = shard;
}

static void arrive(struct ws_rig *rig)
{
    struct connection *from = rig->connection;
    struct connection *to = make_connection(rig, &loops[from->target]);
    to->limit = from->limit;
    builder_add(&to->kept, builder_bytes(&from->kept));
    rig->connection = to;
    from->arrived(from->context, to);
    free_connection(from);
}

static void offer(struct connection *connection)
{
    struct bytes kept = builder_bytes(&connection->kept);
    failing.inside = true;
    size_t used = connection->ops->on_bytes(connection, kept);
    failing.inside = false;
    CHECK(used <= kept.len);
    struct builder rest = {0};
    builder_add(&rest, bytes_skip(kept, used));
    builder_reset(&connection->kept);
    connection->kept = rest;
    if (builder_bytes(&connection->kept).len > connection->limit) {
        connection_close(connection, CLOSE_TOO_LARGE, true);
    }
}

static void end(struct ws_rig *rig)
{
    struct connection *connection = rig->connection;
    rig->connection = NULL;
    connection->ops->on_closed(connection, connection->reason);
    free_connection(connection);
}

/* One turn; whether there was something to do. */
static bool run_turn(struct ws_rig *rig)
{
    struct connection *connection = rig->connection;
    if (connection == NULL) {
        return false;
    }
    outbox_flush_all(&connection->loop->shard.dirty_outboxes);
    if (connection->closing) {
        end(rig);
        return false;
    }
    if (connection->arrived != NULL) {
        arrive(rig);
        return true;
    }
    if (connection->again) {
        connection->again = false;
        offer(connection);
        return true;
    }
    return false;
}

/* --- the echo --- */

static void on_moved(struct websocket *websocket, bool ok)
{
    (void)websocket;
    CHECK(ok);
}

static void send_frame(struct ws_rig *rig, unsigned first, struct bytes payload)
{
    struct connection *connection = rig->websocket.connection;
    struct builder frame = {0};
    ws_rig_add_server(&frame, first, payload);
    struct chunk *chunk = chunk_take(&frame);
    CHECK(chunk != NULL);
    CHECK(outbox_append(
        &connection->outbox, &connection->loop->shard.dirty_outboxes, chunk, 0, chunk->len));
    chunk_unref(chunk);
}

static void move(struct ws_rig *rig)
{
    websocket_move(&rig->websocket, rig->connection->loop == &loops[0]);
}

static void on_message(struct websocket *websocket, bool binary, struct bytes message)
{
    struct ws_rig *rig = container_of(websocket, struct ws_rig, websocket);
    const struct ws_rig_options *options = &rig->options;
    CHECK(rig->closed == 0 && message.len <= options->limits.message_bytes);
    CHECK(options->close_after == 0 || rig->delivered < options->close_after);
    rig->delivered++;
    failing.inside = false;
    send_frame(rig, binary ? 0x82 : 0x81, message);
    failing.inside = true;
    if (rig->delivered == options->close_after) {
        websocket_close(websocket, CLOSE_NORMAL);
    } else if (options->move_every > 0 && rig->delivered % options->move_every == 0) {
        move(rig);
    }
}

static void on_closed(struct websocket *websocket, enum close_reason reason)
{
    struct ws_rig *rig = container_of(websocket, struct ws_rig, websocket);
    rig->closed++;
    rig->reason = reason;
}

void ws_rig_open(struct ws_rig *rig, const struct ws_rig_options *options)
{
    static const struct websocket_ops ops = {
        .on_message = on_message, .on_closed = on_closed, .on_moved = on_moved};
    make_world();
    *rig = (struct ws_rig){.options = *options};
    rig->options.limits.deflate_level = DEFLATE_LEVEL;
    rig->options.limits.deflate_memory = DEFLATE_MEMORY;
    rig->connection = make_connection(rig, &loops[0]);
    websocket_init(&rig->websocket, rig->connection, &rig->options.limits, &ops);
    websocket_set_deflate(&rig->websocket, options->deflate_bits);
}

/* Whether nobody has ended it. */
static bool is_open(const struct ws_rig *rig)
{
    bool closed_by_us = rig->options.close_after > 0 && rig->delivered == rig->options.close_after;
    return rig->connection != NULL && !closed_by_us;
}

void ws_rig_receive(struct ws_rig *rig, struct bytes bytes)
{
    while (bytes.len > 0 && rig->connection != NULL) {
        size_t len = bytes.len < READ_MAX ? bytes.len : READ_MAX;
        builder_add(&rig->connection->kept, bytes_of(bytes.at, len));
        rig->connection->again = true;
        while (run_turn(rig)) {
        }
        if (rig->options.moves && is_open(rig)) {
            move(rig);
            while (run_turn(rig)) {
            }
        }
        bytes = bytes_skip(bytes, len);
    }
}

void ws_rig_expire(struct ws_rig *rig)
{
    if (rig->connection != NULL && rig->connection->expires) {
        connection_close(rig->connection, rig->connection->reason, false);
        (void)run_turn(rig);
    }
}

void ws_rig_finish(struct ws_rig *rig)
{
    if (rig->connection != NULL) {
        connection_close(rig->connection, CLOSE_PEER, true);
        (void)run_turn(rig);
    }
    CHECK(rig->closed == 1 && rig->connection == NULL);
    for (unsigned i = 0; i < SHARDS; i++) {
        CHECK(websocket_borrowed(&loops[i]) == 0);
        CHECK(list_empty(&loops[i].shard.dirty_outboxes));
    }
    builder_reset(&rig->sent);
}

/* --- frames --- */

void ws_rig_add_server(struct builder *out, unsigned first, struct bytes payload)
{
    char head[WS_FRAME_HEAD_MAX];
    size_t len = ws_frame_write_head(head, WS_TEXT, false, payload.len);
    head[0] = (char)first;
    builder_add(out, bytes_of(head, len));
    builder_add(out, payload);
}

void ws_rig_add_client(struct builder *out, unsigned first, struct bytes payload)
{
    static const char mask[4] = {0x11, 0x22, 0x33, 0x44};
    char head[WS_FRAME_HEAD_MAX];
    size_t len = ws_frame_write_head(head, WS_TEXT, false, payload.len);
    head[0] = (char)first;
    head[1] = (char)((unsigned char)head[1] | 0x80);
    builder_add(out, bytes_of(head, len));
    builder_add(out, bytes_of(mask, 4));
    char *at = builder_reserve(out, payload.len + 1);
    CHECK(at != NULL);
    for (size_t i = 0; i < payload.len; i++) {
        at[i] = (char)(payload.at[i] ^ mask[i % 4]);
    }
    builder_commit(out, payload.len);
}

void ws_rig_add_packed(struct builder *out, unsigned first, struct bytes payload)
{
    static struct ws_deflater *deflater;
    struct builder frame = {0};
    struct builder packed = {0};
    struct ws_frame read;
    deflater = deflater != NULL ? deflater : ws_deflater_create(DEFLATE_LEVEL, DEFLATE_MEMORY);
    CHECK(deflater != NULL);
    ws_rig_add_server(&frame, 0x81, payload);
    int made = ws_deflate_frames(deflater, builder_bytes(&frame), 1, &packed);
    CHECK(made >= 0 && ws_frame_read_own(builder_bytes(&packed), &read) > 0);
    ws_rig_add_client(
        out, first | (made > 0 ? 0x40 : 0), bytes_skip(builder_bytes(&packed), read.head_len));
    builder_reset(&frame);
    builder_reset(&packed);
}

void ws_rig_add_close(struct builder *out, enum close_reason reason)
{
    char payload[WS_FRAME_CONTROL_MAX];
    size_t len = ws_frame_write_close(payload, close_code(reason), bytes_str(close_text(reason)));
    ws_rig_add_server(out, 0x88, bytes_of(payload, len));
}

bool ws_rig_unpack(struct bytes sent, struct builder *out)
{
    static struct ws_inflater *inflater;
    while (sent.len > 0) {
        struct ws_frame frame;
        struct builder message = {0};
        int len = ws_frame_read_own(sent, &frame);
        if (len < 0) {
            return false;
        }
        struct bytes payload = bytes_of(sent.at + frame.head_len, frame.payload_len);
        bool good = true;
        if (frame.compressed) {
            good = ws_inflater_begin(&inflater) == 0 &&
                   ws_inflate(inflater, payload, true, &message) == 0;
            payload = builder_bytes(&message);
        }
        ws_rig_add_server(out, (frame.fin ? 0x80U : 0U) | (unsigned)frame.opcode, payload);
        builder_reset(&message);
        if (!good) {
            return false;
        }
        sent = bytes_skip(sent, (size_t)len);
    }
    return true;
}
