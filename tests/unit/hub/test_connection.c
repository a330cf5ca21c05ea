/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections over real sockets: all bytes arrive, slow and stalled peers end, and each closes
 * once.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/rand.h"
#include "hub/net/connection.h"
#include "hub/net/connection_state.h"
#include "hub/net/slow.h"
#include "tests/support/net_rig.h"

TestSuite(connection, .timeout = 120);

/* What the server does with a connection, and what happened; used on the loop's thread. */
struct script {
    struct rig rig;
    struct connection *connection; /* the newest */
    size_t record; /* consume in units of this */
    size_t close_at; /* close with flush when this much was echoed … */
    size_t max_per_turn; /* the most on_bytes was given in one turn */
    size_t turn_bytes;
    uint64_t turn;
    size_t seen;
    size_t accepted;
    char remote[46]; /* whose it was, asked while it is told closed */
    unsigned closed;
    unsigned drained;
    unsigned relieved;
    unsigned slow; /* times that on_slow was called, and with what */
    uint64_t slow_ms;
    bool overflow;
    bool full; /* what `look` saw */
    enum close_reason reason;
    bool close_in_bytes;
    bool close_in_drained;
    bool discard;
    bool moves;
    unsigned arrivals;
    unsigned lost;
};

static struct chunk *make_chunk(const void *at, size_t len)
{
    struct builder builder = {0};
    builder_add(&builder, bytes_of(at, len));
    struct chunk *chunk = chunk_take(&builder);
    cr_assert_not_null(chunk);
    return chunk;
}

static bool append(struct connection *connection, struct bytes bytes)
{
    struct chunk *chunk = make_chunk(bytes.at, bytes.len);
    bool taken = outbox_append(connection_outbox(connection),
        &loop_shard(connection_loop(connection))->dirty_outboxes, chunk, 0, (uint32_t)bytes.len);
    chunk_unref(chunk);
    return taken;
}

static void on_arrived(void *context, struct connection *connection);

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct script *script = connection_owner(connection);
    uint64_t turn = loop_turn(connection_loop(connection));
    if (turn != script->turn) {
        script->turn = turn;
        script->turn_bytes = 0;
    }
    script->turn_bytes += bytes.len;
    if (script->turn_bytes > script->max_per_turn) {
        script->max_per_turn = script->turn_bytes;
    }
    size_t record = script->record ? script->record : 1;
    size_t used = bytes.len - bytes.len % record;
    if (script->moves && used > record) {
        used = record;
    }
    script->seen += used;
    if (used > 0 && !script->discard) {
        append(connection, bytes_of(bytes.at, used));
    }
    if (script->close_in_bytes || (script->close_at > 0 && script->seen >= script->close_at)) {
        connection_close(connection, CLOSE_NORMAL, true);
        connection_close(connection, CLOSE_PARSE, true);
    }
    if (script->moves && used > 0) {
        unsigned here = sched_shard(loop_shard(connection_loop(connection))->sched);
        connection_move(connection, !here, on_arrived, script);
    }
    return used;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct script *script = connection_owner(connection);
    script->closed++;
    script->reason = reason;
    connection_remote(connection, script->remote);
    connection_close(connection, CLOSE_PARSE, false);
    connection_close(connection, CLOSE_PARSE, true);
}

static void on_drained(struct connection *connection)
{
    struct script *script = connection_owner(connection);
    script->drained++;
    if (script->close_in_drained) {
        connection_close(connection, CLOSE_NORMAL, true);
        connection_close(connection, CLOSE_PARSE, false);
    }
}

static void on_relieved(struct connection *connection)
{
    ((struct script *)connection_owner(connection))->relieved++;
}

static bool on_slow(struct connection *connection, uint64_t ms, bool overflow)
{
    struct script *script = connection_owner(connection);
    script->slow++;
    script->slow_ms = ms;
    script->overflow = overflow;
    return false;
}

static const struct connection_ops ops = {.on_bytes = on_bytes,
    .on_closed = on_closed,
    .on_drained = on_drained,
    .on_relieved = on_relieved,
    .on_slow = on_slow};

