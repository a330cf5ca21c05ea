/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stage 1 (accept) of the data path.
 *
 * The socket is watched with uv_poll and accepted from here, not by uv_listen: libuv would accept
 * without end in one callback, and, when the descriptors are used up and another thread takes the
 * one it had in reserve, never return from it. Here a batch has an end, and after running out of
 * descriptors the listener refuses what waits (reserve closed, accepted, closed, reserve reopened),
 * then rests for PAUSE_MS.
 */
#include "hub/net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/address.h"
#include "hub/net/connection.h"
#include "hub/net/loop.h"
#include "hub/net/preface.h"
#include "hub/net/proxies.h"
#include "hub/net/tls_context.h"

enum { BATCH = 64, BACKLOG = 1024, PAUSE_MS = 100, NOT_LISTENING = -1 };

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    bool (*has_room)(void *context);
    listener_accept_fn on_accept;
    void *context;
    struct timer resume;
    struct log_limit log_limit;
    uint64_t refused;
    const struct proxies *proxies;
    bool takes_prefaces;
    struct prefaces *prefaces;
    struct tls_context *tls;
    uint32_t per_address;
    struct name_counts *addresses;
    int fd;
    int reserve; /* given up to accept what cannot be served */
    uint16_t port;
};

static void on_readable(uv_poll_t *poll, int status, int events);

/* --- accepting --- */

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void count_refused(struct listener *listener)
{
    listener->refused++;
    loop_shard(listener->loop)->stats.connections_refused++;
}

/* Refuse what waits, so that those peers need not wait for a timeout, and rest. */
static void refuse_waiting(struct listener *listener)
{
    uint64_t before = listener->refused;
    while (listener->reserve >= 0 && listener->refused - before < BATCH) {
        close(listener->reserve);
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            count_refused(listener);
            close(fd);
        }
        listener->reserve = open_reserve();
        if (fd < 0) {
            break;
        }
    }
    unsigned suppressed;
    if (log_allow(&listener->log_limit, &suppressed)) {
        log_warn("LISTEN-FILES", "no descriptor is left for new connections, refusing them",
            "refused=%llu suppressed=%u", (unsigned long long)listener->refused, suppressed);
    }
    uv_poll_stop(&listener->poll);
    struct sched *sched = loop_shard(listener->loop)->sched;
    timer_set(sched_timers(sched), &listener->resume, sched_now(sched) + PAUSE_MS);
}

static void on_resume(struct timer *timer)
{
    struct listener *listener = container_of(timer, struct listener, resume);
    if (listener->reserve < 0) {
        listener->reserve = open_reserve();
    }
    CHECK(uv_poll_start(&listener->poll, UV_READABLE, on_readable) == 0);
}

/* Say 503 without reading, and be gone: whatever a client of ours speaks begins with HTTP, or with
 * TLS, of which an answer is not worth the work. */
static void refuse_full(struct listener *listener, int fd)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                                 "Connection: close\r\nContent-Length: 0\r\n\r\n";
    if (listener->tls == NULL) {
        ssize_t sent = send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent; /* a hint */
    }
    count_refused(listener);
    shutdown(fd, SHUT_WR);
    close(fd);
    unsigned suppressed;
    if (log_allow(&listener->log_limit, &suppressed)) {
        log_warn("LISTEN-FULL", "limits.connections is reached, refusing new connections",
            "refused=%llu suppressed=%u", (unsigned long long)listener->refused, suppressed);
    }
}

/* Its address has as many unauthenticated connections as it may: be gone without a word. */
static void refuse_address(struct listener *listener, int fd, const struct sockaddr *peer)
{
    count_refused(listener);
    close(fd);
    connection_report_full(listener->loop, peer);
}

/*
 * Make the connection of `peer`, or of `source` if a proxy has said one, whose address then counts
 * like that of a peer.
 */
