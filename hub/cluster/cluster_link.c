/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to other nodes: one is made when it is needed, proves itself, and is kept for the
 * next request.
 *
 * Order of this file: addresses, calling a node, the pool.
 */
#include "hub/cluster/cluster_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/mem.h"
#include "codec/url.h"
#include "hub/cluster/cluster_auth.h"
#include "hub/net/connection.h"
#include "hub/net/loop.h"

/* Addresses. */

/* An address and its port, in brackets where it is one of IPv6. */
static bool read_address(const char *text, struct sockaddr_storage *ret_address)
{
    char address[INET6_ADDRSTRLEN];
    struct url_host host;
    uint16_t port;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (url_split_host(bytes_str(text), &host) != 0 || url_port(&host, 0, &port) != 0 ||
        port == 0 || host.name.len == 0 || host.name.len >= sizeof(address)) {
        return false;
    }
    memcpy(address, host.name.at, host.name.len);
    address[host.name.len] = '\0';
    in.sin_port = htons(port);
    in6.sin6_port = htons(port);
    if (!host.is_bracketed && inet_pton(AF_INET, address, &in.sin_addr) == 1) {
        memcpy(ret_address, &in, sizeof(in));
        return true;
    }
    if (host.is_bracketed && inet_pton(AF_INET6, address, &in6.sin6_addr) == 1) {
        memcpy(ret_address, &in6, sizeof(in6));
        return true;
    }
    return false;
}

/* Calling a node. */

struct cluster_link {
    struct connection *connection;
    struct cluster_link_options options;
    struct cluster_auth auth;
    bool greeted;
    bool cancelled;
};

static void refuse(struct cluster_link *link)
{
    connection_close(link->connection, CLOSE_UNAUTHORIZED, false);
}

/* Answer the greeting. */
static size_t on_greeting(struct cluster_link *link, struct bytes bytes)
{
    uint8_t proof[CLUSTER_PROOF_LEN];
    const struct cluster_link_options *options = &link->options;
    if (bytes.len < CLUSTER_GREETING_LEN) {
        return 0;
    }
    if (!cluster_auth_answer(&link->auth, options->node, options->secret,
            bytes_of(bytes.at, CLUSTER_GREETING_LEN), proof)) {
        refuse(link);
        return bytes.len;
    }
    struct builder out = {0};
    builder_add(&out, bytes_of(proof, sizeof(proof)));
    (void)connection_send(link->connection, &out); /* or its time passes */
    link->greeted = true;
    return CLUSTER_GREETING_LEN;
}

static size_t on_welcome(struct cluster_link *link, struct bytes bytes)
{
    struct connection *connection = link->connection;
    if (bytes.len < CLUSTER_WELCOME_LEN) {
        return 0;
    }
    if (!cluster_auth_confirm(
            &link->auth, link->options.secret, bytes_of(bytes.at, CLUSTER_WELCOME_LEN))) {
        refuse(link);
        return bytes.len;
    }
    connection_expire(connection, CLOSE_HANDSHAKE_TIMEOUT, 0);
    link->options.ready(link->options.context, connection);
    mem_free(link);
    return CLUSTER_WELCOME_LEN;
}

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct cluster_link *link = connection_owner(connection);
    return link->greeted ? on_welcome(link, bytes) : on_greeting(link, bytes);
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct cluster_link *link = connection_owner(connection);
    (void)reason;
    if (!link->cancelled) {
        link->options.ready(link->options.context, NULL);
    }
    mem_free(link);
}

static const struct connection_ops link_ops = {.on_bytes = on_bytes, .on_closed = on_closed};

/* A socket that is connecting, or -1. */
static int dial(const struct sockaddr_storage *address)
{
    int on = 1;
    socklen_t len =
        address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        (connect(fd, (const struct sockaddr *)address, len) != 0 && errno != EINPROGRESS)) {
        close(fd);
        return -1;
    }
    return fd;
}

struct cluster_link *cluster_link_open(const struct cluster_link_options *options)
{
    struct sockaddr_storage address = {0};
    struct connection *connection;
    int fd = read_address(options->address, &address) ? dial(&address) : -1;
    if (fd < 0 || connection_open(options->loop, fd, NULL, options->tls, &connection) != 0) {
        return NULL;
    }
    struct cluster_link *link = mem_alloc(sizeof(*link));
    link->connection = connection;
    link->options = *options;
    connection_own(connection, &link_ops, link);
    connection_expire(connection, CLOSE_HANDSHAKE_TIMEOUT, options->timeout_ms);
    return link;
}

void cluster_link_cancel(struct cluster_link *link)
{
    link->cancelled = true;
    connection_close(link->connection, CLOSE_NORMAL, false);
}

/* The pool. */

struct idle {
    struct list link; /* pool.idle */
    struct cluster_pool *pool;
    struct connection *connection;
    uint16_t node;
};

static void remove_idle(struct idle *idle)
{
    list_remove(&idle->link);
    idle->pool->count--;
    mem_free(idle);
}

/* Nobody has asked anything. */
static size_t on_idle_bytes(struct connection *connection, struct bytes bytes)
{
    connection_close(connection, CLOSE_PROTOCOL, false);
    return bytes.len;
}

static void on_idle_closed(struct connection *connection, enum close_reason reason)
{
    (void)reason;
    remove_idle(connection_owner(connection));
}

static const struct connection_ops idle_ops = {
    .on_bytes = on_idle_bytes, .on_closed = on_idle_closed};

static size_t on_ended_bytes(struct connection *connection, struct bytes bytes)
{
    (void)connection;
    return bytes.len;
}

static void on_ended(struct connection *connection, enum close_reason reason)
{
    (void)connection;
    (void)reason;
}

static const struct connection_ops ended_ops = {.on_bytes = on_ended_bytes, .on_closed = on_ended};

void cluster_pool_init(struct cluster_pool *pool, uint32_t idle_ms)
{
    list_init(&pool->idle);
    pool->count = 0;
    pool->idle_ms = idle_ms;
}

struct connection *cluster_pool_take(struct cluster_pool *pool, uint16_t node)
{
    list_for_each (link, &pool->idle) {
        struct idle *idle = container_of(link, struct idle, link);
        struct connection *connection = idle->connection;
        if (idle->node == node && connection_is_open(connection)) {
            connection_expire(connection, CLOSE_IDLE, 0);
            remove_idle(idle);
            return connection;
        }
    }
    return NULL;
}

void cluster_pool_put(struct cluster_pool *pool, uint16_t node, struct connection *connection)
{
    if (pool->count >= CLUSTER_POOL_MAX) {
        connection_own(connection, &ended_ops, NULL);
        connection_close(connection, CLOSE_NORMAL, false);
        return;
    }
    struct idle *idle = mem_alloc(sizeof(*idle));
    idle->pool = pool;
    idle->connection = connection;
    idle->node = node;
    list_init(&idle->link);
    list_append(&pool->idle, &idle->link);
    pool->count++;
    connection_own(connection, &idle_ops, idle);
    connection_expire(connection, CLOSE_IDLE, pool->idle_ms);
}