static void on_accept(struct connection *connection, void *context)
{
    struct script *script = context;
    script->connection = connection;
    script->accepted++;
    connection_own(connection, &ops, script);
}

static void on_arrived(void *context, struct connection *connection)
{
    struct script *script = context;
    script->arrivals++;
    if (connection == NULL) {
        script->lost++;
    } else {
        script->connection = connection;
        connection_own(connection, &ops, script);
    }
}

static struct script *start(unsigned loops)
{
    struct script *script = calloc(1, sizeof(*script));
    rig_start(&script->rig, loops, on_accept, script);
    return script;
}

static void stop(struct script *script)
{
    rig_stop(&script->rig);
    free(script);
}

static bool is_closed(void *arg)
{
    return ((struct script *)arg)->closed > 0;
}

static bool is_accepted(void *arg)
{
    return ((struct script *)arg)->accepted > 0;
}

static bool is_drained(void *arg)
{
    return ((struct script *)arg)->drained > 0;
}

static char *make_text(size_t len)
{
    char *text = malloc(len);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)(i * 31 + i / 251);
    }
    return text;
}

Test(connection, ten_thousand_bytes_one_by_one_in_records)
{
    enum { LEN = 10000 };
    struct script *script = start(1);
    script->record = 100;
    int fd = rig_connect(&script->rig);
    char *text = make_text(LEN);
    char *back = malloc(LEN);
    for (size_t i = 0; i < LEN; i++) {
        cr_assert(rig_send(fd, bytes_of(text + i, 1)));
    }
    cr_expect_eq(rig_recv(fd, back, LEN), LEN);
    cr_expect_eq(memcmp(text, back, LEN), 0);
    close(fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_PEER);
    free(text);
    free(back);
    stop(script);
}

static void send_much(void *arg)
{
    struct script *script = arg;
    enum { LEN = 24 << 20 }; /* more than the kernel takes */
    char *text = make_text(LEN);
    cr_expect(append(script->connection, bytes_of(text, LEN)));
    free(text);
}

static void look(void *arg)
{
    struct script *script = arg;
    script->full = connection_outbox(script->connection)->full;
}

Test(connection, a_peer_that_reads_slowly_gets_every_byte)
{
    enum { LEN = 24 << 20 }; /* more than the kernel takes */
    struct script *script = start(1);
    int fd = rig_connect(&script->rig);
    cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
    rig_call(&script->rig, 0, send_much, script);
    char *text = make_text(LEN);
    char *back = malloc(LEN);
    cr_expect_eq(rig_recv(fd, back, LEN), LEN);
    cr_expect_eq(memcmp(text, back, LEN), 0);
    cr_expect(rig_wait(&script->rig, 0, is_drained, script));
    close(fd);
    cr_expect(rig_wait_connections(&script->rig, 0, 0));
    free(text);
    free(back);
    stop(script);
}

static void overflow(void *arg)
{
    struct script *script = arg;
    send_much(script);
    cr_expect_not(append(script->connection, BYTES("x")), "more than outbox_limits.max waits");
    cr_expect_not(append(script->connection, BYTES("y")));
}

Test(connection, may_be_closed_when_it_has_drained)
{
    enum { LEN = 24 << 20 }; /* more than the kernel takes */
    struct script *script = start(1);
    int fd = rig_connect(&script->rig);
    cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
    script->close_in_drained = true;
    rig_call(&script->rig, 0, send_much, script);
    char *back = malloc(LEN + 1);
    size_t len;
    cr_expect(rig_recv_all(fd, back, LEN + 1, &len));
    cr_expect_eq(len, LEN);
    close(fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->drained, 1);
    cr_expect_eq(script->reason, CLOSE_NORMAL);
    free(back);
    stop(script);
}

Test(connection, an_outbox_at_its_maximum_ends_it)
{
    struct script *script = start(1);
    int fd = rig_connect(&script->rig);
    cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
    rig_call(&script->rig, 0, overflow, script);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_SLOW);
    cr_expect_eq(script->slow, 1);
    cr_expect(script->overflow);
    close(fd);
    stop(script);
}

