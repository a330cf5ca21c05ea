/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepts connections of nodes, lets each prove itself within a time, and hands it to the HTTP
 * server.
 */
#include "hub/cluster/cluster_server.h"

#include <sys/socket.h>

#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "hub/cluster/cluster_auth.h"
#include "hub/net/address.h"
#include "hub/net/connection.h"
#include "hub/net/http_server.h"
#include "hub/net/listener.h"
#include "hub/net/loop.h"

struct cluster_server {
    struct cluster_server_options options;
    struct listener *listener;
    unsigned strangers;
    struct log_limit log_limit;
};

/* A caller that has proved nothing yet. */
struct stranger {
    struct cluster_server *server;
    struct address_claim claim;
    struct cluster_auth auth;
};

static void send_bytes(struct connection *connection, const void *at, size_t len)
{
    struct builder out = {0};
    builder_add(&out, bytes_of(at, len));
    (void)connection_send(connection, &out); /* or its time passes */
}

static void refuse(
    struct cluster_server *server, struct connection *connection, enum close_reason reason)
{
    bool full = reason == CLOSE_TOO_MANY;
    char remote[46];
    unsigned suppressed;
    (*server->options.refused)++;
    if (log_allow(&server->log_limit, &suppressed)) {
        connection_remote(connection, remote);
        log_warn(full ? "CLUSTER-FULL" : "CLUSTER-REFUSED",
            full ? "too many callers of the cluster listener have proved nothing yet"
                 : "a caller of the cluster listener is no node of this cluster",
            "address=%s suppressed=%u", log_quote(bytes_str(remote)), suppressed);
    }
    connection_close(connection, reason, false);
}

static void free_stranger(struct stranger *stranger)
{
    stranger->server->strangers--;
    address_release(&stranger->claim);
    mem_free(stranger);
}

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct stranger *stranger = connection_owner(connection);
    struct cluster_server *server = stranger->server;
    uint8_t welcome[CLUSTER_WELCOME_LEN];
    if (bytes.len < CLUSTER_PROOF_LEN) {
        return 0;
    }
    if (!cluster_auth_accept(&stranger->auth, server->options.secret,
            bytes_of(bytes.at, CLUSTER_PROOF_LEN), welcome)) {
        refuse(server, connection, CLOSE_UNAUTHORIZED);
        return bytes.len;
    }
    send_bytes(connection, welcome, sizeof(welcome));
    connection_expire(connection, CLOSE_HANDSHAKE_TIMEOUT, 0);
    free_stranger(stranger);
    http_serve(connection, server->options.http);
    return CLUSTER_PROOF_LEN;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct stranger *stranger = connection_owner(connection);
    (void)reason;
    free_stranger(stranger);
}

static const struct connection_ops stranger_ops = {.on_bytes = on_bytes, .on_closed = on_closed};

static void on_accept(struct connection *connection, void *context)
{
    struct cluster_server *server = context;
    uint8_t greeting[CLUSTER_GREETING_LEN];
    struct sockaddr_storage peer = {0};
    struct stranger *stranger = mem_alloc(sizeof(*stranger));
    stranger->server = server;
    server->strangers++;
    cluster_auth_greet(&stranger->auth, server->options.node, greeting);
    connection_own(connection, &stranger_ops, stranger);
    bool room =
        connection_peer(connection, &peer) &&
        address_take(server->options.addresses, (const struct sockaddr *)(const void *)&peer,
            ADDRESS_NODE, CLUSTER_STRANGERS_OF_ADDRESS, &stranger->claim);
    if (!room || server->strangers > CLUSTER_STRANGERS_MAX) {
        refuse(server, connection, CLOSE_TOO_MANY);
        return;
    }
    connection_expire(connection, CLOSE_HANDSHAKE_TIMEOUT, server->options.timeout_ms);
    send_bytes(connection, greeting, sizeof(greeting));
}

int cluster_server_open(
    const struct cluster_server_options *options, struct cluster_server **ret_server)
{
    struct cluster_server *server = mem_alloc(sizeof(*server));
    server->options = *options;
    struct listener_config config = {
        .host = options->host,
        .port = options->port,
        .tls = options->tls,
        .on_accept = on_accept,
        .context = server,
    };
    int status = listener_open(options->loop, &config, &server->listener);
    if (status != 0) {
        mem_free(server);
        return status;
    }
    *ret_server = server;
    return 0;
}

void cluster_server_set_tls(struct cluster_server *server, struct tls_context *tls)
{
    if (server->listener != NULL) {
        listener_set_tls(server->listener, tls);
    }
}

void cluster_server_close(struct cluster_server *server)
{
    if (server != NULL && server->listener != NULL) {
        listener_close(server->listener);
        server->listener = NULL;
    }
}

void cluster_server_destroy(struct cluster_server *server)
{
    if (server != NULL) {
        mem_free(server);
    }
}
