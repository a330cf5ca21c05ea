/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two connections as one: bytes both ways, slow readers, resets and ends.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/deliver/outbox.h"
#include "hub/net/connection.h"
#include "hub/net/splice.h"
#include "tests/support/net_rig.h"

TestSuite(splice, .timeout = 120);

enum { BOUND = 4 * (64 << 10), LARGE = 24 << 20 /* more than the kernel takes */ };

/* Two peers, in the order they came, and the connections that are to become one. */
struct pair {
    struct rig rig;
    struct splice_options options;
    struct connection *first;
    struct connection *second;
    int peers[2];
    unsigned ended;
    size_t most; /* bytes that waited for the second */
    bool held; /* the kernel has taken no more for it */
};

static size_t take_nothing(struct connection *connection, struct bytes bytes)
{
    return 0;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
}

static const struct connection_ops waiting_ops = {.on_bytes = take_nothing, .on_closed = on_closed};

static void on_ended(void *context)
{
    struct pair *pair = context;
    pair->ended++;
}

static void on_accept(struct connection *connection, void *context)
{
    struct pair *pair = context;
    connection_own(connection, &waiting_ops, pair);
    if (pair->first == NULL) {
        pair->first = connection;
    } else {
        pair->second = connection;
    }
}

static bool has_first(void *arg)
{
    return ((struct pair *)arg)->first != NULL;
}

static bool has_both(void *arg)
{
    return ((struct pair *)arg)->second != NULL;
}

static bool has_ended(void *arg)
{
    return ((struct pair *)arg)->ended > 0;
}

static void join(void *arg)
{
    struct pair *pair = arg;
    splice_begin(pair->first, pair->second, &pair->options);
}

/* Two peers; what `early` says has arrived before they are joined. */
static struct pair *start(uint32_t slow_consumer_ms, struct bytes early)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    rig_start(&pair->rig, 1, on_accept, pair);
    pair->options = (struct splice_options){.slow_consumer_ms = slow_consumer_ms,
        .trust_ms = 60000,
        .ended = on_ended,
        .context = pair};
    pair->peers[0] = rig_connect(&pair->rig);
    cr_assert(rig_wait(&pair->rig, 0, has_first, pair));
    pair->peers[1] = rig_connect(&pair->rig);
    cr_assert(rig_wait(&pair->rig, 0, has_both, pair));
    cr_assert(rig_send(pair->peers[0], early));
    rig_call(&pair->rig, 0, join, pair);
    return pair;
}

static void stop(struct pair *pair)
{
    close(pair->peers[0]);
    close(pair->peers[1]);
    cr_expect(rig_wait(&pair->rig, 0, has_ended, pair));
    cr_expect(rig_wait_connections(&pair->rig, 0, 0));
    cr_expect_eq(pair->ended, 1);
    rig_stop(&pair->rig);
    free(pair);
}

Test(splice, bytes_go_both_ways_those_that_came_early_first)
{
    struct pair *pair = start(30000, BYTES("early "));
    char back[16];
    cr_assert(rig_send(pair->peers[0], BYTES("and late")));
    cr_assert_eq(rig_recv(pair->peers[1], back, 14), 14);
    cr_expect_eq(memcmp(back, "early and late", 14), 0);
    cr_assert(rig_send(pair->peers[1], BYTES("answer")));
    cr_assert_eq(rig_recv(pair->peers[0], back, 6), 6);
    cr_expect_eq(memcmp(back, "answer", 6), 0);
    stop(pair);
}

Test(splice, what_was_sent_before_the_end_arrives)
{
    for (unsigned side = 0; side < 2; side++) {
        struct pair *pair = start(30000, BYTES(""));
        char back[32];
        size_t len;
        cr_assert(rig_send(pair->peers[side], BYTES("last words")));
        shutdown(pair->peers[side], SHUT_WR);
        cr_assert(rig_recv_all(pair->peers[1 - side], back, sizeof(back), &len));
        cr_expect_eq(len, 10);
        cr_expect_eq(memcmp(back, "last words", 10), 0);
        stop(pair);
    }
}

/* On the loop's thread: how much waits for the second, and whether the kernel takes no more. */
static void look(void *arg)
{
    struct pair *pair = arg;
    const struct outbox *outbox = connection_outbox(pair->second);
    pair->most = outbox->bytes > pair->most ? outbox->bytes : pair->most;
    pair->held = pair->held || outbox->busy;
}

/* Send what is left of `text` as far as it goes. */
static size_t send_some(struct pair *pair, const char *text, size_t sent)
{
    ssize_t some = sent < LARGE ? send(pair->peers[0], text + sent, LARGE - sent, MSG_DONTWAIT) : 0;
    rig_call(&pair->rig, 0, look, pair);
    return sent + (some > 0 ? (size_t)some : 0);
}

Test(splice, a_slow_reader_gets_every_byte_and_little_waits_for_it)
{
    struct pair *pair = start(30000, BYTES(""));
    char *text = malloc(LARGE);
    char *back = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++) {
        text[i] = (char)(i * 31 + i / 251);
    }
    size_t sent = 0;
    while (!pair->held) { /* nobody reads */
        sent = send_some(pair, text, sent);
    }
    cr_expect_lt(sent, LARGE);
    for (size_t got = 0; got < LARGE;) {
        sent = send_some(pair, text, sent);
        ssize_t some = recv(pair->peers[1], back + got, LARGE - got, 0);
        cr_assert_gt(some, 0);
        got += (size_t)some;
    }
    cr_expect_eq(memcmp(text, back, LARGE), 0);
    cr_expect_gt(pair->most, 0);
    cr_expect_leq(pair->most, BOUND);
    free(text);
    free(back);
    stop(pair);
}

Test(splice, who_takes_nothing_for_long_is_closed_as_slow)
{
    struct pair *pair = start(50, BYTES(""));
    char *text = calloc(1, 1 << 20);
    while (rig_send(pair->peers[0], bytes_of(text, 1 << 20))) { /* until it is closed */
    }
    cr_expect(rig_wait(&pair->rig, 0, has_ended, pair));
    cr_expect_eq(pair->rig.shards[0].stats.closed[CLOSE_SLOW], 2);
    free(text);
    stop(pair);
}

Test(splice, a_reset_of_one_ends_both)
{
    for (unsigned side = 0; side < 2; side++) {
        struct pair *pair = start(30000, BYTES(""));
        char back[8];
        size_t len;
        rig_reset(pair->peers[side]);
        cr_expect(rig_recv_all(pair->peers[1 - side], back, sizeof(back), &len));
        cr_expect_eq(len, 0);
        pair->peers[side] = socket(AF_UNIX, SOCK_STREAM, 0); /* for stop() to close */
        stop(pair);
    }
}

Test(splice, ends_with_the_loop)
{
    struct pair *pair = start(30000, BYTES("x"));
    rig_stop(&pair->rig);
    cr_expect_eq(pair->ended, 1);
    close(pair->peers[0]);
    close(pair->peers[1]);
    free(pair);
}
