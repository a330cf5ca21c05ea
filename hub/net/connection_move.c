/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a connection to another shard.
 *
 * While it waits for the outbox to be written, the move is the connection's owner. Then the socket
 * is taken out of its loop's poller, and a new connection made of it on the other loop.
 */
#include "hub/net/connection.h"

#include <unistd.h>

#include "codec/base/mem.h"
#include "hub/net/connection_state.h"
#include "hub/net/tls_stream.h"

struct move {
    struct loop_task task;
    connection_arrived_fn arrived;
    void *context;
    struct connection *connection; /* the old one */
    struct kept *kept;
    struct connection_names *names;
    struct tls_stream *tls;
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

static void on_move_drained(struct connection *connection)
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
    mem_free(move->names);
    if (move->tls != NULL) {
        tls_stream_destroy(move->tls, NULL);
    }
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
    if (connection_make(loop, move->fd, NULL, move->tls != NULL, &connection) != 0) {
        sched_post(move->system, move->from, fail_move, move);
        return;
    }
    if (move->tls != NULL) {
        connection_tls_adopt(connection, move->tls);
    }
    connection->limit = move->limit;
    connection->kept = move->kept;
    connection->names = move->names;
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
    if (connection->state != OPEN || connection->outbox.bytes > 0 ||
        (connection->sealed && connection->part->seal->waits(connection))) {
        return;
    }
    move->tls = connection->sealed ? connection_tls_detach(connection) : NULL;
    poller_remove(connection->part->poller, &connection->socket);
    move->fd = connection->socket.fd;
    connection->socket.fd = -1;
    move->kept = connection->kept;
    move->limit = connection->limit;
    if (move->kept != NULL) {
        loop_task_cancel(&move->kept->task);
    }
    move->names = connection->names;
    connection->kept = NULL;
    connection->names = NULL;
    connection->ops = NULL;
    connection_end(connection);
    sched_post(move->system, move->to, arrive, move);
}

void connection_move(
    struct connection *connection, unsigned shard, connection_arrived_fn arrived, void *context)
{
    struct sched *sched = connection_shard(connection)->sched;
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
    connection_stop_reading(connection);
    connection_expire(connection, CLOSE_SLOW, CONNECTION_CLOSE_MS);
    loop_defer(connection_loop(connection), &move->task);
}
