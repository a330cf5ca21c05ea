/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_world - a stream of ours and OpenSSL's client over memory, with certificates of a CA of their
 * own; a failure fails the test.
 */
#ifndef TESTS_UNIT_HUB_TLS_WORLD_H
#define TESTS_UNIT_HUB_TLS_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "hub/net/tls_context.h"
#include "hub/net/tls_stream.h"
#include "tests/support/test_certs.h"
#include "tests/support/tls_client.h"

enum { TLS_WORLD_WIRE = 256 << 10, TLS_WORLD_GOT = 1 << 20 };

/* A server of one certificate and a client, and what came through. */
struct tls_world {
    struct test_certs certs;
    const struct test_cert *ca;
    const struct test_cert *leaf; /* of the server, signed by `ca` */
    struct tls_context *context;
    struct tls_desk *desk;
    struct tls_stream *stream;
    struct tls_client client;
    char *wire; /* TLS_WORLD_WIRE bytes, for what is under way */
    char *got; /* what the server got */
    size_t got_len;
};

/* Changes the options of a context. */
typedef void (*tls_world_change_fn)(struct tls_options *options, void *arg);

/* Options with one certificate. */
struct tls_options tls_world_usual(const char *const *certs, const char *const *keys);

/* Rules with one certificate, changed by `change`, which may be NULL. */
struct tls_context *tls_world_context(
    const struct test_cert *cert, tls_world_change_fn change, void *arg);

/* A world whose server has a certificate for `name`; `change` gets the path of the CA's. */
struct tls_world *tls_world_create(tls_world_change_fn change, const char *name);

/* Free it; no connection is there any more. */
void tls_world_destroy(struct tls_world *world);

/* A new connection of a client with these options, and its end. */
void tls_world_begin(struct tls_world *world, const struct tls_client_options *options);
void tls_world_end(struct tls_world *world);

/* Have the stream take `bytes` in pieces of `step`, and the client what it answers. */
void tls_world_feed(struct tls_world *world, struct bytes bytes, size_t step);

/* The same with all that the client has to send. */
void tls_world_carry(struct tls_world *world, size_t step);

/* Whether the client's handshake comes to its end; the server may know of it later. */
bool tls_world_shake(struct tls_world *world, size_t step);

/* Shake hands, and have each say something to the other. */
void tls_world_talk(struct tls_world *world, size_t step);

/* Have the stream send `bytes`; returns how many it took. */
size_t tls_world_seal(struct tls_world *world, struct bytes bytes);

/* What the client has received, at most `len` bytes. */
size_t tls_world_receive(struct tls_world *world, void *at, size_t len);

/* How many handshakes failed so. */
uint64_t tls_world_failed(const struct tls_world *world, enum tls_failure failure);

#endif
