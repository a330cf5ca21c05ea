/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of trusted proxies that begin by saying whose they are, over real sockets: whole, in
 * pieces, wrong, late, too many; what follows the header is the connection's, TLS too.
 */
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/proxy_header.h"
#include "hub/net/connection.h"
#include "hub/net/preface.h"
#include "hub/net/proxies.h"
#include "tests/support/net_rig.h"

TestSuite(preface, .timeout = 120);

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define HEADER SIGNATURE "\x21\x11\x00\x0c\xc6\x33\x64\x07\x7f\x00\x00\x01\xd4\x31\x0b\xb8"
#define LOCAL SIGNATURE "\x20\x00\x00\x00"

struct world {
    struct rig rig;
    struct proxies *proxies;
    char remote[46]; /* of the connection that has said something last */
    unsigned closed;
};

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct world *world = connection_owner(connection);
    struct builder echo = {0};
    connection_remote(connection, world->remote);
    builder_add(&echo, bytes);
    cr_expect(connection_send(connection, &echo));
    return bytes.len;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    ((struct world *)connection_owner(connection))->closed++;
}

static const struct connection_ops ops = {.on_bytes = on_bytes, .on_closed = on_closed};

static void on_accept(struct connection *connection, void *context)
{
    connection_own(connection, &ops, context);
}

static struct world *start(const char *trusted, uint32_t per_address)
{
    struct world *world = calloc(1, sizeof(*world));
    struct bytes network = bytes_str(trusted);
    cr_assert_eq(proxies_create(&network, 1, NULL, &world->proxies), 0);
    world->rig.proxies = world->proxies;
    world->rig.prefaces = true;
    world->rig.per_address = per_address;
    rig_start(&world->rig, 1, on_accept, world);
    return world;
}

static void stop(struct world *world)
{
    rig_stop(&world->rig);
    proxies_destroy(world->proxies);
    free(world);
}

/* Send `text` in pieces of `size` bytes. */
static void send_pieces(int fd, struct bytes text, size_t size)
{
    for (size_t at = 0; at < text.len; at += size) {
        size_t len = text.len - at < size ? text.len - at : size;
        cr_assert(rig_send(fd, bytes_of(text.at + at, len)));
        if (size < text.len) {
            usleep(200); /* so that some come alone; either way the outcome is the same */
        }
    }
}

static void expect_echo(int fd, struct bytes text)
{
    char got[64];
    cr_assert_eq(rig_recv(fd, got, text.len), text.len);
    cr_expect_arr_eq(got, text.at, text.len);
}

struct refusals {
    const struct shard_stats *stats;
    uint64_t prefaces;
    uint64_t all;
};

static bool has_refused(void *arg)
{
    struct refusals *refusals = arg;
    return refusals->stats->prefaces_refused == refusals->prefaces &&
           refusals->stats->connections_refused == refusals->all;
}

static bool wait_refused(struct world *world, uint64_t prefaces, uint64_t all)
{
    struct refusals refusals = {&world->rig.shards[0].stats, prefaces, all};
    return rig_wait(&world->rig, 0, has_refused, &refusals);
}

static void expect_refused(struct world *world, int fd, uint64_t count)
{
    char byte;
    cr_expect_leq(recv(fd, &byte, 1, 0), 0, "it is closed");
    cr_expect(wait_refused(world, count, count));
    close(fd);
}

Test(preface, names_the_peer_however_it_comes)
{
    const struct {
        struct bytes header;
        const char *remote;
    } rows[] = {{BYTES(HEADER), "198.51.100.7"}, {BYTES(LOCAL), "127.0.0.1"}};
    static const size_t sizes[] = {1000, 1, 7, 16, 17};
    struct world *world = start("127.0.0.1", 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++) {
            struct builder text = {0};
            int fd = rig_connect(&world->rig);
            builder_add(&text, rows[i].header);
            builder_str(&text, "hello");
            send_pieces(fd, builder_bytes(&text), sizes[j]);
            expect_echo(fd, BYTES("hello"));
            cr_expect_str_eq(world->remote, rows[i].remote, "row %zu, %zu", i, sizes[j]);
            builder_reset(&text);
            close(fd);
        }
    }
    cr_expect_eq(world->rig.shards[0].stats.prefaces_refused, 0);
    stop(world);
}

