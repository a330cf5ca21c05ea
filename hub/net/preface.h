/* SPDX-License-Identifier: Apache-2.0 */
/*
 * preface - what a proxy in front says of a connection before its first byte: for whom it is
 * (codec/proxy_header.h). It is read here, before the connection is made, so nothing behind it
 * knows that there was one; TLS begins behind it.
 *
 * The thread of the loop only.
 */
#ifndef HUB_NET_PREFACE_H
#define HUB_NET_PREFACE_H

#include "codec/base/check.h"

struct loop;
struct prefaces;
struct sockaddr;
struct sockaddr_in6;

enum {
    PREFACES_MAX = 1024, /* that are waited for, of one loop */
    PREFACE_MS = 5000, /* that each has to come */
};

/*
 * One is there: `fd`, which the callee takes over, is the connection of `source`; NULL: of `peer`
 * itself, as a proxy's own checks are.
 */
typedef void (*preface_done_fn)(
    void *context, int fd, const struct sockaddr *peer, const struct sockaddr_in6 *source);

/* Make the place where prefaces of one loop are waited for. */
MUST_CHECK struct prefaces *prefaces_create(struct loop *loop, preface_done_fn done, void *context);

/*
 * Read that of `fd`, just accepted from `peer`. `done` is called, also before this returns, or `fd`
 * is closed: when what comes is none, does not come in time, or too many are waited for. That is
 * counted, and the operator is told.
 */
void prefaces_take(struct prefaces *prefaces, int fd, const struct sockaddr *peer);

/* Close what is waited for, and free it, in a later turn. NULL is allowed. */
void prefaces_destroy(struct prefaces *prefaces);

#endif
