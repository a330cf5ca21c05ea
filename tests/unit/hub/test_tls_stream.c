/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS over memory, against OpenSSL as the client: in pieces as whole, records of all lengths, and
 * who is refused and why.
 */
#include <criterion/criterion.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/rand.h"
#include "tests/support/seed.h"
#include "tests/unit/hub/tls_world.h"

TestSuite(tls, .timeout = 120);

Test(tls, a_handshake_and_what_follows_may_come_in_any_pieces)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const size_t steps[] = {1, 2, 3, 5, 7, 64, 511, TLS_INPUT_ROOM};
    struct tls_world *world = tls_world_create(NULL, "localhost");
    unsigned count = 0;
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            tls_world_begin(
                world, &(struct tls_client_options){
                           .trusts = world->ca, .name = "localhost", .version = versions[v]});
            tls_world_talk(world, steps[i]);
            tls_world_end(world);
            count++;
        }
    }
    cr_expect_eq(world->desk->counts.full, count);
    cr_expect_eq(world->desk->counts.resumed, 0);
    tls_world_destroy(world);
}

/* The first flight cut in two at each of its bytes. */
Test(tls, a_client_hello_may_be_cut_at_every_byte)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    size_t len = 2;
    for (size_t cut = 1; cut < len; cut++) {
        tls_world_begin(
            world, &(struct tls_client_options){.trusts = world->ca, .name = "localhost"});
        cr_expect_not(tls_client_shake(&world->client));
        len = tls_client_take(&world->client, world->wire, TLS_WORLD_WIRE);
        cr_assert_gt(len, 100);
        tls_world_feed(world, bytes_of(world->wire, cut), cut);
        cr_assert_eq(tls_stream_state(world->stream), TLS_SHAKING);
        cr_assert_eq(builder_bytes(&world->desk->out).len, 0);
        tls_world_feed(world, bytes_of(world->wire + cut, len - cut), TLS_WORLD_WIRE);
        cr_assert(tls_world_shake(world, TLS_WORLD_WIRE), "cut at %zu", cut);
        cr_assert_eq(tls_stream_state(world->stream), TLS_READY);
        tls_world_end(world);
    }
    tls_world_destroy(world);
}

/* Ranges of all lengths become records in order, each of at most TLS_RECORD bytes. */
Test(tls, ranges_are_sealed_in_order_and_none_is_lost)
{
    enum { ALL = 600000 };
    struct tls_world *world = tls_world_create(NULL, "localhost");
    char *text = malloc(ALL);
    char *back = malloc(ALL);
    struct rand rand;
    rand_init(&rand, seed_draw());
    for (size_t i = 0; i < ALL; i++) {
        text[i] = (char)(i * 31 + i / 251);
    }
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca});
    cr_assert(tls_world_shake(world, TLS_WORLD_WIRE));
    size_t at = 0;
    size_t got = 0;
    while (at < ALL) {
        struct iovec ranges[8];
        size_t count = 1 + rand_below(&rand, 8);
        size_t end_at = at;
        for (size_t i = 0; i < count; i++) {
            size_t len = rand_below(&rand, rand_below(&rand, 4) == 0 ? 40000 : 300) + 1;
            len = len < ALL - end_at ? len : ALL - end_at;
            ranges[i] = (struct iovec){.iov_base = text + end_at, .iov_len = len};
            end_at += len;
            if (end_at == ALL) {
                count = i + 1;
            }
        }
        size_t sealed = tls_stream_seal(world->stream, world->desk, ranges, count);
        cr_assert_gt(sealed, 0);
        cr_assert_leq(sealed, TLS_RECORD);
        cr_assert_leq(sealed, end_at - at);
        tls_client_give(&world->client, builder_bytes(&world->desk->out));
        at += sealed;
        got += tls_world_receive(world, back + got, sealed);
    }
    cr_expect_eq(got, ALL);
    cr_expect_eq(memcmp(text, back, ALL), 0);
    tls_world_end(world);
    free(text);
    free(back);
    tls_world_destroy(world);
}

