/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS between a connection and its socket.
 *
 * What comes is opened into the buffer of the loop, all of it at once, so that nothing plain waits
 * in OpenSSL. What leaves is sealed record by record, straight from the ranges of the outbox, and
 * each is sent before the next one is made: at most one waits for the kernel, and what it says
 * counts in the outbox until it is gone. Handshakes have a part of each turn; who finds it used up
 * is read in the next one.
 *
 * Order of this file: the loop's part, failures, writing, reading, the end, life and moving.
 */
#include "hub/net/connection.h"

#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/connection_state.h"
#include "hub/net/tls_context.h"
#include "hub/net/tls_stream.h"

enum {
    HANDSHAKES_NS = 2000000, /* of a turn; a step of one takes 0.05 to 2 ms */
    PENDING_MAX = 64 << 10, /* of what TLS itself has to say to who does not read */
    RANGES = 64,
};

_Static_assert((int)TLS_PLAIN_ROOM <= (int)CONNECTION_READ_SIZE, "what is read fits in the buffer");

/* --- the loop's part --- */

struct tls_local {
    struct loop_local local;
    struct tls_desk desk;
    struct log_limit log_limit;
    uint64_t turn; /* of `spent_ns` */
    uint64_t spent_ns; /* on handshakes */
};

static void destroy_local(struct loop_local *local)
{
    struct tls_local *own = container_of(local, struct tls_local, local);
    builder_reset(&own->desk.out);
    mem_free(own);
}

static struct tls_local *local_of(struct loop *loop)
{
    struct loop_local *local = loop_get_local(loop, LOOP_TLS);
    if (local != NULL) {
        return container_of(local, struct tls_local, local);
    }
    struct tls_local *own = mem_alloc(sizeof(*own));
    own->local.destroy = destroy_local;
    loop_set_local(loop, LOOP_TLS, &own->local);
    return own;
}

static struct tls_desk *desk_of(const struct connection *connection)
{
    return &local_of(connection_loop(connection))->desk;
}

static struct connection_sealed *sealed_of(const struct connection *connection)
{
    return container_of(connection, struct connection_sealed, connection);
}

const struct tls_counts *connection_tls_counts(const struct loop *loop)
{
    struct loop_local *local = loop_get_local(loop, LOOP_TLS);
    return local != NULL ? &container_of(local, struct tls_local, local)->desk.counts : NULL;
}

/* --- failures --- */

static void report(struct connection *connection, bool shaking)
{
    struct tls_local *local = local_of(connection_loop(connection));
    char remote[46];
    unsigned suppressed;
    if (!log_allow(&local->log_limit, &suppressed)) {
        return;
    }
    connection_remote(connection, remote);
    if (shaking) {
        log_info("TLS-HANDSHAKE", "a TLS handshake did not come to its end",
            "remote=%s reason=%s error=%s suppressed=%u", remote,
            log_quote(bytes_str(tls_failure_text(local->desk.failure))),
            log_quote(bytes_str(local->desk.detail)), suppressed);
    } else {
        log_info("TLS-BROKEN", "what came over a TLS connection ended it",
            "remote=%s error=%s suppressed=%u", remote, log_quote(bytes_str(local->desk.detail)),
            suppressed);
    }
}

/* What has broken the stream ends the connection; `flushes`: what was to be sent before still is.
 */
static void close_broken(struct connection *connection, bool flushes)
{
    bool starved = desk_of(connection)->failure == TLS_FAILED_MEMORY;
    connection_close(connection, starved ? CLOSE_NO_MEMORY : CLOSE_PROTOCOL, flushes && !starved);
}

/* --- writing --- */

/* What is left of what TLS has made waits, behind what waits already. */
static void keep_rest(struct connection *connection, struct bytes rest, size_t plain)
{
    struct connection_sealed *sealed = sealed_of(connection);
    struct connection_pending *old = sealed->pending;
    size_t waiting = old != NULL ? old->len - old->sent : 0;
    if (waiting + rest.len > PENDING_MAX) {
        connection_close(connection, CLOSE_POLICY, false);
        return;
    }
    struct connection_pending *next = mem_try_alloc(sizeof(*next) + waiting + rest.len);
    if (next == NULL) {
        connection_close(connection, CLOSE_NO_MEMORY, false);
        return;
    }
    next->plain = (uint32_t)plain + (old != NULL ? old->plain : 0);
    next->sent = 0;
    next->len = (uint32_t)(waiting + rest.len);
    if (old != NULL) {
        memcpy(next->at, old->at + old->sent, waiting);
    }
    memcpy(next->at + waiting, rest.at, rest.len);
    mem_free(old);
    sealed->pending = next;
    connection_wait_writable(connection);
}

