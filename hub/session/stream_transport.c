/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of stage 8 of the data path, for clients that only listen.
 *
 * Order of this file: packets, events, the outbox, the connection, the end, moving, life.
 */
#include "hub/session/stream_transport.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "codec/server_events.h"
#include "codec/wire.h"
#include "codec/ws_frame.h"
#include "hub/net/connection.h"
#include "hub/net/loop.h"
#include "hub/net/slow.h"
#include "hub/session/session_life.h"
#include "hub/session/stream_state.h"

static void fail(struct stream_session *stream, enum close_reason reason)
{
    stream->session.part->events->failed(&stream->session, reason);
}

static const struct app *app_of(const struct stream_session *stream)
{
    return &stream->session.part->config->app;
}

/* --- packets ------------------------------------------------------------------------------- */

/* Append JSON text as one line: blanks between tokens are all that can end one. */
static void add_line(struct builder *out, struct bytes json)
{
    char *at = builder_reserve(out, json.len);
    if (at == NULL) {
        return;
    }
    for (size_t i = 0; i < json.len; i++) {
        at[i] = json.at[i] == '\n' || json.at[i] == '\r' ? ' ' : json.at[i];
    }
    builder_commit(out, json.len);
}

static bool is_wanted(const struct stream_session *stream, struct bytes packet)
{
    struct json_scan_iter iter;
    struct bytes first;
    struct bytes name;
    char at[EVENT_NAME_MAX];
    if (!json_scan_iter_init(&iter, packet) || !json_scan_element(&iter, &first) ||
        json_scan_string(first, at, sizeof(at), &name) != 0) {
        return true; /* no event: an answer */
    }
    return app_of(stream)->ops->wants(app_of(stream)->context, &stream->wishes, name);
}

static void add_packets(
    const struct stream_session *stream, struct bytes message, struct builder *packets)
{
    struct json_scan_iter iter;
    struct bytes packet;
    json_scan_iter_init(&iter, message);
    while (json_scan_element(&iter, &packet)) {
        if (is_wanted(stream, packet)) {
            builder_str(packets, builder_bytes(packets).len > 0 ? "," : "");
            add_line(packets, packet);
        }
    }
}

/* Take all packets out of the frames that wait; false: no memory. */
static bool take_packets(struct stream_session *stream, struct builder *packets)
{
    struct iovec range;
    while (outbox_peek(&stream->outbox, &range, 1, SIZE_MAX) > 0) {
        struct ws_frame frame;
        int len = ws_frame_read_own(bytes_of(range.iov_base, range.iov_len), &frame);
        if (len < 0) {
            return false;
        }
        add_packets(stream,
            bytes_of((char *)range.iov_base + frame.head_len, (size_t)frame.payload_len), packets);
        outbox_consume(&stream->outbox, (size_t)len);
    }
    return !builder_failed(packets);
}

/* --- events -------------------------------------------------------------------------------- */

/* Where the client is when it has all that was sent to it, what is pending included; empty: not
 * known. */
static void get_place(struct stream_session *stream, struct builder *place)
{
    struct socket *socket = stream->session.has_first ? &stream->session.first : NULL;
    if (socket != NULL && socket->identity != NULL) {
        app_of(stream)->ops->place(app_of(stream)->context, socket, &stream->wishes, place);
    }
    if (builder_failed(place)) {
        builder_reset(place);
    }
}

/* The id, where it has changed; takes `place`. */
static void write_id(struct stream_session *stream, struct builder *place, struct builder *out)
{
    struct bytes now = builder_bytes(place);
    if (now.len == 0 || bytes_eq(now, builder_bytes(&stream->told))) {
        builder_reset(place);
        return;
    }
    builder_str(out, "id: ");
    builder_add(out, now);
    builder_byte(out, '\n');
    builder_reset(&stream->told);
    stream->told = *place;
}

/*
 * All that waits as one event; a comment where that is nothing. With an id alone no event is seen
 * (9.2.6), but the next request has it. Takes `place`. False: no memory.
 */
