/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stage 3 (handshake) of the data path.
 *
 * A connection's server is small while it waits for a request (struct server); the head, the body
 * and what the handler sees exist from the end of the head to the answer (struct exchange). States:
 * HEAD -> BODY -> BUSY (with the handler) -> HEAD, or -> CLOSING. The next head is looked at only
 * when the last answer has been written, so an answer always finds an empty outbox.
 */
#include "hub/net/http_server.h"

#include <stdio.h>
#include <string.h>

#include "actors/deliver/outbox.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1_chunked.h"
#include "hub/net/connection.h"
#include "hub/net/half_open.h"
#include "hub/net/http_admit.h"
#include "hub/net/http_answer.h"
#include "hub/net/http_body.h"
#include "hub/net/http_cors.h"
#include "hub/net/http_route.h"
#include "hub/net/loop.h"

enum {
    READ_SIZE = 64 << 10,
    ANSWERS_MAX = 16 << 10,
};

enum state { HEAD, BODY, BUSY, CLOSING };

struct server {
    struct connection *connection;
    const struct http_server_config *config;
    struct http1_parser parser;
    struct exchange *exchange; /* NULL while there is no complete head */
    struct timer timer; /* of the head, the body or keep-alive */
    struct half_open half; /* while a head is awaited: the first one, or one that has begun */
    bool *ended; /* set when the server is freed while on_bytes runs */
    uint8_t state; /* enum state */
    bool begun; /* bytes of a head are there */
    bool again; /* a request was answered before */
    bool paused; /* enough waits behind the current request, or behind answers not taken */
};

struct exchange {
    struct http_request request; /* first: handlers hold its address */
    struct server *server;
    const struct http_route *route; /* NULL: none matched */
    struct http1_request head;
    struct http1_chunked chunked;
    struct builder body;
    uint64_t began_ns;
    uint64_t body_left; /* of a body with a length */
    bool body_unread; /* answered before the body was read: close */
    bool waited; /* route->waiting was called */
    bool authenticated; /* to be told */
    char text[]; /* the head's bytes */
};

static struct exchange *exchange_of(const struct http_request *request)
{
    return container_of(request, struct exchange, request);
}

/* --- deadlines --- */

static struct shard *shard_of_server(const struct server *server)
{
    return loop_shard(connection_loop(server->connection));
}

static void set_deadline(struct server *server, uint32_t ms)
{
    struct sched *sched = shard_of_server(server)->sched;
    timer_set(sched_timers(sched), &server->timer, sched_now(sched) + ms);
}

static void cancel_deadline(struct server *server)
{
    timer_cancel(sched_timers(shard_of_server(server)->sched), &server->timer);
}

/* --- answering --- */

static void free_exchange(struct server *server)
{
    if (server->exchange != NULL) {
        builder_reset(&server->exchange->body);
        mem_free(server->exchange);
        server->exchange = NULL;
    }
}

static void end_waiting(struct server *server)
{
    half_open_done(connection_loop(server->connection), &server->half);
}

static void free_server(struct server *server)
{
    cancel_deadline(server);
    end_waiting(server);
    free_exchange(server);
    if (server->ended != NULL) {
        *server->ended = true;
    }
    mem_free(server);
}

static bool append_chunk(struct server *server, struct chunk *chunk)
{
    bool taken = outbox_append(connection_outbox(server->connection),
        &shard_of_server(server)->dirty_outboxes, chunk, 0, chunk->len);
    chunk_unref(chunk);
    return taken;
}

static void end_connection(struct server *server, enum close_reason reason, bool flush)
{
    server->state = CLOSING;
    cancel_deadline(server);
    end_waiting(server);
    connection_close(server->connection, reason, flush);
}

static void end_half(struct half_open *half)
{
    end_connection(container_of(half, struct server, half), CLOSE_HANDSHAKE_TIMEOUT, false);
}

static bool has_unread(const struct half_open *half)
{
    return connection_has_unread(container_of(half, struct server, half)->connection);
}

static const struct half_open_ops half_ops = {.has_unread = has_unread, .end = end_half};

static void begin_waiting(struct server *server)
{
    half_open_begin(connection_loop(server->connection), &server->half,
        server->config->half_open_max, &half_ops);
}