static void open_connection(struct listener *listener, int fd, const struct sockaddr *peer,
    const struct sockaddr_in6 *source)
{
    struct address_claim claim = {0};
    if (listener->has_room != NULL && !listener->has_room(listener->context)) {
        refuse_full(listener, fd);
        return;
    }
    const struct sockaddr *from = source != NULL ? (const struct sockaddr *)source : peer;
    if (listener->per_address > 0 && !proxies_trust(listener->proxies, from) &&
        !address_take(listener->addresses, from, ADDRESS_CLIENT, listener->per_address, &claim)) {
        refuse_address(listener, fd, from);
        return;
    }
    struct connection *connection;
    int opened = connection_open(listener->loop, fd, &claim, listener->tls, &connection);
    if (opened == 0 && source != NULL && !connection_set_peer(connection, source)) {
        connection_close(connection, CLOSE_NO_MEMORY, false);
        opened = STATUS_NOMEM;
    }
    if (opened == 0) {
        listener->on_accept(connection, listener->context);
    } else if (opened == STATUS_NOMEM) {
        count_refused(listener);
    }
}

static void on_preface(
    void *context, int fd, const struct sockaddr *peer, const struct sockaddr_in6 *source)
{
    open_connection(context, fd, peer, source);
}

static void admit(struct listener *listener, int fd, const struct sockaddr *peer)
{
    if (listener->takes_prefaces && proxies_trust(listener->proxies, peer)) {
        prefaces_take(listener->prefaces, fd, peer);
    } else {
        open_connection(listener, fd, peer, NULL);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = container_of(poll, struct listener, poll);
    loop_begin(listener->loop);
    for (unsigned i = 0; i < BATCH && !uv_is_closing((uv_handle_t *)poll); i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer);
        int fd =
            accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(listener, fd, (const struct sockaddr *)&peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            refuse_waiting(listener);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        }
    }
}

/* --- opening --- */

static int fail_open(const struct listener_config *config, int error)
{
    if (error == EADDRINUSE) {
        log_error("LISTEN-BUSY", "the port is taken by another program", "host=%s port=%u %s%s%s",
            log_quote(bytes_str(config->host)), config->port,
            config->option != NULL ? "try=\"" : "", config->option != NULL ? config->option : "",
            config->option != NULL ? " PORT\"" : "");
        return STATUS_EXISTS;
    }
    log_error("LISTEN-FAILED", "cannot listen", "host=%s port=%u error=%s",
        log_quote(bytes_str(config->host)), config->port, log_quote(bytes_str(strerror(error))));
    return error == EACCES || error == EPERM ? STATUS_DENIED : STATUS_IO;
}

/* Whether a listener has the port that would let another one share it. */
static bool is_shared(const struct addrinfo *info)
{
    int on = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false; /* what is wrong shows in a moment */
    }
    bool shared = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                  bind(fd, info->ai_addr, info->ai_addrlen) != 0 && errno == EADDRINUSE;
    close(fd);
    return shared;
}

/* Accepted sockets inherit TCP_NODELAY and TCP_NOTSENT_LOWAT. */
static bool set_options(int fd, int family, uint32_t unsent_bytes)
{
    int on = 1;
    int off = 0;
    int unsent = (int)unsent_bytes;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
           (unsent == 0 ||
               setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent)) == 0) &&
           (family != AF_INET6 ||
               setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0);
}