/* As much as is taken at once, behind a record that was incomplete. */
Test(tls, the_largest_records_fit_behind_an_incomplete_one)
{
    enum { ALL = 400000 };
    struct tls_world *world = tls_world_create(NULL, "localhost");
    char *text = malloc(ALL);
    memset(text, 'x', ALL);
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca});
    cr_assert(tls_world_shake(world, TLS_WORLD_WIRE));
    cr_assert(tls_client_send(&world->client, bytes_of(text, ALL)));
    char *wire = malloc(ALL * 2);
    size_t len = tls_client_take(&world->client, wire, ALL * 2);
    tls_world_feed(world, bytes_of(wire, TLS_RECORD + 4), TLS_INPUT_ROOM);
    tls_world_feed(world, bytes_of(wire + TLS_RECORD + 4, len - TLS_RECORD - 4), TLS_INPUT_ROOM);
    cr_expect_eq(world->got_len, ALL);
    cr_expect_eq(tls_stream_state(world->stream), TLS_READY);
    tls_world_end(world);
    free(wire);
    free(text);
    tls_world_destroy(world);
}

Test(tls, both_ends_may_say_that_nothing_follows)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    char back[8];
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca});
    cr_assert(tls_world_shake(world, TLS_WORLD_WIRE));
    cr_assert(tls_client_send(&world->client, BYTES("last")));
    cr_expect_eq(SSL_shutdown(world->client.ssl), 0);
    tls_world_carry(world, TLS_WORLD_WIRE);
    cr_expect_eq(world->got_len, 4);
    cr_expect_eq(tls_stream_state(world->stream), TLS_CLOSED);
    cr_expect_eq(tls_world_seal(world, BYTES("answer")), 6, "the other way is open");
    cr_expect_eq(tls_world_receive(world, back, 6), 6);
    tls_stream_end(world->stream, world->desk);
    tls_client_give(&world->client, builder_bytes(&world->desk->out));
    cr_expect_eq(tls_world_receive(world, back, 1), 0);
    cr_expect_neq(SSL_get_shutdown(world->client.ssl) & SSL_RECEIVED_SHUTDOWN, 0);
    tls_world_end(world);
    tls_world_destroy(world);
}

/* --- who is refused --- */

static void only_13(struct tls_options *options, void *arg)
{
    options->only_13 = true;
}

Test(tls, a_version_that_is_not_taken_is_refused)
{
    struct tls_world *world = tls_world_create(only_13, "localhost");
    tls_world_begin(world, &(struct tls_client_options){.version = TLS1_2_VERSION});
    cr_expect_not(tls_world_shake(world, TLS_WORLD_WIRE));
    cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN);
    cr_expect_eq(tls_world_failed(world, TLS_FAILED_VERSION), 1);
    tls_world_end(world);
    cr_expect_eq(tls_world_failed(world, TLS_FAILED_GONE), 0, "it is counted once");
    tls_world_begin(world, &(struct tls_client_options){.version = TLS1_3_VERSION});
    cr_expect(tls_world_shake(world, TLS_WORLD_WIRE));
    tls_world_end(world);
    tls_world_destroy(world);
}

Test(tls, of_protocols_only_http_1_1_is_taken)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    const unsigned char *name;
    unsigned len;
    tls_world_begin(world, &(struct tls_client_options){.protocols = BYTES("\x02h2")});
    cr_expect_not(tls_world_shake(world, TLS_WORLD_WIRE));
    cr_expect_eq(tls_world_failed(world, TLS_FAILED_PROTOCOL), 1);
    tls_world_end(world);
    tls_world_begin(world, &(struct tls_client_options){.protocols = BYTES("\x02h2\x08http/1.1")});
    cr_expect(tls_world_shake(world, TLS_WORLD_WIRE));
    SSL_get0_alpn_selected(world->client.ssl, &name, &len);
    cr_expect(bytes_eq(bytes_of(name, len), BYTES("http/1.1")));
    tls_world_end(world);
    tls_world_destroy(world);
}