/* What follows an answer: the end, or the next request. */
static void go_on(struct server *server, bool keep_alive)
{
    free_exchange(server);
    connection_unclaim(server->connection);
    if (!keep_alive) {
        end_connection(server, CLOSE_NORMAL, true);
        return;
    }
    server->state = HEAD;
    server->begun = false;
    server->again = true;
    server->parser = (struct http1_parser){
        .max_head = server->config->max_head_bytes, .max_headers = server->config->max_headers};
    set_deadline(server, server->config->idle_timeout_ms);
    if (server->paused) {
        server->paused = false;
        connection_resume(server->connection);
    } else if (server->ended == NULL) {
        connection_again(server->connection);
    }
}

/* Put an answer, or its head, into the outbox; false when it takes no more. */
static bool put_answer(struct server *server, struct http_answer *answer)
{
    struct builder cors = {0};
    const struct exchange *exchange = server->exchange;
    if (exchange != NULL) {
        http_cors_add(server->config, &exchange->request, exchange->route, &cors);
        answer->cors = builder_bytes(&cors);
        answer->unsafe = !http_is_safe(&exchange->request);
        const char *timed = server->config->timed;
        answer->timed = timed != NULL && bytes_starts(exchange->request.path, bytes_str(timed));
        answer->took_ns = clock_mono_ns() - exchange->began_ns;
    }
    struct chunk *chunk = http_answer_make(answer);
    if (exchange != NULL && server->config->observe != NULL) {
        server->config->observe(
            server->config->context, &exchange->request, answer->status, answer->took_ns);
    }
    builder_reset(&cors);
    bool taken = append_chunk(server, chunk);
    if (taken && http_answer_is_behind(answer)) {
        taken = append_chunk(server, chunk_borrow(answer->body));
    }
    return taken;
}

static void send_answer(struct server *server, struct http_answer *answer)
{
    go_on(server, put_answer(server, answer) && answer->keep_alive);
}

static void send_refusal(
    struct server *server, const struct http_refusal *refusal, struct bytes headers)
{
    unsigned status = refusal->status;
    struct builder body = {0};
    const struct exchange *exchange = server->exchange;
    shard_of_server(server)->stats.http_refused++;
    http_route_write_error(&body, errors_of_status(status), refusal->message, refusal->field);
    struct http_answer answer = {
        .status = status,
        .content_type = "application/json",
        .headers = headers,
        .body = builder_bytes(&body),
        .keep_alive = exchange != NULL && exchange->head.keep_alive && !exchange->body_unread,
        .head_only = exchange != NULL && exchange->head.method == HTTP1_HEAD,
    };
    send_answer(server, &answer);
    builder_reset(&body);
}

static void send_error(struct server *server, unsigned status, struct bytes headers)
{
    send_refusal(
        server, &(struct http_refusal){.status = status, .message = http1_reason(status)}, headers);
}

/* Refuse a request whose route is known, in the way of the route. */
static void refuse_body(struct server *server, unsigned status)
{
    const struct exchange *exchange = server->exchange;
    if (exchange == NULL || exchange->route->refuse == NULL) {
        send_error(server, status, bytes_of(NULL, 0));
        return;
    }
    exchange->route->refuse(&server->exchange->request, status, server->config->context);
}

/* What an answer has of the request. */
static void complete_answer(const struct exchange *exchange, struct http_answer *answer)
{
    answer->keep_alive = exchange->head.keep_alive && !exchange->body_unread;
    answer->head_only = exchange->head.method == HTTP1_HEAD;
    answer->authenticated = exchange->authenticated;
}

static void respond(struct http_request *request, struct http_answer answer)
{
    const struct exchange *exchange = exchange_of(request);
    complete_answer(exchange, &answer);
    send_answer(exchange->server, &answer);
}

bool http_begin(struct http_request *request, struct http_answer *answer)
{
    const struct exchange *exchange = exchange_of(request);
    complete_answer(exchange, answer);
    answer->framing = exchange->head.minor > 0 ? HTTP_FRAMING_CHUNKED : HTTP_FRAMING_CLOSE;
    answer->keep_alive = answer->keep_alive && answer->framing == HTTP_FRAMING_CHUNKED;
    bool taken = put_answer(exchange->server, answer);
    if (taken && answer->framing != HTTP_FRAMING_LENGTH && !answer->head_only) {
        return true;
    }
    go_on(exchange->server, answer->keep_alive && taken);
    return false;
}

void http_end(struct http_request *request, bool keep_alive)
{
    const struct exchange *exchange = exchange_of(request);
    go_on(exchange->server, keep_alive && exchange->head.keep_alive && !exchange->body_unread);
}

