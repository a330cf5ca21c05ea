/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSockets over real sockets: bad heads, limits, control frames, and peers that do not answer.
 */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/ws_frame.h"
#include "hub/net/connection.h"
#include "hub/net/websocket.h"
#include "tests/support/net_rig.h"

TestSuite(websocket, .timeout = 120);

enum { TEXT = 0x81, BINARY = 0x82, CLOSE = 0x88, PING = 0x89, PONG = 0x8a, FIN = 0x80 };

/* An echo server; used on the loops' threads. */
struct server {
    struct rig rig;
    struct websocket_limits limits;
    uint64_t turn;
    unsigned in_turn; /* messages in `turn` */
    unsigned most_in_turn;
    bool late; /* answer by message to itself, as an actor would */
    bool moves; /* to the other shard with each message */
    bool close_in_message;
    bool silent;
    bool taken_away; /* a receiver was given back while its message was being delivered */
    unsigned opened;
    unsigned closed;
    unsigned messages;
    enum close_reason reason;
};

struct client {
    struct websocket websocket;
    struct server *server;
};

static void send_frame(struct client *client, bool binary, struct bytes payload)
{
    struct connection *connection = client->websocket.connection;
    char head[WS_FRAME_HEAD_MAX];
    struct builder builder = {0};
    size_t len = ws_frame_write_head(head, binary ? WS_BINARY : WS_TEXT, false, payload.len);
    builder_add(&builder, bytes_of(head, len));
    builder_add(&builder, payload);
    struct chunk *chunk = chunk_take(&builder);
    cr_assert_not_null(chunk);
    outbox_append(connection_outbox(connection),
        &loop_shard(connection_loop(connection))->dirty_outboxes, chunk, 0, chunk->len);
    chunk_unref(chunk);
}

struct answer {
    struct client *client;
    struct buf *payload;
    bool binary;
};

static void answer_late(void *arg, bool cancelled)
{
    struct answer *answer = arg;
    if (!cancelled) {
        send_frame(answer->client, answer->binary, buf_bytes(answer->payload));
    }
    buf_unref(answer->payload);
    free(answer);
}

static void on_moved(struct websocket *websocket, bool ok)
{
    struct client *client = container_of(websocket, struct client, websocket);
    if (!ok) {
        client->server->closed++;
        free(client);
    }
}

static void on_message(struct websocket *websocket, bool binary, struct bytes message)
{
    struct client *client = container_of(websocket, struct client, websocket);
    struct server *server = client->server;
    struct sched *sched = loop_shard(connection_loop(websocket->connection))->sched;
    server->messages++;
    uint64_t turn = loop_turn(connection_loop(websocket->connection));
    server->in_turn = turn == server->turn ? server->in_turn + 1 : 1;
    server->turn = turn;
    server->most_in_turn =
        server->in_turn > server->most_in_turn ? server->in_turn : server->most_in_turn;
    if (server->silent) {
        return;
    }
    if (server->late) {
        struct answer *answer = calloc(1, sizeof(*answer));
        *answer = (struct answer){client, buf_new(message), binary};
        sched_post(server->rig.system, sched_shard(sched), answer_late, answer);
    } else {
        send_frame(client, binary, message);
    }
    if (server->close_in_message) {
        websocket_close(websocket, CLOSE_NORMAL);
        websocket_close(websocket, CLOSE_SLOW);
    } else if (server->moves) {
        struct loop *loop = connection_loop(websocket->connection);
        unsigned borrowed = websocket_borrowed(loop);
        websocket_move(websocket, !sched_shard(sched));
        server->taken_away |= websocket_borrowed(loop) != borrowed;
    }
}

static void on_closed(struct websocket *websocket, enum close_reason reason)
{
    struct client *client = container_of(websocket, struct client, websocket);
    websocket_close(websocket, CLOSE_SLOW);
    client->server->closed++;
    client->server->reason = reason;
    free(client);
}

static const struct websocket_ops ops = {
    .on_message = on_message, .on_closed = on_closed, .on_moved = on_moved};

static void on_accept(struct connection *connection, void *context)
{
    struct client *client = calloc(1, sizeof(*client));
    client->server = context;
    client->server->opened++;
    websocket_init(&client->websocket, connection, &client->server->limits, &ops);
}

