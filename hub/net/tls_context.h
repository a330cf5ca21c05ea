/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_context - certificates, keys and rules of TLS, for a listener or for those who call one.
 *
 * Immutable and counted: a listener has one, every connection keeps the one it began with, and a
 * reload makes another. All functions are for any thread.
 */
#ifndef HUB_NET_TLS_CONTEXT_H
#define HUB_NET_TLS_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct builder;
struct ssl_st;
struct tls_context;

/* Where settings come from: the names by which complaints call them. */
struct tls_names {
    const char *cert; /* "listen.tls_cert" */
    const char *key;
    const char *ca;
};

/* Told of a certificate that works, and yet somebody should look at: `text` without its end. */
typedef void (*tls_warn_fn)(void *context, const char *text);

struct tls_options {
    struct tls_names names;
    /* PEM files: chains, the leaf first, and their keys in the same order. */
    const char *const *certs;
    const char *const *keys;
    size_t count; /* at least one for a listener */
    const char *ca; /* PEM file of whom the other side must be certified by; "": see below */
    bool only_13; /* TLS 1.3 alone, not 1.2 */
    bool calls; /* for who calls: without `ca` it trusts nobody, or */
    bool trusts_system; /* whoever a certificate authority of this machine has certified */
    bool http; /* who offers protocols (ALPN) must offer http/1.1 */
    /* Tickets of who comes back are good wherever this is the same; at least 16 bytes, copied. */
    struct bytes ticket_secret;
    tls_warn_fn warn; /* may be NULL */
    void *warn_context;
};

/*
 * Read the files and check that they fit. A listener chooses the first certificate that is for the
 * name that the client asks for (SNI), else the first; with `ca` it wants a certificate of the
 * client's. Warns of a certificate that has ended, has not begun, ends in less than 14 days, or is
 * its own issuer. STATUS_INVALID, STATUS_NOT_FOUND, STATUS_IO, STATUS_NOMEM: a sentence that begins
 * with the setting is appended to `error`, and those in force stay so. Blocks to read.
 */
MUST_CHECK int tls_context_new(
    const struct tls_options *options, struct builder *error, struct tls_context **ret_context);

/* Add a reference and return `context`. */
struct tls_context *tls_context_ref(struct tls_context *context);

/* Drop a reference; the last one frees it. NULL is allowed. */
void tls_context_unref(struct tls_context *context);

/* Whether it is for who calls. */
bool tls_context_calls(const struct tls_context *context);

/* How many certificates it has. */
size_t tls_context_count(const struct tls_context *context);

/* The file of certificate `index`, and when it ends, in seconds since 1970. */
const char *tls_context_file(const struct tls_context *context, size_t index, int64_t *ret_ends);

/* OpenSSL's object for one connection under these rules, or NULL: no memory. For tls_stream. */
struct ssl_st *tls_context_connect(struct tls_context *context);

/* Have `ssl`, which calls, take no certificate but one for `name`, a host or an address, and tell
 * the other side whom it wants (SNI). False: no memory, or no name. For tls_stream. */
MUST_CHECK bool tls_context_expect(struct ssl_st *ssl, const char *name);

#endif
