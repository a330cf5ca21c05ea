/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client - a client without a connection: a socket, its outbox, and what it was sent, decoded from
 * the bytes that would have been written.
 *
 * Used on the thread of its shard. Anything malformed aborts: whatever is sent must be understood.
 */
#ifndef TESTS_SUPPORT_CLIENT_H
#define TESTS_SUPPORT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/deliver/socket.h"

struct client;

/* One event or ack; slices are valid for the call. */
struct client_packet {
    bool is_ack;
    bool is_asked; /* an event that wants an ack (Socket.IO) */
    uint64_t id; /* of an ack, or of the one that is wanted */
    struct bytes name; /* of an event */
    struct bytes args; /* JSON text of the arguments, `a,b`; of an ack: the result */
};

typedef void (*client_received_fn)(struct client *client, const struct client_packet *packet);

struct client {
    struct socket socket;
    struct outbox outbox;
    client_received_fn received;
    void *context; /* the test's */
    bool one_way; /* set before client_init: as a client that only listens */
    bool stalled; /* nothing is taken from the outbox */
    uint32_t takes; /* bytes taken by a flush; 0: all */
    bool ended; /* disconnect or end was called, for `reason` */
    bool session_ended; /* it was end */
    enum close_reason reason;
    bool overflowed; /* something was refused: a connection would end */
    uint64_t received_count;
    uint64_t batches; /* batch_update */
    /* private */
    struct builder bytes; /* of a message that is not complete yet */
};

/* Set while a client of this thread decodes what it was sent: what that allocates is the test's. */
extern _Thread_local bool client_reads;

/* Prepare a zeroed client of user `user` (id, or tenant/id) and socket_init it. */
void client_init(struct client *client, struct shard *shard, const char *nsp, const char *user,
    enum wire_format format);

/* The same, where there may be no memory: then false, and nothing is to be finished. */
MUST_CHECK bool client_try_init(struct client *client, struct shard *shard, const char *nsp,
    const char *user, enum wire_format format);

/* The same for a socket that continues the one claimed (recovery.h). */
void client_continue(struct client *client, struct shard *shard, const char *nsp, const char *user,
    enum wire_format format, struct recoverable *claimed);

/* Detach the socket (unless it is already) and free what the client holds. */
void client_finish(struct client *client, enum close_reason reason);

/* Take what waits, all of it: the peer reads again. */
void client_resume(struct client *client);

#endif