static struct server *start(unsigned loops)
{
    struct server *server = calloc(1, sizeof(*server));
    server->limits = (struct websocket_limits){
        .message_bytes = 65536, .fragments = 64, .control_frames = 20, .queued_replies = 16};
    rig_start(&server->rig, loops, on_accept, server);
    return server;
}

static void read_borrowed(void *arg)
{
    struct server *server = arg;
    cr_expect_eq(websocket_borrowed(server->rig.loops[0]), 0);
}

static void stop(struct server *server)
{
    rig_call(&server->rig, 0, read_borrowed, server);
    rig_stop(&server->rig);
    cr_expect_eq(server->opened, server->closed, "each one is told once");
    free(server);
}

static bool is_closed(void *arg)
{
    struct server *server = arg;
    return server->closed == server->opened && server->opened > 0;
}

/* --- frames --- */

static void add_client_frame(struct builder *out, unsigned first, struct bytes payload)
{
    static const char mask[4] = {0x11, 0x22, 0x33, 0x44};
    char head[WS_FRAME_HEAD_MAX];
    size_t len = ws_frame_write_head(head, WS_TEXT, false, payload.len);
    head[0] = (char)first;
    head[1] = (char)((unsigned char)head[1] | 0x80);
    builder_add(out, bytes_of(head, len));
    builder_add(out, bytes_of(mask, 4));
    for (size_t i = 0; i < payload.len; i++) {
        builder_byte(out, (char)(payload.at[i] ^ mask[i % 4]));
    }
}

static void add_server_frame(struct builder *out, unsigned first, struct bytes payload)
{
    char head[WS_FRAME_HEAD_MAX];
    size_t len = ws_frame_write_head(head, WS_TEXT, false, payload.len);
    head[0] = (char)first;
    builder_add(out, bytes_of(head, len));
    builder_add(out, payload);
}

static void add_server_close(struct builder *out, enum close_reason reason)
{
    char payload[WS_FRAME_CONTROL_MAX];
    size_t len = ws_frame_write_close(payload, close_code(reason), bytes_str(close_text(reason)));
    add_server_frame(out, CLOSE, bytes_of(payload, len));
}

/* How the bytes of a case reach the server. */
enum cutting { WHOLE, BYTES_ALONE, CUT_AT, RANDOM };

/* What was sent before is read in the turn that this is called in. */
static void let_it_read(void *arg)
{
}

static void send_cut(
    struct server *server, int fd, struct bytes input, enum cutting cutting, uint64_t seed)
{
    struct rand rand;
    rand_init(&rand, seed);
    bool first = true;
    while (input.len > 0) {
        size_t len = input.len;
        if (cutting == BYTES_ALONE) {
            len = 1;
        } else if (cutting == CUT_AT && first) {
            len = seed;
        } else if (cutting == RANDOM) {
            len = 1 + rand_below(&rand, input.len < 40 ? input.len : 40);
        }
        if (!rig_send(fd, bytes_of(input.at, len))) {
            return;
        }
        rig_call(&server->rig, 0, let_it_read, NULL);
        input = bytes_skip(input, len);
        first = false;
    }
}

static void run_case(const char *name, struct bytes input, struct bytes expected,
    enum close_reason reason, bool late)
{
    struct server *server = start(1);
    server->late = late;
    size_t max = input.len < 300 ? input.len : 0;
    uint64_t base = (uint64_t)time(NULL);
    char *got = malloc(expected.len + 1000);
    for (size_t run = 0; run < max + 4; run++) {
        enum cutting cutting = run < max ? CUT_AT : run == max ? WHOLE : RANDOM;
        cutting = run == max + 1 && max > 0 ? BYTES_ALONE : cutting;
        int fd = rig_connect(&server->rig);
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        send_cut(server, fd, input, cutting, cutting == CUT_AT ? run + 1 : base + run);
        size_t len;
        bool ended = rig_recv_all(fd, got, expected.len + 1000, &len);
        cr_expect(ended, "%s: run %zu: not closed", name, run);
        cr_expect(bytes_eq(bytes_of(got, len), expected),
            "%s: run %zu seed %llu: %zu bytes, not %zu", name, run, (unsigned long long)base, len,
            expected.len);
        close(fd);
        cr_assert(rig_wait(&server->rig, 0, is_closed, server), "%s: run %zu: %u opened, %u closed",
            name, run, server->opened, server->closed);
        cr_expect_eq(server->reason, reason, "%s: %s", name, close_name(server->reason));
    }
    free(got);
    stop(server);
}