Test(connection, the_clock_of_a_full_outbox_stops_at_half)
{
    enum { LEN = 24 << 20 }; /* more than the kernel takes */
    struct script *script = start(1);
    script->rig.config.outbound_bytes = 1 << 20;
    script->rig.config.outbox_max = 64 << 20;
    script->rig.config.slow_consumer_ms = 60000;
    int fd = rig_connect(&script->rig);
    cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
    rig_call(&script->rig, 0, send_much, script);
    rig_call(&script->rig, 0, look, script);
    cr_expect(script->full);
    char *back = malloc(LEN);
    cr_expect_eq(rig_recv(fd, back, LEN), LEN);
    cr_expect(rig_wait(&script->rig, 0, is_drained, script));
    rig_call(&script->rig, 0, look, script);
    cr_expect_not(script->full);
    cr_expect_eq(script->relieved, 1);
    cr_expect_eq(script->slow, 0);
    close(fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_neq(script->reason, CLOSE_SLOW);
    free(back);
    stop(script);
}

Test(connection, a_stalled_peer_is_closed_as_slow)
{
    struct script *script = start(1);
    script->rig.config.slow_consumer_ms = 50;
    int fd = rig_connect(&script->rig);
    cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
    rig_call(&script->rig, 0, send_much, script);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_SLOW);
    cr_expect_eq(script->slow, 1);
    cr_expect_not(script->overflow);
    cr_expect_eq(script->slow_ms, 50);
    cr_expect_eq(script->rig.shards[0].stats.closed[CLOSE_SLOW], 1);
    close(fd);
    stop(script);
}

Test(connection, how_long_an_outbox_was_full_is_told_by_when_it_was_due)
{
    enum { NOW = 5000 };
    struct actor_system *system = actor_system_create(1);
    struct actor_config config = {.slow_consumer_ms = 1000};
    struct shard shard = {.sched = actor_system_sched(system, 0), .config = &config};
    sched_set_time(shard.sched, NOW, NOW);
    cr_expect_eq(slow_full_ms(&shard, 0), 0, "it was not full");
    cr_expect_eq(slow_full_ms(&shard, NOW + 1000), 0);
    cr_expect_eq(slow_full_ms(&shard, NOW + 400), 600);
    cr_expect_eq(slow_full_ms(&shard, NOW), 1000);
    cr_expect_eq(slow_full_ms(&shard, NOW - 7), 1000, "nobody has looked since");
    actor_system_destroy(system);
}

Test(connection, closes_once_whatever_calls_it)
{
    struct script *script = start(1);
    script->close_in_bytes = true;
    int fd = rig_connect(&script->rig);
    char *text = make_text(300000);
    rig_send(fd, bytes_of(text, 300000));
    char back[16];
    size_t len;
    cr_expect(rig_recv_all(fd, back, sizeof(back), &len), "no reset although bytes were unread");
    cr_expect_eq(len, sizeof(back), "what was answered arrived");
    close(fd);
    cr_expect(rig_wait_connections(&script->rig, 0, 0));
    cr_expect_eq(script->closed, 1);
    cr_expect_eq(script->reason, CLOSE_NORMAL);
    free(text);
    stop(script);
}

static void claim(void *arg)
{
    struct script *script = arg;
    struct sockaddr_in6 client = {.sin6_family = AF_INET6};
    cr_expect_eq(inet_pton(AF_INET6, "2001:db8::7", &client.sin6_addr), 1);
    cr_expect(connection_claim(script->connection, NULL, &client, 0));
}

Test(connection, whose_it_was_is_known_while_it_is_told_closed)
{
    struct script *script = start(1);
    int fd = rig_connect(&script->rig);
    cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
    rig_call(&script->rig, 0, claim, script);
    close(fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_str_eq(script->remote, "2001:db8::7");
    stop(script);
}

Test(connection, survives_resets_with_writes_in_flight)
{
    struct script *script = start(1);
    for (unsigned i = 0; i < 100; i++) {
        script->accepted = 0;
        int fd = rig_connect(&script->rig);
        cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
        rig_call(&script->rig, 0, send_much, script);
        char some[1000];
        rig_recv(fd, some, sizeof(some));
        rig_reset(fd);
        cr_assert(rig_wait_connections(&script->rig, 0, 0));
    }
    cr_expect_eq(script->closed, 100);
    cr_expect_eq(script->reason, CLOSE_TRANSPORT);
    stop(script);
}

Test(connection, bytes_that_nobody_consumes_are_bounded)
{
    struct script *script = start(1);
    script->record = 1 << 30;
    int fd = rig_connect(&script->rig);
    char *text = make_text(300000);
    rig_send(fd, bytes_of(text, 300000));
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_TOO_LARGE);
    close(fd);
    free(text);
    stop(script);
}

