/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on its way to the node whose session it is for, and the answer on its way back.
 *
 * Order of this file: the end, answers, requests, finding the node.
 *
 * States: ASKING (the directory) -> CALLING (the node) -> WAITING (for its answer). `request` is
 * NULL once the client has gone. A forward is freed when neither the directory, the call nor the
 * connection will come back to it.
 */
#include "hub/cluster/forward.h"

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1_answer.h"
#include "hub/cluster/cluster_link.h"
#include "hub/cluster/node_directory.h"
#include "hub/net/connection.h"
#include "hub/net/http_answer.h"
#include "hub/net/http_server.h"
#include "hub/net/loop.h"
#include "hub/net/splice.h"

enum { HEAD_MAX = 16 << 10, INPUT_MAX = 160 << 10 };

struct forwards {
    struct forward_options options;
    struct cluster_pool pool;
    bool stopped;
};

struct forward {
    struct forwards *forwards;
    struct http_request *request;
    struct node_question question; /* in a list while asking */
    struct cluster_link *call; /* while calling */
    struct connection *node; /* while waiting */
    struct http1_answer answer; /* lines: in `lines` */
    struct builder lines; /* to be passed back */
    struct builder body;
    uint16_t tag;
    bool answering; /* the head of the answer is there */
    bool authenticated; /* says the node */
};

/* The end. */

static void finish(struct forward *forward)
{
    forward->forwards->options.counts->open--;
    builder_reset(&forward->lines);
    builder_reset(&forward->body);
    mem_free(forward);
}

/* The request is let go of: it can be answered. */
static struct http_request *take_request(struct forward *forward)
{
    struct http_request *request = forward->request;
    if (request != NULL) {
        request->user = NULL;
        request->gone = NULL;
        forward->request = NULL;
    }
    return request;
}

/* Answer with what cannot be done; the forward goes on to end. */
static void refuse(struct forward *forward, int why)
{
    const struct forward_options *options = &forward->forwards->options;
    struct http_request *request = take_request(forward);
    if (request != NULL) {
        options->counts->failed++;
        options->refuse(options->context, request, why);
    }
}

static void on_gone(struct http_request *request)
{
    struct forward *forward = request->user;
    forward->request = NULL;
    if (forward->node != NULL) {
        connection_close(forward->node, CLOSE_PEER, false); /* the session is told by that */
        return;
    }
    if (forward->call != NULL) {
        cluster_link_cancel(forward->call);
    } else {
        node_directory_take_back(&forward->question);
    }
    finish(forward);
}

/* Answers. */

static bool is_of_connection(struct bytes name)
{
    static const char *const names[] = {"Connection", "Content-Length", "Expect", "Keep-Alive",
        "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
        "Transfer-Encoding", "Upgrade", HTTP_AUTHENTICATED};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_eq_nocase(name, bytes_str(names[i]))) {
            return true;
        }
    }
    return false;
}

static void add_line(struct builder *out, struct bytes name, struct bytes value)
{
    builder_add(out, name);
    builder_str(out, ": ");
    builder_add(out, value);
    builder_str(out, "\r\n");
}

static void keep_lines(struct forward *forward)
{
    struct bytes lines = forward->answer.lines;
    struct bytes name;
    struct bytes value;
    while (http1_answer_next(&lines, &name, &value)) {
        if (bytes_eq_nocase(name, BYTES(HTTP_AUTHENTICATED))) {
            forward->authenticated = true;
        } else if (!is_of_connection(name)) {
            add_line(&forward->lines, name, value);
        }
    }
}

/* The node does not answer as one does. */
static void fail(struct forward *forward, enum close_reason reason)
{
    refuse(forward, STATUS_UNAVAILABLE);
    connection_close(forward->node, reason, false);
}

static void on_spliced_end(void *context)
{
    struct forwards *forwards = context;
    forwards->options.counts->open--;
}