static bool write_event(struct stream_session *stream, struct builder *place, struct builder *out)
{
    struct builder packets = {0};
    bool whole = take_packets(stream, &packets);
    if (whole) {
        bool nothing = builder_bytes(&packets).len == 0;
        builder_str(out, nothing ? ":\n" : "");
        write_id(stream, place, out);
        if (!nothing) {
            builder_str(out, "data: [");
            builder_add(out, builder_bytes(&packets));
            builder_str(out, "]\n");
        }
        builder_byte(out, '\n');
    }
    if (!whole) {
        builder_reset(place);
    }
    builder_reset(&packets);
    return whole && !builder_failed(out);
}

static struct list *dirty_of(const struct stream_session *stream)
{
    return &stream->session.part->shard->dirty_outboxes;
}

/* --- the outbox ---------------------------------------------------------------------------- */

/* Set the timer: soon, while the connection is about to write; or for who is slow. */
static void arm(struct stream_session *stream)
{
    struct timer_wheel *wheel = session_wheel(&stream->session);
    bool soon = stream->waiting && !connection_outbox(stream->connection)->busy;
    uint64_t due = soon ? session_now(&stream->session) : stream->slow_due_ms;
    if (due != 0) {
        timer_set(wheel, &stream->timer, due);
    } else {
        timer_cancel(wheel, &stream->timer);
    }
}

/*
 * Until the connection has taken what it has: all of that event is in memory till then, so the
 * outbox may have so much less, and both together what a connection may.
 */
static void wait(struct stream_session *stream)
{
    struct outbox_limits *limits = &stream->outbox.limits;
    if (!stream->waiting) {
        stream->held = stream->event_len < limits->max ? stream->event_len : limits->max;
        limits->max -= stream->held;
    }
    stream->waiting = true;
    stream->outbox.busy = true;
    arm(stream);
}

static void stop_waiting(struct stream_session *stream)
{
    stream->waiting = false;
    stream->outbox.busy = false;
    stream->outbox.limits.max += stream->held;
    stream->held = 0;
}

static void send_event(struct stream_session *stream)
{
    struct builder out = {.max = UINT32_MAX};
    struct builder place = {0};
    get_place(stream, &place);
    if (stream->session.phase != SESSION_OPEN) { /* what was pending was too much: all is said */
        builder_reset(&place);
        return;
    }
    struct chunk *chunk = write_event(stream, &place, &out) ? chunk_take(&out) : NULL;
    builder_reset(&out);
    if (chunk == NULL) {
        fail(stream, CLOSE_NO_MEMORY);
        return;
    }
    /* The outbox of the connection is empty: it takes one of any size. */
    (void)outbox_append(
        connection_outbox(stream->connection), dirty_of(stream), chunk, 0, chunk->len);
    stream->event_len = chunk->len;
    chunk_unref(chunk);
}

/* The connection may have taken what it had. */
static void look(struct stream_session *stream)
{
    if (!stream->waiting || connection_outbox(stream->connection)->bytes > 0) {
        return;
    }
    stop_waiting(stream);
    if (stream->outbox.bytes > 0 && stream->session.phase == SESSION_OPEN) {
        send_event(stream);
    }
}

static void on_overflowed(struct outbox *outbox)
{
    struct stream_session *stream = container_of(outbox, struct stream_session, outbox);
    struct session *session = &stream->session;
    uint64_t ms = slow_full_ms(session->part->shard, stream->slow_due_ms);
    if (session->phase == SESSION_OPEN) {
        (void)session->part->events->slow(session, ms, true);
    }
}

static void on_flush(struct outbox *outbox)
{
    struct stream_session *stream = container_of(outbox, struct stream_session, outbox);
    if (connection_outbox(stream->connection)->bytes > 0) {
        wait(stream);
        if (outbox->bytes > outbox->limits.max) { /* it came before that event was seen to wait */
            on_overflowed(outbox);
        }
    } else if (stream->session.phase == SESSION_OPEN) {
        send_event(stream);
    }
}

static void on_filled(struct outbox *outbox)
{
    struct stream_session *stream = container_of(outbox, struct stream_session, outbox);
    stream->slow_due_ms =
        session_now(&stream->session) + slow_patience_ms(stream->session.part->shard);
    arm(stream);
}

static void on_relieved(struct outbox *outbox)
{
    struct stream_session *stream = container_of(outbox, struct stream_session, outbox);
    stream->slow_due_ms = 0;
    stream->session.part->events->relieved(&stream->session);
}

