/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of stage 8 of the data path, for answers of any length.
 *
 * Order of this file: framing, time, asking for more, the life of a stream.
 */
#include "hub/net/http_stream.h"

#include "actors/deliver/outbox.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "hub/net/connection.h"
#include "hub/net/http_answer.h"
#include "hub/net/http_server.h"
#include "hub/net/slow.h"

static struct shard *shard_of_stream(const struct http_stream *stream)
{
    return loop_shard(stream->request->loop);
}

static struct outbox *outbox_of(const struct http_stream *stream)
{
    return connection_outbox(stream->request->connection);
}

/* --- framing --- */

/* Append what stands for `data`, which is not empty, as the client is to get it. */
static void write_framed(const struct http_stream *stream, struct bytes data, struct builder *out)
{
    if (stream->chunked) {
        builder_printf(out, "%zx\r\n", data.len);
    }
    builder_add(out, data);
    builder_str(out, stream->chunked ? "\r\n" : "");
}

/* The same, compressed; false: no memory. */
static bool write_coded(
    struct http_stream *stream, struct bytes data, bool last, struct builder *out)
{
    struct builder coded = {0};
    bool done = gzip_stream_add(stream->gzip, data, last, &coded);
    if (done && builder_bytes(&coded).len > 0) {
        write_framed(stream, builder_bytes(&coded), out);
    }
    builder_reset(&coded);
    return done && !builder_failed(out);
}

/* --- time --- */

static void begin_time(struct http_stream *stream)
{
    struct sched *sched = shard_of_stream(stream)->sched;
    stream->waiting = outbox_of(stream)->bytes;
    timer_set(sched_timers(sched), &stream->timer,
        sched_now(sched) + slow_patience_ms(shard_of_stream(stream)));
}

static void on_timer(struct timer *timer)
{
    struct http_stream *stream = container_of(timer, struct http_stream, timer);
    struct connection *connection = stream->request->connection;
    uint32_t left = outbox_of(stream)->bytes;
    if (left == 0 || stream->waiting - left >= HTTP_STREAM_LEAST) {
        begin_time(stream);
        return;
    }
    connection_report_slow(connection, slow_patience_ms(shard_of_stream(stream)));
    connection_close(connection, CLOSE_SLOW, false);
}

static void wait_for_peer(struct http_stream *stream, uint64_t written)
{
    if (timer_armed(&stream->timer)) {
        stream->waiting += written;
    } else {
        begin_time(stream);
    }
    loop_defer(stream->request->loop, &stream->task);
}

/* --- asking for more --- */

static void on_task(struct loop_task *task)
{
    struct http_stream *stream = container_of(task, struct http_stream, task);
    const struct outbox *outbox = outbox_of(stream);
    if (!connection_is_open(stream->request->connection)) {
        return; /* `gone` follows */
    }
    if (outbox->bytes > 0) {
        if (!outbox->busy) {
            loop_defer(stream->request->loop, task);
        }
        return; /* busy: on_drained follows */
    }
    timer_cancel(sched_timers(shard_of_stream(stream)->sched), &stream->timer);
    stream->ops->more(stream);
}

static void on_drained(struct http_request *request)
{
    struct http_stream *stream = request->user;
    loop_defer(request->loop, &stream->task);
}

/* --- life --- */

/* Nothing is called any more, and nothing held. */
static void finish(struct http_stream *stream)
{
    timer_cancel(sched_timers(shard_of_stream(stream)->sched), &stream->timer);
    loop_task_cancel(&stream->task);
    gzip_stream_destroy(stream->gzip);
    stream->gzip = NULL;
    stream->request->gone = NULL;
    stream->request->drained = NULL;
}

static void on_gone(struct http_request *request)
{
    struct http_stream *stream = request->user;
    finish(stream);
    stream->ops->gone(stream);
}

bool http_stream_begin(struct http_stream *stream, struct http_request *request,
    const struct http_stream_head *head, const struct http_stream_ops *ops)
{
    struct builder headers = {0};
    *stream = (struct http_stream){
        .ops = ops,
        .request = request,
        .gzip = gzip_stream_create(head->coding),
        .chunked = request->head->minor > 0,
    };
    timer_init(&stream->timer, on_timer);
    loop_task_init(&stream->task, on_task);
    request->user = stream;
    request->gone = on_gone;
    request->drained = on_drained;
    builder_add(&headers, head->headers);
    builder_str(&headers, stream->gzip != NULL ? gzip_header(head->coding) : "");
    bool begun = false;
    if (builder_failed(&headers)) {
        http_respond_error(request, ERROR_UNAVAILABLE, "Out of memory, try again", NULL);
    } else {
        struct http_answer answer = {
            .status = 200, .content_type = head->content_type, .headers = builder_bytes(&headers)};
        begun = http_begin(request, &answer);
    }
    builder_reset(&headers);
    if (!begun) {
        gzip_stream_destroy(stream->gzip);
        stream->gzip = NULL;
        return false;
    }
    wait_for_peer(stream, 0);
    return true;
}

void http_stream_write(struct http_stream *stream, struct builder *piece)
{
    struct connection *connection = stream->request->connection;
    struct bytes data = builder_bytes(piece);
    struct builder out = {0};
    bool made = !builder_failed(piece);
    if (made && data.len > 0 && stream->gzip != NULL) {
        made = write_coded(stream, data, false, &out);
    } else if (made && data.len > 0) {
        write_framed(stream, data, &out);
        made = !builder_failed(&out);
    }
    size_t len = builder_bytes(&out).len;
    bool taken = made && (len == 0 || connection_send(connection, &out));
    if (taken && len > 0) {
        wait_for_peer(stream, len);
    } else if (!taken && connection_is_open(connection)) {
        connection_close(connection, CLOSE_NO_MEMORY, false);
    }
    builder_reset(&out);
    builder_reset(piece);
}

void http_stream_end(struct http_stream *stream)
{
    struct http_request *request = stream->request;
    struct builder tail = {0};
    bool whole = stream->gzip == NULL || write_coded(stream, bytes_of(NULL, 0), true, &tail);
    builder_str(&tail, stream->chunked ? "0\r\n\r\n" : "");
    whole = whole && !builder_failed(&tail);
    if (whole && builder_bytes(&tail).len > 0) {
        whole = connection_send(request->connection, &tail);
    }
    builder_reset(&tail);
    bool keep_alive = whole && stream->chunked;
    finish(stream);
    http_end(request, keep_alive);
}

void http_stream_abort(struct http_stream *stream)
{
    struct connection *connection = stream->request->connection;
    finish(stream);
    connection_close(connection, CLOSE_NORMAL, true);
}
