/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener - accepts connections for one loop; each loop has one, all share the port.
 */
#ifndef HUB_NET_LISTENER_H
#define HUB_NET_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"

struct connection;
struct listener;
struct loop;
struct name_counts;
struct proxies;
struct tls_context;

/* A fresh connection; call connection_own (http_serve does) before returning. */
typedef void (*listener_accept_fn)(struct connection *connection, void *context);

struct listener_config {
    const char *host; /* address or name; "" or "*": every address, IPv6 and IPv4 */
    uint16_t port; /* 0: the kernel picks one; the other loops then pass listener_port */
    const char *option; /* the flag that names another port, told when it is taken; or NULL */
    bool alone; /* refuse a port that another listener has, also one that would share it */
    int backlog; /* 0: 1,024 */
    uint32_t unsent_bytes; /* TCP_NOTSENT_LOWAT of accepted sockets; 0: the kernel's own */
    uint32_t per_address; /* unauthenticated connections of one address; 0: any */
    struct name_counts *addresses; /* where they are counted; with per_address */
    const struct proxies *proxies; /* those in front count where their clients do; may be NULL */
    bool prefaces; /* theirs begin by saying for whom they are (preface.h) */
    struct tls_context *tls; /* NULL: plain connections; the listener takes a reference */
    bool (*has_room)(void *context); /* whether one more may be served; NULL: always */
    listener_accept_fn on_accept;
    void *context;
};

/*
 * Bind and listen. `config` is copied. Logs the cause when it fails: STATUS_EXISTS when the port is
 * taken, STATUS_DENIED when it is not allowed, STATUS_NOT_FOUND for an unknown host, STATUS_IO.
 * Blocks to look up a host name.
 */
MUST_CHECK int listener_open(
    struct loop *loop, const struct listener_config *config, struct listener **ret_listener);

/*
 * Bind to host and port of `config` without listening, so that the port, in `ret_port`, is this
 * program's until `ret_fd` is closed; listeners may share it. Statuses as above.
 */
MUST_CHECK int listener_reserve(
    const struct listener_config *config, int *ret_fd, uint16_t *ret_port);

/* The port it listens on. */
uint16_t listener_port(const struct listener *listener);

/* Set listener_config.per_address for connections to come. */
void listener_set_per_address(struct listener *listener, uint32_t per_address);

/*
 * Set listener_config.proxies, which must outlive the listener or the next call, and
 * listener_config.prefaces.
 */
void listener_set_proxies(struct listener *listener, const struct proxies *proxies, bool prefaces);

/* Set listener_config.tls for connections to come. */
void listener_set_tls(struct listener *listener, struct tls_context *tls);

/* How many connections were refused: descriptors used up, cap of an address, no
 * room. */
TEST_SEAM uint64_t listener_refused(const struct listener *listener);

/* Stop accepting; connections stay. Freed later in the loop. */
void listener_close(struct listener *listener);

#endif
