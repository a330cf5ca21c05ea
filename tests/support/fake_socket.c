/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_socket - actors/deliver/socket.h without rooms, windows and users: what is sent leaves at
 * once.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "actors/deliver/socket.h"
#include "actors/shard.h"

static uint32_t last_id;

static const char *const names[] = {"/", "/custom", "/third"};

bool socket_init(struct socket *socket, const struct socket_options *options)
{
    socket->ops = options->ops;
    socket->shard = options->shard;
    socket->outbox = options->outbox;
    socket->identity = identity_ref(options->identity);
    socket->format = (uint8_t)options->format;
    socket->id = ++last_id;
    memset(socket->sid, 'S', sizeof(socket->sid));
    list_init(&socket->user_link);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_eq_str(options->nsp, names[i])) {
            socket->sent_through = i; /* stands for the fan-out of the namespace */
            return true;
        }
    }
    cr_assert_fail("no such namespace");
    return false;
}

void socket_take_out(struct socket *socket, enum close_reason reason)
{
    cr_assert_fail("nothing is recovered here");
}

void socket_detach(struct socket *socket, enum close_reason reason)
{
    cr_assert(socket->identity, "detached once");
    identity_unref(socket->identity);
    socket->identity = NULL;
}

struct bytes socket_pid(const struct socket *socket)
{
    return bytes_of(NULL, 0);
}

void socket_relieved(struct socket *socket)
{
    (void)socket;
}

void socket_pinged(struct socket *socket)
{
}

void socket_ponged(struct socket *socket)
{
}

struct bytes socket_nsp(const struct socket *socket)
{
    return bytes_str(names[socket->sent_through]);
}

bool socket_send(struct socket *socket, struct chunk *chunk)
{
    return !socket->closing &&
           outbox_append(socket->outbox, &socket->shard->dirty_outboxes, chunk, 0, chunk->len);
}

/* Send what `out` holds unless `status` says that there is nothing. */
static bool send_built(struct socket *socket, struct builder *out, int status)
{
    cr_assert_eq(status, 0);
    struct chunk *chunk = chunk_take(out);
    cr_assert(chunk);
    bool sent = socket_send(socket, chunk);
    chunk_unref(chunk);
    return sent;
}

bool socket_emit(struct socket *socket, const struct event *event)
{
    struct builder out = {0};
    int status = wire_event(socket->format, socket_nsp(socket), event, &out);
    return send_built(socket, &out, status);
}

bool socket_ack(struct socket *socket, uint64_t id, struct bytes result)
{
    struct builder out = {0};
    int status = wire_ack(socket->format, socket_nsp(socket), id, result, &out);
    return send_built(socket, &out, status);
}

void socket_lag_begin(struct socket *socket, uint64_t rev)
{
    (void)socket;
    (void)rev;
}

void socket_lag_end(struct socket *socket)
{
    (void)socket;
}

bool socket_lag_holds(struct socket *socket, uint64_t rev)
{
    (void)socket;
    (void)rev;
    return false;
}