/* Give `bytes` to the kernel; how many it took, negative when that was the end. */
static ssize_t give(struct connection *connection, struct bytes bytes)
{
    struct iovec range = {.iov_base = (void *)(uintptr_t)bytes.at, .iov_len = bytes.len};
    ssize_t wrote = connection_write(connection, &range, 1);
    if (wrote < 0) {
        connection_close(connection, CLOSE_TRANSPORT, false);
        return -1;
    }
    connection->part->shard->stats.bytes_out += (size_t)wrote;
    return wrote;
}

/* Send what the desk holds, which says `plain` bytes of the outbox. False: it waits, or ended. */
static bool send_made(struct connection *connection, size_t plain)
{
    const struct builder *made = &desk_of(connection)->out;
    struct bytes rest = builder_bytes(made);
    if (builder_failed(made)) {
        connection_close(connection, CLOSE_NO_MEMORY, false);
        return false;
    }
    if (rest.len > 0 && sealed_of(connection)->pending == NULL) {
        ssize_t wrote = give(connection, rest);
        if (wrote < 0) {
            return false;
        }
        rest = bytes_skip(rest, (size_t)wrote);
    }
    if (rest.len > 0) {
        keep_rest(connection, rest, plain);
        return false;
    }
    if (plain > 0) {
        outbox_consume(&connection->outbox, plain);
    }
    return true;
}

/* Whether nothing waits any more that was made before. */
static bool send_pending(struct connection *connection)
{
    struct connection_sealed *sealed = sealed_of(connection);
    struct connection_pending *pending = sealed->pending;
    if (pending == NULL) {
        return true;
    }
    ssize_t wrote =
        give(connection, bytes_of(pending->at + pending->sent, pending->len - pending->sent));
    if (wrote < 0) {
        return false;
    }
    pending->sent += (uint32_t)wrote;
    if (pending->sent < pending->len) {
        connection_wait_writable(connection);
        return false;
    }
    uint32_t plain = pending->plain;
    sealed->pending = NULL;
    mem_free(pending);
    if (plain > 0) {
        outbox_consume(&connection->outbox, plain);
    }
    return true;
}

static bool is_writing(const struct connection *connection)
{
    return connection->state == OPEN || connection->state == FLUSHING;
}

/* Whether there is more to seal, and it can be sent. */
static bool seal_some(struct connection *connection)
{
    struct iovec ranges[RANGES];
    size_t count = outbox_peek(&connection->outbox, ranges, RANGES, TLS_RECORD);
    size_t plain =
        tls_stream_seal(sealed_of(connection)->stream, desk_of(connection), ranges, count);
    if (plain == 0) {
        report(connection, false);
        close_broken(connection, false);
        return false;
    }
    return send_made(connection, plain) && is_writing(connection) && connection->outbox.bytes > 0;
}

static bool can_flush(const struct connection *connection)
{
    const struct tls_stream *stream = sealed_of(connection)->stream;
    enum tls_state state = stream != NULL ? tls_stream_state(stream) : TLS_BROKEN;
    return state == TLS_READY || state == TLS_CLOSED;
}

static void flush_sealed(struct connection *connection)
{
    struct connection_sealed *sealed = sealed_of(connection);
    bool waits = sealed->pending != NULL;
    if (!is_writing(connection) || (!waits && connection->outbox.bytes == 0) ||
        !send_pending(connection)) {
        return;
    }
    if (connection->outbox.bytes > 0 && is_writing(connection)) {
        if (!can_flush(connection)) {
            return; /* when the handshake is done */
        }
        while (seal_some(connection)) {
        }
    }
    if (connection->outbox.bytes == 0 && sealed->pending == NULL && is_writing(connection) &&
        (connection->state == FLUSHING || connection->congested)) {
        connection_emptied(connection);
    }
}

/* --- reading --- */

static bool may_read(struct connection *connection, char **ret_at, size_t *ret_size)
{
    struct tls_local *local = local_of(connection_loop(connection));
    uint64_t turn = loop_turn(connection_loop(connection));
    if (local->turn != turn) {
        local->turn = turn;
        local->spent_ns = 0;
    }
    if (local->spent_ns >= HANDSHAKES_NS &&
        tls_stream_state(sealed_of(connection)->stream) == TLS_SHAKING) {
        local->desk.counts.waited++;
        return false;
    }
    *ret_at = local->desk.input;
    *ret_size = sizeof(local->desk.input);
    return true;
}