void http_respond(struct http_request *request, unsigned status, const char *content_type,
    struct bytes headers, struct bytes body)
{
    respond(request,
        (struct http_answer){
            .status = status, .content_type = content_type, .headers = headers, .body = body});
}

/* Whether the outbox takes the body behind a head: what is too large for that is one piece. */
static bool takes_behind(const struct http_request *request, struct bytes body)
{
    const struct outbox *outbox = connection_outbox(request->connection);
    return body.len <= outbox->limits.max / 2;
}

void http_respond_lasting(
    struct http_request *request, const char *content_type, struct bytes headers, struct bytes body)
{
    respond(request, (struct http_answer){.status = 200,
                         .content_type = content_type,
                         .headers = headers,
                         .body = body,
                         .lasting = takes_behind(request, body)});
}

void http_authenticated(struct http_request *request)
{
    struct exchange *exchange = exchange_of(request);
    connection_authenticated(request->connection);
    exchange->authenticated = exchange->server->config->tells_authenticated;
}

void http_close(struct http_request *request, struct bytes response, enum close_reason reason)
{
    struct server *server = exchange_of(request)->server;
    struct builder out = {0};
    builder_add(&out, response);
    bool taken = connection_send(server->connection, &out);
    free_exchange(server);
    end_connection(server, reason, taken);
}

/* Let go of the connection, which somebody else has from now on. */
static void let_go(struct server *server)
{
    if (server->paused) {
        connection_resume(server->connection);
    }
    free_server(server);
}

void http_upgrade(struct http_request *request, struct bytes response)
{
    struct server *server = exchange_of(request)->server;
    struct builder out = {0};
    builder_add(&out, response);
    if (!connection_send(server->connection, &out)) {
        connection_close(server->connection, CLOSE_TRANSPORT, false);
    }
    let_go(server);
}

bool http_hand_over(struct http_request *request, struct http_answer *answer)
{
    const struct exchange *exchange = exchange_of(request);
    complete_answer(exchange, answer);
    answer->framing = HTTP_FRAMING_CLOSE;
    answer->keep_alive = false;
    bool taken = put_answer(exchange->server, answer);
    if (!taken || answer->framing != HTTP_FRAMING_CLOSE || answer->head_only) {
        go_on(exchange->server, false);
        return false;
    }
    let_go(exchange->server);
    return true;
}

void *http_context(const struct http_request *request)
{
    return exchange_of(request)->server->config->context;
}

const struct http_route *http_route_of(const struct http_request *request)
{
    return exchange_of(request)->route;
}

int http_param(const struct http_request *request, unsigned n, char *buffer, size_t size,
    struct bytes *ret_value)
{
    const struct exchange *exchange = exchange_of(request);
    return http_route_param(exchange->route->path, request->path, n, buffer, size, ret_value);
}

/* --- requests --- */

static uint32_t max_body(const struct server *server)
{
    uint32_t most = server->exchange->route->max_body;
    return most == HTTP_BODY_CONFIGURED ? server->config->max_body_bytes : most;
}

static void dispatch(struct server *server)
{
    struct exchange *exchange = server->exchange;
    server->state = BUSY;
    cancel_deadline(server);
    exchange->body_unread = false;
    bool decoded = exchange->route->query != NULL; /* of the API: Engine.IO reads its own */
    unsigned refusal =
        decoded ? http_body_decode(&exchange->head, max_body(server), &exchange->body) : 0;
    if (refusal != 0) {
        refuse_body(server, refusal);
        return;
    }
    exchange->request.body = builder_bytes(&exchange->body);
    exchange->route->handler(&exchange->request, server->config->context);
}

/* The head's bytes move on: keep them, and let its slices point there. NULL: no memory. */
static struct exchange *make_exchange(
    struct server *server, const struct http1_request *head, struct bytes text)
{
    struct exchange *exchange = mem_try_calloc(1, sizeof(*exchange) + text.len);
    if (exchange == NULL) {
        return NULL;
    }
    struct http1_request *copy = &exchange->head;
    memcpy(exchange->text, text.at, text.len);
    *copy = *head;
    http1_request_move(copy, text, exchange->text);
    exchange->server = server;
    exchange->began_ns = clock_mono_ns();
    exchange->request = (struct http_request){
        .connection = server->connection,
        .loop = connection_loop(server->connection),
        .head = copy,
        .path = copy->path,
        .query = copy->query,
    };
    return exchange;
}

