/* SPDX-License-Identifier: Apache-2.0 */
/* The bus against a scripted server that misbehaves. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/status.h"
#include "tests/support/bus_client.h"

/*
 * A server on the probe's loop. Each connection gets `setup` once a PING came, and `answer`, cut in
 * two at `cut`, once something more came; then it is closed if `hang_up`.
 */
struct fake {
    uv_tcp_t listener;
    int port;
    struct bytes setup;
    struct bytes answer;
    size_t cut;
    bool hang_up;
    unsigned accepted;
    unsigned closed;
};

struct peer {
    uv_tcp_t tcp;
    uv_timer_t later;
    struct fake *fake;
    unsigned handles;
    bool set_up;
    bool answered;
    char input[65536];
};

static struct fake fake;
static struct bus_client client;

static void quiet(void)
{
    log_set_level(LOG_ERROR);
}

TestSuite(redis_fake, .init = quiet, .timeout = 60);

static void on_handle_closed(uv_handle_t *handle)
{
    struct peer *peer = handle->data;
    if (--peer->handles == 0) {
        peer->fake->closed++;
        free(peer);
    }
}

static void hang_up(struct peer *peer)
{
    if (!uv_is_closing((uv_handle_t *)&peer->tcp)) {
        uv_close((uv_handle_t *)&peer->tcp, on_handle_closed);
        uv_close((uv_handle_t *)&peer->later, on_handle_closed);
    }
}

static void say(struct peer *peer, struct bytes text)
{
    uv_buf_t buf = uv_buf_init((char *)text.at, (unsigned)text.len);
    if (text.len > 0) {
        uv_try_write((uv_stream_t *)&peer->tcp, &buf, 1);
    }
}

static void on_later(uv_timer_t *timer)
{
    struct peer *peer = timer->data;
    say(peer, bytes_skip(peer->fake->answer, peer->fake->cut));
    if (peer->fake->hang_up) {
        hang_up(peer);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)suggested;
    struct peer *peer = handle->data;
    *ret_buf = uv_buf_init(peer->input, sizeof(peer->input));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct peer *peer = stream->data;
    if (count < 0) {
        hang_up(peer);
    } else if (!peer->set_up) {
        peer->set_up = memmem(buf->base, (size_t)count, "PING", 4) != NULL;
        say(peer, peer->set_up ? peer->fake->setup : BYTES(""));
    } else if (!peer->answered) {
        peer->answered = true;
        say(peer, bytes_of(peer->fake->answer.at, peer->fake->cut));
        uv_timer_start(&peer->later, on_later, 1, 0);
    }
}

static void on_accept(uv_stream_t *listener, int status)
{
    struct fake *owner = listener->data;
    cr_assert_eq(status, 0);
    struct peer *peer = calloc(1, sizeof(*peer));
    peer->fake = owner;
    peer->handles = 2;
    owner->accepted++;
    uv_tcp_init(listener->loop, &peer->tcp);
    uv_timer_init(listener->loop, &peer->later);
    peer->tcp.data = peer;
    peer->later.data = peer;
    cr_assert_eq(uv_accept(listener, (uv_stream_t *)&peer->tcp), 0);
    uv_tcp_nodelay(&peer->tcp, 1);
    uv_read_start((uv_stream_t *)&peer->tcp, on_alloc, on_read);
}

