/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages 2 (read) and 9 (write) of the data path.
 *
 * The two places where bytes cross the socket are take_input and write_some: a filter (TLS) goes
 * there. Ranges that libuv writes later stay where they lie (outbox.busy).
 */
#include "hub/connection.h"

#include <string.h>
#include <sys/uio.h>

#include "codec/base/mem.h"
#include "hub/connection_state.h"

enum {
    KEPT_FIRST = 256,
    WRITE_RANGES = 64,
    WRITE_BYTES = 1 << 20,
    WRITE_POOL = 64, /* write requests kept for the next use */
    STALL_MS = 30000, /* when the configuration has none */
};

struct write {
    uv_write_t request;
    struct connection *connection;
    struct list link; /* connections.writes */
    uint32_t len;
};

/* --- kept bytes --- */

static void deliver_kept(struct loop_task *task);

static bool keep_room(struct connection *connection, size_t need)
{
    struct kept *kept = connection->kept;
    if (kept != NULL && need <= kept->cap) {
        return true;
    }
    size_t cap = kept ? kept->cap : KEPT_FIRST;
    while (cap < need) {
        cap *= 2;
    }
    struct kept *moved = mem_try_alloc(sizeof(*moved) + cap);
    if (moved == NULL) {
        return false;
    }
    loop_task_init(&moved->task, deliver_kept);
    moved->connection = connection;
    moved->cap = (uint32_t)cap;
    moved->len = kept ? kept->len : 0;
    if (kept != NULL) {
        memcpy(moved->at, kept->at, kept->len);
        if (!list_empty(&kept->task.link)) {
            loop_task_cancel(&kept->task);
            loop_defer(connection_loop(connection), &moved->task);
        }
        mem_free(kept);
    }
    connection->kept = moved;
    return true;
}

void connection_drop_kept(struct connection *connection)
{
    if (connection->kept != NULL) {
        loop_task_cancel(&connection->kept->task);
        mem_free(connection->kept);
        connection->kept = NULL;
    }
}

static bool keep(struct connection *connection, struct bytes bytes)
{
    size_t len = connection->kept ? connection->kept->len : 0;
    if (len + bytes.len > connection->limit) {
        connection_close(connection, CLOSE_TOO_LARGE, true);
        return false;
    }
    if (!keep_room(connection, len + bytes.len)) {
        connection_close(connection, CLOSE_TOO_LARGE, false);
        return false;
    }
    memcpy(connection->kept->at + len, bytes.at, bytes.len);
    connection->kept->len += (uint32_t)bytes.len;
    return true;
}

static bool is_delivery_due(const struct connection *connection)
{
    return connection->kept != NULL && !list_empty(&connection->kept->task.link);
}

/* Show the owner the kept bytes and keep what it leaves. */
static void offer_kept(struct connection *connection)
{
    struct kept *kept = connection->kept;
    size_t used = connection->ops->on_bytes(connection, bytes_of(kept->at, kept->len));
    kept = connection->kept;
    if (kept == NULL) {
        return;
    }
    CHECK(used <= kept->len);
    kept->len -= (uint32_t)used;
    memmove(kept->at, kept->at + used, kept->len);
    if (kept->len == 0 && !is_delivery_due(connection)) {
        connection_drop_kept(connection);
    }
}

static void deliver_kept(struct loop_task *task)
{
    struct connection *connection = container_of(task, struct kept, task)->connection;
    if (connection->state != OPEN || connection->pauses > 0) {
        return;
    }
    offer_kept(connection);
    connection_start_reading(connection);
}

/* --- reading --- */

/* Everything that came off the socket passes here: a filter (TLS) goes between it and its caller.
 */
static void take_input(struct connection *connection, struct bytes bytes)
{
    if (connection->kept != NULL) {
        if (keep(connection, bytes)) {
            offer_kept(connection);
        }
        return;
    }
    const struct connection_ops *ops = connection->ops;
    size_t used = ops->on_bytes(connection, bytes);
    CHECK(used <= bytes.len);
    if (used == bytes.len || connection->state != OPEN) {
        return;
    }
    if (keep(connection, bytes_skip(bytes, used)) && connection->ops != ops) {
        connection_again(connection); /* a new owner has not seen them */
    }
}

