/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks Redis who is alive, and each of them on a connection of its own.
 *
 * Order of this file: the end, answers, calling a node, the question.
 */
#include "hub/cluster/node_poll.h"

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1_answer.h"
#include "hub/cluster/cluster_link.h"
#include "hub/cluster/node_directory.h"
#include "hub/net/connection.h"

enum { HEAD_MAX = 4 << 10 };

struct node_polls {
    struct node_polls_options options;
    unsigned open;
    bool stopped;
};

struct poll {
    struct node_polls *polls;
    struct node_census census;
    const struct node_poll_ops *ops;
    void *context;
    struct builder request; /* as it is sent to each */
    unsigned left; /* nodes that have not answered; one more while Redis is asked */
    bool complete;
};

/* A node that is asked. */
struct call {
    struct poll *poll;
    struct node_question question;
    struct connection *node;
    struct http1_answer answer;
    struct builder body;
    uint16_t tag;
    bool answering; /* the head of the answer is there */
    bool answered;
};

/* The end. */

static void settle(struct poll *poll)
{
    if (--poll->left > 0) {
        return;
    }
    poll->polls->open--;
    poll->polls->options.counts->lacking += !poll->complete;
    poll->ops->done(poll->context, poll->complete);
    builder_reset(&poll->request);
    mem_free(poll);
}

static void end_call(struct call *call, bool good)
{
    struct poll *poll = call->poll;
    poll->complete = poll->complete && good;
    builder_reset(&call->body);
    mem_free(call);
    settle(poll);
}

/* Answers. */

/* The node does not answer as one does; the call ends with the connection. */
static void fail(struct call *call)
{
    connection_close(call->node, CLOSE_PROTOCOL, false);
}

static void take_answer(struct call *call)
{
    call->answered = true;
    call->poll->ops->answered(call->poll->context, builder_bytes(&call->body));
    connection_close(call->node, CLOSE_NORMAL, false);
}

static size_t take_head(struct call *call, struct bytes bytes)
{
    int len = http1_answer_parse(bytes, HEAD_MAX, &call->answer);
    if (len == 0) {
        return 0;
    }
    if (len < 0 || call->answer.status != 200 ||
        call->answer.content_length > NODE_POLL_ANSWER_MAX) {
        fail(call);
        return bytes.len;
    }
    call->answering = true;
    call->body.max = call->answer.content_length + 1;
    return (size_t)len;
}

static size_t take_body(struct call *call, struct bytes bytes)
{
    size_t left = call->answer.content_length - builder_bytes(&call->body).len;
    size_t used = bytes.len < left ? bytes.len : left;
    builder_add(&call->body, bytes_of(bytes.at, used));
    if (builder_failed(&call->body)) {
        fail(call);
        return bytes.len;
    }
    if (used == left) {
        take_answer(call);
    }
    return used;
}

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct call *call = connection_owner(connection);
    if (call->answered) {
        return bytes.len; /* it is being closed */
    }
    size_t used = call->answering ? 0 : take_head(call, bytes);
    return call->answering ? used + take_body(call, bytes_skip(bytes, used)) : used;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct call *call = connection_owner(connection);
    (void)reason;
    end_call(call, call->answered);
}

static const struct connection_ops node_ops = {.on_bytes = on_bytes, .on_closed = on_closed};

/* Calling a node. */

static void on_called(void *context, struct connection *connection)
{
    struct call *call = context;
    struct node_polls *polls = call->poll->polls;
    if (connection == NULL) {
        if (!polls->stopped) {
            node_directory_doubt(polls->options.directory, call->tag);
        }
        end_call(call, false);
        return;
    }
    struct builder out = {0};
    builder_add(&out, builder_bytes(&call->poll->request));
    call->node = connection;
    connection_own(connection, &node_ops, call);
    connection_set_limit(connection, HEAD_MAX);
    connection_expire(connection, CLOSE_TRANSPORT, polls->options.answer_timeout_ms);
    if (!connection_send(connection, &out)) {
        fail(call);
    }
}

/* One whose lease has gone since is not alive: it is not missed. */
static void on_found(struct node_question *question, int status, const char *address)
{
    struct call *call = container_of(question, struct call, question);
    const struct node_polls_options *options = &call->poll->polls->options;
    if (status != 0) {
        end_call(call, status == STATUS_NOT_FOUND);
        return;
    }
    const struct cluster_link_options to = {
        .loop = options->loop,
        .address = address,
        .node = call->tag,
        .secret = options->secret,
        .tls = options->tls,
        .timeout_ms = options->connect_timeout_ms,
        .ready = on_called,
        .context = call,
    };
    if (cluster_link_open(&to) == NULL) {
        on_called(call, NULL);
    }
}

static void begin_call(struct poll *poll, uint16_t tag)
{
    struct call *call = mem_try_calloc(1, sizeof(*call));
    if (call == NULL) {
        poll->complete = false;
        return;
    }
    call->poll = poll;
    call->tag = tag;
    call->question.fn = on_found;
    poll->left++;
    node_directory_ask(poll->polls->options.directory, tag, &call->question);
}

/* The question. */

static void on_census(
    struct node_census *census, int status, const uint16_t *tags, size_t count, bool complete)
{
    struct poll *poll = container_of(census, struct poll, census);
    poll->complete = status == 0 && complete;
    for (size_t i = 0; i < count && !poll->polls->stopped; i++) {
        if (tags[i] != poll->polls->options.node) {
            begin_call(poll, tags[i]);
        }
    }
    settle(poll);
}

static void write_request(const char *path, struct bytes body, struct builder *out)
{
    builder_printf(out,
        "POST %s HTTP/1.1\r\nHost: peal\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n",
        path, body.len);
    builder_add(out, body);
}

/* NULL: no memory. */
static struct poll *make_poll(struct node_polls *polls, const char *path, struct bytes body)
{
    struct poll *poll = mem_try_calloc(1, sizeof(*poll));
    if (poll == NULL) {
        return NULL;
    }
    poll->polls = polls;
    poll->left = 1;
    poll->census.fn = on_census;
    write_request(path, body, &poll->request);
    if (builder_failed(&poll->request)) {
        builder_reset(&poll->request);
        mem_free(poll);
        return NULL;
    }
    return poll;
}

int node_poll_begin(struct node_polls *polls, const char *path, struct bytes body,
    const struct node_poll_ops *ops, void *context)
{
    if (polls->stopped) {
        return STATUS_CANCELLED;
    }
    bool full = polls->open >= NODE_POLLS_MAX;
    struct poll *poll = full ? NULL : make_poll(polls, path, body);
    if (poll == NULL) {
        polls->options.counts->refused++;
        return full ? STATUS_FULL : STATUS_NOMEM;
    }
    poll->ops = ops;
    poll->context = context;
    polls->open++;
    polls->options.counts->polls++;
    node_directory_census(polls->options.directory, &poll->census);
    return 0;
}

struct node_polls *node_polls_create(const struct node_polls_options *options)
{
    struct node_polls *polls = mem_alloc(sizeof(*polls));
    polls->options = *options;
    return polls;
}

void node_polls_set_tls(struct node_polls *polls, struct tls_context *tls)
{
    polls->options.tls = tls;
}

void node_polls_stop(struct node_polls *polls)
{
    polls->stopped = true;
}

void node_polls_destroy(struct node_polls *polls)
{
    mem_free(polls);
}