/* A case: what the client sends; what comes back before the end; why it ended. */
struct vector {
    struct builder input;
    struct builder expected;
};

static void run_vector(struct vector *vector, const char *name, enum close_reason reason)
{
    if (reason != CLOSE_PEER) {
        add_server_close(&vector->expected, reason);
    }
    for (int late = 0; late < 2; late++) {
        run_case(
            name, builder_bytes(&vector->input), builder_bytes(&vector->expected), reason, late);
    }
    builder_reset(&vector->input);
    builder_reset(&vector->expected);
}

/* A message that is answered, before whatever the case is about. */
static void add_good(struct vector *vector)
{
    add_client_frame(&vector->input, TEXT, BYTES("good \xc3\xa4"));
    add_server_frame(&vector->expected, TEXT, BYTES("good \xc3\xa4"));
}

static void run_raw(const char *name, struct bytes raw, enum close_reason reason)
{
    struct vector vector = {0};
    add_good(&vector);
    builder_add(&vector.input, raw);
    run_vector(&vector, name, reason);
}

Test(websocket, b2_to_b7_bad_heads)
{
    run_raw("unmasked", BYTES("\x81\x01x"), CLOSE_PROTOCOL);
    run_raw("rsv1", BYTES("\xc1\x80\0\0\0\0"), CLOSE_PROTOCOL);
    run_raw("rsv2", BYTES("\xa1\x80\0\0\0\0"), CLOSE_PROTOCOL);
    run_raw("rsv3", BYTES("\x91\x80\0\0\0\0"), CLOSE_PROTOCOL);
    for (unsigned opcode = 0x83; opcode <= 0x8f; opcode++) {
        if (opcode < 0x88 || opcode > 0x8a) {
            char head[6] = {(char)opcode, (char)0x80};
            run_raw("reserved opcode", bytes_of(head, 6), CLOSE_PROTOCOL);
        }
    }
    run_raw("long ping", BYTES("\x89\xfe\0\x7e"), CLOSE_PROTOCOL);
    run_raw("fragmented ping", BYTES("\x09\x80\0\0\0\0"), CLOSE_PROTOCOL);
    run_raw(
        "2^63-1", BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), CLOSE_FRAME_TOO_LARGE);
    run_raw("2^64-1", BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), CLOSE_PROTOCOL);
    run_raw("wraps", BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xfc\0\0\0\0"), CLOSE_PROTOCOL);
    run_raw("4 GiB", BYTES("\x82\xff\0\0\0\1\0\0\0\0"), CLOSE_FRAME_TOO_LARGE);
    run_raw("16 bits for 125", BYTES("\x82\xfe\0\x7d"), CLOSE_PROTOCOL);
    run_raw("64 bits for 65535", BYTES("\x82\xff\0\0\0\0\0\0\xff\xff"), CLOSE_PROTOCOL);
}

Test(websocket, b9_b15_b16_messages_text_and_closes)
{
    const struct {
        const char *name;
        unsigned first;
        struct bytes payload;
        enum close_reason reason;
    } cases[] = {
        {"continuation alone", FIN, BYTES("x"), CLOSE_PROTOCOL},
        {"overlong", TEXT, BYTES("\xc0\xaf"), CLOSE_NOT_UTF8},
        {"surrogate", TEXT, BYTES("\xed\xa0\x80"), CLOSE_NOT_UTF8},
        {"cut short", TEXT, BYTES("\xe2\x82"), CLOSE_NOT_UTF8},
        {"above", TEXT, BYTES("\xf4\x90\x80\x80"), CLOSE_NOT_UTF8},
        {"one byte", CLOSE, BYTES("\x03"), CLOSE_PROTOCOL},
        {"code 0", CLOSE, BYTES("\0\0"), CLOSE_PROTOCOL},
        {"code 999", CLOSE, BYTES("\x03\xe7"), CLOSE_PROTOCOL},
        {"code 1004", CLOSE, BYTES("\x03\xec"), CLOSE_PROTOCOL},
        {"code 1005", CLOSE, BYTES("\x03\xed"), CLOSE_PROTOCOL},
        {"code 1006", CLOSE, BYTES("\x03\xee"), CLOSE_PROTOCOL},
        {"code 1015", CLOSE, BYTES("\x03\xf7"), CLOSE_PROTOCOL},
        {"code 5000", CLOSE, BYTES("\x13\x88"), CLOSE_PROTOCOL},
        {"bad reason", CLOSE, BYTES("\x03\xe8\xff"), CLOSE_NOT_UTF8},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct vector vector = {0};
        add_good(&vector);
        add_client_frame(&vector.input, cases[i].first, cases[i].payload);
        run_vector(&vector, cases[i].name, cases[i].reason);
    }
    struct vector inside = {0};
    add_client_frame(&inside.input, 0x01, BYTES("a"));
    add_client_frame(&inside.input, TEXT, BYTES("b"));
    run_vector(&inside, "data inside a message", CLOSE_PROTOCOL);
}