/* No more than CONNECTION_READ_SIZE for one connection in a turn: without room libuv stops reading.
 */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *connection = container_of(handle, struct connection, tcp);
    struct loop *loop = connection_loop(connection);
    struct connections *connections = connections_of(loop);
    if (connections->reader != connection || connections->read_turn != loop_turn(loop)) {
        connections->reader = connection;
        connections->read_turn = loop_turn(loop);
        connections->read_bytes = 0;
    }
    size_t room = connections->read_bytes < CONNECTION_READ_SIZE
                      ? CONNECTION_READ_SIZE - connections->read_bytes
                      : 0;
    *buf = uv_buf_init(connections->buffer, (unsigned)room);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct connection *connection = container_of(stream, struct connection, tcp);
    if (nread == 0 || nread == UV_ENOBUFS) {
        return;
    }
    loop_begin(connection_loop(connection));
    if (nread > 0) {
        connections_of(connection_loop(connection))->read_bytes += (size_t)nread;
        if (connection->state == OPEN) {
            take_input(connection, bytes_of(buf->base, (size_t)nread));
        }
        return;
    }
    if (connection->state != OPEN) {
        connection_end(connection);
    } else if (nread == UV_EOF) {
        connection->eof = true;
        connection_close(connection, CLOSE_PEER, true);
    } else {
        connection_close(connection, CLOSE_TRANSPORT, false);
    }
}

/* Whether libuv reads from now on; it calls it an error when it did already. */
static bool read_on(struct connection *connection)
{
    int status = uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
    return status == 0 || status == UV_EALREADY;
}

void connection_start_reading(struct connection *connection)
{
    if (connection->state == OPEN && connection->pauses == 0 && !connection->moving &&
        !is_delivery_due(connection) && !read_on(connection)) {
        connection_close(connection, CLOSE_TRANSPORT, false);
    }
}

bool connection_discard(struct connection *connection)
{
    return read_on(connection);
}

void connection_pause(struct connection *connection)
{
    CHECK(connection->pauses < 31);
    connection->pauses++;
    if (connection->state == OPEN) {
        uv_read_stop((uv_stream_t *)&connection->tcp);
    }
}

void connection_resume(struct connection *connection)
{
    CHECK(connection->pauses > 0);
    connection->pauses--;
    if (connection->pauses == 0 && connection->kept != NULL) {
        connection_again(connection);
    } else {
        connection_start_reading(connection);
    }
}

void connection_again(struct connection *connection)
{
    if (connection->state != OPEN) {
        return;
    }
    uv_read_stop((uv_stream_t *)&connection->tcp);
    if (connection->kept == NULL && !keep_room(connection, 1)) {
        connection_close(connection, CLOSE_TOO_LARGE, false);
        return;
    }
    loop_defer(connection_loop(connection), &connection->kept->task);
}

/* --- writing --- */

_Static_assert(sizeof(uv_buf_t) == sizeof(struct iovec) &&
                   offsetof(uv_buf_t, base) == offsetof(struct iovec, iov_base) &&
                   offsetof(uv_buf_t, len) == offsetof(struct iovec, iov_len),
    "the ranges of an outbox are libuv's");

union ranges {
    struct iovec iov[WRITE_RANGES];
    uv_buf_t bufs[WRITE_RANGES];
};

/* Everything that goes to the socket passes here: a filter (TLS) goes in front of it. */
static ssize_t write_some(struct connection *connection, union ranges *ranges, size_t count)
{
    ssize_t wrote = uv_try_write((uv_stream_t *)&connection->tcp, ranges->bufs, (unsigned)count);
    return wrote == UV_EAGAIN ? 0 : wrote;
}

void connection_free_writes(struct connections *connections)
{
    struct list *link;
    while ((link = list_pop(&connections->writes)) != NULL) {
        mem_free(container_of(link, struct write, link));
    }
}