/* A path that has no such route, unless a page asks what it may do there. */
static void refuse_route(struct server *server, struct bytes path)
{
    struct builder headers = {0};
    struct http_request *request = &server->exchange->request;
    if (http_cors_preflight(server->config, request, &headers)) {
        http_respond(request, 204, NULL, builder_bytes(&headers), bytes_of(NULL, 0));
        builder_reset(&headers);
        return;
    }
    char allow[HTTP_ROUTE_ALLOW_MAX];
    struct bytes header = http_route_allow(server->config->routes, path, allow);
    send_error(server, header.len > 0 ? 405 : 404, header);
}

/* Whether the query is as the route says; false: the request was answered. */
static bool check_query(struct server *server)
{
    const char *known = server->exchange->route->query;
    struct http_route_fault fault;
    if (known == NULL || http_route_check_query(known, server->exchange->request.query, &fault)) {
        return true;
    }
    const struct http_refusal refusal = {
        .status = 400, .message = fault.message, .field = fault.field};
    send_refusal(server, &refusal, bytes_of(NULL, 0));
    return false;
}

/* Whether a body follows; false also when the request was answered. */
static bool expect_body(struct server *server)
{
    struct exchange *exchange = server->exchange;
    const struct http1_request *head = &exchange->head;
    bool has_body = exchange->body_unread;
    if (head->has_content_length && head->content_length > max_body(server)) {
        refuse_body(server, 413);
        return false;
    }
    if (!check_query(server)) {
        return false;
    }
    const bool *ended = server->ended; /* on_bytes is running */
    bool wanted = exchange->route->head == NULL ||
                  exchange->route->head(&exchange->request, server->config->context);
    if (*ended || !wanted) {
        return false;
    }
    if (!has_body) {
        dispatch(server);
        return false;
    }
    exchange->body.max = max_body(server);
    exchange->body_left = head->content_length;
    exchange->chunked = (struct http1_chunked){.max_body = max_body(server)};
    if (head->expect_100) {
        struct builder out = {0};
        http1_write_status_line(&out, 100);
        builder_str(&out, "\r\n");
        (void)connection_send(server->connection, &out);
    }
    return true;
}

/* Returns how many bytes were used. */
static size_t take_head(struct server *server, struct bytes input)
{
    struct http1_request head;
    if (!server->begun && server->again) {
        set_deadline(server, server->config->head_timeout_ms);
        begin_waiting(server);
    }
    server->begun = true;
    int len = http1_parse(&server->parser, input, &head);
    if (len == 0) {
        return 0;
    }
    end_waiting(server);
    if (len < 0) {
        send_error(server, server->parser.refusal, bytes_of(NULL, 0));
        return input.len;
    }
    struct exchange *exchange = make_exchange(server, &head, bytes_of(input.at, (size_t)len));
    if (exchange == NULL) {
        send_error(server, 503, BYTES("Retry-After: 1\r\n"));
        return input.len;
    }
    exchange->body_unread = head.chunked || head.content_length > 0;
    server->exchange = exchange;
    server->state = BUSY;
    if (!http_admit(server->connection, server->config, &exchange->head)) {
        send_error(server, 429, BYTES("Retry-After: 1\r\n"));
        return (size_t)len;
    }
    const struct http_refusal *refusal =
        server->config->refuse != NULL
            ? server->config->refuse(server->config->context, &exchange->head)
            : NULL;
    if (refusal != NULL) {
        send_refusal(server, refusal, bytes_str(refusal->headers));
        return (size_t)len;
    }
    exchange->route = http_route_find(
        server->config->routes, http1_method_text(head.method), exchange->head.path);
    if (exchange->route == NULL) {
        refuse_route(server, exchange->head.path);
    } else if (expect_body(server)) {
        server->state = BODY;
        set_deadline(server, server->config->body_timeout_ms);
    }
    return (size_t)len;
}