/* Give the client the 101 as it came, and join both. */
static void join(struct forward *forward, struct bytes head)
{
    struct forwards *forwards = forward->forwards;
    struct connection *node = forward->node;
    struct http_request *request = take_request(forward);
    struct connection *client = request->connection;
    struct splice_options options = {
        .slow_consumer_ms = forwards->options.slow_consumer_ms,
        .trust_ms = forwards->options.trust_ms,
        .ended = on_spliced_end,
        .context = forwards,
    };
    connection_expire(node, CLOSE_TRANSPORT, 0);
    http_upgrade(request, head);
    splice_begin(client, node, &options);
    forwards->options.counts->open++; /* the splice, for the forward */
    finish(forward);
}

/* The answer is complete. */
static void pass_back(struct forward *forward)
{
    struct connection *node = forward->node;
    struct http_request *request = take_request(forward);
    connection_expire(node, CLOSE_TRANSPORT, 0);
    if (forward->authenticated) {
        http_authenticated(request);
    }
    if (forward->answer.keep_alive && !forward->forwards->stopped) {
        cluster_pool_put(&forward->forwards->pool, forward->tag, node);
        forward->node = NULL;
    } else {
        connection_close(node, CLOSE_NORMAL, false);
    }
    if (builder_failed(&forward->lines)) {
        http_respond_error(request, ERROR_UNAVAILABLE, "Out of memory, try again", NULL);
    } else {
        http_respond(request, forward->answer.status, NULL, builder_bytes(&forward->lines),
            builder_bytes(&forward->body));
    }
    if (forward->node == NULL) {
        finish(forward);
    }
}

/* Returns how many bytes were used; the forward may be gone afterwards. */
static size_t take_head(struct forward *forward, struct bytes bytes)
{
    struct http1_answer *answer = &forward->answer;
    int len = http1_answer_parse(bytes, HEAD_MAX, answer);
    if (len == 0) {
        return 0;
    }
    bool upgraded = len > 0 && answer->status == 101;
    if (len < 0 || answer->content_length > forward->forwards->options.answer_bytes ||
        (upgraded && !forward->request->head->has_upgrade)) {
        fail(forward, CLOSE_PROTOCOL);
        return bytes.len;
    }
    if (upgraded) {
        join(forward, bytes_of(bytes.at, (size_t)len));
        return (size_t)len;
    }
    keep_lines(forward);
    forward->answering = true;
    forward->body.max = answer->content_length + 1;
    if (answer->content_length == 0 || forward->request->head->method == HTTP1_HEAD) {
        pass_back(forward);
    }
    return (size_t)len;
}

static size_t take_body(struct forward *forward, struct bytes bytes)
{
    size_t left = forward->answer.content_length - builder_bytes(&forward->body).len;
    size_t used = bytes.len < left ? bytes.len : left;
    builder_add(&forward->body, bytes_of(bytes.at, used));
    if (builder_failed(&forward->body)) {
        fail(forward,
            builder_status(&forward->body) == STATUS_NOMEM ? CLOSE_NO_MEMORY : CLOSE_TOO_LARGE);
        return bytes.len;
    }
    if (used == left) {
        pass_back(forward);
    }
    return used;
}

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct forward *forward = connection_owner(connection);
    if (forward->request == NULL) {
        return bytes.len; /* it is being closed */
    }
    if (forward->answering) {
        return take_body(forward, bytes);
    }
    size_t used = take_head(forward, bytes);
    bool ours = connection_owner(connection) == forward && forward->request != NULL;
    return ours && used > 0 ? used + take_body(forward, bytes_skip(bytes, used)) : used;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct forward *forward = connection_owner(connection);
    (void)reason;
    refuse(forward, STATUS_UNAVAILABLE);
    finish(forward);
}

static const struct connection_ops node_ops = {.on_bytes = on_bytes, .on_closed = on_closed};

/* Requests. */