static struct write *take_write(struct connections *connections)
{
    struct list *link = list_pop(&connections->writes);
    if (link == NULL) {
        struct write *write = mem_alloc(sizeof(*write));
        list_init(&write->link);
        return write;
    }
    connections->spare_writes--;
    return container_of(link, struct write, link);
}

static void give_write(struct connections *connections, struct write *write)
{
    if (connections->spare_writes >= WRITE_POOL) {
        mem_free(write);
        return;
    }
    connections->spare_writes++;
    list_append(&connections->writes, &write->link);
}

static void flush_outbox(struct outbox *outbox);

static void count_written(struct connection *connection, size_t len)
{
    connection_shard(connection)->stats.bytes_out += len;
    outbox_consume(&connection->outbox, len);
    if (connection->outbox.bytes == 0) {
        connection_emptied(connection);
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct write *write = container_of(request, struct write, request);
    struct connection *connection = write->connection;
    size_t len = write->len;
    loop_begin(connection_loop(connection));
    give_write(connections_of(connection_loop(connection)), write);
    connection->outbox.busy = false;
    if (connection->state == ENDED) {
        return;
    }
    if (status != 0) {
        connection_close(connection, CLOSE_TRANSPORT, false);
        return;
    }
    count_written(connection, len);
    if (connection->outbox.bytes > 0 && connection->state != ENDED) {
        flush_outbox(&connection->outbox);
    }
}

/* The kernel takes no more: let libuv write the waiting ranges, where they lie, when it does. */
static void write_later(struct connection *connection)
{
    union ranges ranges;
    size_t count = outbox_peek(&connection->outbox, ranges.iov, WRITE_RANGES, WRITE_BYTES);
    struct connections *connections = connections_of(connection_loop(connection));
    struct write *write = take_write(connections);
    write->connection = connection;
    write->len = 0;
    for (size_t i = 0; i < count; i++) {
        write->len += (uint32_t)ranges.iov[i].iov_len;
    }
    connection->congested = true;
    connection->outbox.busy = true;
    if (uv_write(&write->request, (uv_stream_t *)&connection->tcp, ranges.bufs, (unsigned)count,
            on_written) != 0) {
        connection->outbox.busy = false;
        give_write(connections, write);
        connection_close(connection, CLOSE_TRANSPORT, false);
    }
}

static void flush_outbox(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    while (connection->state == OPEN || connection->state == FLUSHING) {
        union ranges ranges;
        size_t count = outbox_peek(outbox, ranges.iov, WRITE_RANGES, WRITE_BYTES);
        size_t len = 0;
        for (size_t i = 0; i < count; i++) {
            len += ranges.iov[i].iov_len;
        }
        ssize_t wrote = write_some(connection, &ranges, count);
        if (wrote < 0) {
            connection_close(connection, CLOSE_TRANSPORT, false);
            return;
        }
        bool whole = len == outbox->bytes;
        count_written(connection, (size_t)wrote);
        if ((size_t)wrote < len) {
            write_later(connection);
            return;
        }
        if (whole || connection->outbox.bytes == 0) {
            return;
        }
    }
}

/* The peer does not read: it has the stall time from now on to take all that waits. */
static void on_overflowed(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    if (connection->state == OPEN && !timer_armed(&connection->timer)) {
        const struct actor_config *config = connection_shard(connection)->config;
        uint32_t ms = config != NULL && config->stall_ms > 0 ? config->stall_ms : STALL_MS;
        connection_expire(connection, CLOSE_SLOW, ms);
    }
}

static void on_outbox_drained(struct outbox *outbox, uint32_t refused)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    if (connection->state != OPEN) {
        return;
    }
    if (connection->expiry == CLOSE_SLOW) {
        connection_expire(connection, CLOSE_SLOW, 0);
    }
    connection->congested = false;
    if (connection->ops->on_drained != NULL) {
        connection->ops->on_drained(connection, refused);
    }
}

const struct outbox_ops connection_outbox_ops = {
    .flush = flush_outbox,
    .overflowed = on_overflowed,
    .drained = on_outbox_drained,
};
