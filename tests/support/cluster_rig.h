/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_rig - two loops: 0 calls nodes and has a listener for clients, 1 is a node that is
 * called.
 */
#ifndef TESTS_SUPPORT_CLUSTER_RIG_H
#define TESTS_SUPPORT_CLUSTER_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "hub/cluster/cluster_server.h"
#include "hub/net/http_server.h"
#include "tests/support/net_rig.h"

#define CLUSTER_SECRET BYTES("the secret of the cluster")

enum { CLUSTER_TAG = 0x0102 };

struct cluster_rig {
    struct rig net;
    struct cluster_server *server; /* on loop 1 */
    struct http_server_config far; /* what it serves */
    struct name_counts *addresses; /* its callers */
    struct tls_context *tls; /* of its listener; NULL: none */
    uint64_t refused; /* counted by loop 1 */
    uint32_t timeout_ms; /* until a caller has proved itself; 0: RIG_WAIT_MS */
    uint16_t port; /* of the node that is called */
    char address[32];
};

/* Start both loops; the node that is called serves `routes`, with the rig as context. Clients of
 * loop 0 go to `on_accept`, with the rig as context. */
void cluster_rig_start(
    struct cluster_rig *rig, const struct http_route *routes, listener_accept_fn on_accept);

/* Stop and free all. */
void cluster_rig_stop(struct cluster_rig *rig);

/* A blocking client of the cluster listener. */
int cluster_rig_dial(const struct cluster_rig *rig);

/* Take the greeting and send a proof for the node `tag` with `secret`; false: no greeting came. */
bool cluster_rig_prove(int fd, uint16_t tag, struct bytes secret);

/* Wait until the node that is called has refused so many callers. */
bool cluster_rig_wait_refused(struct cluster_rig *rig, uint64_t count);

#endif
