/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_conn - one attempt at a socket to Redis: resolve, connect, read, write in one piece a turn.
 *
 * It lives until it is closed and knows nothing of RESP. The link above it (redis_link.c) makes a
 * new one for every attempt.
 */
#ifndef HUB_REDIS_REDIS_CONN_H
#define HUB_REDIS_REDIS_CONN_H

#include <stddef.h>
#include <uv.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/redis/redis_url.h"

struct redis_conn;

/* Memory that all connections of a loop read into, one after the other. */
struct redis_input {
    char at[64 * 1024];
};

struct redis_conn_ops {
    /* The socket is connected. */
    void (*on_connected)(void *owner);
    /* Bytes arrived; borrowed. The connection may be closed from here. */
    void (*on_bytes)(void *owner, struct bytes bytes);
    /* It cannot be used any more, once; the owner closes it. `why` is borrowed. */
    void (*on_failed)(void *owner, int status, const char *why);
};

/*
 * Start connecting to `url`; `input` must live until redis_conn_close. A name with several
 * addresses is tried at address number `attempt` modulo their count.
 */
MUST_CHECK struct redis_conn *redis_conn_open(uv_loop_t *loop, const struct redis_url *url,
    unsigned attempt, const struct redis_conn_ops *ops, void *owner, struct redis_input *input);

/* Where to append what is to be sent with the next redis_conn_flush. */
struct builder *redis_conn_out(struct redis_conn *conn);

/* Bytes appended and not yet taken by the kernel. */
size_t redis_conn_unsent(const struct redis_conn *conn);

/* The number of addresses that the name has; 1 before it is known. */
unsigned redis_conn_addresses(const struct redis_conn *conn);

/* Send what was appended, or as soon as the previous write is through. */
void redis_conn_flush(struct redis_conn *conn);

/* Close it: no callback afterwards; freed in a later turn. NULL is allowed. */
void redis_conn_close(struct redis_conn *conn);

#endif
