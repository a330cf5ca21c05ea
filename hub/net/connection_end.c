/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a connection ends: closed, flushed, lingering, given up; connection_state.h has the states.
 */
#include "hub/net/connection.h"

#include <sys/socket.h>

#include "hub/net/connection_state.h"

struct loop *connection_loop(const struct connection *connection)
{
    return connection->part->loop;
}

struct shard *connection_shard(const struct connection *connection)
{
    return connection->part->shard;
}

bool connection_want(struct connection *connection, unsigned more, unsigned less)
{
    struct poller_socket *socket = &connection->socket;
    return poller_want(connection->part->poller, socket, (socket->wanted | more) & ~less);
}

void connection_stop_reading(struct connection *connection)
{
    connection_want(connection, 0, POLLER_READ);
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

void connection_end(struct connection *connection)
{
    if (connection->state == ENDED) {
        return;
    }
    connection->state = ENDED;
    timer_cancel(wheel_of(connection), &connection->timer);
    if (connection->socket.fd >= 0) {
        poller_close(&connection->socket);
    }
    list_remove(&connection->link);
    list_append(&connection->part->ended, &connection->link);
    loop_defer(connection_loop(connection), &connection->part->reaper);
}

void connection_emptied(struct connection *connection)
{
    if (connection->state == FLUSHING) {
        if (connection->sealed && !connection->part->seal->end(connection)) {
            return;
        }
        if (connection->eof || shutdown(connection->socket.fd, SHUT_WR) != 0 ||
            !connection_want(connection, POLLER_READ, 0)) {
            connection_end(connection);
            return;
        }
        connection->state = LINGERING;
        return;
    }
    if (connection->state == OPEN && connection->congested) {
        connection->congested = false;
        if (connection->ops->on_drained != NULL) {
            connection->ops->on_drained(connection);
        }
    }
}

void connection_close(struct connection *connection, enum close_reason reason, bool flush)
{
    if (connection->sealed && connection->outbox.bytes > 0 &&
        !connection->part->seal->can_flush(connection)) {
        flush = false;
    }
    if (connection->state == OPEN) {
        connection->reason = reason;
        connection->state = FLUSHING;
        connection_stop_reading(connection);
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

void connection_expire(struct connection *connection, enum close_reason reason, uint32_t ms)
{
    if (connection->state != OPEN) {
        return;
    }
    connection->expiry = (uint8_t)reason;
    connection->slow = false;
    if (ms > 0) {
        set_timer(connection, ms);
    } else {
        timer_cancel(wheel_of(connection), &connection->timer);
    }
}
