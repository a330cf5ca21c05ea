/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates, keys and tickets: the choice by name, what is said of files that do not fit, who
 * comes back to which node, and nodes that call each other.
 */
#include <criterion/criterion.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/status.h"
#include "hub/net/crypto.h"
#include "hub/net/tls_ticket.h"
#include "tests/support/starved_malloc.h"
#include "tests/support/test_keys.h"
#include "tests/unit/hub/tls_world.h"

TestSuite(tls_context, .timeout = 120);

/* --- certificates --- */

struct two {
    const char *certs[2];
    const char *keys[2];
};

static void use_two(struct tls_options *options, void *arg)
{
    struct two *two = arg;
    options->certs = two->certs;
    options->keys = two->keys;
    options->count = 2;
}

static bool is_served(struct tls_world *world, const char *name)
{
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca, .name = name});
    bool served = tls_world_shake(world, TLS_WORLD_WIRE);
    tls_world_end(world);
    return served;
}

Test(tls_context, the_certificate_is_that_of_the_name_that_is_asked_for)
{
    struct tls_world *world = tls_world_create(NULL, "one.example");
    const struct test_cert *other = test_certs_make(&world->certs,
        &(struct test_cert_options){.name = "*.two.example", .issuer = world->ca, .rsa = true});
    struct two two = {{world->leaf->cert, other->cert}, {world->leaf->key, other->key}};
    int64_t ends;
    cr_expect(is_served(world, "one.example"));
    cr_expect_not(is_served(world, "a.two.example"));
    tls_context_unref(world->context);
    world->context = tls_world_context(world->leaf, use_two, &two);
    cr_assert_eq(tls_context_count(world->context), 2);
    cr_expect_str_eq(tls_context_file(world->context, 1, &ends), other->cert);
    cr_expect(is_served(world, "one.example"));
    cr_expect(is_served(world, "a.two.example"));
    cr_expect_not(is_served(world, "three.example"));
    tls_world_destroy(world);
}

/* What is said of `cert` and `key`, without the setting and the path in front. */
static const char *complaint(const char *cert, const char *key, const char *ca, int *ret_status)
{
    static char said[1200];
    const char *certs[] = {cert};
    const char *keys[] = {key};
    struct tls_options options = tls_world_usual(certs, keys);
    struct tls_context *context;
    struct builder error = {0};
    options.ca = ca;
    *ret_status = tls_context_new(&options, &error, &context);
    if (*ret_status == 0) {
        tls_context_unref(context);
    }
    struct bytes text = builder_bytes(&error);
    snprintf(said, sizeof(said), "%.*s", (int)text.len, text.at);
    builder_reset(&error);
    return said;
}

#define EXPECT_COMPLAINT(status_wanted, cert, key, ca, ...)                                        \
    do {                                                                                           \
        char wanted[600];                                                                          \
        int status;                                                                                \
        snprintf(wanted, sizeof(wanted), __VA_ARGS__);                                             \
        const char *said = complaint(cert, key, ca, &status);                                      \
        cr_expect_eq(status, status_wanted, "%s", said);                                           \
        cr_expect_eq(strncmp(said, wanted, strlen(wanted)), 0, "%s", said);                        \
    } while (0)

Test(tls_context, files_that_do_not_fit_are_named_with_their_setting)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    const struct test_cert *other =
        test_certs_make(&world->certs, &(struct test_cert_options){.name = "other"});
    const char *cert = world->leaf->cert;
    const char *key = world->leaf->key;
    char text[TEST_PATH_MAX];
    char locked[TEST_PATH_MAX];
    char weak[TEST_PATH_MAX];
    struct test_key made;
    test_key_make(TEST_KEY_RSA_1024, &made);
    test_certs_write(&world->certs, "text", "no PEM at all\n", text);
    test_certs_write(&world->certs, "locked", made.locked, locked);
    test_certs_write(&world->certs, "weak", made.certificate, weak);
    EXPECT_COMPLAINT(STATUS_NOT_FOUND, "/nowhere/a.crt", key, "",
        "listen.tls_cert: /nowhere/a.crt: No such file or directory");
    EXPECT_COMPLAINT(STATUS_NOT_FOUND, cert, "/nowhere/a.key", "",
        "listen.tls_key: /nowhere/a.key: No such file or directory");
    EXPECT_COMPLAINT(
        STATUS_INVALID, text, key, "", "listen.tls_cert: %s: holds no PEM certificate", text);
    EXPECT_COMPLAINT(
        STATUS_INVALID, cert, text, "", "listen.tls_key: %s: holds no PEM private key", text);
    EXPECT_COMPLAINT(STATUS_INVALID, cert, locked, "",
        "listen.tls_key: %s: the key has a pass phrase: give one without", locked);
    EXPECT_COMPLAINT(STATUS_INVALID, cert, other->key, "",
        "listen.tls_key: %s: is not the key of its certificate (", other->key);
    EXPECT_COMPLAINT(STATUS_INVALID, weak, key, "",
        "listen.tls_cert: %s: the certificate cannot be used (ee key too small)", weak);
    EXPECT_COMPLAINT(
        STATUS_INVALID, cert, key, text, "listen.tls_ca: %s: holds no PEM certificate", text);
    EXPECT_COMPLAINT(0, cert, key, world->ca->cert, "%s", "");
    tls_world_destroy(world);
}