Test(tls, http_without_tls_is_told_so_in_one_line)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    char plain[4];
    tls_world_begin(world, &(struct tls_client_options){.version = 0});
    cr_expect_eq(
        tls_stream_open(world->stream, world->desk, BYTES("GET / HTTP/1.1\r\n"), plain), 0);
    struct bytes out = builder_bytes(&world->desk->out);
    cr_expect(bytes_starts(out, BYTES("HTTP/1.1 400 ")));
    static const char last[] = "\r\nContent-Length: 25\r\n\r\nThis port speaks TLS only";
    cr_assert_geq(out.len, sizeof(last));
    cr_expect(bytes_eq(bytes_skip(out, out.len - (sizeof(last) - 1)), BYTES(last)));
    cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN);
    cr_expect_eq(tls_world_failed(world, TLS_FAILED_PLAIN), 1);
    tls_world_end(world);
    tls_world_destroy(world);
}

/* Who begins and does not go on costs what was sent, not what a handshake takes. */
Test(tls, a_first_record_that_does_not_end_takes_no_room)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca});
    cr_expect_not(tls_client_shake(&world->client));
    size_t len = tls_client_take(&world->client, world->wire, TLS_WORLD_WIRE);
    size_t before = mallinfo2().uordblks;
    tls_world_feed(world, bytes_of(world->wire, len - 1), 7);
    cr_expect_lt(mallinfo2().uordblks - before, len + 64, "under a sanitizer it is not known");
    cr_expect_eq(tls_stream_state(world->stream), TLS_SHAKING);
    tls_world_feed(world, bytes_of(world->wire + len - 1, 1), 1);
    cr_expect(tls_world_shake(world, TLS_WORLD_WIRE));
    cr_expect_eq(tls_stream_state(world->stream), TLS_READY);
    tls_world_end(world);
    tls_world_destroy(world);
}

/* Nine bytes are not to cost 128 KiB; nor is the length to be hidden between two records. */
Test(tls, a_first_message_that_says_it_is_large_is_refused_at_its_head)
{
    static const struct bytes heads[] = {
        {"\x16\x03\x01\x02\x00\x01\x02\x00\x00", 9},
        {"\x16\x03\x01\x40\x00\x01\x00\x40\x01", 9},
        {"\x16\x03\x01\x00\x01\x01\x16\x03\x01", 9},
        {"\x16\x03\x01\x00\x03\x01\x00\x01\x16", 9},
    };
    struct tls_world *world = tls_world_create(NULL, "localhost");
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        tls_world_begin(world, &(struct tls_client_options){.name = "localhost"});
        tls_world_feed(world, bytes_of(heads[i].at, heads[i].len - 1), 1);
        cr_expect_eq(tls_stream_state(world->stream), TLS_SHAKING);
        tls_world_feed(world, bytes_skip(heads[i], heads[i].len - 1), 1);
        cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN, "%zu", i);
        cr_expect_eq(tls_world_failed(world, TLS_FAILED_MALFORMED), i + 1);
        tls_world_end(world);
    }
    tls_world_destroy(world);
}