static size_t take_body(struct server *server, struct bytes input)
{
    struct exchange *exchange = server->exchange;
    struct bytes data = input;
    int used;
    if (exchange->head.chunked) {
        used = http1_chunked_feed(&exchange->chunked, input, &data);
    } else {
        data.len = data.len < exchange->body_left ? data.len : (size_t)exchange->body_left;
        exchange->body_left -= data.len;
        used = (int)data.len;
    }
    if (used < 0) {
        refuse_body(server, used == STATUS_TOO_LARGE ? 413 : 400);
        return input.len;
    }
    builder_add(&exchange->body, data);
    if (builder_failed(&exchange->body)) {
        refuse_body(server, builder_status(&exchange->body) == STATUS_NOMEM ? 503 : 413);
        return input.len;
    }
    bool done =
        exchange->head.chunked ? http1_chunked_done(&exchange->chunked) : exchange->body_left == 0;
    if (done) {
        dispatch(server);
    }
    return (size_t)used;
}

/*
 * Whether the next request may be looked at: small answers leave together, but not many wait, and
 * none while the peer does not read.
 */
static bool may_begin(struct server *server)
{
    struct outbox *outbox = connection_outbox(server->connection);
    if (!outbox->busy && outbox->bytes < ANSWERS_MAX) {
        return true;
    }
    if (!outbox->busy) {
        connection_again(server->connection);
    }
    return false;
}

/* Tell the route that a body is to follow. */
static void tell_waiting(struct server *server)
{
    struct exchange *exchange = server->exchange;
    if (server->state == BODY && !exchange->waited) {
        exchange->waited = true;
        if (exchange->route->waiting != NULL) {
            exchange->route->waiting(&exchange->request, server->config->context);
        }
    }
}

/* Whether what has come must wait: for the answer to what is before it, or until that is taken. */
static bool must_wait(const struct server *server)
{
    return server->state == BUSY ||
           (server->state == HEAD && connection_outbox(server->connection)->busy);
}

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct server *server = connection_owner(connection);
    bool ended = false;
    size_t used = 0;
    server->ended = &ended;
    while (!ended && used < bytes.len && server->state != BUSY) {
        struct bytes input = bytes_skip(bytes, used);
        size_t taken = 0;
        if (server->state == CLOSING) {
            taken = input.len;
        } else if (server->state == BODY) {
            taken = take_body(server, input);
        } else if (may_begin(server)) {
            taken = take_head(server, input);
        }
        if (taken == 0) {
            break;
        }
        used += taken;
    }
    if (!ended) {
        tell_waiting(server);
    }
    if (ended) {
        return used;
    }
    server->ended = NULL;
    if (must_wait(server) && !server->paused &&
        bytes.len - used >= server->config->max_head_bytes) {
        server->paused = true;
        connection_pause(connection);
    }
    return used;
}

static void on_timer(struct timer *timer)
{
    struct server *server = container_of(timer, struct server, timer);
    if (server->begun) {
        refuse_body(server, 408);
    } else {
        end_connection(server, CLOSE_NORMAL, true);
    }
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct server *server = connection_owner(connection);
    struct exchange *exchange = server->exchange;
    if (exchange != NULL && exchange->request.gone != NULL) {
        exchange->request.gone(&exchange->request);
    }
    free_server(server);
}

/* The last answer is written: what waits behind it may begin; or what there is of one. */
static void on_drained(struct connection *connection)
{
    struct server *server = connection_owner(connection);
    struct exchange *exchange = server->exchange;
    if (server->state == HEAD && server->paused) {
        server->paused = false;
        connection_resume(connection);
    } else if (server->state == HEAD) {
        connection_again(connection);
    } else if (exchange != NULL && exchange->request.drained != NULL) {
        exchange->request.drained(&exchange->request);
    }
}

/* The peer does not take its answer: it is closed. */
static bool on_slow(struct connection *connection, uint64_t ms, bool overflow)
{
    connection_report_slow(connection, ms);
    return false;
}

static const struct connection_ops ops = {
    .on_bytes = on_bytes,
    .on_closed = on_closed,
    .on_drained = on_drained,
    .on_slow = on_slow,
    .sheds = true,
};

void http_serve(struct connection *connection, const struct http_server_config *config)
{
    struct server *server = mem_try_calloc(1, sizeof(*server));
    if (server == NULL) {
        connection_close(connection, CLOSE_NO_MEMORY, false);
        return;
    }
    server->connection = connection;
    server->config = config;
    server->parser = (struct http1_parser){
        .max_head = config->max_head_bytes, .max_headers = config->max_headers};
    timer_init(&server->timer, on_timer);
    set_deadline(server, config->head_timeout_ms);
    list_init(&server->half.link);
    begin_waiting(server);
    connection_set_limit(connection, config->max_head_bytes + 2 * READ_SIZE);
    connection_own(connection, &ops, server);
}
