/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates from files into OpenSSL's contexts, the choice among them by name, tickets.
 *
 * Order of this file: reading files, certificates, the rules, choices during handshakes, life.
 */
#include "hub/net/tls_context.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/crypto.h"
#include "hub/net/file.h"
#include "hub/net/tls_ticket.h"

enum { FILE_MAX = 1 << 20, SOON_DAYS = 14, DAY_S = 86400 };

/* AEAD with forward secrecy, which every client since 2015 has; those of 1.3 are all of this kind.
 */
/* Not those of finite fields, which OpenSSL has besides: one of 8192 bits costs a server 130 ms. */
static const char GROUPS[] = "X25519:P-256:P-384:P-521";
static const char CIPHERS_12[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

/* A certificate with its chain and key, under the rules of the whole. */
struct pair {
    SSL_CTX *ctx;
    char *file;
    int64_t ends;
};

struct tls_context {
    atomic_uint refs;
    bool calls;
    struct tls_ticket_secret tickets;
    size_t count;
    struct pair pairs[];
};

/* What a complaint is about. */
struct subject {
    const struct tls_options *options;
    const char *setting;
    const char *file;
    struct builder *error;
};

/* --- reading files --- */

static int complain(const struct subject *subject, int status, const char *what)
{
    builder_printf(subject->error, "%s: %.500s: %s", subject->setting, subject->file, what);
    return status;
}

static int starve(const struct subject *subject)
{
    return complain(subject, STATUS_NOMEM, "there is no memory for it");
}

static bool is_starved(void)
{
    return ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE ||
           ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
}

/* As complain, with OpenSSL's own words behind it. */
static int complain_ssl(const struct subject *subject, const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    if (is_starved()) {
        return starve(subject);
    }
    complain(subject, STATUS_INVALID, what);
    if (why != NULL) {
        builder_printf(subject->error, " (%s)", why);
    }
    return STATUS_INVALID;
}

static int read_file(const struct subject *subject, struct builder *content)
{
    int status = file_read(subject->file, content);
    if (status == STATUS_TOO_LARGE) {
        return complain(subject, STATUS_INVALID, "is larger than 1 MiB");
    }
    if (status == STATUS_NOMEM) {
        return starve(subject);
    }
    return status == 0 ? 0 : complain(subject, status, strerror(errno));
}

/* To be read by OpenSSL, or NULL: no memory. */
static BIO *open_text(struct bytes text)
{
    return BIO_new_mem_buf(text.len > 0 ? text.at : "", (int)text.len);
}

/* --- certificates --- */

static void warn(const struct subject *subject, const char *what)
{
    char text[700];
    if (subject->options->warn != NULL) {
        snprintf(text, sizeof(text), "%s: %.500s: %s", subject->setting, subject->file, what);
        subject->options->warn(subject->options->warn_context, text);
    }
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    static const char epoch[] = "19700101000000Z";
    ASN1_TIME *from = ASN1_TIME_new();
    int days = 0;
    int seconds = 0;
    bool known = from != NULL && ASN1_TIME_set_string(from, epoch) == 1 &&
                 ASN1_TIME_diff(&days, &seconds, from, time) == 1;
    ASN1_TIME_free(from);
    return known ? (int64_t)days * DAY_S + seconds : 0;
}

/* What does not keep it from working here, but with some clients. */
static void look_at(const struct subject *subject, X509 *leaf, struct pair *pair)
{
    int64_t now = (int64_t)(clock_wall_ms() / 1000);
    char what[100];
    pair->ends = seconds_of(X509_get0_notAfter(leaf));
    if (pair->ends <= now) {
        snprintf(what, sizeof(what), "the certificate ended %lld days ago, clients refuse it",
            (long long)((now - pair->ends) / DAY_S));
        warn(subject, what);
    } else if (pair->ends < now + (int64_t)SOON_DAYS * DAY_S) {
        snprintf(what, sizeof(what), "the certificate ends in %lld days",
            (long long)((pair->ends - now) / DAY_S));
        warn(subject, what);
    }
    if (seconds_of(X509_get0_notBefore(leaf)) > now) {
        warn(subject, "the certificate is not valid yet, clients refuse it");
    }
    if (X509_self_signed(leaf, 0) == 1) {
        warn(subject, "the certificate is self-signed: only clients that know it trust it");
    }
}

/* The rest of the file: those that signed the one before. */
static int add_chain(const struct subject *subject, BIO *bio, SSL_CTX *ctx)
{
    X509 *next;
    while ((next = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(ctx, next) != 1) {
            X509_free(next);
            return complain_ssl(subject, "a certificate of the chain cannot be used");
        }
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    return at_end ? 0 : complain_ssl(subject, "a certificate of the chain cannot be read");
}

static int use_cert(const struct subject *subject, struct bytes text, struct pair *pair)
{
    BIO *bio = open_text(text);
    X509 *leaf = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    int status = 0;
    if (bio == NULL || (leaf == NULL && is_starved())) {
        status = starve(subject);
    } else if (leaf == NULL) {
        status = complain(subject, STATUS_INVALID, "holds no PEM certificate");
    } else if (SSL_CTX_use_certificate(pair->ctx, leaf) != 1) {
        status = complain_ssl(subject, "the certificate cannot be used");
    } else {
        status = add_chain(subject, bio, pair->ctx);
    }
    if (status == 0) {
        look_at(subject, leaf, pair);
    }
    X509_free(leaf);
    BIO_free(bio);
    return status;
}

/* A key with a pass phrase: nobody is there to be asked for it. */
static int no_phrase(char *at, int size, int writes, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static int use_key(const struct subject *subject, struct bytes text, struct pair *pair)
{
    bool asked = false;
    BIO *bio = open_text(text);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_phrase, &asked) : NULL;
    int status = 0;
    if (bio == NULL || (key == NULL && is_starved())) {
        status = starve(subject);
    } else if (asked) {
        status = complain(subject, STATUS_INVALID, "the key has a pass phrase: give one without");
    } else if (key == NULL) {
        status = complain(subject, STATUS_INVALID, "holds no PEM private key");
    } else if (SSL_CTX_use_PrivateKey(pair->ctx, key) != 1 ||
               SSL_CTX_check_private_key(pair->ctx) != 1) {
        status = complain_ssl(subject, "is not the key of its certificate");
        builder_printf(subject->error, ": %.500s", pair->file);
    }
    EVP_PKEY_free(key);
    BIO_free(bio);
    return status;
}

static int name_pair(struct pair *pair, const struct subject *cert)
{
    size_t size = strlen(cert->file) + 1;
    pair->file = mem_try_alloc(size);
    if (pair->file == NULL) {
        return starve(cert);
    }
    memcpy(pair->file, cert->file, size);
    return 0;
}

static int load_pair(
    const struct tls_options *options, size_t index, struct builder *error, struct pair *pair)
{
    struct builder text = {.max = FILE_MAX};
    struct subject cert = {options, options->names.cert, options->certs[index], error};
    struct subject key = {options, options->names.key, options->keys[index], error};
    int status = name_pair(pair, &cert);
    status = status == 0 ? read_file(&cert, &text) : status;
    status = status == 0 ? use_cert(&cert, builder_bytes(&text), pair) : status;
    builder_clear(&text);
    status = status == 0 ? read_file(&key, &text) : status;
    status = status == 0 ? use_key(&key, builder_bytes(&text), pair) : status;
    struct bytes secret = builder_bytes(&text);
    if (secret.len > 0) {
        crypto_wipe((void *)(uintptr_t)secret.at, secret.len);
    }
    builder_reset(&text);
    return status;
}

/* --- the rules --- */

/* Each certificate of the file becomes one that may certify the other side; their names are told to
 * a client. */
static int add_issuers(const struct subject *subject, struct bytes text, bool calls, SSL_CTX *ctx)
{
    BIO *bio = open_text(text);
    unsigned count = 0;
    int status = bio != NULL ? 0 : starve(subject);
    X509 *ca;
    while (status == 0 && (ca = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        count++;
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) != 1 ||
            (!calls && SSL_CTX_add_client_CA(ctx, ca) != 1)) {
            status = complain_ssl(subject, "a certificate cannot be used");
        }
        X509_free(ca);
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (status == 0 && is_starved()) {
        status = starve(subject);
    } else if (status == 0 && count == 0) {
        status = complain(subject, STATUS_INVALID, "holds no PEM certificate");
    } else if (status == 0 && !at_end) {
        status = complain_ssl(subject, "a certificate cannot be read");
    }
    ERR_clear_error();
    BIO_free(bio);
    return status;
}

/* Who may be on the other side. */
static int trust(const struct tls_options *options, struct builder *error, SSL_CTX *ctx)
{
    struct builder text = {.max = FILE_MAX};
    struct subject subject = {options, options->names.ca, options->ca, error};
    uint8_t rules[CRYPTO_SHA256_LEN];
    int status = read_file(&subject, &text);
    status =
        status == 0 ? add_issuers(&subject, builder_bytes(&text), options->calls, ctx) : status;
    if (status == 0) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        /* The certificate of who comes back by a ticket is not looked at again, also when it has
         * ended; nor do sessions come back that began under other rules. */
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        crypto_sha256(builder_bytes(&text), rules);
        bool set = SSL_CTX_set_session_id_context(ctx, rules, sizeof(rules)) == 1 &&
                   (options->calls || SSL_CTX_set_num_tickets(ctx, 0) == 1);
        status = set ? 0 : starve(&subject);
    }
    builder_reset(&text);
    return status;
}

static int choose_protocol(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_len,
    const unsigned char *offered, unsigned len, void *context)
{
    static const unsigned char http1[] = "\x08http/1.1";
    unsigned char *name;
    (void)ssl;
    (void)context;
    int found = SSL_select_next_proto(&name, ret_len, http1, sizeof(http1) - 1, offered, len);
    *ret_name = name;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int use_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int seals);
static int choose_pair(SSL *ssl, int *alert, void *context);

/* The rules of a listener, with what is chosen during a handshake; false: no memory. */
static bool set_server(struct tls_context *context, const struct tls_options *options, SSL_CTX *ctx)
{
    static const unsigned char rules[] = "peal";
    SSL_CTX_set_timeout(ctx, TLS_TICKET_WINDOW_S);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, use_ticket_key);
    SSL_CTX_set_tlsext_servername_callback(ctx, choose_pair);
    SSL_CTX_set_tlsext_servername_arg(ctx, context);
    if (options->http) {
        SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    }
    return SSL_CTX_set_session_id_context(ctx, rules, sizeof(rules) - 1) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 1) == 1;
}