static int bind_socket(const struct addrinfo *info, const struct listener_config *config)
{
    int backlog = config->backlog != 0 ? config->backlog : BACKLOG;
    if (config->alone && config->port != 0 && is_shared(info)) {
        return -EADDRINUSE;
    }
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    bool failed = !set_options(fd, info->ai_family, config->unsent_bytes) ||
                  bind(fd, info->ai_addr, info->ai_addrlen) != 0 ||
                  (backlog != NOT_LISTENING && listen(fd, backlog) != 0);
    if (failed) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int open_socket(const struct listener_config *config, int *ret_fd)
{
    bool any = config->host == NULL || config->host[0] == '\0' || strcmp(config->host, "*") == 0;
    char port[8];
    snprintf(port, sizeof(port), "%u", config->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *infos = NULL;
    int fd = -EAFNOSUPPORT;
    int error = getaddrinfo(any ? "::" : config->host, port, &hints, &infos);
    if (error == 0) {
        fd = bind_socket(infos, config);
        freeaddrinfo(infos);
    } else if (!any) {
        log_error("LISTEN-HOST", "the host to listen on is not known", "host=%s error=%s",
            log_quote(bytes_str(config->host)), log_quote(bytes_str(gai_strerror(error))));
        return STATUS_NOT_FOUND;
    }
    if (any && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(config->port)};
        struct addrinfo v4 = {
            .ai_family = AF_INET, .ai_addr = (struct sockaddr *)&in, .ai_addrlen = sizeof(in)};
        fd = bind_socket(&v4, config);
    }
    *ret_fd = fd;
    return fd < 0 ? fail_open(config, -fd) : 0;
}

static uint16_t read_port(int fd)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &len) != 0) {
        return 0;
    }
    return ntohs(name.ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)(const void *)&name)->sin6_port
                     : ((const struct sockaddr_in *)(const void *)&name)->sin_port);
}

int listener_reserve(const struct listener_config *config, int *ret_fd, uint16_t *ret_port)
{
    struct listener_config bound = *config;
    bound.backlog = NOT_LISTENING;
    int status = open_socket(&bound, ret_fd);
    if (status == 0) {
        *ret_port = read_port(*ret_fd);
    } else {
        *ret_fd = -1;
    }
    return status;
}

int listener_open(
    struct loop *loop, const struct listener_config *config, struct listener **ret_listener)
{
    int fd;
    int status = open_socket(config, &fd);
    if (status != 0) {
        return status;
    }
    struct listener *listener = mem_alloc(sizeof(*listener));
    listener->loop = loop;
    listener->has_room = config->has_room;
    listener->on_accept = config->on_accept;
    listener->context = config->context;
    listener->per_address = config->per_address;
    listener->addresses = config->addresses;
    listener->proxies = config->proxies;
    listener->takes_prefaces = config->prefaces;
    listener->tls = config->tls != NULL ? tls_context_ref(config->tls) : NULL;
    listener->fd = fd;
    listener->port = read_port(fd);
    timer_init(&listener->resume, on_resume);
    int error = uv_poll_init(loop_uv(loop), &listener->poll, fd);
    if (error != 0) {
        close(fd);
        tls_context_unref(listener->tls);
        mem_free(listener);
        return fail_open(config, -error);
    }
    listener->prefaces = prefaces_create(loop, on_preface, listener);
    listener->reserve = open_reserve();
    CHECK(uv_poll_start(&listener->poll, UV_READABLE, on_readable) == 0);
    *ret_listener = listener;
    return 0;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}

void listener_set_per_address(struct listener *listener, uint32_t per_address)
{
    listener->per_address = per_address;
}

void listener_set_proxies(struct listener *listener, const struct proxies *proxies, bool prefaces)
{
    listener->proxies = proxies;
    listener->takes_prefaces = prefaces;
}

void listener_set_tls(struct listener *listener, struct tls_context *tls)
{
    struct tls_context *old = listener->tls;
    listener->tls = tls != NULL ? tls_context_ref(tls) : NULL;
    tls_context_unref(old);
}

uint64_t listener_refused(const struct listener *listener)
{
    return listener->refused;
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = container_of(handle, struct listener, poll);
    tls_context_unref(listener->tls);
    mem_free(listener);
}

void listener_close(struct listener *listener)
{
    uv_poll_stop(&listener->poll);
    timer_cancel(sched_timers(loop_shard(listener->loop)->sched), &listener->resume);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    prefaces_destroy(listener->prefaces);
    close(listener->fd);
    if (listener->reserve >= 0) {
        close(listener->reserve);
    }
}
