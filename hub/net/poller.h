/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poller - which sockets of a loop are ready: one epoll set of our own behind one libuv handle.
 *
 * A libuv stream costs 248 bytes a socket; here it is the eight of a struct poller_socket. Interest
 * is level-triggered and lazy: taking it back costs nothing until an event comes that nobody wants.
 */
#ifndef HUB_NET_POLLER_H
#define HUB_NET_POLLER_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"

struct poller;
struct uv_loop_s;

enum { POLLER_READ = 1, POLLER_WRITE = 2 };

/* A socket in a poller. */
struct poller_socket {
    int fd;
    /* private; sets of POLLER_READ, POLLER_WRITE */
    uint8_t wanted;
    uint8_t armed; /* what epoll watches for */
    bool added;
};

/*
 * A socket is ready for what it wanted; errors and hang-ups count as ready for both, the next call
 * on the socket tells. Sockets must stay allocated until the turn of the loop has ended.
 */
typedef void (*poller_ready_fn)(struct poller_socket *socket, unsigned ready);

/* Make a poller on `loop`; NULL without descriptors or memory. */
MUST_CHECK struct poller *poller_create(struct uv_loop_s *loop, poller_ready_fn ready);

/* Free it; from its loop's thread, before the loop is closed, when no socket is in it any more. */
void poller_destroy(struct poller *poller);

/* Keep the loop alive, or not. */
void poller_hold(struct poller *poller, bool hold);

/* What `socket`, zeroed but for its fd before the first call, wants from now on; false: epoll
 * refuses it. */
MUST_CHECK bool poller_want(struct poller *poller, struct poller_socket *socket, unsigned wanted);

/* Take the socket out; its descriptor stays open. */
void poller_remove(struct poller *poller, struct poller_socket *socket);

/* Close the descriptor, which nobody has a copy of: the kernel takes it out, without a call. */
void poller_close(struct poller_socket *socket);

#endif