Test(preface, of_a_header_that_proxies_have_added_to_nothing_is_left)
{
    char header[PROXY_HEADER_FIXED + PROXY_HEADER_REST_MAX] =
        SIGNATURE "\x21\x11\x08\x00\xc6\x33\x64\x07\x7f\x00\x00\x01\xd4\x31\x0b\xb8\x04\x07\xf1";
    struct world *world = start("127.0.0.1", 0);
    int fd = rig_connect(&world->rig);
    send_pieces(fd, bytes_of(header, sizeof(header)), 500);
    cr_assert(rig_send(fd, BYTES("x")));
    expect_echo(fd, BYTES("x"));
    cr_expect_str_eq(world->remote, "198.51.100.7");
    close(fd);
    stop(world);
}

Test(preface, what_is_none_is_closed_and_counted)
{
    const struct bytes rows[] = {
        BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        BYTES("PROXY TCP4 198.51.100.7 127.0.0.1 54321 3000\r\n"),
        BYTES(SIGNATURE "\x21\x11\x00\x02xy"),
        BYTES(SIGNATURE "\x21\x11\x08\x01xy"),
    };
    struct world *world = start("127.0.0.1", 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = rig_connect(&world->rig);
        cr_assert(rig_send(fd, rows[i]));
        expect_refused(world, fd, i + 1);
    }
    int fd = rig_connect(&world->rig);
    cr_assert(rig_send(fd, bytes_of(HEADER, 20)));
    shutdown(fd, SHUT_WR);
    expect_refused(world, fd, ARRAY_LEN(rows) + 1);
    stop(world);
}

Test(preface, one_that_does_not_come_is_waited_for_so_long)
{
    struct world *world = start("127.0.0.1", 0);
    int fd = rig_connect(&world->rig);
    cr_assert(rig_send(fd, BYTES("\r\n\r\n")));
    expect_refused(world, fd, 1);
    stop(world);
}

Test(preface, so_many_are_waited_for_and_end_with_the_listener)
{
    static int fds[PREFACES_MAX + 1];
    struct world *world = start("127.0.0.1", 0);
    for (unsigned i = 0; i <= PREFACES_MAX; i++) {
        fds[i] = rig_connect(&world->rig);
    }
    cr_expect(wait_refused(world, 1, 1));
    cr_assert(rig_send(fds[0], BYTES(HEADER "x")));
    expect_echo(fds[0], BYTES("x"));
    stop(world);
    for (unsigned i = 0; i <= PREFACES_MAX; i++) {
        close(fds[i]);
    }
}

Test(preface, counts_for_the_address_that_it_names)
{
    struct world *world = start("127.0.0.1", 2);
    int fds[3];
    for (unsigned i = 0; i < 2; i++) {
        fds[i] = rig_connect(&world->rig);
        cr_assert(rig_send(fds[i], BYTES(HEADER "x")));
        expect_echo(fds[i], BYTES("x"));
    }
    char byte;
    fds[2] = rig_connect(&world->rig);
    cr_assert(rig_send(fds[2], BYTES(HEADER)));
    cr_expect_leq(recv(fds[2], &byte, 1, 0), 0, "a third of 198.51.100.7 is refused");
    cr_expect(wait_refused(world, 0, 1));
    close(fds[2]);
    fds[2] = rig_connect(&world->rig);
    cr_assert(rig_send(fds[2], BYTES(LOCAL "x")));
    expect_echo(fds[2], BYTES("x"));
    for (unsigned i = 0; i < 3; i++) {
        close(fds[i]);
    }
    stop(world);
}

Test(preface, is_not_taken_from_others)
{
    struct world *world = start("192.0.2.1", 0);
    int fd = rig_connect(&world->rig);
    cr_assert(rig_send(fd, BYTES(HEADER)));
    expect_echo(fd, BYTES(HEADER));
    cr_expect_str_eq(world->remote, "127.0.0.1");
    close(fd);
    stop(world);
}