/* Open the fake and a probe on it. The port is bound by the fake before the probe's loop runs. */
static void open_fake(struct redis_options *options, struct bytes setup, struct bytes answer)
{
    static char url[64];
    fake = (struct fake){.setup = setup, .answer = answer, .cut = answer.len};
    struct sockaddr_in address;
    struct sockaddr_in bound;
    int len = sizeof(bound);
    /* The loop is the probe's, so the listener is made with it: first the socket, then the URL. */
    uv_os_sock_t sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uv_ip4_addr("127.0.0.1", 0, &address);
    cr_assert_eq(bind(sock, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(getsockname(sock, (struct sockaddr *)&bound, (socklen_t *)&len), 0);
    fake.port = ntohs(bound.sin_port);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", fake.port);
    options->target = bus_client_target(url);
    options->backoff_min_ms = options->backoff_min_ms != 0 ? options->backoff_min_ms : 2;
    options->backoff_max_ms = options->backoff_max_ms != 0 ? options->backoff_max_ms : 4;
    bus_client_open(&client, options);
    uv_tcp_init(&client.loop, &fake.listener);
    fake.listener.data = &fake;
    cr_assert_eq(uv_tcp_open(&fake.listener, sock), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&fake.listener, 16, on_accept), 0);
}

static void close_fake(void)
{
    uv_close((uv_handle_t *)&fake.listener, NULL);
    bus_client_close(&client);
    cr_assert_eq(fake.closed, fake.accepted);
}

static const struct bytes up = {.at = "+OK\r\n+PONG\r\n", .len = 12};

/* Answers that are no RESP, or not within bounds: each must cost the connection, cut anywhere. */
Test(redis_fake, reconnects_after_malformed_answers_at_every_cut)
{
    static const char *const answers[] = {"nonsense\r\n", "*-2\r\n", "*9223372036854775808\r\n",
        "*2147483648\r\n", "$-7\r\n", "$99999999999999999999\r\n", ":12x\r\n", "%1\r\n+a\r\n+b\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "*2147483647\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct redis_options options = {0};
        open_fake(&options, up, bytes_str(answers[i]));
        for (size_t cut = 0; cut <= fake.answer.len; cut++) {
            fake.cut = cut;
            bus_client_wait_up(&client, true);
            unsigned ups = client.ups;
            bus_client_send(&client, "GET a", 0);
            bus_client_wait(&client, &client.replies, client.sent);
            cr_assert_eq(client.answered, 0, "%s", answers[i]);
            bus_client_wait(&client, &client.ups, ups + 1);
        }
        cr_assert_eq(redis_get_stats(client.bus).protocol_errors, fake.answer.len + 1);
        close_fake();
    }
}

Test(redis_fake, reads_a_good_answer_at_every_cut)
{
    struct redis_options options = {0};
    open_fake(&options, up, BYTES("*2\r\n$3\r\nabc\r\n*2\r\n:7\r\n$-1\r\n"));
    fake.hang_up = true;
    for (size_t cut = 0; cut <= fake.answer.len; cut++) {
        fake.cut = cut;
        bus_client_wait_up(&client, true);
        bus_client_send(&client, "GET a", 0);
        bus_client_wait(&client, &client.answered, (unsigned)cut + 1);
        cr_assert_eq(client.last_type, BUS_ARRAY);
        bus_client_wait(&client, &client.downs, (unsigned)cut + 1);
    }
    close_fake();
}

Test(redis_fake, stays_down_while_the_server_is_not_ready)
{
    static const char *const setups[] = {"+OK\r\n-LOADING Redis is loading\r\n",
        "-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n",
        "+OK\r\n-MASTERDOWN Link with MASTER is down\r\n", "+OK\r\n:1\r\n", "+OK\r\n$-1\r\n",
        "*0\r\n+PONG\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(setups); i++) {
        struct redis_options options = {0};
        open_fake(&options, bytes_str(setups[i]), BYTES(""));
        bus_client_wait(&client, &fake.accepted, 4);
        cr_assert_eq(client.ups, 0, "%s", setups[i]);
        cr_assert_eq(client.downs, 0);
        fake.setup = up;
        bus_client_wait_up(&client, true);
        close_fake();
    }
}

Test(redis_fake, forgives_a_refused_client_name)
{
    struct redis_options options = {0};
    open_fake(&options, BYTES("-NOPERM this user has no permissions\r\n+PONG\r\n"), BYTES(""));
    bus_client_wait_up(&client, true);
    cr_assert_eq(fake.accepted, 1);
    close_fake();
}

Test(redis_fake, passes_error_replies_on)
{
    static const char *const errors[] = {"-OOM command not allowed\r\n", "-BUSY script\r\n",
        "-MISCONF Errors writing to the AOF file\r\n", "-MOVED 1 127.0.0.1:1\r\n", "-\r\n",
        "-ERR syntax error\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct redis_options options = {0};
        open_fake(&options, up, bytes_str(errors[i]));
        bus_client_wait_up(&client, true);
        bus_client_send(&client, "SET a b", 0);
        bus_client_wait(&client, &client.errors, 1);
        cr_assert_eq(client.downs, 0);
        close_fake();
    }
}

Test(redis_fake, ignores_no_answer_that_was_not_asked_for)
{
    struct redis_options options = {0};
    open_fake(&options, up, BYTES("+OK\r\n+OK\r\n"));
    bus_client_wait_up(&client, true);
    bus_client_send(&client, "SET a b", 0);
    bus_client_wait(&client, &client.downs, 1);
    cr_assert_eq(client.answered, 1);
    close_fake();
}

Test(redis_fake, accepts_only_pushes_on_a_subscribed_connection)
{
    static const char *const answers[] = {"+OK\r\n", ":1\r\n", "$-1\r\n", "*0\r\n", "*1\r\n:1\r\n",
        "*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\nx\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$-1\r\n",
        "*2\r\n$7\r\nmessage\r\n$1\r\nc\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n$1\r\n1\r\n",
        "*3\r\n$4\r\nwhat\r\n$1\r\nc\r\n:1\r\n", "-NOPERM No permissions to access a channel\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct redis_options options = {0};
        open_fake(&options, up, bytes_str(answers[i]));
        client.bus->ops->subscribe(client.link, BYTES("c"));
        bus_client_wait(&client, &client.downs, 2);
        cr_assert_eq(client.subscribed, 0, "%s", answers[i]);
        cr_assert_eq(client.messages, 0, "%s", answers[i]);
        close_fake();
    }
}

/* The answer holds messages before, between and after two confirmations of channel "c". */
Test(redis_fake, delivers_nothing_before_the_confirmation)
{
    struct redis_options options = {0};
    open_fake(&options, up,
        BYTES("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nearly\r\n"
              "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
              "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nold\r\n"
              "*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n"
              "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
              "*2\r\n$4\r\npong\r\n$0\r\n\r\n+PONG\r\n"
              "*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$5\r\nother\r\n"
              "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nnew\r\n"));
    bus_client_wait_up(&client, true);
    client.bus->ops->subscribe(client.link, BYTES("c"));
    client.bus->ops->unsubscribe(client.link, BYTES("c"));
    client.bus->ops->subscribe(client.link, BYTES("c"));
    bus_client_wait(&client, &client.messages, 1);
    cr_assert_eq(client.subscribed, 1);
    cr_assert_eq(client.messages, 1);
    cr_assert_str_eq(client.last_payload, "new");
    cr_assert_eq(client.downs, 0);
    close_fake();
}

Test(redis_fake, gives_up_connecting_in_time)
{
    struct redis_options options = {.connect_timeout_ms = 30};
    open_fake(&options, BYTES(""), BYTES(""));
    bus_client_wait(&client, &fake.accepted, 3);
    cr_assert_geq(redis_get_stats(client.bus).timeouts, 2);
    cr_assert_eq(client.ups, 0);
    close_fake();
}

/* Behind the ninth failure a pause of 5 to 10 s would follow. */
Test(redis_fake, asks_once_a_second_for_a_server_that_has_just_gone)
{
    struct redis_options options = {.backoff_min_ms = 500, .backoff_max_ms = 100000};
    open_fake(&options, BYTES("-LOADING\r\n-LOADING\r\n"), BYTES(""));
    uint64_t start = uv_hrtime();
    bus_client_wait(&client, &fake.accepted, 7);
    /* Pauses of 500 ms at first and then of at most 1 s; doubled they were 16 s at least. */
    cr_assert_lt(uv_hrtime() - start, UINT64_C(15000000000));
    close_fake();
}

Test(redis_fake, pauses_longer_after_each_failure)
{
    struct redis_options options = {.backoff_min_ms = 10, .backoff_max_ms = 10000};
    open_fake(&options, BYTES("-LOADING\r\n-LOADING\r\n"), BYTES(""));
    uint64_t start = uv_hrtime();
    bus_client_wait(&client, &fake.accepted, 7);
    /* six pauses of at least half of 10, 20, 40, 80, 160, 320 ms */
    cr_assert_geq(uv_hrtime() - start, 300u * 1000000u);
    close_fake();
}

enum { MORE_LINKS = 8 };

/* Links of one bus while the server is away: one asks for it, all are up as soon as it is. */
Test(redis_fake, one_link_asks_for_a_server_that_is_away)
{
    static const struct bus_events no_events = {0};
    struct bus_link *more[MORE_LINKS];
    struct redis_options options = {.backoff_min_ms = 20, .backoff_max_ms = 40};
    open_fake(&options, BYTES("-LOADING\r\n-LOADING\r\n"), BYTES(""));
    for (size_t i = 0; i < MORE_LINKS; i++) {
        more[i] = client.bus->ops->open(client.bus, "more", &no_events, NULL);
    }
    /* All try at first; had each gone on by itself, they would be in step with the first one. */
    bus_client_wait(&client, &fake.accepted, 1 + MORE_LINKS);
    bus_client_wait(&client, &fake.accepted, 1 + MORE_LINKS + 10);
    uint64_t start = uv_hrtime();
    bus_client_wait(&client, &fake.accepted, 1 + MORE_LINKS + 20);
    /* ten pauses of at least 20 ms; nine links make ten attempts in two of them */
    cr_assert_geq(uv_hrtime() - start, 150u * 1000000u);
    fake.setup = up;
    bus_client_wait_up(&client, true);
    struct redis_stats stats;
    do {
        uv_run(&client.loop, UV_RUN_ONCE);
        stats = redis_get_stats(client.bus);
    } while (stats.links_up < stats.links);
    client.bus->ops->close(more[0]); /* while others live, and while it may be the one that asks */
    for (size_t i = 1; i < MORE_LINKS; i++) {
        client.bus->ops->close(more[i]);
    }
    close_fake();
}

Test(redis_fake, another_link_asks_when_the_one_that_did_is_closed)
{
    static const struct bus_events no_events = {0};
    struct redis_options options = {0};
    open_fake(&options, BYTES("-LOADING\r\n-LOADING\r\n"), BYTES(""));
    struct bus_link *first = client.link; /* connects first, and fails first */
    bus_client_wait(&client, &fake.accepted, 3);
    struct bus_link *second = client.bus->ops->open(client.bus, "second", &no_events, NULL);
    bus_client_wait(&client, &fake.accepted, 6);
    client.bus->ops->close(first);
    client.link = second;
    fake.setup = up;
    while (redis_get_stats(client.bus).links_up == 0) {
        uv_run(&client.loop, UV_RUN_ONCE);
    }
    close_fake();
}