static const struct outbox_ops outbox_ops = {
    .flush = on_flush, .filled = on_filled, .relieved = on_relieved, .overflowed = on_overflowed};

static void on_timer(struct timer *timer)
{
    struct stream_session *stream = container_of(timer, struct stream_session, timer);
    struct session *session = &stream->session;
    look(stream);
    if (session->phase != SESSION_OPEN) {
        return;
    }
    if (stream->slow_due_ms != 0 && stream->slow_due_ms <= session_now(session)) {
        (void)session->part->events->slow(session, slow_patience_ms(session->part->shard), false);
        connection_close(stream->connection, CLOSE_SLOW, false);
        return;
    }
    arm(stream);
}

/* --- the connection ------------------------------------------------------------------------ */

/* What the client says is not heard: requests behind one whose answer has no end. */
static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct stream_session *stream = connection_owner(connection);
    bool ends = bytes.len > STREAM_HEARD_MAX - stream->heard;
    stream->heard = ends ? STREAM_HEARD_MAX : stream->heard + (uint32_t)bytes.len;
    if (ends) {
        fail(stream, CLOSE_PROTOCOL);
    }
    return bytes.len;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct stream_session *stream = connection_owner(connection);
    stream->session.part->events->closed(&stream->session, reason);
}

static void on_drained(struct connection *connection)
{
    look(connection_owner(connection));
}

static bool on_slow(struct connection *connection, uint64_t ms, bool overflow)
{
    struct stream_session *stream = connection_owner(connection);
    return stream->session.part->events->slow(&stream->session, ms, overflow);
}

static const struct connection_ops connection_ops = {
    .on_bytes = on_bytes,
    .on_closed = on_closed,
    .on_drained = on_drained,
    .on_slow = on_slow,
    .sheds = true,
};

static struct outbox *get_outbox(const struct session *session)
{
    return &stream_of(session)->outbox;
}

static void get_remote(const struct session *session, char ret_text[46])
{
    connection_remote(stream_of(session)->connection, ret_text);
}

static void hold(struct session *session, bool held)
{
    (held ? connection_pause : connection_resume)(stream_of(session)->connection);
}

static void authenticated(struct session *session)
{
    connection_authenticated(stream_of(session)->connection);
}

/* --- the end ------------------------------------------------------------------------------- */

/* Whether something that the client was to have was refused before it came here: what waits may
 * say more than is true with its id, so it goes, and comes again from the last id. */
static bool has_gap(enum close_reason reason)
{
    return reason == CLOSE_SLOW || reason == CLOSE_NO_MEMORY;
}

static void drop_waiting(struct stream_session *stream)
{
    stream->outbox.busy = false;
    outbox_finish(&stream->outbox);
}

/* `["hub:closing",{code,reason}]`, as the close frame of /ws says it. */
static void append_closing(struct stream_session *stream, enum close_reason reason)
{
    struct builder frame = {0};
    struct event *closing =
        server_events_closing(close_code(reason), bytes_str(close_text(reason)));
    int status = closing != NULL ? wire_event(WIRE_JSON, BYTES("/"), closing, &frame) : -1;
    event_unref(closing);
    struct chunk *chunk = status == 0 ? chunk_take(&frame) : NULL;
    builder_reset(&frame);
    if (chunk != NULL) {
        stream->outbox.busy = false;
        outbox_append_last(&stream->outbox, dirty_of(stream), chunk);
        chunk_unref(chunk);
    }
}

/* When to come back, where that is not as it was told at the beginning. */
static void write_retry(
    const struct stream_session *stream, enum close_reason reason, struct builder *out)
{
    if (reason == CLOSE_DRAINING) {
        builder_printf(out, "retry: %u\n", stream->session.part->drain_told_ms);
    } else if (reason == CLOSE_TOO_MANY) {
        builder_printf(out, "retry: %d\n", STREAM_RETRY_REFUSED_MS);
    }
}

