/* SPDX-License-Identifier: Apache-2.0 */
/*
 * splice - two connections of one loop become one: what either sends goes to the other.
 *
 * While one side takes no more, the other is not read, so at most two reads wait for either; who
 * takes nothing for `slow_consumer_ms` is closed as slow. Where one side ends, what it has sent is
 * written to the other, which is then closed too.
 */
#ifndef HUB_NET_SPLICE_H
#define HUB_NET_SPLICE_H

#include <stdint.h>

struct connection;

struct splice_options {
    uint32_t slow_consumer_ms;
    /* A client that is still there after so long has been authenticated by the node behind the
     * other side, or that would have ended it. */
    uint32_t trust_ms;
    void (*ended)(void *context); /* once, when both are closed */
    void *context;
};

/* Join `client` and `node`, which it owns from now on; waiting bytes of both come first. */
void splice_begin(
    struct connection *client, struct connection *node, const struct splice_options *options);

#endif
