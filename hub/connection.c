/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages 2 (read) and 9 (write) of the data path.
 *
 * States: OPEN -> FLUSHING (closing, what waits is written) -> LINGERING (our FIN is sent, what the
 * peer still sends is discarded: closing at once would reset the connection and take the last
 * answer from the peer) -> ENDED (uv_close was called; its callback tells the owner and frees). Any
 * of them may go straight to ENDED.
 *
 * One timer of the wheel serves the deadlines, which exclude each other: a full outbox that does
 * not drain, connection_expire, and the bound of FLUSHING and LINGERING.
 *
 * The two places where bytes cross the socket are take_input and write_some.
 */
#include "hub/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/address.h"
#include "hub/loop.h"

enum {
    READ_SIZE = 64 << 10, /* the shard's read buffer: the most one connection gets in a turn */
    KEPT_LIMIT = 16 << 10, /* of unconsumed bytes, before connection_set_limit */
    KEPT_FIRST = 256,
    WRITE_RANGES = 64,
    WRITE_BYTES = 1 << 20,
    WRITE_POOL = 64, /* write requests kept for the next use */
    CLOSE_MS = 3000,
    STALL_MS = 30000, /* when the configuration has none */
};

enum state { OPEN, FLUSHING, LINGERING, ENDED };

/* Bytes the owner has not consumed; exists only while there are some, or connection_again waits. */
struct kept {
    struct loop_task task; /* deliver them */
    struct connection *connection;
    uint32_t len;
    uint32_t cap;
    char at[];
};

struct connection {
    uv_tcp_t tcp;
    struct outbox outbox;
    const struct connection_ops *ops;
    void *owner;
    struct kept *kept;
    struct address *peer; /* counted there as long as it is not authenticated */
    struct timer timer;
    uint32_t limit;
    uint8_t state; /* enum state */
    uint8_t reason; /* enum close_reason; of the end, once not OPEN */
    uint8_t expiry; /* enum close_reason; what the timer means while OPEN */
    uint8_t pauses : 6;
    uint8_t moving : 1;
    uint8_t congested : 1; /* not everything went out at once since it was last drained */
};

_Static_assert(sizeof(struct connection) - sizeof(uv_tcp_t) <= 160,
    "memory of an idle connection is what this program is measured by");

struct write {
    uv_write_t request;
    struct connection *connection;
    struct list link; /* connections.writes */
    uint32_t len;
};

/* What the connections of one loop share. */
struct connections {
    struct loop_local local;
    struct loop *loop;
    struct address_table addresses;
    struct list writes;
    unsigned spare_writes;
    const struct connection *reader; /* who has read in `read_turn` … */
    uint64_t read_turn;
    size_t read_bytes; /* … this much */
    char buffer[READ_SIZE];
};

/* Marks the handles of connections among all handles of a loop. */
static const char handle_mark;

static void end_now(struct connection *connection);
static void start_reading(struct connection *connection);
static void on_timer(struct timer *timer);

/* --- the loop's part --- */

static void close_left_over(uv_handle_t *handle, void *context)
{
    if (handle->data == &handle_mark && !uv_is_closing(handle)) {
        struct connection *connection = container_of(handle, struct connection, tcp);
        connection_close(connection, CLOSE_DRAINING, true);
    }
}

static void stop_connections(struct loop_local *local)
{
    struct connections *connections = container_of(local, struct connections, local);
    uv_walk(loop_uv(connections->loop), close_left_over, NULL);
}

static void destroy_connections(struct loop_local *local)
{
    struct connections *connections = container_of(local, struct connections, local);
    struct list *link;
    while ((link = list_pop(&connections->writes)) != NULL) {
        mem_free(container_of(link, struct write, link));
    }
    address_table_finish(&connections->addresses);
    mem_free(connections);
}

static struct connections *connections_of(struct loop *loop)
{
    struct loop_local *local = loop_get_local(loop, LOOP_CONNECTIONS);
    if (local != NULL) {
        return container_of(local, struct connections, local);
    }
    struct connections *connections = mem_alloc(sizeof(*connections));
    connections->local.stop = stop_connections;
    connections->local.destroy = destroy_connections;
    connections->loop = loop;
    address_table_init(&connections->addresses);
    list_init(&connections->writes);
    loop_set_local(loop, LOOP_CONNECTIONS, &connections->local);
    return connections;
}

struct address_table *connection_addresses(struct loop *loop)
{
    return &connections_of(loop)->addresses;
}

struct loop *connection_loop(const struct connection *connection)
{
    return loop_from_uv(connection->tcp.loop);
}

static struct shard *shard_of_connection(const struct connection *connection)
{
    return loop_shard(connection_loop(connection));
}

static struct timer_wheel *wheel_of(const struct connection *connection)
{
    return sched_timers(shard_of_connection(connection)->sched);
}

static void set_timer(struct connection *connection, uint32_t ms)
{
    uint64_t now = sched_now(shard_of_connection(connection)->sched);
    timer_set(wheel_of(connection), &connection->timer, now + ms);
}

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

