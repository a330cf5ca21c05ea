/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_stream - an answer whose body is made in pieces: as the peer takes them, or as they arise.
 *
 * HTTP/1.1 gets chunks, HTTP/1.0 bytes up to the end of the connection. Who makes the body is asked
 * for more each time the peer has taken what was written, so that one piece at most waits; a piece
 * that is written unasked is bounded by the outbox, as everything. A peer takes what waits, or at
 * least HTTP_STREAM_LEAST bytes of it, within limits.slow_consumer, or its connection is ended.
 *
 * A body that cannot be completed has no end: the connection is closed without the last chunk, so
 * that the peer sees that something is missing.
 */
#ifndef HUB_NET_HTTP_STREAM_H
#define HUB_NET_HTTP_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/net/gzip.h"
#include "hub/net/loop.h"

struct builder;
struct http_request;
struct http_stream;

enum { HTTP_STREAM_LEAST = 64 << 10 };

struct http_stream_ops {
    /* All that was written has left: write more, now or later, or end. Called once for each time
     * that something was written, the head included, in a turn of its own. */
    void (*more)(struct http_stream *stream);
    /*
     * The connection has ended: the peer went or was too slow, there was no memory, or the node
     * ends. The last call; it may free the stream.
     */
    void (*gone)(struct http_stream *stream);
};

/* What an answer is, of what the caller keeps during the call. */
struct http_stream_head {
    const char *content_type;
    struct bytes headers; /* complete lines, without those of the coding */
    enum gzip_coding coding; /* of the body; GZIP_NONE where there is no memory for another */
};

/* The owner's memory, one request's at a time. */
struct http_stream {
    /* private */
    const struct http_stream_ops *ops;
    struct http_request *request;
    struct gzip_stream *gzip; /* NULL: pieces leave as they are */
    struct timer timer; /* armed while something waits for the peer */
    struct loop_task task; /* asks for more */
    uint64_t waiting; /* bytes that waited when the time began, and were written since */
    bool chunked;
};

/*
 * Answer 200 with the head. False: the request was answered and is gone, since it asked for the
 * head alone or there was no memory; the stream has not begun. True: it takes the request over, and
 * is the owner's until `gone`, http_stream_end or http_stream_abort.
 */
MUST_CHECK bool http_stream_begin(struct http_stream *stream, struct http_request *request,
    const struct http_stream_head *head, const struct http_stream_ops *ops);

/*
 * Write a piece, which can be read as soon as it has come; resets `piece`. Nothing when it is
 * empty. Where it has failed, or is more than the outbox takes, the connection ends (`gone`).
 */
void http_stream_write(struct http_stream *stream, struct builder *piece);

/* The body is complete. The stream is over: its owner may free it, and the next request begins. */
void http_stream_end(struct http_stream *stream);

/* It cannot be completed. As above, but the connection is closed behind what waits. */
void http_stream_abort(struct http_stream *stream);

#endif