/* One for each certificate: OpenSSL keeps the rules and the certificate in one object. NULL: no
 * memory, since all that is asked for here is there in every OpenSSL 3. */
static SSL_CTX *make_ctx(struct tls_context *context, const struct tls_options *options)
{
    SSL_CTX *ctx = SSL_CTX_new(options->calls ? TLS_client_method() : TLS_server_method());
    int least = options->only_13 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (ctx == NULL) {
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY); /* tls_stream counts records that say nothing */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, options->calls ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    bool set = SSL_CTX_set_min_proto_version(ctx, least) == 1 &&
               SSL_CTX_set_cipher_list(ctx, CIPHERS_12) == 1 &&
               SSL_CTX_set1_groups_list(ctx, GROUPS) == 1 &&
               (options->calls || set_server(context, options, ctx));
    if (!set) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static int add_pair(
    struct tls_context *context, const struct tls_options *options, struct builder *error)
{
    size_t index = context->count++;
    struct pair *pair = &context->pairs[index];
    pair->ctx = make_ctx(context, options);
    if (pair->ctx == NULL) {
        struct subject whole = {options, options->names.cert, "TLS", error};
        return starve(&whole);
    }
    int status = index < options->count ? load_pair(options, index, error, pair) : 0;
    if (status == 0 && options->ca[0] != '\0') {
        status = trust(options, error, pair->ctx);
    }
    if (status == 0 && options->trusts_system && SSL_CTX_set_default_verify_paths(pair->ctx) != 1) {
        builder_printf(
            error, "%s: the certificates of this machine cannot be read", options->names.ca);
        status = STATUS_IO;
    }
    return status;
}

/* --- choices during handshakes --- */

/* Called on the threads of all loops at once; nothing is written but the connection's own. */
static int choose_pair(SSL *ssl, int *alert, void *of)
{
    struct tls_context *context = of;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    for (size_t i = 0; name != NULL && i < context->count; i++) {
        X509 *leaf = SSL_CTX_get0_certificate(context->pairs[i].ctx);
        if (X509_check_host(leaf, name, strlen(name), 0, NULL) == 1) {
            return SSL_set_SSL_CTX(ssl, context->pairs[i].ctx) != NULL ? SSL_TLSEXT_ERR_OK
                                                                       : SSL_TLSEXT_ERR_ALERT_FATAL;
        }
    }
    return SSL_TLSEXT_ERR_OK; /* the first: clients tell their people better than an alert does */
}

static bool start_ticket(const struct tls_ticket_key *key, const unsigned char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool seals)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(
            OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, seals) == 1 &&
           EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/* OpenSSL's answers: 1 the key is used, 2 and a new ticket is given, 0 none, -1 the handshake ends.
 */
static int use_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int seals)
{
    enum { NONE = 0, USED = 1, RENEWED = 2, FAILED = -1 };
    const struct tls_context *context = SSL_get_app_data(ssl);
    struct tls_ticket_key key;
    uint64_t now = clock_wall_ms() / 1000;
    if (seals) {
        tls_ticket_seal(&context->tickets, now, &key);
        memcpy(name, key.name, TLS_TICKET_NAME);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) {
            return FAILED;
        }
    } else if (!tls_ticket_open(&context->tickets, now, name, &key)) {
        return NONE;
    }
    bool started = start_ticket(&key, iv, cipher, mac, seals != 0);
    crypto_wipe(&key, sizeof(key));
    return !started ? FAILED : seals ? USED : RENEWED;
}