/* Anything, and a good first flight with one byte that is another one. */
Test(tls, what_is_no_tls_ends_in_a_failure_that_is_counted)
{
    enum { ROUNDS = 400 };
    static char plain[TLS_PLAIN_ROOM];
    struct tls_world *world = tls_world_create(NULL, "localhost");
    struct rand rand;
    uint64_t sum = 0;
    rand_init(&rand, seed_draw());
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t len;
        tls_world_begin(world, &(struct tls_client_options){.name = "localhost"});
        if (round % 2 == 0) {
            (void)tls_client_shake(&world->client);
            len = tls_client_take(&world->client, world->wire, TLS_WORLD_WIRE);
            world->wire[rand_below(&rand, (uint32_t)len)] ^= (char)(1 + rand_below(&rand, 255));
        } else {
            len = 1 + rand_below(&rand, 3000);
            for (size_t i = 0; i < len; i++) {
                world->wire[i] = (char)rand_below(&rand, 256);
            }
        }
        (void)tls_stream_open(world->stream, world->desk, bytes_of(world->wire, len), plain);
        (void)tls_stream_open(world->stream, world->desk, bytes_of(world->wire, len), plain);
        tls_world_end(world);
    }
    for (unsigned i = 0; i < TLS_FAILURE_COUNT; i++) {
        sum += world->desk->counts.failed[i];
    }
    cr_expect_eq(sum, ROUNDS, "each is counted once");
    cr_expect_gt(tls_world_failed(world, TLS_FAILED_MALFORMED), 0);
    tls_world_destroy(world);
}

Test(tls, a_record_that_was_changed_ends_it)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca});
    cr_assert(tls_world_shake(world, TLS_WORLD_WIRE));
    cr_assert(tls_client_send(&world->client, BYTES("changed on the way")));
    size_t len = tls_client_take(&world->client, world->wire, TLS_WORLD_WIRE);
    world->wire[len - 1] ^= 1;
    tls_world_feed(world, bytes_of(world->wire, len), TLS_WORLD_WIRE);
    cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN);
    cr_expect_eq(world->got_len, 0);
    cr_expect_eq(world->desk->counts.broken, 1);
    cr_expect_eq(tls_world_seal(world, BYTES("nothing")), 0);
    tls_world_end(world);
    tls_world_destroy(world);
}

Test(tls, another_handshake_on_the_same_connection_is_refused)
{
    struct tls_world *world = tls_world_create(NULL, "localhost");
    tls_world_begin(
        world, &(struct tls_client_options){.trusts = world->ca, .version = TLS1_2_VERSION});
    cr_assert(tls_world_shake(world, TLS_WORLD_WIRE));
    tls_world_carry(world, TLS_WORLD_WIRE);
    cr_assert_eq(SSL_renegotiate(world->client.ssl), 1);
    (void)tls_client_shake(&world->client);
    tls_world_carry(world, TLS_WORLD_WIRE);
    struct bytes answer = builder_bytes(&world->desk->out);
    cr_assert_gt(answer.len, 0);
    cr_expect_eq(answer.at[0], 21, "an alert, and no handshake");
    cr_expect_not(tls_world_shake(world, TLS_WORLD_WIRE));
    cr_expect_eq(world->desk->counts.full, 1);
    tls_world_end(world);
    tls_world_destroy(world);
}

static void wants_certificate(struct tls_options *options, void *arg)
{
    options->ca = arg;
}

Test(tls, a_client_without_a_certificate_of_the_ca_is_refused)
{
    struct tls_world *world = tls_world_create(wants_certificate, "localhost");
    const struct test_cert *mine = test_certs_make(
        &world->certs, &(struct test_cert_options){.name = "client", .issuer = world->ca});
    const struct test_cert *strange =
        test_certs_make(&world->certs, &(struct test_cert_options){.name = "stranger"});
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca, .cert = mine});
    cr_expect(tls_world_shake(world, TLS_WORLD_WIRE));
    cr_expect_eq(tls_stream_state(world->stream), TLS_READY);
    tls_world_end(world);
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca});
    (void)tls_world_shake(world, TLS_WORLD_WIRE);
    cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN);
    tls_world_end(world);
    tls_world_begin(world, &(struct tls_client_options){.trusts = world->ca, .cert = strange});
    (void)tls_world_shake(world, TLS_WORLD_WIRE);
    cr_expect_eq(tls_stream_state(world->stream), TLS_BROKEN);
    cr_expect_eq(tls_world_failed(world, TLS_FAILED_CERTIFICATE), 2);
    tls_world_end(world);
    tls_world_destroy(world);
}
