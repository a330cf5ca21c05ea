/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS against clients that want it to be expensive, or to come back where they may not: groups that
 * cost much, updates of keys without end, messages that are cut, tickets in place of certificates.
 */
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "tests/unit/hub/tls_world.h"

TestSuite(tls_hostile, .timeout = 120);

enum { WHOLE = TLS_WORLD_WIRE };

/* A handshake in a finite field of 8192 bits takes a server 130 ms. */
Test(tls_hostile, groups_of_finite_fields_are_not_taken)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    tls_world_begin(world, &(struct tls_client_options){.version = TLS1_3_VERSION});
    cr_assert_eq(SSL_set1_groups_list(world->client.ssl, "ffdhe8192"), 1);
    (void)tls_client_shake(&world->client);
    tls_world_carry(world, WHOLE);
    cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN);
    cr_expect_eq(tls_world_failed(world, TLS_FAILED_CIPHER), 1);
    struct bytes answer = builder_bytes(&world->desk->out);
    cr_assert_gt(answer.len, 0);
    cr_expect_eq(answer.at[0], 21, "an alert, and no key of ours");
    tls_world_end(world);
    tls_world_destroy(world);
}

/* --- hellos --- */

/* The first flight of a client whose key we do not take: it is asked for another one. */
static size_t hello_of_another_group(struct tls_world *world)
{
    tls_world_begin(world, &(struct tls_client_options){.version = TLS1_3_VERSION});
    cr_assert_eq(SSL_set1_groups_list(world->client.ssl, "X448:P-256"), 1);
    cr_assert_not(tls_client_shake(&world->client));
    return tls_client_take(&world->client, world->wire, TLS_WORLD_WIRE);
}

Test(tls_hostile, who_is_asked_for_another_key_may_send_it_in_any_pieces)
{
    static const size_t steps[] = {1, 3, 7, 100, WHOLE};
    struct tls_world *world = tls_world_create(NULL, "localhost");
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        size_t len = hello_of_another_group(world);
        tls_world_feed(world, bytes_of(world->wire, len), steps[i]);
        cr_assert_eq(tls_stream_state(world->stream), TLS_SHAKING);
        tls_world_talk(world, steps[i]);
        tls_world_end(world);
    }
    cr_expect_eq(world->desk->counts.full, ARRAY_LEN(steps));
    tls_world_destroy(world);
}

Test(tls_hostile, a_hello_may_come_in_several_records)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const size_t steps[] = {1, 7, WHOLE};
    unsigned char many[900];
    struct tls_world *world = tls_world_create(NULL, "localhost");
    memset(many, 'x', sizeof(many));
    memcpy(many, "\x08http/1.1", 9);
    for (size_t at = 9; at < sizeof(many); at += 99) {
        many[at] = 98; /* protocols that make it long */
    }
    for (size_t i = 0; i < ARRAY_LEN(versions) * ARRAY_LEN(steps); i++) {
        struct tls_client_options options = {
            .version = versions[i % 2], .protocols = bytes_of(many, sizeof(many))};
        tls_world_begin(world, &options);
        cr_assert_eq(SSL_set_max_send_fragment(world->client.ssl, 512), 1);
        tls_world_talk(world, steps[i / 2]);
        tls_world_end(world);
    }
    tls_world_destroy(world);
}

/* Nine bytes are not to cost 128 KiB the second time either, wherever they stand. */
Test(tls_hostile, a_second_hello_that_says_it_is_large_is_refused_at_its_head)
{
    static const struct bytes ends[] = {
        {"\x16\x03\x03\x02\x00\x01\x02\x00\x00", 9},
        {"\x14\x03\x03\x00\x01\x01\x16\x03\x03\x02\x00\x01\x02\x00\x00", 15},
        {"\x16\x03\x03\x00\x01\x01\x16\x03\x03", 9},
    };
    struct tls_world *world = tls_world_create(NULL, "localhost");
    for (size_t i = 0; i < 2 * ARRAY_LEN(ends); i++) {
        size_t len = hello_of_another_group(world);
        struct bytes end = ends[i / 2];
        if (i % 2 == 0) {
            tls_world_feed(world, bytes_of(world->wire, len), WHOLE);
            cr_assert_eq(tls_stream_state(world->stream), TLS_SHAKING);
            tls_world_feed(world, end, WHOLE);
        } else { /* in one read with the first */
            memcpy(world->wire + len, end.at, end.len);
            tls_world_feed(world, bytes_of(world->wire, len + end.len), WHOLE);
        }
        cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN, "%zu", i);
        cr_expect_eq(tls_world_failed(world, TLS_FAILED_MALFORMED), i + 1);
        tls_world_end(world);
    }
    tls_world_destroy(world);
}

