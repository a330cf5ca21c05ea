/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets up OpenSSL as a client, and moves its bytes.
 */
#include "tests/support/tls_client.h"

#include <criterion/criterion.h>
#include <openssl/bio.h>
#include <openssl/err.h>

#include "tests/support/test_certs.h"

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *client = SSL_get_app_data(ssl);
    SSL_SESSION_free(client->session);
    client->session = session;
    return 1;
}

static SSL_CTX *make_ctx(const struct tls_client_options *options)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    cr_assert_not_null(ctx);
    if (options->version != 0) {
        SSL_CTX_set_min_proto_version(ctx, options->version);
        SSL_CTX_set_max_proto_version(ctx, options->version);
    }
    if (options->trusts != NULL) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), options->trusts->x509);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    }
    if (options->cert != NULL) {
        cr_assert_eq(SSL_CTX_use_certificate(ctx, options->cert->x509), 1);
        cr_assert_eq(SSL_CTX_use_PrivateKey(ctx, options->cert->pkey), 1);
    }
    if (options->protocols.len > 0) {
        SSL_CTX_set_alpn_protos(
            ctx, (const unsigned char *)options->protocols.at, (unsigned)options->protocols.len);
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    return ctx;
}

void tls_client_begin(struct tls_client *client, const struct tls_client_options *options, int fd)
{
    client->session = NULL;
    client->ctx = make_ctx(options);
    client->ssl = SSL_new(client->ctx);
    SSL_set_app_data(client->ssl, client);
    SSL_set_connect_state(client->ssl);
    if (options->name != NULL) {
        SSL_set_tlsext_host_name(client->ssl, options->name);
        SSL_set1_host(client->ssl, options->name);
    }
    if (options->session != NULL) {
        cr_assert_eq(SSL_set_session(client->ssl, options->session), 1);
    }
    if (fd >= 0) {
        SSL_set_fd(client->ssl, fd);
    } else {
        SSL_set_bio(client->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    }
}

void tls_client_end(struct tls_client *client)
{
    SSL_SESSION_free(client->session);
    SSL_set_shutdown(
        client->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or no ticket is good */
    SSL_free(client->ssl);
    SSL_CTX_free(client->ctx);
}

bool tls_client_shake(struct tls_client *client)
{
    ERR_clear_error();
    return SSL_do_handshake(client->ssl) == 1;
}

bool tls_client_send(struct tls_client *client, struct bytes bytes)
{
    while (bytes.len > 0) {
        int part = bytes.len > 1 << 30 ? 1 << 30 : (int)bytes.len;
        int sent = SSL_write(client->ssl, bytes.at, part);
        if (sent <= 0) {
            return false;
        }
        bytes = bytes_skip(bytes, (size_t)sent);
    }
    return true;
}

size_t tls_client_recv(struct tls_client *client, void *at, size_t len)
{
    size_t got = 0;
    while (got < len) {
        int part = SSL_read(client->ssl, (char *)at + got, (int)(len - got));
        if (part <= 0) {
            break;
        }
        got += (size_t)part;
    }
    return got;
}

size_t tls_client_take(struct tls_client *client, void *at, size_t size)
{
    int len = BIO_read(SSL_get_wbio(client->ssl), at, (int)size);
    return len > 0 ? (size_t)len : 0;
}

void tls_client_give(struct tls_client *client, struct bytes bytes)
{
    if (bytes.len > 0) {
        cr_assert_eq(
            BIO_write(SSL_get_rbio(client->ssl), bytes.at, (int)bytes.len), (int)bytes.len);
    }
}