Test(websocket, peers_may_close)
{
    static const char long_reason[] =
        "\x03\xe8"
        "0123456789012345678901234567890123456789012345678901234567890"
        "12345678901234567890123456789012345678901234567890123456789\xc3"
        "\xa4";
    const struct {
        const char *name;
        struct bytes payload;
        struct bytes back;
    } cases[] = {
        {"empty", {NULL, 0}, {NULL, 0}},
        {"1000", BYTES("\x03\xe8"), BYTES("\x03\xe8")},
        {"1012", BYTES("\x03\xf4"), BYTES("\x03\xf4")},
        {"1014", BYTES("\x03\xf6"), BYTES("\x03\xf6")},
        {"4999", BYTES("\x13\x87"), BYTES("\x13\x87")},
        {"long reason", BYTES(long_reason), BYTES("\x03\xe8")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct vector vector = {0};
        add_good(&vector);
        add_client_frame(&vector.input, CLOSE, cases[i].payload);
        add_server_frame(&vector.expected, CLOSE, cases[i].back);
        add_client_frame(&vector.input, TEXT, BYTES("ignored"));
        run_vector(&vector, cases[i].name, CLOSE_PEER);
    }
}

Test(websocket, text_is_refused_at_the_first_bad_byte)
{
    struct server *server = start(1);
    int fd = rig_connect(&server->rig);
    /* A frame of 1,000 bytes of which only the bad beginning is ever sent. */
    struct builder frame = {0};
    char payload[1000] = "abc\xff";
    add_client_frame(&frame, TEXT, bytes_of(payload, sizeof(payload)));
    cr_assert(rig_send(fd, bytes_of(builder_bytes(&frame).at, 8 + 4)));
    struct builder expected = {0};
    add_server_close(&expected, CLOSE_NOT_UTF8);
    char got[200];
    size_t len;
    cr_expect(rig_recv_all(fd, got, sizeof(got), &len));
    cr_expect(bytes_eq(bytes_of(got, len), builder_bytes(&expected)));
    close(fd);
    cr_expect(rig_wait(&server->rig, 0, is_closed, server));
    builder_reset(&frame);
    builder_reset(&expected);
    stop(server);
}

Test(websocket, b8_b11_b12_limits_of_a_message)
{
    char *big = calloc(1, 70000);
    struct vector sum = {0};
    add_client_frame(&sum.input, 0x02, bytes_of(big, 40000));
    add_client_frame(&sum.input, 0x80, bytes_of(big, 40000));
    run_vector(&sum, "sum of fragments", CLOSE_FRAME_TOO_LARGE);
    struct vector wrap = {0};
    add_client_frame(&wrap.input, 0x02, bytes_of(big, 100));
    builder_add(&wrap.input, BYTES("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"));
    run_vector(&wrap, "sum wraps", CLOSE_FRAME_TOO_LARGE);
    for (size_t size = 0; size < 2; size++) {
        struct vector many = {0};
        add_client_frame(&many.input, 0x02, bytes_of(big, size));
        for (unsigned i = 0; i < 70; i++) {
            add_client_frame(&many.input, 0x00, bytes_of(big, size));
        }
        run_vector(&many, "fragments", CLOSE_POLICY);
    }
    struct vector largest = {0};
    add_client_frame(&largest.input, BINARY, bytes_of(big, 65536));
    add_server_frame(&largest.expected, BINARY, bytes_of(big, 65536));
    add_client_frame(&largest.input, BINARY, bytes_of(big, 65537));
    run_vector(&largest, "largest message", CLOSE_FRAME_TOO_LARGE);
    free(big);
}

Test(websocket, b10_b13_b14_control_frames_are_limited)
{
    static const unsigned kinds[] = {PING, PONG};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct vector vector = {0};
        add_client_frame(&vector.input, 0x01, BYTES("a"));
        for (unsigned i = 0; i < 1000; i++) {
            add_client_frame(&vector.input, kinds[k], BYTES("p"));
            if (i < 20 && kinds[k] == PING) {
                add_server_frame(&vector.expected, PONG, BYTES("p"));
            }
        }
        struct server *server = start(1);
        server->limits.queued_replies = 64;
        int fd = rig_connect(&server->rig);
        rig_send(fd, builder_bytes(&vector.input));
        add_server_close(&vector.expected, CLOSE_POLICY);
        char got[1000];
        size_t len;
        cr_expect(rig_recv_all(fd, got, sizeof(got), &len));
        cr_expect(bytes_eq(bytes_of(got, len), builder_bytes(&vector.expected)), "%zu", len);
        close(fd);
        cr_expect(rig_wait(&server->rig, 0, is_closed, server));
        cr_expect_eq(server->reason, CLOSE_POLICY);
        stop(server);
        builder_reset(&vector.input);
        builder_reset(&vector.expected);
    }
}

