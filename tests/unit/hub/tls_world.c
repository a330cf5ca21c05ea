/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries bytes between a stream of ours and OpenSSL's client.
 */
#include "tests/unit/hub/tls_world.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/buf.h"

struct tls_options tls_world_usual(const char *const *certs, const char *const *keys)
{
    return (struct tls_options){.names = {"listen.tls_cert", "listen.tls_key", "listen.tls_ca"},
        .certs = certs,
        .keys = keys,
        .count = 1,
        .ca = "",
        .http = true,
        .ticket_secret = BYTES("one secret of all nodes")};
}

struct tls_context *tls_world_context(
    const struct test_cert *cert, tls_world_change_fn change, void *arg)
{
    const char *certs[] = {cert->cert};
    const char *keys[] = {cert->key};
    struct tls_options options = tls_world_usual(certs, keys);
    struct builder error = {0};
    struct tls_context *context = NULL;
    if (change != NULL) {
        change(&options, arg);
    }
    int status = tls_context_new(&options, &error, &context);
    cr_assert_eq(status, 0, "%.*s", (int)builder_bytes(&error).len, builder_bytes(&error).at);
    builder_reset(&error);
    return context;
}

struct tls_world *tls_world_create(tls_world_change_fn change, const char *name)
{
    struct tls_world *world = calloc(1, sizeof(*world));
    test_certs_begin(&world->certs);
    world->ca =
        test_certs_make(&world->certs, &(struct test_cert_options){.name = "ca", .ca = true});
    world->leaf = test_certs_make(
        &world->certs, &(struct test_cert_options){.name = name, .issuer = world->ca});
    world->context = tls_world_context(world->leaf, change, (void *)(uintptr_t)world->ca->cert);
    world->desk = calloc(1, sizeof(*world->desk));
    world->wire = malloc(TLS_WORLD_WIRE);
    world->got = malloc(TLS_WORLD_GOT);
    return world;
}

void tls_world_begin(struct tls_world *world, const struct tls_client_options *options)
{
    world->stream = tls_stream_create(world->context, world->desk);
    cr_assert_not_null(world->stream);
    world->got_len = 0;
    tls_client_begin(&world->client, options, -1);
}

void tls_world_end(struct tls_world *world)
{
    tls_client_end(&world->client);
    tls_stream_destroy(world->stream, world->desk);
    world->stream = NULL;
}

void tls_world_destroy(struct tls_world *world)
{
    cr_expect_eq(world->desk->counts.open, 0);
    builder_reset(&world->desk->out);
    tls_context_unref(world->context);
    test_certs_end(&world->certs);
    free(world->desk);
    free(world->wire);
    free(world->got);
    free(world);
}

void tls_world_feed(struct tls_world *world, struct bytes bytes, size_t step)
{
    static char plain[TLS_PLAIN_ROOM];
    while (bytes.len > 0) {
        size_t part = bytes.len < step ? bytes.len : step;
        char *input = malloc(part); /* of its own, so that nothing is read behind it */
        memcpy(input, bytes.at, part);
        size_t len = tls_stream_open(world->stream, world->desk, bytes_of(input, part), plain);
        free(input);
        cr_assert_leq(world->got_len + len, TLS_WORLD_GOT);
        memcpy(world->got + world->got_len, plain, len);
        world->got_len += len;
        tls_client_give(&world->client, builder_bytes(&world->desk->out));
        bytes = bytes_skip(bytes, part);
    }
}

void tls_world_carry(struct tls_world *world, size_t step)
{
    size_t len;
    while ((len = tls_client_take(&world->client, world->wire, TLS_WORLD_WIRE)) > 0) {
        tls_world_feed(world, bytes_of(world->wire, len), step);
    }
}

bool tls_world_shake(struct tls_world *world, size_t step)
{
    for (unsigned i = 0; i < 6; i++) {
        bool done = tls_client_shake(&world->client);
        tls_world_carry(world, step);
        if (done) {
            return true;
        }
    }
    return false;
}

size_t tls_world_receive(struct tls_world *world, void *at, size_t len)
{
    return tls_client_recv(&world->client, at, len);
}

size_t tls_world_seal(struct tls_world *world, struct bytes bytes)
{
    struct iovec range = {.iov_base = (void *)(uintptr_t)bytes.at, .iov_len = bytes.len};
    size_t len = tls_stream_seal(world->stream, world->desk, &range, 1);
    tls_client_give(&world->client, builder_bytes(&world->desk->out));
    return len;
}

uint64_t tls_world_failed(const struct tls_world *world, enum tls_failure failure)
{
    return world->desk->counts.failed[failure];
}

void tls_world_talk(struct tls_world *world, size_t step)
{
    char back[16];
    cr_assert(tls_world_shake(world, step), "in pieces of %zu", step);
    cr_assert(tls_client_send(&world->client, BYTES("from the client")));
    tls_world_carry(world, step);
    cr_assert_eq(tls_stream_state(world->stream), TLS_READY);
    cr_assert_eq(world->got_len, 15);
    cr_expect_eq(memcmp(world->got, "from the client", 15), 0);
    cr_assert_eq(tls_world_seal(world, BYTES("from the server")), 15);
    cr_assert_eq(tls_world_receive(world, back, 15), 15);
    cr_expect_eq(memcmp(back, "from the server", 15), 0);
}
