/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_rig - real loops on threads and blocking client sockets, for tests of hub/.
 */
#ifndef TESTS_SUPPORT_NET_RIG_H
#define TESTS_SUPPORT_NET_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/shard.h"
#include "codec/base/bytes.h"
#include "hub/net/listener.h"
#include "hub/net/loop.h"

enum { RIG_SHARDS_MAX = 4, RIG_WAIT_MS = 20000 };

struct rig {
    unsigned count;
    struct actor_system *system;
    struct actor_config config;
    struct shard shards[RIG_SHARDS_MAX];
    struct loop *loops[RIG_SHARDS_MAX];
    struct listener *listener; /* of loop 0, when on_accept was given */
    listener_accept_fn on_accept;
    void *context;
    uint16_t port;
    uint32_t per_address;
    uint32_t unsent_bytes;
    const struct proxies *proxies; /* listener_config, as the next */
    bool prefaces;
    struct tls_context *tls; /* of the listener; NULL: none */
    struct name_counts *addresses; /* of the rig */
};

/* Start `count` loops, the first with a listener on a free port of 127.0.0.1 if on_accept is set.
 */
void rig_start(struct rig *rig, unsigned count, listener_accept_fn on_accept, void *context);

/* Stop, join and destroy everything; connections that are open are closed. */
void rig_stop(struct rig *rig);

/* Call `fn(arg)` on the thread of loop `index` and wait until it returned. */
void rig_call(struct rig *rig, unsigned index, void (*fn)(void *arg), void *arg);

/* Wait until `done(arg)`, asked on the thread of loop `index`, is true; false after RIG_WAIT_MS. */
bool rig_wait(struct rig *rig, unsigned index, bool (*done)(void *arg), void *arg);

/* The number of open connections on loop `index`; wait until it is `count`. */
bool rig_wait_connections(struct rig *rig, unsigned index, uint64_t count);

/* Connect a blocking client with receive and send timeouts of RIG_WAIT_MS. */
int rig_connect(struct rig *rig);

/* The same with a socket that exists already. */
void rig_connect_socket(struct rig *rig, int fd);

/* Send all; false when the peer has closed. */
bool rig_send(int fd, struct bytes bytes);

/* Receive exactly `len` bytes; returns how many came before the end. */
size_t rig_recv(int fd, void *at, size_t len);

/* Receive until the peer closes (true) or RIG_WAIT_MS pass; the bytes, up to `size`, go to `at`. */
bool rig_recv_all(int fd, char *at, size_t size, size_t *ret_len);

/* Close with a reset instead of FIN. */
void rig_reset(int fd);

#endif
