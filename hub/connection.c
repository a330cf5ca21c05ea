/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a connection: opened, owned, closed exactly once. connection_state.h has the states.
 */
#include "hub/connection.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/connection_state.h"

enum { KEPT_LIMIT = 16 << 10, OUTBOX_CAP = 256 << 10 }; /* unless set, unless configured */

/* Marks the handles of connections among all handles of a loop. */
static const char handle_mark;

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
    connection_free_writes(connections);
    address_table_finish(&connections->addresses);
    mem_free(connections);
}

struct connections *connections_of(struct loop *loop)
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

struct shard *connection_shard(const struct connection *connection)
{
    return loop_shard(connection_loop(connection));
}

static struct timer_wheel *wheel_of(const struct connection *connection)
{
    return sched_timers(connection_shard(connection)->sched);
}

static void set_timer(struct connection *connection, uint32_t ms)
{
    uint64_t now = sched_now(connection_shard(connection)->sched);
    timer_set(wheel_of(connection), &connection->timer, now + ms);
}

/* --- the end --- */

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = container_of(handle, struct connection, tcp);
    struct shard *shard = connection_shard(connection);
    loop_begin(connection_loop(connection));
    outbox_finish(&connection->outbox);
    connection_drop_kept(connection);
    timer_cancel(wheel_of(connection), &connection->timer);
    address_release(connection->peer);
    shard->stats.connections--;
    if (connection->ops != NULL) {
        shard->stats.closed[connection->reason]++;
        connection->ops->on_closed(connection, connection->reason);
    }
    mem_free(connection);
}

void connection_end(struct connection *connection)
{
    if (connection->state == ENDED) {
        return;
    }
    connection->state = ENDED;
    timer_cancel(wheel_of(connection), &connection->timer);
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
}

void connection_emptied(struct connection *connection)
{
    if (connection->state == FLUSHING) {
        int fd;
        if (uv_fileno((uv_handle_t *)&connection->tcp, &fd) != 0 || connection->eof ||
            shutdown(fd, SHUT_WR) != 0 || !connection_discard(connection)) {
            connection_end(connection);
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
        connection_end(connection);
        return;
    }
    set_timer(connection, CONNECTION_CLOSE_MS);
    if (connection->outbox.bytes == 0) {
        connection_emptied(connection);
    }
}

static void on_timer(struct timer *timer)
{
    struct connection *connection = container_of(timer, struct connection, timer);
    if (connection->state == OPEN) {
        connection_close(connection, connection->expiry, false);
    } else {
        connection_end(connection);
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
    outbox_init(&connection->outbox, &connection_outbox_ops, cap > 0 ? cap : OUTBOX_CAP);
    timer_init(&connection->timer, on_timer);
    connection->limit = KEPT_LIMIT;
    connection->peer = peer;
    shard->stats.connections++;
    if (uv_tcp_open(&connection->tcp, fd) != 0) {
        close(fd);
        connection_end(connection);
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
        connection_start_reading(connection);
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