Test(websocket, others_have_their_turn)
{
    enum { MESSAGES = 20000 };
    struct server *server = start(1);
    server->limits.events_per_turn = 3;
    struct builder input = {0};
    struct builder expected = {0};
    for (unsigned i = 0; i < MESSAGES; i++) {
        char text[8];
        int len = snprintf(text, sizeof(text), "%u", i);
        add_client_frame(&input, TEXT, bytes_of(text, (size_t)len));
        add_server_frame(&expected, TEXT, bytes_of(text, (size_t)len));
    }
    add_client_frame(&input, CLOSE, bytes_of(NULL, 0));
    int fd = rig_connect(&server->rig);
    cr_assert(rig_send(fd, builder_bytes(&input)));
    struct bytes sent = builder_bytes(&expected);
    char *got = malloc(sent.len);
    cr_assert_eq(rig_recv(fd, got, sent.len), sent.len);
    cr_expect_eq(memcmp(got, sent.at, sent.len), 0);
    close(fd);
    cr_expect(rig_wait(&server->rig, 0, is_closed, server));
    cr_expect_eq(server->messages, MESSAGES);
    cr_expect_leq(server->most_in_turn, 3);
    free(got);
    builder_reset(&input);
    builder_reset(&expected);
    stop(server);
}

Test(websocket, pongs_do_not_pile_up)
{
    struct server *server = start(1);
    server->limits.control_frames = 10000;
    struct builder input = {0};
    for (unsigned i = 0; i < 1000; i++) {
        add_client_frame(&input, PING, BYTES("p"));
    }
    add_client_frame(&input, CLOSE, bytes_of(NULL, 0));
    int fd = rig_connect(&server->rig);
    rig_send(fd, builder_bytes(&input)); /* one read: nothing is written in between */
    char got[4000];
    size_t len;
    cr_expect(rig_recv_all(fd, got, sizeof(got), &len));
    cr_expect_lt(len, 3 * 200, "%zu bytes of pongs", len);
    cr_expect_geq(len, 3 * 16 + 2);
    close(fd);
    builder_reset(&input);
    cr_expect(rig_wait(&server->rig, 0, is_closed, server));
    stop(server);
}

Test(websocket, b17_a_peer_that_does_not_answer_our_close_is_dropped)
{
    struct server *server = start(1);
    server->close_in_message = true;
    int fd = rig_connect(&server->rig);
    struct builder input = {0};
    add_client_frame(&input, TEXT, BYTES("x"));
    add_client_frame(&input, TEXT, BYTES("after"));
    add_client_frame(&input, PING, BYTES("after"));
    cr_expect(rig_send(fd, builder_bytes(&input)));
    struct builder expected = {0};
    add_server_frame(&expected, TEXT, BYTES("x"));
    add_server_close(&expected, CLOSE_NORMAL);
    char got[200];
    size_t len = rig_recv(fd, got, builder_bytes(&expected).len);
    cr_expect(bytes_eq(bytes_of(got, len), builder_bytes(&expected)));
    cr_expect_eq(rig_recv(fd, got, 1), 0, "ends by itself");
    cr_expect(rig_wait(&server->rig, 0, is_closed, server));
    cr_expect_eq(server->messages, 1);
    cr_expect_eq(server->reason, CLOSE_NORMAL);
    close(fd);
    fd = rig_connect(&server->rig);
    add_client_frame(&input, CLOSE, BYTES("\x03\xe8"));
    cr_expect(rig_send(fd, builder_bytes(&input)));
    cr_expect(rig_recv_all(fd, got, sizeof(got), &len));
    cr_expect(bytes_eq(bytes_of(got, len), builder_bytes(&expected)));
    cr_expect(rig_wait(&server->rig, 0, is_closed, server));
    close(fd);
    builder_reset(&input);
    builder_reset(&expected);
    stop(server);
}

