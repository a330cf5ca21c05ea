/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a socket among its shard's leaves, what is sent to it alone, and its inbox when that
 * falls behind.
 */
#include "actors/deliver/socket.h"

#include "actors/deliver/fanout.h"
#include "actors/deliver/owner.h"
#include "actors/shard.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

_Static_assert((int)SOCKET_SID_LEN == (int)WIRE_SID_LEN, "one length of a sid");

bool socket_init(struct socket *socket, const struct socket_options *options)
{
    struct shard *shard = options->shard;
    struct fanout *fanout = fanout_find(shard, options->nsp);
    CHECK(fanout != NULL);
    *socket = (struct socket){
        .ops = options->ops,
        .shard = shard,
        .outbox = options->outbox,
        .identity = identity_ref(options->identity),
        .format = (uint8_t)options->format,
        .id = ++shard->next_socket_id,
        .returned = options->claimed != NULL,
    };
    list_init(&socket->user_link);
    if (options->claimed != NULL) {
        memcpy(socket->sid, fanout->watch->ops->sid(options->claimed).at, SOCKET_SID_LEN);
    } else {
        wire_sid_make(sched_shard(shard->sched), socket->sid);
    }
    if (!map_put(&shard->sockets, socket)) {
        identity_unref(socket->identity);
        return false;
    }
    if (!fanout_enter(fanout, socket)) {
        map_remove(&shard->sockets, bytes_of(socket->sid, SOCKET_SID_LEN));
        identity_unref(socket->identity);
        return false;
    }
    shard->stats.sockets++;
    fanout_register(shard, options->nsp, bytes_of(socket->sid, SOCKET_SID_LEN), true);
    if (fanout->watch != NULL) {
        fanout->watch->ops->entered(socket, options->claimed);
    }
    return true;
}

void socket_take_out(struct socket *socket, enum close_reason reason)
{
    if (socket->fanout == NULL) {
        return;
    }
    struct shard *shard = socket->shard;
    struct bytes sid = bytes_of(socket->sid, SOCKET_SID_LEN);
    /* What it lacks of the inbox is in no log; who is one way has it from the store. */
    bool lacks = socket->lag != NULL && !socket->ops->one_way;
    bool gone = socket->left || lacks || close_is_final(reason);
    const struct deliver_watch *watch = socket->fanout->watch;
    bool kept = watch != NULL && watch->ops->ended(socket, gone);
    if (!kept) {
        fanout_register(shard, socket_nsp(socket), sid, false);
    }
    fanout_exit(socket->fanout, socket, kept);
    map_remove(&shard->sockets, sid);
    shard->stats.sockets--;
    if (socket->user != NULL) {
        socket_lag_end(socket);
        list_remove(&socket->user_link);
        socket->user->socket_count--;
        struct user_detached *msg = user_detached_new();
        msg->reason = reason;
        msg_send(shard->sched, socket->user->actor.self, msg);
        socket->user = NULL;
    }
}

void socket_detach(struct socket *socket, enum close_reason reason)
{
    socket_take_out(socket, reason);
    identity_unref(socket->identity);
    socket->identity = NULL;
}

/* Who watches `socket`; NULL: nobody, or it has no fan-out. */
static const struct deliver_watch *watch_of(const struct socket *socket)
{
    return socket->fanout != NULL ? socket->fanout->watch : NULL;
}

struct bytes socket_pid(const struct socket *socket)
{
    const struct deliver_watch *watch = watch_of(socket);
    return watch != NULL ? watch->ops->pid(socket) : bytes_of(NULL, 0);
}

void socket_place(struct socket *socket, struct builder *out)
{
    const struct deliver_watch *watch = watch_of(socket);
    if (watch != NULL && !socket->closing) {
        fanout_catch_up(socket->fanout, socket);
    }
    if (watch != NULL && !socket->closing) { /* it may have ended by what was pending */
        watch->ops->place(socket, out);
    }
}