/* --- life --- */

int tls_context_new(
    const struct tls_options *options, struct builder *error, struct tls_context **ret_context)
{
    size_t count = options->count > 0 ? options->count : 1;
    struct tls_context *context =
        mem_try_calloc(1, sizeof(*context) + count * sizeof(context->pairs[0]));
    int status = 0;
    if (context == NULL) {
        struct subject whole = {options, options->names.cert, "TLS", error};
        return starve(&whole);
    }
    atomic_init(&context->refs, 1);
    context->calls = options->calls;
    tls_ticket_prepare(options->ticket_secret, &context->tickets);
    ERR_clear_error();
    for (size_t i = 0; status == 0 && i < count; i++) {
        status = add_pair(context, options, error);
    }
    ERR_clear_error();
    if (status != 0) {
        tls_context_unref(context);
        return status;
    }
    *ret_context = context;
    return 0;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (context == NULL ||
        atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < context->count; i++) {
        SSL_CTX_free(context->pairs[i].ctx);
        mem_free(context->pairs[i].file);
    }
    crypto_wipe(&context->tickets, sizeof(context->tickets));
    mem_free(context);
}

bool tls_context_calls(const struct tls_context *context)
{
    return context->calls;
}

size_t tls_context_count(const struct tls_context *context)
{
    return context->count;
}

const char *tls_context_file(const struct tls_context *context, size_t index, int64_t *ret_ends)
{
    *ret_ends = context->pairs[index].ends;
    return context->pairs[index].file;
}

struct ssl_st *tls_context_connect(struct tls_context *context)
{
    SSL *ssl = SSL_new(context->pairs[0].ctx);
    if (ssl != NULL) {
        SSL_set_app_data(ssl, context);
    }
    return ssl;
}

bool tls_context_expect(struct ssl_st *ssl, const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}