/* Write the files one behind the other, the second with a byte that is another one. */
static void join(struct test_certs *certs, const struct test_cert *first,
    const struct test_cert *second, char ret_path[TEST_PATH_MAX])
{
    char text[8192];
    size_t len = 0;
    const char *paths[] = {first->cert, second->cert};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        FILE *file = fopen(paths[i], "r");
        cr_assert_not_null(file);
        size_t at = len;
        len += fread(text + len, 1, sizeof(text) - 1 - len, file);
        fclose(file);
        text[at + 200] = i == 1 ? '!' : text[at + 200];
    }
    text[len] = '\0';
    test_certs_write(certs, "joined", text, ret_path);
}

/* Those behind it would be trusted no more, and nobody would know why. */
Test(tls_context, a_damaged_certificate_does_not_cut_the_list_in_silence)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    const struct test_cert *other =
        test_certs_make(&world->certs, &(struct test_cert_options){.name = "other", .ca = true});
    char joined[TEST_PATH_MAX];
    join(&world->certs, world->ca, other, joined);
    EXPECT_COMPLAINT(STATUS_INVALID, world->leaf->cert, world->leaf->key, joined,
        "listen.tls_ca: %s: a certificate cannot be read", joined);
    join(&world->certs, world->leaf, world->ca, joined);
    EXPECT_COMPLAINT(STATUS_INVALID, joined, world->leaf->key, "",
        "listen.tls_cert: %s: a certificate of the chain cannot be read", joined);
    tls_world_destroy(world);
}

static void note(void *context, const char *text)
{
    char *all = context;
    strncat(all, text, 1000);
    strcat(all, "\n");
}

static void warned(struct tls_options *options, void *arg)
{
    options->warn = note;
    options->warn_context = arg;
}

static void expect_warning(
    struct tls_world *world, const struct test_cert_options *made, const char *what)
{
    char all[4096] = "";
    const struct test_cert *cert = test_certs_make(&world->certs, made);
    tls_context_unref(tls_world_context(cert, warned, all));
    if (what == NULL) {
        cr_expect_str_empty(all);
    } else {
        cr_expect_not_null(strstr(all, what), "%s", all);
        cr_expect_not_null(strstr(all, "listen.tls_cert: /tmp/"), "%s", all);
    }
}

Test(tls_context, certificates_that_clients_may_refuse_are_warned_of)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    const struct test_cert *ca = world->ca;
    expect_warning(world, &(struct test_cert_options){.name = "good", .issuer = ca}, NULL);
    expect_warning(world,
        &(struct test_cert_options){.name = "ended", .issuer = ca, .from_days = -9, .to_days = -3},
        "the certificate ended 3 days ago");
    expect_warning(world,
        &(struct test_cert_options){.name = "soon", .issuer = ca, .from_days = -9, .to_days = 6},
        "the certificate ends in ");
    expect_warning(world,
        &(struct test_cert_options){.name = "later", .issuer = ca, .from_days = 2, .to_days = 60},
        "is not valid yet");
    expect_warning(world, &(struct test_cert_options){.name = "self"}, "is self-signed");
    tls_world_destroy(world);
}

/* --- without memory --- */

/* Digests have the reserve of mem.h behind them (crypto_reserve.c). */
void __real_crypto_sha256(struct bytes content, uint8_t ret_digest[CRYPTO_SHA256_LEN]);
void __wrap_crypto_sha256(struct bytes content, uint8_t ret_digest[CRYPTO_SHA256_LEN]);
void __real_crypto_hkdf_sha256(
    struct bytes secret, struct bytes salt, struct bytes info, uint8_t *ret_key, size_t ret_len);