/* What stands behind a hello in its record would be read as the next one. */
Test(tls_hostile, nothing_stands_behind_a_hello_in_its_record)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    size_t len = hello_of_another_group(world);
    size_t record = (size_t)(uint8_t)world->wire[3] << 8 | (uint8_t)world->wire[4];
    cr_assert_eq(len, 5 + record);
    memcpy(world->wire + len, "\x01\x02\x00\x00", 4);
    world->wire[3] = (char)((record + 4) >> 8);
    world->wire[4] = (char)(record + 4);
    tls_world_feed(world, bytes_of(world->wire, len + 4), WHOLE);
    cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN);
    cr_expect_eq(tls_world_failed(world, TLS_FAILED_MALFORMED), 1);
    tls_world_end(world);
    tls_world_destroy(world);
}

/* --- keys --- */

static size_t update_key(struct tls_world *world, size_t at)
{
    cr_assert_eq(SSL_key_update(world->client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    cr_assert_eq(SSL_do_handshake(world->client.ssl), 1);
    return at + tls_client_take(&world->client, world->wire + at, TLS_WORLD_WIRE - at);
}

/* Each costs as much as a record of 16 KiB, and a read holds 600 of them. */
Test(tls_hostile, updates_of_keys_in_one_read_are_bounded)
{
    enum { MANY = 64 };
    struct tls_world *world = tls_world_create(NULL, "localhost");
    tls_world_begin(world, &(struct tls_client_options){.version = TLS1_3_VERSION});
    tls_world_talk(world, WHOLE);
    for (unsigned i = 0; i < MANY; i++) { /* now and then they are as they should be */
        tls_world_feed(world, bytes_of(world->wire, update_key(world, 0)), WHOLE);
    }
    cr_assert_eq(tls_stream_state(world->stream), TLS_READY);
    cr_assert(tls_client_send(&world->client, BYTES("under new keys")));
    tls_world_carry(world, WHOLE);
    cr_assert_eq(world->got_len, 15 + 14);
    size_t len = 0;
    for (unsigned i = 0; i < MANY; i++) {
        len = update_key(world, len);
    }
    tls_world_feed(world, bytes_of(world->wire, len), WHOLE);
    cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN);
    cr_expect_eq(world->desk->counts.broken, 1);
    tls_world_end(world);
    tls_world_destroy(world);
}

/* --- tickets --- */

static void wants_certificate(struct tls_options *options, void *arg)
{
    options->ca = arg;
}

/* A connection of these options, whose ticket, if it got one, is returned. */
static SSL_SESSION *visit(struct tls_world *world, const struct tls_client_options *options)
{
    char byte;
    tls_world_begin(world, options);
    bool done = tls_world_shake(world, WHOLE);
    if (done && tls_stream_state(world->stream) == TLS_READY) {
        (void)tls_world_receive(world, &byte, 1); /* tickets of TLS 1.3 come behind */
    }
    SSL_SESSION *session = world->client.session;
    world->client.session = NULL;
    tls_world_end(world);
    if (session != NULL && !SSL_SESSION_is_resumable(session)) {
        SSL_SESSION_free(session);
        session = NULL;
    }
    return session;
}

/* The certificate of who comes back by a ticket would not be looked at again. */
Test(tls_hostile, where_certificates_are_asked_for_there_are_no_tickets)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct tls_world *world = tls_world_create(NULL, "localhost");
    struct tls_context *open = world->context;
    struct tls_context *strict =
        tls_world_context(world->leaf, wants_certificate, (void *)(uintptr_t)world->ca->cert);
    const struct test_cert *mine = test_certs_make(
        &world->certs, &(struct test_cert_options){.name = "client", .issuer = world->ca});
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_client_options options = {.cert = mine, .version = versions[i]};
        SSL_SESSION *open_one = visit(world, &options);
        cr_assert_not_null(open_one, "where none is asked for it gets a ticket");
        world->context = strict;
        cr_expect_null(visit(world, &options));
        const struct tls_counts *counts = &world->desk->counts;
        uint64_t full = counts->full;
        uint64_t refused = tls_world_failed(world, TLS_FAILED_CERTIFICATE);
        options.session = open_one;
        cr_expect_null(visit(world, &options), "its certificate is looked at");
        cr_expect_eq(counts->full, full + 1);
        options.cert = NULL;
        cr_expect_null(visit(world, &options));
        cr_expect_eq(tls_world_failed(world, TLS_FAILED_CERTIFICATE), refused + 1);
        cr_expect_eq(counts->resumed, 0);
        SSL_SESSION_free(open_one);
        world->context = open;
    }
    tls_context_unref(strict);
    tls_world_destroy(world);
}