/* 1,000 messages in random fragments with pings between, in random reads. */
static void send_fragmented(struct builder *input, struct builder *expected, struct rand *rand)
{
    char text[600];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)('a' + i % 26);
    }
    size_t len = rand_below(rand, sizeof(text));
    size_t at = 0;
    bool binary = rand_below(rand, 2);
    unsigned opcode = binary ? WS_BINARY : WS_TEXT;
    do {
        size_t part = rand_below(rand, len - at + 1);
        bool last = at + part == len && rand_below(rand, 2);
        add_client_frame(input, opcode | (last ? FIN : 0U), bytes_of(text + at, part));
        at += part;
        opcode = WS_CONTINUATION;
        if (!last && rand_below(rand, 3) == 0) {
            add_client_frame(input, PING, bytes_of(text, part % 100));
            add_server_frame(expected, PONG, bytes_of(text, part % 100));
        }
        if (last) {
            break;
        }
    } while (true);
    add_server_frame(expected, binary ? BINARY : TEXT, bytes_of(text, len));
}

static void run_fragmented(bool moves)
{
    uint64_t seed = (uint64_t)time(NULL);
    struct rand rand;
    rand_init(&rand, seed);
    struct server *server = start(2);
    server->moves = moves;
    server->limits = (struct websocket_limits){
        .message_bytes = 65536, .fragments = 1000, .control_frames = 60000, .queued_replies = 255};
    int fd = rig_connect(&server->rig);
    struct builder input = {0};
    struct builder expected = {0};
    char *got = malloc(1 << 20);
    for (unsigned i = 0; i < 1000; i++) {
        builder_clear(&input);
        builder_clear(&expected);
        send_fragmented(&input, &expected, &rand);
        struct bytes left = builder_bytes(&input);
        while (left.len > 0) {
            size_t len = 1 + rand_below(&rand, left.len);
            cr_assert(rig_send(fd, bytes_of(left.at, len)));
            left = bytes_skip(left, len);
        }
        size_t len = builder_bytes(&expected).len;
        cr_assert_eq(
            rig_recv(fd, got, len), len, "seed %llu message %u", (unsigned long long)seed, i);
        cr_assert_eq(memcmp(got, builder_bytes(&expected).at, len), 0);
    }
    close(fd);
    cr_expect(rig_wait(&server->rig, 0, is_closed, server));
    cr_expect_eq(server->messages, 1000);
    cr_expect_not(server->taken_away);
    builder_reset(&input);
    builder_reset(&expected);
    free(got);
    stop(server);
}

Test(websocket, fragments_and_pings_leave_no_receiver_borrowed)
{
    run_fragmented(false);
}

Test(websocket, moves_with_each_message)
{
    run_fragmented(true);
}

Test(websocket, survives_resets_at_any_moment)
{
    struct server *server = start(2);
    server->moves = true;
    struct rand rand;
    rand_init(&rand, 3);
    struct builder input = {0};
    for (unsigned i = 0; i < 200; i++) {
        struct builder expected = {0};
        send_fragmented(&input, &expected, &rand);
        builder_reset(&expected);
        int fd = rig_connect(&server->rig);
        struct bytes all = builder_bytes(&input);
        rig_send(fd, bytes_of(all.at, 1 + rand_below(&rand, all.len)));
        if (i % 2) {
            rig_reset(fd);
        } else {
            close(fd);
        }
        builder_clear(&input);
    }
    cr_expect(rig_wait(&server->rig, 0, is_closed, server));
    builder_reset(&input);
    stop(server);
}
