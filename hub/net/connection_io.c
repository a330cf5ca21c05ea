/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages 2 (read) and 9 (write) of the data path.
 *
 * TLS stands between the socket and the two places where plain bytes pass: connection_take_input
 * and flush_outbox (connection_tls.c). What the kernel does not take stays where it lies until the
 * socket is writable again (outbox.busy).
 */
#include "hub/net/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "codec/base/mem.h"
#include "hub/net/connection_state.h"
#include "hub/net/slow.h"

enum {
    KEPT_FIRST = 256,
    TURN_BYTES = 4 << 20,
    READ_LATE = 2 << 10,
    WRITE_RANGES = 64,
    WRITE_BYTES = 1 << 20,
    OUTBOX_HIGH = 256 << 10, /* when the configuration has none, as the next */
    OUTBOX_MAX = 16 << 20,
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
        connection_close(connection, CLOSE_NO_MEMORY, false);
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

bool connection_holds(const struct connection *connection)
{
    return connection->pauses > 0 || connection->moving || is_delivery_due(connection);
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

void connection_take_input(struct connection *connection, struct bytes bytes)
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

/* What one may be read now: less when much was taken in this turn, after which it is seen whether
 * there is memory for more. */
static size_t read_size(struct connections *part)
{
    uint64_t turn = loop_turn(part->loop);
    if (part->turn != turn) {
        part->turn = turn;
        part->taken = 0;
    }
    return part->taken < TURN_BYTES ? sizeof(part->buffer) : READ_LATE;
}

/* One read in a turn, of at most CONNECTION_READ_SIZE: what is left makes the socket ready again.
 */
static void read_once(struct connection *connection)
{
    struct connections *part = connection->part;
    char *at = part->buffer;
    size_t room = sizeof(part->buffer);
    bool sealed = connection->sealed && connection->state == OPEN;
    if (sealed && !connection->part->seal->reads(connection, &at, &room)) {
        return;
    }
    size_t most = read_size(part);
    ssize_t len = recv(connection->socket.fd, at, most < room ? most : room, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (len > 0) {
        part->taken += (size_t)len;
        part->shard->stats.bytes_in += (size_t)len;
        if (sealed) {
            part->seal->take(connection, bytes_of(at, (size_t)len));
        } else if (connection->state == OPEN) {
            connection_take_input(connection, bytes_of(at, (size_t)len));
        }
    } else if (connection->state != OPEN) {
        connection_end(connection);
    } else if (len == 0) {
        connection->eof = true;
        connection_close(connection, CLOSE_PEER, true);
    } else {
        connection_close(connection, CLOSE_TRANSPORT, false);
    }
}

static void flush_outbox(struct outbox *outbox);

void connection_ready(struct poller_socket *socket, unsigned ready)
{
    struct connection *connection = container_of(socket, struct connection, socket);
    loop_begin(connection_loop(connection));
    if (ready & POLLER_WRITE) {
        connection->outbox.busy = false;
        connection_want(connection, 0, POLLER_WRITE);
        flush_outbox(&connection->outbox);
    }
    if ((ready & POLLER_READ) && (socket->wanted & POLLER_READ)) {
        read_once(connection);
    }
}

void connection_start_reading(struct connection *connection)
{
    if (connection->state != OPEN || connection_holds(connection)) {
        return;
    }
    if (connection->sealed && connection->part->seal->ended(connection)) {
        connection_close(connection, CLOSE_PEER, true);
    } else if (!connection_want(connection, POLLER_READ, 0)) {
        connection_close(connection, CLOSE_TRANSPORT, false);
    }
}

void connection_pause(struct connection *connection)
{
    CHECK(connection->pauses < 31);
    connection->pauses++;
    if (connection->state == OPEN) {
        connection_stop_reading(connection);
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
    connection_stop_reading(connection);
    if (connection->kept == NULL && !keep_room(connection, 1)) {
        connection_close(connection, CLOSE_NO_MEMORY, false);
        return;
    }
    loop_defer(connection_loop(connection), &connection->kept->task);
}

/* --- writing --- */

static inline ssize_t write_some(struct connection *connection, struct iovec *ranges, size_t count)
{
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    ssize_t wrote;
    do {
        if (count == 1) {
            wrote = send(connection->socket.fd, ranges->iov_base, ranges->iov_len, flags);
        } else {
            struct msghdr message = {.msg_iov = ranges, .msg_iovlen = count};
            wrote = sendmsg(connection->socket.fd, &message, flags);
        }
    } while (wrote < 0 && errno == EINTR);
    return wrote < 0 && (errno == EAGAIN || errno == ENOBUFS) ? 0 : wrote;
}

ssize_t connection_write(struct connection *connection, struct iovec *ranges, size_t count)
{
    return write_some(connection, ranges, count);
}

void connection_wait_writable(struct connection *connection)
{
    connection->congested = true;
    connection->outbox.busy = true;
    if (!connection_want(connection, POLLER_WRITE, 0)) {
        connection_close(connection, CLOSE_TRANSPORT, false);
    }
}

/* The kernel took `wrote` of the `len` bytes it was given; false when that was all for now. */
static inline bool on_wrote(struct connection *connection, ssize_t wrote, size_t len)
{
    struct outbox *outbox = &connection->outbox;
    if (wrote < 0) {
        connection_close(connection, CLOSE_TRANSPORT, false);
        return false;
    }
    connection->part->shard->stats.bytes_out += (size_t)wrote;
    outbox_consume(outbox, (size_t)wrote);
    if (outbox->bytes == 0) {
        if (connection->state == FLUSHING || connection->congested) {
            connection_emptied(connection);
        }
        return false;
    }
    if ((size_t)wrote < len) {
        connection_wait_writable(connection);
        return false;
    }
    return connection->state == OPEN || connection->state == FLUSHING;
}

static bool flush_some(struct connection *connection)
{
    struct iovec ranges[WRITE_RANGES];
    size_t count = outbox_peek(&connection->outbox, ranges, WRITE_RANGES, WRITE_BYTES);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += ranges[i].iov_len;
    }
    return on_wrote(connection, write_some(connection, ranges, count), len);
}

static void flush_outbox(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    if (connection->sealed) {
        connection->part->seal->flush(connection);
        return;
    }
    if (outbox->bytes == 0 || (connection->state != OPEN && connection->state != FLUSHING)) {
        return;
    }
    if (outbox->count == 1) { /* nearly always */
        struct iovec range = outbox_first(outbox);
        if (!on_wrote(connection, write_some(connection, &range, 1), range.iov_len)) {
            return;
        }
    }
    while (flush_some(connection)) {
    }
}

struct outbox_limits connection_outbox_limits(const struct shard *shard)
{
    const struct actor_config *config = shard->config;
    bool configured = config != NULL && config->outbound_bytes > 0;
    return (struct outbox_limits){
        .high = configured ? config->outbound_bytes : OUTBOX_HIGH,
        .max = configured ? config->outbox_max : OUTBOX_MAX,
    };
}

static void end_slow(struct connection *connection, uint64_t ms, bool overflow)
{
    const struct connection_ops *ops = connection->ops;
    bool ending = ops != NULL && ops->on_slow != NULL && ops->on_slow(connection, ms, overflow);
    if (!ending) {
        connection_close(connection, CLOSE_SLOW, false);
    }
}

/* The peer is behind: it has limits.slow_consumer from now on to take half of what waits. */
static void on_filled(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    if (connection->state == OPEN && !timer_armed(&connection->timer)) {
        connection_expire(connection, CLOSE_SLOW, slow_patience_ms(connection_shard(connection)));
        connection->slow = true;
    }
}

static void on_relieved(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    if (connection->state != OPEN) {
        return;
    }
    if (connection->slow) {
        connection_expire(connection, CLOSE_SLOW, 0);
    }
    if (connection->ops != NULL && connection->ops->on_relieved != NULL) {
        connection->ops->on_relieved(connection);
    }
}

void connection_too_slow(struct connection *connection)
{
    end_slow(connection, slow_patience_ms(connection_shard(connection)), false);
}

static void on_overflowed(struct outbox *outbox)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    if (connection->state == OPEN) {
        uint64_t due_ms = connection->slow ? connection->timer.due_ms : 0;
        end_slow(connection, slow_full_ms(connection_shard(connection), due_ms), true);
    }
}

static struct chunk *on_deflate(struct outbox *outbox, struct chunk *chunk)
{
    struct connection *connection = container_of(outbox, struct connection, outbox);
    const struct connection_ops *ops = connection->ops;
    return ops != NULL && ops->deflate != NULL ? ops->deflate(connection, chunk) : chunk;
}

const struct outbox_ops connection_outbox_ops = {
    .deflate = on_deflate,
    .flush = flush_outbox,
    .filled = on_filled,
    .relieved = on_relieved,
    .overflowed = on_overflowed,
};
