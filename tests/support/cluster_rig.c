/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens the cluster listener of a node on one loop of a rig, and calls it as another node would.
 */
#include "tests/support/cluster_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>

#include "hub/cluster/cluster_auth.h"
#include "hub/net/name_counts.h"
#include "tests/support/redis_server.h"

enum { TRIES = 5 };

/* On loop 1: on a port that was free a moment ago. */
static void open_server(void *arg)
{
    struct cluster_rig *rig = arg;
    int status = -1;
    for (unsigned i = 0; i < TRIES && status != 0; i++) {
        rig->port = (uint16_t)redis_server_free_port();
        const struct cluster_server_options options = {
            .loop = rig->net.loops[1],
            .host = "127.0.0.1",
            .port = rig->port,
            .node = CLUSTER_TAG,
            .secret = CLUSTER_SECRET,
            .tls = rig->tls,
            .timeout_ms = rig->timeout_ms > 0 ? rig->timeout_ms : (uint32_t)RIG_WAIT_MS,
            .http = &rig->far,
            .addresses = rig->addresses,
            .refused = &rig->refused,
        };
        status = cluster_server_open(&options, &rig->server);
    }
    cr_assert_eq(status, 0);
}

static void close_server(void *arg)
{
    cluster_server_close(((struct cluster_rig *)arg)->server);
}

void cluster_rig_start(
    struct cluster_rig *rig, const struct http_route *routes, listener_accept_fn on_accept)
{
    rig->far = (struct http_server_config){.routes = routes,
        .context = rig,
        .max_head_bytes = 8192,
        .max_headers = 64,
        .max_body_bytes = 1 << 20,
        .head_timeout_ms = RIG_WAIT_MS,
        .body_timeout_ms = RIG_WAIT_MS,
        .idle_timeout_ms = RIG_WAIT_MS,
        .tells_authenticated = true};
    rig->addresses = name_counts_create(1024);
    rig_start(&rig->net, 2, on_accept, rig);
    rig_call(&rig->net, 1, open_server, rig);
    snprintf(rig->address, sizeof(rig->address), "127.0.0.1:%u", (unsigned)rig->port);
}

void cluster_rig_stop(struct cluster_rig *rig)
{
    rig_call(&rig->net, 1, close_server, rig);
    rig_stop(&rig->net);
    cluster_server_destroy(rig->server);
    name_counts_destroy(rig->addresses);
}

int cluster_rig_dial(const struct cluster_rig *rig)
{
    struct rig to = {.port = rig->port};
    return rig_connect(&to);
}

bool cluster_rig_prove(int fd, uint16_t tag, struct bytes secret)
{
    char greeting[CLUSTER_GREETING_LEN];
    uint8_t proof[CLUSTER_PROOF_LEN];
    struct cluster_auth auth;
    return rig_recv(fd, greeting, sizeof(greeting)) == sizeof(greeting) &&
           cluster_auth_answer(&auth, tag, secret, bytes_of(greeting, sizeof(greeting)), proof) &&
           rig_send(fd, bytes_of(proof, sizeof(proof)));
}

struct expected {
    const struct cluster_rig *rig;
    uint64_t count;
};

static bool has_refused(void *arg)
{
    const struct expected *expected = arg;
    return expected->rig->refused == expected->count;
}

bool cluster_rig_wait_refused(struct cluster_rig *rig, uint64_t count)
{
    struct expected expected = {rig, count};
    return rig_wait(&rig->net, 1, has_refused, &expected);
}