static void drop_kept(struct connection *connection)
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
        drop_kept(connection);
    }
}

static void deliver_kept(struct loop_task *task)
{
    struct connection *connection = container_of(task, struct kept, task)->connection;
    if (connection->state != OPEN || connection->pauses > 0) {
        return;
    }
    offer_kept(connection);
    start_reading(connection);
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

/* No more than READ_SIZE for one connection in a turn: without room libuv stops reading. */
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
    size_t room = connections->read_bytes < READ_SIZE ? READ_SIZE - connections->read_bytes : 0;
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
        end_now(connection);
    } else if (nread == UV_EOF) {
        uv_read_stop(stream);
        connection_close(connection, CLOSE_PEER, true);
    } else {
        connection_close(connection, CLOSE_TRANSPORT, false);
    }
}

static void start_reading(struct connection *connection)
{
    if (connection->state == OPEN && connection->pauses == 0 && !connection->moving &&
        !is_delivery_due(connection) &&
        uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read) != 0) {
        connection_close(connection, CLOSE_TRANSPORT, false);
    }
}

void connection_pause(struct connection *connection)
{
    CHECK(connection->pauses < 63);
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
        start_reading(connection);
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

/* All that waited is written. */
static void on_emptied(struct connection *connection)
{
    if (connection->state == FLUSHING) {
        int fd;
        if (uv_fileno((uv_handle_t *)&connection->tcp, &fd) != 0 ||
            connection->reason == CLOSE_PEER || shutdown(fd, SHUT_WR) != 0 ||
            uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read) != 0) {
            end_now(connection);
            return;
        }
        connection->state = LINGERING;
        return;
    }
    if (connection->state == OPEN && connection->congested) {
        connection->congested = false;
        if (connection->ops->on_drained != NULL) {
            connection->ops->on_drained(connection, 0);
        }
    }
}

static void count_written(struct connection *connection, size_t len)
{
    shard_of_connection(connection)->stats.bytes_out += len;
    outbox_consume(&connection->outbox, len);
    if (connection->outbox.bytes == 0) {
        on_emptied(connection);
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
        const struct actor_config *config = shard_of_connection(connection)->config;
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
        timer_cancel(wheel_of(connection), &connection->timer);
    }
    connection->congested = false;
    if (connection->ops->on_drained != NULL) {
        connection->ops->on_drained(connection, refused);
    }
}

static const struct outbox_ops outbox_ops = {
    .flush = flush_outbox,
    .overflowed = on_overflowed,
    .drained = on_outbox_drained,
};

/* --- the end --- */

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = container_of(handle, struct connection, tcp);
    struct shard *shard = shard_of_connection(connection);
    loop_begin(connection_loop(connection));
    outbox_finish(&connection->outbox);
    drop_kept(connection);
    timer_cancel(wheel_of(connection), &connection->timer);
    address_release(connection->peer);
    shard->stats.connections--;
    if (connection->ops != NULL) {
        shard->stats.closed[connection->reason]++;
        connection->ops->on_closed(connection, connection->reason);
    }
    mem_free(connection);
}

static void end_now(struct connection *connection)
{
    if (connection->state == ENDED) {
        return;
    }
    connection->state = ENDED;
    timer_cancel(wheel_of(connection), &connection->timer);
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
}

void connection_close(struct connection *connection, enum close_reason reason, bool flush)
{
    if (connection->state == OPEN) {
        connection->reason = reason;
        connection->state = FLUSHING;
        uv_read_stop((uv_stream_t *)&connection->tcp);
    } else if (flush || connection->state == ENDED) {
        return;
    }
    if (!flush) {
        end_now(connection);
        return;
    }
    set_timer(connection, CLOSE_MS);
    if (connection->outbox.bytes == 0) {
        on_emptied(connection);
    }
}

static void on_timer(struct timer *timer)
{
    struct connection *connection = container_of(timer, struct connection, timer);
    if (connection->state == OPEN) {
        connection_close(connection, connection->expiry, false);
    } else {
        end_now(connection);
    }
}

void connection_expire(struct connection *connection, enum close_reason reason, uint32_t ms)
{
    if (connection->state != OPEN) {
        return;
    }
    connection->expiry = (uint8_t)reason;
    if (ms > 0) {
        set_timer(connection, ms);
    } else {
        timer_cancel(wheel_of(connection), &connection->timer);
    }
}

/* --- life and access --- */

int connection_open(
    struct loop *loop, int fd, struct address *peer, struct connection **ret_connection)
{
    struct shard *shard = loop_shard(loop);
    struct connection *connection = mem_alloc(sizeof(*connection));
    connections_of(loop); /* exists from the first connection on, so that it sees the loop stop */
    CHECK(uv_tcp_init(loop_uv(loop), &connection->tcp) == 0);
    connection->tcp.data = (void *)&handle_mark;
    uint32_t cap = shard->config != NULL ? shard->config->outbox_bytes : 0;
    outbox_init(&connection->outbox, &outbox_ops, cap > 0 ? cap : 256U << 10);
    timer_init(&connection->timer, on_timer);
    connection->limit = KEPT_LIMIT;
    connection->peer = peer;
    shard->stats.connections++;
    if (uv_tcp_open(&connection->tcp, fd) != 0) {
        close(fd);
        end_now(connection);
        return STATUS_IO;
    }
    *ret_connection = connection;
    return 0;
}