/* Take what is in `input`; returns how much of it is plain now, in the buffer of the loop. */
static size_t open_input(struct connection *connection, struct bytes input)
{
    struct tls_local *local = local_of(connection_loop(connection));
    struct tls_stream *stream = sealed_of(connection)->stream;
    bool shaking = tls_stream_state(stream) == TLS_SHAKING;
    uint64_t began = shaking ? clock_mono_ns() : 0;
    size_t len = tls_stream_open(stream, &local->desk, input, connection->part->buffer);
    if (shaking) {
        local->spent_ns += clock_mono_ns() - began;
    }
    if (tls_stream_state(stream) == TLS_BROKEN) {
        report(connection, shaking);
    }
    (void)send_made(connection, 0);
    if (shaking && tls_stream_state(stream) != TLS_SHAKING) {
        flush_sealed(connection); /* what waited for the handshake */
    }
    return len;
}

static void take_sealed(struct connection *connection, struct bytes input)
{
    size_t len = open_input(connection, input);
    enum tls_state state = tls_stream_state(sealed_of(connection)->stream);
    if (len > 0 && connection->state == OPEN) {
        connection_take_input(connection, bytes_of(connection->part->buffer, len));
    }
    if (state == TLS_CLOSED && !connection_holds(connection)) {
        connection_close(connection, CLOSE_PEER, true);
    } else if (state == TLS_BROKEN) {
        close_broken(connection, true);
    }
}

static bool has_ended(const struct connection *connection)
{
    const struct tls_stream *stream = sealed_of(connection)->stream;
    return stream != NULL && tls_stream_state(stream) == TLS_CLOSED;
}

/* --- the end --- */

static bool end_sealed(struct connection *connection)
{
    struct connection_sealed *sealed = sealed_of(connection);
    if (!sealed->said_end) {
        sealed->said_end = true;
        tls_stream_end(sealed->stream, desk_of(connection));
        (void)send_made(connection, 0);
    }
    return sealed->pending == NULL && connection->state == FLUSHING;
}

static void finish_sealed(struct connection *connection)
{
    struct connection_sealed *sealed = sealed_of(connection);
    mem_free(sealed->pending);
    sealed->pending = NULL;
    if (sealed->stream != NULL) {
        tls_stream_destroy(sealed->stream, desk_of(connection));
        sealed->stream = NULL;
    }
}

/* --- life and moving --- */

static bool has_pending(const struct connection *connection)
{
    return sealed_of(connection)->pending != NULL;
}

static const struct connection_seal seal = {
    .reads = may_read,
    .take = take_sealed,
    .ended = has_ended,
    .flush = flush_sealed,
    .can_flush = can_flush,
    .end = end_sealed,
    .waits = has_pending,
    .finish = finish_sealed,
};

/* Begin TLS under the rules of `context`; false: no memory. */
static bool attach(struct connection *connection, struct tls_context *context)
{
    struct connection_sealed *sealed = sealed_of(connection);
    connection->part->seal = &seal;
    struct tls_desk *desk = desk_of(connection);
    sealed->stream = tls_stream_create(context, desk);
    if (sealed->stream == NULL) {
        return false;
    }
    if (!tls_context_calls(context)) {
        return true;
    }
    bool begun = tls_stream_begin(sealed->stream, desk, NULL);
    return begun && (send_made(connection, 0) || connection->state == OPEN);
}

int connection_open(struct loop *loop, int fd, const struct address_claim *claim,
    struct tls_context *tls, struct connection **ret_connection)
{
    struct connection *connection;
    int status = connection_make(loop, fd, claim, tls != NULL, &connection);
    if (status == 0 && tls != NULL && !attach(connection, tls)) {
        connection_end(connection);
        return STATUS_NOMEM;
    }
    if (status == 0) {
        *ret_connection = connection;
    }
    return status;
}

struct tls_stream *connection_tls_detach(struct connection *connection)
{
    struct connection_sealed *sealed = sealed_of(connection);
    struct tls_stream *stream = sealed->stream;
    tls_stream_count(desk_of(connection), NULL);
    sealed->stream = NULL;
    return stream;
}

void connection_tls_adopt(struct connection *connection, struct tls_stream *stream)
{
    connection->part->seal = &seal;
    tls_stream_count(NULL, desk_of(connection));
    sealed_of(connection)->stream = stream;
}
