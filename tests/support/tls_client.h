/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_client - a TLS client of OpenSSL: over a blocking socket, or over memory, where the test
 * carries the bytes of both sides.
 */
#ifndef TESTS_SUPPORT_TLS_CLIENT_H
#define TESTS_SUPPORT_TLS_CLIENT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "codec/base/bytes.h"

struct test_cert;

struct tls_client_options {
    const struct test_cert *trusts; /* NULL: everybody */
    const struct test_cert *cert; /* its own; may be NULL */
    const char *name; /* that it asks for; may be NULL */
    struct bytes protocols; /* ALPN as on the wire; empty: none */
    int version; /* the only one; 0: any */
    SSL_SESSION *session; /* to come back with; may be NULL */
};

struct tls_client {
    SSL_CTX *ctx;
    SSL *ssl;
    SSL_SESSION *session; /* the last ticket that it was given */
};

/* Make one without a handshake: over `fd`, or with -1 over memory. */
void tls_client_begin(struct tls_client *client, const struct tls_client_options *options, int fd);

/* Free it; the socket stays. */
void tls_client_end(struct tls_client *client);

/* Over a socket: the handshake, sending all, receiving exactly `len` bytes unless the end comes. */
bool tls_client_shake(struct tls_client *client);
bool tls_client_send(struct tls_client *client, struct bytes bytes);
size_t tls_client_recv(struct tls_client *client, void *at, size_t len);

/* Over memory: what it has to send, up to `size` bytes, taken out; and what it is given. */
size_t tls_client_take(struct tls_client *client, void *at, size_t size);
void tls_client_give(struct tls_client *client, struct bytes bytes);

#endif