void __wrap_crypto_hkdf_sha256(
    struct bytes secret, struct bytes salt, struct bytes info, uint8_t *ret_key, size_t ret_len);

void __wrap_crypto_sha256(struct bytes content, uint8_t ret_digest[CRYPTO_SHA256_LEN])
{
    starved_malloc_pause(true);
    __real_crypto_sha256(content, ret_digest);
    starved_malloc_pause(false);
}

void __wrap_crypto_hkdf_sha256(
    struct bytes secret, struct bytes salt, struct bytes info, uint8_t *ret_key, size_t ret_len)
{
    starved_malloc_pause(true);
    __real_crypto_hkdf_sha256(secret, salt, info, ret_key, ret_len);
    starved_malloc_pause(false);
}

/* A reload finds none: each allocation fails once, and those in force stay so. */
Test(tls_context, without_memory_there_is_a_sentence_and_no_end)
{
    enum { EACH = 100, STRIDE = 97 };
    if (!starved_malloc_works()) {
        cr_skip("malloc is not ours");
    }
    struct tls_world *world = tls_world_create(NULL, "localhost");
    const char *certs[] = {world->leaf->cert};
    const char *keys[] = {world->leaf->key};
    struct tls_options options = tls_world_usual(certs, keys);
    unsigned failed = 0;
    options.ca = world->ca->cert;
    for (size_t n = 1;; n += n < EACH ? 1 : STRIDE) {
        struct builder error = {0};
        struct tls_context *context = NULL;
        starved_malloc_arm(n);
        int status = tls_context_new(&options, &error, &context);
        size_t seen = starved_malloc_disarm();
        if (status == 0) {
            tls_context_unref(context); /* OpenSSL can do without some */
        } else {
            cr_assert_null(context);
            cr_assert(
                bytes_starts(builder_bytes(&error), BYTES("listen.tls_")), "%zu: %d", n, status);
            failed++;
        }
        builder_reset(&error);
        if (seen < n) {
            break;
        }
    }
    cr_expect_gt(failed, 10);
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca});
    tls_world_talk(world, TLS_INPUT_ROOM);
    tls_world_end(world);
    tls_world_destroy(world);
}

/* --- tickets --- */

Test(tls_context, tickets_are_good_where_the_secret_is_the_same)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct tls_world *world = tls_world_create(NULL, "localhost");
    struct tls_context *first = world->context;
    struct tls_context *second = tls_world_context(world->leaf, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_client_options options = {
            .trusts = world->ca, .name = "localhost", .version = versions[i]};
        world->context = first;
        tls_world_begin(world, &options);
        tls_world_talk(world, TLS_WORLD_WIRE);
        cr_assert_not_null(world->client.session, "a ticket was given");
        options.session = world->client.session;
        cr_assert_eq(SSL_SESSION_up_ref(options.session), 1);
        tls_world_end(world);
        world->context = second; /* of another node */
        tls_world_begin(world, &options);
        tls_world_talk(world, TLS_WORLD_WIRE);
        cr_expect_eq(SSL_session_reused(world->client.ssl), 1);
        tls_world_end(world);
        cr_expect_eq(world->desk->counts.resumed, i + 1);
        SSL_SESSION_free(options.session);
    }
    cr_expect_eq(world->desk->counts.full, 2);
    tls_context_unref(first);
    tls_world_destroy(world);
}

static void other_secret(struct tls_options *options, void *arg)
{
    options->ticket_secret = BYTES("that of another cluster");
}

Test(tls_context, a_ticket_of_another_secret_means_a_full_handshake)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    struct tls_client_options options = {.trusts = world->ca, .name = "localhost"};
    tls_world_begin(world, &options);
    tls_world_talk(world, TLS_WORLD_WIRE);
    options.session = world->client.session;
    cr_assert_eq(SSL_SESSION_up_ref(options.session), 1);
    tls_world_end(world);
    tls_context_unref(world->context);
    world->context = tls_world_context(world->leaf, other_secret, NULL);
    tls_world_begin(world, &options);
    tls_world_talk(world, TLS_WORLD_WIRE);
    cr_expect_eq(SSL_session_reused(world->client.ssl), 0);
    tls_world_end(world);
    cr_expect_eq(world->desk->counts.resumed, 0);
    cr_expect_eq(world->desk->counts.full, 2);
    SSL_SESSION_free(options.session);
    tls_world_destroy(world);
}