/* --- a message that is cut --- */

enum { SECRET = 32, KEY = 16, IV = 12, TAG = 16 };

static uint8_t secret[SECRET]; /* of what the client sends, TLS 1.3 with SHA-256 */

static void note_secret(const SSL *ssl, const char *line)
{
    const char *at = strrchr(line, ' ');
    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0) {
        for (size_t i = 0; i < SECRET; i++) {
            cr_assert_eq(sscanf(at + 1 + 2 * i, "%2hhx", &secret[i]), 1);
        }
    }
}

/* RFC 8446 7.1, for lengths that one round of HMAC gives. */
static void expand(const char *label, uint8_t *ret_at, uint8_t len)
{
    uint8_t info[64] = {0, len, (uint8_t)(6 + strlen(label))};
    uint8_t out[EVP_MAX_MD_SIZE];
    size_t at = 3 + (size_t)sprintf((char *)info + 3, "tls13 %s", label);
    info[at++] = 0;
    info[at++] = 1;
    cr_assert_not_null(HMAC(EVP_sha256(), secret, SECRET, info, at, out, NULL));
    memcpy(ret_at, out, len);
}

/* A record of the client's, its `number`th, that holds these bytes of a handshake message. */
static size_t seal_handshake(struct bytes bytes, uint8_t number, uint8_t *ret_record)
{
    uint8_t key[KEY];
    uint8_t iv[IV];
    uint8_t plain[64];
    int len;
    uint8_t body = (uint8_t)(bytes.len + 1 + TAG);
    memcpy(ret_record, (uint8_t[]){23, 3, 3, 0, body}, 5);
    memcpy(plain, bytes.at, bytes.len);
    plain[bytes.len] = 22; /* what it is */
    expand("key", key, KEY);
    expand("iv", iv, IV);
    iv[IV - 1] ^= number;
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    cr_assert_eq(EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, key, iv), 1);
    cr_assert_eq(EVP_EncryptUpdate(cipher, NULL, &len, ret_record, 5), 1);
    cr_assert_eq(EVP_EncryptUpdate(cipher, ret_record + 5, &len, plain, (int)bytes.len + 1), 1);
    cr_assert_eq(EVP_EncryptFinal_ex(cipher, ret_record + 5 + len, &len), 1);
    cr_assert_eq(
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, TAG, ret_record + 5 + bytes.len + 1), 1);
    EVP_CIPHER_CTX_free(cipher);
    return 5 + (size_t)body;
}

/* OpenSSL says nothing of ours before it has the rest of it; a peer is not to hold us so. */
Test(tls_hostile, who_cuts_a_message_in_two_breaks_the_protocol)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    uint8_t record[64];
    tls_world_begin(world, &(struct tls_client_options){.version = TLS1_3_VERSION});
    cr_assert_eq(SSL_set_ciphersuites(world->client.ssl, "TLS_AES_128_GCM_SHA256"), 1);
    SSL_CTX_set_keylog_callback(world->client.ctx, note_secret);
    cr_assert(tls_world_shake(world, WHOLE));
    size_t len = seal_handshake(BYTES("\x18\x00\x00\x01"), 0, record); /* KeyUpdate, but a byte */
    tls_world_feed(world, bytes_of(record, len), WHOLE);
    cr_assert_eq(tls_stream_state(world->stream), TLS_READY);
    cr_expect_eq(tls_world_seal(world, BYTES("what cannot be said")), 0);
    cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN);
    cr_expect_eq(world->desk->failure, TLS_FAILED_MALFORMED);
    cr_expect_neq(world->desk->detail[0], '\0');
    cr_expect_not(builder_failed(&world->desk->out));
    tls_world_end(world);
    tls_world_destroy(world);
}