void socket_relieved(struct socket *socket)
{
    if (socket->lag != NULL && socket->user != NULL) {
        struct user_relieved *msg = user_relieved_new();
        msg->socket_id = socket->id;
        msg_send(socket->shard->sched, socket->user->actor.self, msg);
    }
}

void socket_pinged(struct socket *socket)
{
    const struct deliver_watch *watch = watch_of(socket);
    if (watch != NULL) {
        watch->ops->pinged(socket);
    }
}

void socket_ponged(struct socket *socket)
{
    const struct deliver_watch *watch = watch_of(socket);
    if (watch != NULL) {
        watch->ops->ponged(socket);
    }
}

struct bytes socket_nsp(const struct socket *socket)
{
    return fanout_nsp(socket->fanout);
}

bool socket_send(struct socket *socket, struct chunk *chunk)
{
    struct shard *shard = socket->shard;
    if (socket->closing || socket->fanout == NULL) {
        return false;
    }
    fanout_catch_up(socket->fanout, socket);
    if (!outbox_append(socket->outbox, &shard->dirty_outboxes, chunk, 0, chunk->len)) {
        shard->stats.refused++;
        return false;
    }
    shard->stats.deliveries++;
    return true;
}

/* Send what was encoded into `out`; of an event, or with an empty name of an answer. */
static bool send_encoded(struct socket *socket, struct bytes event, struct builder *out, int status)
{
    struct chunk *chunk = status == 0 ? chunk_take(out) : NULL;
    builder_reset(out);
    if (chunk == NULL) {
        status = status != 0 ? status : STATUS_NOMEM;
        shard_count_unencoded(socket->shard, event, socket->format, status);
        if (status == STATUS_NOMEM) {
            socket_missed(socket);
        }
        return false;
    }
    bool sent = socket_send(socket, chunk);
    chunk_unref(chunk);
    return sent;
}

bool socket_emit(struct socket *socket, const struct event *event)
{
    if (socket->fanout == NULL) {
        return false;
    }
    struct builder out = {0};
    const struct deliver_watch *watch = watch_of(socket);
    struct event *marked = watch != NULL ? watch->ops->directed(socket, event) : NULL;
    int status =
        wire_event(socket->format, socket_nsp(socket), marked != NULL ? marked : event, &out);
    event_unref(marked);
    return send_encoded(socket, event->name, &out, status);
}

bool socket_ack(struct socket *socket, uint64_t id, struct bytes result)
{
    if (socket->fanout == NULL) {
        return false;
    }
    struct builder out = {0};
    int status = wire_ack(socket->format, socket_nsp(socket), id, result, &out);
    if (status != 0 && status != STATUS_NOMEM) {
        builder_reset(&out);
        shard_count_unencoded(socket->shard, bytes_of("", 0), socket->format, status);
        status = wire_ack(socket->format, socket_nsp(socket), id,
            BYTES("{\"ok\":false,\"error\":\"too_large\",\"message\":\"The answer cannot be "
                  "written in this format\"}"),
            &out);
    }
    return send_encoded(socket, bytes_of("", 0), &out, status);
}

/* Sockets whose inbox is behind. */

void socket_lag_begin(struct socket *socket, uint64_t rev)
{
    socket->lag = mem_alloc(sizeof(*socket->lag));
    socket->lag->rev = rev;
    socket->shard->stats.lags++;
}

void socket_lag_end(struct socket *socket)
{
    mem_free(socket->lag);
    socket->lag = NULL;
}

bool socket_lag_holds(struct socket *socket, uint64_t rev)
{
    struct socket_lag *lag = socket->lag;
    if (lag == NULL) {
        if (socket->outbox->full && rev != SOCKET_REV_READ) {
            socket_lag_begin(socket, rev - 1);
        }
        return socket->lag != NULL;
    }
    if (!lag->caught || rev <= lag->rev || rev == SOCKET_REV_READ) {
        return true;
    }
    if (socket->outbox->full) {
        lag->caught = false; /* until there is room again */
        return true;
    }
    socket_lag_end(socket);
    return false;
}