static void close_stream(struct session *session, enum close_reason reason)
{
    struct stream_session *stream = stream_of(session);
    struct builder out = {.max = UINT32_MAX};
    struct builder place = {0};
    if (!has_gap(reason)) {
        get_place(stream, &place);
    }
    if (builder_bytes(&place).len == 0) {
        drop_waiting(stream);
    }
    if (close_code(reason) != 0) {
        append_closing(stream, reason);
    }
    write_retry(stream, reason, &out);
    struct chunk *chunk = write_event(stream, &place, &out) ? chunk_take(&out) : NULL;
    builder_reset(&out);
    if (chunk != NULL) {
        outbox_append_last(connection_outbox(stream->connection), dirty_of(stream), chunk);
        chunk_unref(chunk);
    }
    stream->slow_due_ms = 0;
    timer_cancel(session_wheel(session), &stream->timer);
    connection_close(stream->connection, reason, true);
}

/* --- moving -------------------------------------------------------------------------------- */

static void count(struct stream_session *stream, bool here)
{
    uint64_t *streams = &stream->session.part->shard->stats.streams;
    if (stream->counted != here) {
        *streams = here ? *streams + 1 : *streams - 1;
        stream->counted = here;
    }
}

static void on_arrived(void *context, struct connection *connection)
{
    struct stream_session *stream = context;
    struct session *session = &stream->session;
    if (connection == NULL) {
        session->part->events->moved(session, NULL);
        return;
    }
    struct shard *shard = loop_shard(connection_loop(connection));
    stream->connection = connection;
    connection_own(connection, &connection_ops, stream);
    session->part->events->moved(session, session_layer_part(session->part->layer, shard));
}

/* It has not joined anything yet: nothing waits but the head of its answer. */
static void move(struct session *session, unsigned shard)
{
    struct stream_session *stream = stream_of(session);
    timer_cancel(session_wheel(session), &stream->timer);
    stop_waiting(stream);
    drop_waiting(stream);
    count(stream, false);
    connection_move(stream->connection, shard, on_arrived, stream);
}

static bool arrived(struct session *session)
{
    count(stream_of(session), true);
    return true;
}

/* --- life ---------------------------------------------------------------------------------- */

static void finish(struct session *session)
{
    struct stream_session *stream = stream_of(session);
    timer_cancel(session_wheel(session), &stream->timer);
    drop_waiting(stream);
    builder_reset(&stream->told);
    count(stream, false);
}

/* Copy `text` to `*at`, which moves on. */
static struct bytes keep(char **at, struct bytes text)
{
    struct bytes kept = bytes_of(*at, text.len);
    if (text.len > 0) {
        memcpy(*at, text.at, text.len);
    }
    *at += text.len;
    return kept;
}

struct stream_session *stream_transport_create(
    struct session_part *part, const struct app_wishes *wishes, struct session_extra *extra)
{
    size_t len = wishes->rooms.len + wishes->events.len + wishes->place.len;
    struct stream_session *stream = mem_try_calloc(1, sizeof(*stream) + len);
    if (stream == NULL) {
        return NULL;
    }
    char *at = stream->text;
    stream->wishes = (struct app_wishes){.rooms = keep(&at, wishes->rooms),
        .events = keep(&at, wishes->events),
        .place = keep(&at, wishes->place),
        .inbox = wishes->inbox};
    stream->session.transport = TRANSPORT_STREAM;
    struct outbox_limits limits = connection_outbox_limits(part->shard);
    outbox_init(&stream->outbox, &outbox_ops, &limits);
    timer_init(&stream->timer, on_timer);
    session_init(&stream->session, part, SESSION_STREAM, extra);
    count(stream, true);
    return stream;
}

void stream_transport_begin(struct stream_session *stream, struct connection *connection)
{
    struct rand *rand = &stream->session.part->shard->rand;
    struct builder out = {0};
    stream->connection = connection;
    builder_printf(
        &out, "retry: %u\n\n", STREAM_RETRY_MS + (unsigned)rand_below(rand, STREAM_RETRY_OVER_MS));
    bool sent = connection_send(connection, &out);
    const struct session_config *config = stream->session.part->config;
    connection_expect_acks(connection, config->ping_interval_ms + config->ping_timeout_ms);
    connection_own(connection, &connection_ops, stream);
    if (!sent) {
        connection_close(connection, CLOSE_NO_MEMORY, false);
    }
}

const struct transport stream_transport = {
    .name = "stream",
    .handshake = "stream",
    .outbox = get_outbox,
    .remote = get_remote,
    .hold = hold,
    .authenticated = authenticated,
    .move = move,
    .arrived = arrived,
    .close = close_stream,
    .cut = close_stream,
    .finish = finish,
};