static void pause_twice(void *arg)
{
    struct script *script = arg;
    connection_pause(script->connection);
    connection_pause(script->connection);
}

static void resume(void *arg)
{
    connection_resume(((struct script *)arg)->connection);
}

Test(connection, pauses_are_counted)
{
    struct script *script = start(1);
    int fd = rig_connect(&script->rig);
    cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
    rig_call(&script->rig, 0, pause_twice, script);
    cr_expect(rig_send(fd, BYTES("abc")));
    rig_call(&script->rig, 0, resume, script);
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    cr_expect_eq(poll(&readable, 1, 50), 0);
    rig_call(&script->rig, 0, resume, script);
    char back[3];
    cr_expect_eq(rig_recv(fd, back, 3), 3);
    rig_call(&script->rig, 0, pause_twice, script);
    stop(script); /* with a paused connection */
    close(fd);
}

Test(connection, one_connection_gets_a_share_of_a_turn)
{
    enum { LEN = 8 << 20 };
    struct script *script = start(1);
    script->discard = true;
    script->close_at = LEN;
    int fd = rig_connect(&script->rig);
    char *text = make_text(LEN);
    cr_expect(rig_send(fd, bytes_of(text, LEN)));
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->seen, LEN);
    cr_expect_leq(script->max_per_turn, 64 << 10, "%zu", script->max_per_turn);
    close(fd);
    free(text);
    stop(script);
}

Test(connection, moves_lose_nothing)
{
    enum { ROUNDS = 1000, RECORD = 20 };
    struct script *script = start(2);
    script->record = RECORD;
    script->moves = true;
    int fd = rig_connect(&script->rig);
    char *text = make_text(ROUNDS * RECORD);
    char *back = malloc(ROUNDS * RECORD);
    struct rand rand;
    rand_init(&rand, 7);
    size_t sent = 0;
    size_t got = 0;
    /* Up to five records are on their way, cut anywhere, while the connection moves at each. */
    while (got < ROUNDS * RECORD) {
        while (sent < ROUNDS * RECORD && sent < got + 5 * RECORD) {
            size_t len = 1 + rand_below(&rand, RECORD * 2);
            len = len < ROUNDS * RECORD - sent ? len : ROUNDS * RECORD - sent;
            cr_assert(rig_send(fd, bytes_of(text + sent, len)));
            sent += len;
        }
        size_t len = rig_recv(fd, back + got, RECORD);
        cr_assert_eq(len, RECORD, "lost after %zu of %u", got, ROUNDS * RECORD);
        got += len;
    }
    cr_expect_eq(memcmp(text, back, ROUNDS * RECORD), 0);
    cr_expect_eq(script->lost, 0);
    close(fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->arrivals, ROUNDS);
    cr_expect_eq(script->closed, 1, "the old ones are not reported");
    free(text);
    free(back);
    stop(script);
}

static bool has_arrived(void *arg)
{
    return ((struct script *)arg)->arrivals > 0;
}

static void move_away(void *arg)
{
    struct script *script = arg;
    send_much(script);
    connection_move(script->connection, 1, on_arrived, script);
}

Test(connection, a_move_of_a_peer_that_goes_is_told)
{
    struct script *script = start(2);
    int fd = rig_connect(&script->rig);
    cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
    rig_call(&script->rig, 0, move_away, script);
    rig_reset(fd);
    cr_expect(rig_wait(&script->rig, 0, has_arrived, script));
    cr_expect_eq(script->lost, 1);
    cr_expect_eq(script->closed, 0);
    stop(script);
}

