/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client - one receiver: a connection from connect() to the last byte, on one epoll instance.
 *
 * Handshakes: the upgrade; with MODE_SIO the Engine.IO open packet and CONNECT with a token; then
 * the room, acknowledged. Pings are answered. With MODE_STREAM one request asks for all of it. All
 * calls on one thread.
 */
#ifndef TESTS_BENCH_CLIENT_H
#define TESTS_BENCH_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "tests/bench/options.h"
#include "tests/bench/track.h"

enum client_state {
    CLIENT_UNUSED,
    CLIENT_CONNECTING,
    CLIENT_UPGRADING,
    CLIENT_OPENING, /* Engine.IO open packet */
    CLIENT_NAMESPACE, /* Socket.IO CONNECT */
    CLIENT_JOINING,
    CLIENT_READY,
    CLIENT_CLOSED,
};

struct client_world;

/* What a client that drops comes back with: Socket.IO's connection state recovery. */
struct client_past {
    char pid[32];
    char offset[96]; /* of the last event; empty: none has come */
};

struct client {
    struct client_world *world;
    int fd;
    enum client_state state;
    uint32_t index;
    uint32_t user; /* the number in its user's id */
    uint32_t tail_len;
    uint32_t tail_cap;
    char *tail; /* the beginning of a message whose rest has not come */
    uint64_t started_ns;
    bool joined;
    bool told; /* hub:ready came */
    bool recovered; /* the last CONNECT was answered with the pid that it had */
    struct client_past past;
    struct track_receiver receiver;
};

/* What the scenario is told; members may be NULL. */
struct client_ops {
    void (*on_ready)(struct client *client);
    /* An answer to a request ("43…", "[[-…"). */
    void (*on_answer)(struct client *client);
    /* The connection ended, not by client_close; `ready`: it was in use. */
    void (*on_closed)(struct client *client, bool ready);
};

struct client_world {
    const struct options *options;
    const struct client_ops *ops;
    void *context; /* the scenario's */
    int epoll;
    uint32_t shift; /* everybody connects to a port of options so much farther */
    bool verify; /* count markers */
    struct track track;
    struct track_batch batch;
    uint64_t bytes_in;
    int record; /* file for the first message with an event, or -1 */
};

/* Open the connection of the zeroed `client` (world and index set); false when that failed. */
bool client_open(struct client *client);

/* Handle epoll's `events`. */
void client_handle(struct client *client, uint32_t events);

/* Send `text` as one message of the client's protocol. */
bool client_send(struct client *client, struct bytes text);

/* End it with a reset, so that no port is left waiting; nothing is told. */
void client_close(struct client *client);

/* Free what it holds. */
void client_finish(struct client *client);

#endif
