/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS before and after the handshake: whatever a stranger sends, whole or byte by byte, comes to
 * the same end, which is counted once, and nothing plain comes out of it.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <unistd.h>

#include "hub/net/tls_context.h"
#include "hub/net/tls_stream.h"
#include "tests/fuzz/fuzz.h"

enum { WIRE = 16 << 10 };

static struct tls_context *context;
static SSL_CTX *client_ctx;
static struct tls_desk desk;
static char plain[TLS_PLAIN_ROOM];

static FILE *make_file(char *path)
{
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    return fdopen(fd, "w");
}

/* A certificate of its own, in files that are gone again when they have been read. */
static void prepare(void)
{
    char cert_path[] = "/tmp/peal-fuzz-cert-XXXXXX";
    char key_path[] = "/tmp/peal-fuzz-key-XXXXXX";
    const char *certs[] = {cert_path};
    const char *keys[] = {key_path};
    struct builder error = {0};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400L * 30);
    X509_set_pubkey(cert, key);
    CHECK(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *file = make_file(cert_path);
    CHECK(PEM_write_X509(file, cert) == 1 && fclose(file) == 0);
    file = make_file(key_path);
    CHECK(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(file) == 0);
    const struct tls_options options = {.names = {"cert", "key", "ca"},
        .certs = certs,
        .keys = keys,
        .count = 1,
        .ca = "",
        .http = true,
        .ticket_secret = BYTES("the secret of a fuzz program")};
    CHECK(tls_context_new(&options, &error, &context) == 0);
    client_ctx = SSL_CTX_new(TLS_client_method());
    unlink(cert_path);
    unlink(key_path);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* Give `bytes` in pieces of `step`; returns how much became plain. */
static size_t feed(struct tls_stream *stream, struct bytes bytes, size_t step)
{
    size_t len = 0;
    while (bytes.len > 0) {
        size_t part = bytes.len < step ? bytes.len : step;
        len += tls_stream_open(stream, &desk, bytes_of(bytes.at, part), plain);
        bytes = bytes_skip(bytes, part);
    }
    return len;
}

/* A stream that has shaken hands with a client, which is gone. */
static struct tls_stream *make_ready(void)
{
    static char wire[WIRE];
    struct tls_stream *stream = tls_stream_create(context, &desk);
    CHECK(stream != NULL);
    SSL *client = SSL_new(client_ctx);
    SSL_set_connect_state(client);
    SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    while (tls_stream_state(stream) != TLS_READY) {
        (void)SSL_do_handshake(client);
        int len = BIO_read(SSL_get_wbio(client), wire, WIRE);
        CHECK(len > 0);
        CHECK(feed(stream, bytes_of(wire, (size_t)len), WIRE) == 0);
        struct bytes out = builder_bytes(&desk.out);
        CHECK(BIO_write(SSL_get_rbio(client), out.at, (int)out.len) == (int)out.len);
    }
    SSL_free(client);
    return stream;
}

static uint64_t count_ends(void)
{
    uint64_t sum = desk.counts.full + desk.counts.resumed;
    for (unsigned i = 0; i < TLS_FAILURE_COUNT; i++) {
        sum += desk.counts.failed[i];
    }
    return sum;
}

static enum tls_state run(struct tls_stream *stream, struct bytes input, size_t step)
{
    CHECK(stream != NULL);
    CHECK(feed(stream, input, step) == 0);
    enum tls_state state = tls_stream_state(stream);
    tls_stream_end(stream, &desk);
    tls_stream_destroy(stream, &desk);
    return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    if (context == NULL) {
        prepare();
    }
    uint64_t before = count_ends();
    enum tls_state whole = run(tls_stream_create(context, &desk), input, WIRE);
    CHECK(run(tls_stream_create(context, &desk), input, 1) == whole);
    CHECK(whole != TLS_READY && whole != TLS_CLOSED); /* nobody knows the keys */
    enum tls_state after = run(make_ready(), input, WIRE);
    CHECK(run(make_ready(), input, 3) == after);
    CHECK(after != TLS_CLOSED);
    CHECK(count_ends() == before + 4 && desk.counts.open == 0);
    return 0;
}