void connection_own(struct connection *connection, const struct connection_ops *ops, void *owner)
{
    connection->ops = ops;
    connection->owner = owner;
    if (connection->kept != NULL) {
        connection_again(connection);
    } else {
        start_reading(connection);
    }
}

void *connection_owner(const struct connection *connection)
{
    return connection->owner;
}

struct outbox *connection_outbox(struct connection *connection)
{
    return &connection->outbox;
}

void connection_set_limit(struct connection *connection, uint32_t max_bytes)
{
    connection->limit = max_bytes;
}

void connection_authenticated(struct connection *connection)
{
    address_release(connection->peer);
    connection->peer = NULL;
}

void connection_remote(const struct connection *connection, char ret_text[46])
{
    struct sockaddr_storage peer = {0};
    int len = sizeof(peer);
    const struct sockaddr_in6 *in6 = (const void *)&peer;
    memset(ret_text, 0, 46);
    if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&peer, &len) != 0) {
        return;
    }
    if (peer.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        uv_inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, ret_text, 46);
    } else if (peer.ss_family == AF_INET6) {
        uv_ip6_name(in6, ret_text, 46);
    } else if (peer.ss_family == AF_INET) {
        uv_ip4_name((const struct sockaddr_in *)(const void *)&peer, ret_text, 46);
    }
}

/* --- moving to another shard --- */

/*
 * While it waits for the outbox to be written, the move is the connection's owner. Then the socket
 * is duplicated, because a uv handle cannot be taken off its loop, and the old handle closed.
 */
struct move {
    struct loop_task task;
    connection_arrived_fn arrived;
    void *context;
    struct connection *connection; /* the old one */
    struct kept *kept;
    struct actor_system *system;
    unsigned from;
    unsigned to;
    uint32_t limit;
    int fd;
};

static size_t ignore_bytes(struct connection *connection, struct bytes bytes)
{
    return 0;
}

static void on_move_closed(struct connection *connection, enum close_reason reason)
{
    struct move *move = connection->owner;
    loop_task_cancel(&move->task);
    move->arrived(move->context, NULL);
    mem_free(move);
}

static void on_move_drained(struct connection *connection, uint32_t refused)
{
    struct move *move = connection->owner;
    loop_defer(connection_loop(connection), &move->task);
}

static const struct connection_ops move_ops = {
    .on_bytes = ignore_bytes,
    .on_closed = on_move_closed,
    .on_drained = on_move_drained,
};

static void fail_move(void *context, bool cancelled)
{
    struct move *move = context;
    move->arrived(move->context, NULL);
    mem_free(move->kept);
    mem_free(move);
}

static void arrive(void *context, bool cancelled)
{
    struct move *move = context;
    struct connection *connection;
    if (cancelled) {
        close(move->fd);
        fail_move(move, true);
        return;
    }
    struct sched *sched = actor_system_sched(move->system, move->to);
    struct loop *loop = loop_of(sched_user(sched));
    if (connection_open(loop, move->fd, NULL, &connection) != 0) {
        sched_post(move->system, move->from, fail_move, move);
        return;
    }
    connection->limit = move->limit;
    connection->kept = move->kept;
    if (connection->kept != NULL) {
        connection->kept->connection = connection;
    }
    move->arrived(move->context, connection);
    mem_free(move);
}

static void leave_shard(struct loop_task *task)
{
    struct move *move = container_of(task, struct move, task);
    struct connection *connection = move->connection;
    int fd;
    if (connection->state != OPEN || connection->outbox.bytes > 0) {
        return;
    }
    if (uv_fileno((uv_handle_t *)&connection->tcp, &fd) != 0 ||
        (move->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        connection_close(connection, CLOSE_TRANSPORT, false);
        return;
    }
    move->kept = connection->kept;
    move->limit = connection->limit;
    if (move->kept != NULL) {
        loop_task_cancel(&move->kept->task);
    }
    connection->kept = NULL;
    connection->ops = NULL;
    end_now(connection);
    sched_post(move->system, move->to, arrive, move);
}

void connection_move(
    struct connection *connection, unsigned shard, connection_arrived_fn arrived, void *context)
{
    struct sched *sched = shard_of_connection(connection)->sched;
    struct move *move = mem_alloc(sizeof(*move));
    *move = (struct move){
        .arrived = arrived,
        .context = context,
        .connection = connection,
        .system = sched_system(sched),
        .from = sched_shard(sched),
        .to = shard,
        .fd = -1,
    };
    loop_task_init(&move->task, leave_shard);
    connection->ops = &move_ops;
    connection->owner = move;
    connection->moving = true;
    uv_read_stop((uv_stream_t *)&connection->tcp);
    connection_expire(connection, CLOSE_SLOW, CLOSE_MS);
    loop_defer(connection_loop(connection), &move->task);
}