struct refusals {
    struct script *script;
    uint64_t count;
};

static bool has_refused(void *arg)
{
    const struct refusals *expected = arg;
    return listener_refused(expected->script->rig.listener) == expected->count;
}

/* On the listener's thread, which counts. */
static bool wait_refused(struct script *script, uint64_t count)
{
    struct refusals expected = {script, count};
    return rig_wait(&script->rig, 0, has_refused, &expected);
}

Test(connection, an_address_has_a_cap_until_authenticated)
{
    struct script *script = calloc(1, sizeof(*script));
    script->rig.per_address = 3;
    rig_start(&script->rig, 1, on_accept, script);
    int fds[4];
    for (unsigned i = 0; i < 4; i++) {
        fds[i] = rig_connect(&script->rig);
    }
    char byte;
    cr_expect_eq(recv(fds[3], &byte, 1, 0), 0, "refused");
    cr_expect(rig_wait_connections(&script->rig, 0, 3));
    cr_expect(wait_refused(script, 1));
    close(fds[0]);
    cr_expect(rig_wait_connections(&script->rig, 0, 2));
    close(fds[3]);
    fds[3] = rig_connect(&script->rig);
    cr_expect(rig_send(fds[3], BYTES("a")));
    cr_expect_eq(recv(fds[3], &byte, 1, 0), 1, "one has left: accepted");
    rig_call(&script->rig, 0, (void (*)(void *))connection_authenticated, script->connection);
    fds[0] = rig_connect(&script->rig);
    cr_expect(rig_send(fds[0], BYTES("a")));
    cr_expect_eq(recv(fds[0], &byte, 1, 0), 1, "one is authenticated: accepted");
    for (unsigned i = 0; i < 4; i++) {
        close(fds[i]);
    }
    stop(script);
}

/* The option is set on the listening socket: what was accepted has to have it, too. */
Test(connection, an_accepted_socket_holds_back_what_the_kernel_need_not_have)
{
    enum { UNSENT = 96 << 10 };
    static const uint32_t rows[] = {UNSENT, 0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct script *script = calloc(1, sizeof(*script));
        script->rig.unsent_bytes = rows[i];
        rig_start(&script->rig, 1, on_accept, script);
        int fd = rig_connect(&script->rig);
        cr_assert(rig_wait(&script->rig, 0, is_accepted, script));
        unsigned unsent = 0;
        int undelayed = 0;
        socklen_t len = sizeof(unsent);
        int accepted = script->connection->socket.fd;
        cr_assert_eq(getsockopt(accepted, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, &len), 0);
        cr_expect_eq(unsent, rows[i]);
        len = sizeof(undelayed);
        cr_assert_eq(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &undelayed, &len), 0);
        cr_expect_eq(undelayed, 1);
        close(fd);
        stop(script);
    }
}

Test(connection, descriptors_used_up_are_no_reason_to_spin)
{
    enum { TRIED = 60 };
    struct script *script = start(1);
    int fds[TRIED];
    for (unsigned i = 0; i < TRIED; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_geq(fds[i], 0);
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t before = limit.rlim_cur;
    int probe = dup(0);
    close(probe);
    limit.rlim_cur = (rlim_t)probe + 10;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (unsigned i = 0; i < TRIED; i++) {
        rig_connect_socket(&script->rig, fds[i]);
    }
    /* Ten are served; the others are refused at once, not left waiting. */
    unsigned served = 0;
    for (unsigned i = 0; i < TRIED; i++) {
        char byte;
        rig_send(fds[i], BYTES("a"));
        served += recv(fds[i], &byte, 1, 0) == 1;
    }
    cr_expect(served >= 5 && served <= 10, "%u", served);
    cr_expect(wait_refused(script, TRIED - served));
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (unsigned i = 0; i < TRIED; i++) {
        close(fds[i]);
    }
    int fd = rig_connect(&script->rig);
    char byte;
    cr_expect(rig_send(fd, BYTES("a")));
    cr_expect_eq(recv(fd, &byte, 1, 0), 1, "it accepts again");
    close(fd);
    stop(script);
}