Test(tls_context, a_ticket_lasts_for_its_window_and_the_next)
{
    const uint64_t now = (uint64_t)TLS_TICKET_WINDOW_S * 40000;
    struct tls_ticket_secret secret;
    struct tls_ticket_secret other;
    struct tls_ticket_key sealed;
    struct tls_ticket_key opened;
    tls_ticket_prepare(BYTES("one secret"), &secret);
    tls_ticket_prepare(BYTES("two secret"), &other);
    tls_ticket_seal(&secret, now, &sealed);
    static const int64_t good[] = {
        0, 1, TLS_TICKET_WINDOW_S, 2 * TLS_TICKET_WINDOW_S - 1, -1, -TLS_TICKET_WINDOW_S};
    static const int64_t bad[] = {2 * TLS_TICKET_WINDOW_S, -TLS_TICKET_WINDOW_S - 1};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cr_assert(
            tls_ticket_open(&secret, (uint64_t)((int64_t)now + good[i]), sealed.name, &opened));
        cr_expect_eq(memcmp(&sealed, &opened, sizeof(sealed)), 0);
        cr_expect_not(
            tls_ticket_open(&other, (uint64_t)((int64_t)now + good[i]), sealed.name, &opened));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_not(
            tls_ticket_open(&secret, (uint64_t)((int64_t)now + bad[i]), sealed.name, &opened));
    }
    sealed.name[15] ^= 1;
    cr_expect_not(tls_ticket_open(&secret, now, sealed.name, &opened));
    memset(sealed.name, 0xff, sizeof(sealed.name));
    cr_expect_not(tls_ticket_open(&secret, now, sealed.name, &opened));
    tls_ticket_seal(&secret, now, &sealed);
    tls_ticket_seal(&secret, now + TLS_TICKET_WINDOW_S, &opened);
    cr_expect_neq(memcmp(sealed.cipher, opened.cipher, sizeof(opened.cipher)), 0);
    cr_expect_neq(memcmp(sealed.cipher, sealed.mac, sizeof(sealed.mac)), 0);
}

/* --- who calls --- */

static void wants_certificate(struct tls_options *options, void *arg)
{
    options->ca = arg;
}

static void calls(struct tls_options *options, void *arg)
{
    options->calls = true;
    options->http = false;
    options->ca = arg;
}

/* Ours at both ends, each with a certificate that the other one trusts. */
static enum tls_state call(struct tls_world *world, struct tls_context *caller)
{
    static char plain[TLS_PLAIN_ROOM];
    struct tls_desk *desk = calloc(1, sizeof(*desk));
    struct tls_stream *called = tls_stream_create(world->context, world->desk);
    struct tls_stream *calling = tls_stream_create(caller, desk);
    cr_assert(tls_stream_begin(calling, desk, NULL));
    for (unsigned i = 0; i < 4; i++) {
        (void)tls_stream_open(called, world->desk, builder_bytes(&desk->out), plain);
        (void)tls_stream_open(calling, desk, builder_bytes(&world->desk->out), plain);
    }
    enum tls_state state = tls_stream_state(calling);
    if (tls_stream_state(called) != TLS_READY) {
        state = TLS_BROKEN;
    }
    tls_stream_destroy(called, world->desk);
    tls_stream_destroy(calling, desk);
    builder_reset(&desk->out);
    free(desk);
    return state;
}

Test(tls_context, nodes_that_call_each_other_both_show_a_certificate)
{
    struct tls_world *world = tls_world_create(wants_certificate, "10.0.0.1");
    const struct test_cert *strange_ca =
        test_certs_make(&world->certs, &(struct test_cert_options){.name = "other ca", .ca = true});
    const struct test_cert *strange = test_certs_make(
        &world->certs, &(struct test_cert_options){.name = "10.0.0.3", .issuer = strange_ca});
    struct tls_context *good =
        tls_world_context(world->leaf, calls, (void *)(uintptr_t)world->ca->cert);
    struct tls_context *untrusted =
        tls_world_context(strange, calls, (void *)(uintptr_t)world->ca->cert);
    struct tls_context *untrusting =
        tls_world_context(world->leaf, calls, (void *)(uintptr_t)strange_ca->cert);
    cr_expect_eq(call(world, good), TLS_READY);
    cr_expect_eq(call(world, untrusted), TLS_BROKEN);
    cr_expect_eq(call(world, untrusting), TLS_BROKEN);
    tls_context_unref(good);
    tls_context_unref(untrusted);
    tls_context_unref(untrusting);
    tls_world_destroy(world);
}
