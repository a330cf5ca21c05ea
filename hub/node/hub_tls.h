/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_tls - the certificates and rules of TLS that a node's settings name, one for each listener.
 */
#ifndef HUB_NODE_HUB_TLS_H
#define HUB_NODE_HUB_TLS_H

#include <stdbool.h>

#include "codec/base/check.h"

struct builder;
struct config;
struct hub;
struct tls_context;

enum hub_tls_use {
    HUB_TLS_PUBLIC,
    HUB_TLS_INTERNAL,
    HUB_TLS_CLUSTER, /* who is called */
    HUB_TLS_BUS, /* who calls Redis: that of hub_settings.bus */
    HUB_TLS_CALLS, /* who calls another node */
    HUB_TLS_COUNT
};

/* One reference of each; NULL: without TLS. */
struct hub_tls {
    struct tls_context *of[HUB_TLS_COUNT];
};

/*
 * Read the files that `config` names, and tell in the log what should be looked at. Statuses of
 * tls_context_new, with its sentence appended to `error`; `ret_tls` is to be finished in any case.
 * Main thread; blocks to read.
 */
MUST_CHECK int hub_tls_init(const struct hub *hub, const struct config *config,
    struct builder *error, struct hub_tls *ret_tls);

/* Drop what it refers to. */
void hub_tls_finish(struct hub_tls *tls);

/* In how many days the first certificate of a listener ends, below 0 when it has. False: none. */
bool hub_tls_first_end(const struct hub_tls *tls, double *ret_days);

/* The lines of /metrics that say when each certificate ends. */
void hub_tls_write_ends(const struct hub_tls *tls, struct builder *out);

#endif