static void write_request(const struct http_request *request, struct builder *out)
{
    const struct http1_request *head = request->head;
    struct bytes upgrade;
    builder_add(out, http1_method_text(head->method));
    builder_byte(out, ' ');
    builder_add(out, head->target);
    builder_str(out, " HTTP/1.1\r\n");
    if (head->host.len == 0) {
        builder_str(out, "Host: peal\r\n");
    }
    for (size_t i = 0; i < head->header_count; i++) {
        if (!is_of_connection(head->headers[i].name)) {
            add_line(out, head->headers[i].name, head->headers[i].value);
        }
    }
    if (head->has_upgrade && http1_header_once(head, "Upgrade", &upgrade) == 0) {
        builder_str(out, "Connection: Upgrade\r\n");
        add_line(out, BYTES("Upgrade"), upgrade);
    }
    if (request->body.len > 0 || head->method == HTTP1_POST) {
        builder_printf(out, "Content-Length: %zu\r\n", request->body.len);
    }
    builder_str(out, "\r\n");
    builder_add(out, request->body);
}

/* A connection to the node is there. */
static void send_request(struct forward *forward, struct connection *connection)
{
    struct forwards *forwards = forward->forwards;
    struct builder out = {.max = SIZE_MAX}; /* the body was limited when it was read */
    write_request(forward->request, &out);
    forward->node = connection;
    connection_own(connection, &node_ops, forward);
    connection_set_limit(connection, INPUT_MAX);
    connection_expire(connection, CLOSE_TRANSPORT, forwards->options.answer_timeout_ms);
    if (!connection_send(connection, &out)) {
        fail(forward, CLOSE_TRANSPORT);
    }
}

/* Finding the node. */

static void on_called(void *context, struct connection *connection)
{
    struct forward *forward = context;
    forward->call = NULL;
    if (connection != NULL) {
        send_request(forward, connection);
        return;
    }
    if (!forward->forwards->stopped) {
        node_directory_doubt(forward->forwards->options.directory, forward->tag);
    }
    refuse(forward, STATUS_UNAVAILABLE);
    finish(forward);
}

static void on_found(struct node_question *question, int status, const char *address)
{
    struct forward *forward = container_of(question, struct forward, question);
    struct forwards *forwards = forward->forwards;
    if (status != 0) {
        refuse(forward, status == STATUS_NOT_FOUND ? status : STATUS_UNAVAILABLE);
        finish(forward);
        return;
    }
    struct connection *connection = forward->request->head->has_upgrade
                                        ? NULL
                                        : cluster_pool_take(&forwards->pool, forward->tag);
    if (connection != NULL) {
        send_request(forward, connection);
        return;
    }
    struct cluster_link_options options = {
        .loop = forwards->options.loop,
        .address = address,
        .node = forward->tag,
        .secret = forwards->options.secret,
        .tls = forwards->options.tls,
        .timeout_ms = forwards->options.connect_timeout_ms,
        .ready = on_called,
        .context = forward,
    };
    forward->call = cluster_link_open(&options);
    if (forward->call == NULL) {
        on_called(forward, NULL);
    }
}

void forward_begin(struct forwards *forwards, struct http_request *request, uint16_t tag)
{
    const struct forward_options *options = &forwards->options;
    if (forwards->stopped || options->counts->open >= options->open_max) {
        options->counts->failed++;
        options->refuse(options->context, request, STATUS_UNAVAILABLE);
        return;
    }
    struct forward *forward = mem_alloc(sizeof(*forward));
    forward->forwards = forwards;
    forward->request = request;
    forward->tag = tag;
    forward->question.fn = on_found;
    request->user = forward;
    request->gone = on_gone;
    options->counts->requests++;
    options->counts->open++;
    node_directory_ask(options->directory, tag, &forward->question);
}

struct forwards *forwards_create(const struct forward_options *options)
{
    struct forwards *forwards = mem_alloc(sizeof(*forwards));
    forwards->options = *options;
    cluster_pool_init(&forwards->pool, options->idle_ms);
    return forwards;
}

void forwards_set_tls(struct forwards *forwards, struct tls_context *tls)
{
    forwards->options.tls = tls;
}

void forwards_stop(struct forwards *forwards)
{
    forwards->stopped = true;
}

void forwards_destroy(struct forwards *forwards)
{
    mem_free(forwards);
}
