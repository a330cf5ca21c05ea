/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_conn - one attempt at a socket to Redis: resolve, connect, TLS, read, write in one piece a
 * turn.
 *
 * It lives until it is closed and knows nothing of RESP. The link above it (redis_link.c) makes a
 * new one for every attempt.
 */
#ifndef HUB_REDIS_REDIS_CONN_H
#define HUB_REDIS_REDIS_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/redis/redis_url.h"

struct redis_conn;

struct tls_context;
struct tls_desk;

/* Memory that all connections of a loop read into, one after the other. */
struct redis_input {
    char at[64 * 1024];
    struct tls_desk *desk; /* for TLS; NULL: not needed yet */
    char *plain; /* TLS_PLAIN_ROOM bytes, with `desk` */
};

/* What is connected to. */
struct redis_goal {
    const struct redis_place *place; /* copied */
    unsigned attempt; /* a name with several addresses is tried at this one, modulo their count */
    struct tls_context *tls; /* NULL: plain; a reference is taken */
    const char *tls_name; /* whom the certificate must be for; empty: the host of `place` */
};

struct redis_conn_ops {
    /* The socket is connected, and the TLS handshake done. */
    void (*on_connected)(void *owner);
    /* Bytes arrived; borrowed. The connection may be closed from here. */
    void (*on_bytes)(void *owner, struct bytes bytes);
    /* It cannot be used any more, once; the owner closes it. `why` is borrowed. */
    void (*on_failed)(void *owner, int status, const char *why);
};

/* Start connecting to `goal`; `input` must live until redis_conn_close. */
MUST_CHECK struct redis_conn *redis_conn_open(uv_loop_t *loop, const struct redis_goal *goal,
    const struct redis_conn_ops *ops, void *owner, struct redis_input *input);

/* Free what `input` holds. */
void redis_input_finish(struct redis_input *input);

/* Where to append what is to be sent with the next redis_conn_flush. */
struct builder *redis_conn_out(struct redis_conn *conn);

/* Whether a TLS handshake is under way. */
bool redis_conn_shakes(const struct redis_conn *conn);

/* Bytes appended and not yet taken by the kernel. */
size_t redis_conn_unsent(const struct redis_conn *conn);

/* The number of addresses that the name has; 1 before it is known. */
unsigned redis_conn_addresses(const struct redis_conn *conn);

/* Send what was appended, or as soon as the previous write is through. */
void redis_conn_flush(struct redis_conn *conn);

/* Close it: no callback afterwards; freed in a later turn. NULL is allowed. */
void redis_conn_close(struct redis_conn *conn);

#endif
