/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_request - GET /api/v1/stream: a request that becomes a session over server-sent events.
 *
 * Order of this file: what is asked for, refusals, the answer.
 */
#include "hub/session/stream_request.h"

#include "actors/identity.h"
#include "actors/recover/recovery.h"
#include "actors/recover/recovery_bus.h"
#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/names.h"
#include "codec/query.h"
#include "codec/wire.h"
#include "hub/net/http_answer.h"
#include "hub/net/http_server.h"
#include "hub/net/loop.h"
#include "hub/session/connect.h"
#include "hub/session/handshake.h"
#include "hub/session/session_core.h"
#include "hub/session/session_life.h"
#include "hub/session/stream_state.h"
#include "hub/session/stream_transport.h"

enum {
    NAMES_MAX = 32, /* rooms, and events, of a stream */
    PLACE_MAX = 4096,
};

#define TYPE "text/event-stream"
/* X-Accel-Buffering: nginx keeps back what is answered, unless told. */
#define HEADERS "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n"

/* --- what is asked for --------------------------------------------------------------------- */

struct stream_query {
    struct builder rooms;
    struct builder events;
    char place_at[PLACE_MAX];
    struct app_wishes wishes; /* of the above */
    const char *field; /* at fault; NULL: none */
    const char *allowed; /* message for it */
};

static void blame(struct stream_query *query, const char *field, const char *allowed)
{
    if (query->field == NULL) {
        query->field = field;
        query->allowed = allowed;
    }
}

/* The value of a parameter as it stands; empty: it is not there. */
static struct bytes raw_parameter(const struct http_request *request, const char *name)
{
    struct bytes rest = request->query;
    struct bytes key;
    struct bytes value;
    struct bytes found = bytes_of(NULL, 0);
    while (query_next(&rest, &key, &value)) {
        char at[16];
        struct bytes decoded;
        if (query_decode(key, at, sizeof(at), &decoded) == 0 && bytes_eq_str(decoded, name)) {
            found = value;
        }
    }
    return found;
}

static bool has_control(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == '\x7f') {
            return true;
        }
    }
    return false;
}

_Static_assert(NAMES_EVENT_MAX <= NAMES_ROOM_MAX, "both are read into the room of one");

/* Take the next of names with commas between them, in which "%2C" is a comma of the name. */
static bool next_name(struct bytes *list, struct bytes *ret_raw)
{
    if (list->len == 0) {
        return false;
    }
    const char *comma = memchr(list->at, ',', list->len);
    size_t len = comma != NULL ? (size_t)(comma - list->at) : list->len;
    *ret_raw = bytes_of(list->at, len);
    *list = bytes_skip(*list, comma != NULL ? len + 1 : len);
    return true;
}

/* Read a list of names of at most `most` bytes; false: it is not one. */
static bool read_names(struct bytes list, size_t most, struct builder *out)
{
    struct bytes raw;
    unsigned count = 0;
    while (next_name(&list, &raw)) {
        char at[NAMES_ROOM_MAX];
        struct bytes name;
        if (raw.len == 0) {
            continue;
        }
        if (++count > NAMES_MAX || query_decode(raw, at, most, &name) != 0 || has_control(name)) {
            return false;
        }
        builder_add(out, name);
        builder_byte(out, '\n');
    }
    return true;
}

static void read_inbox(const struct http_request *request, struct stream_query *query)
{
    struct bytes text = raw_parameter(request, "inbox");
    query->wishes.inbox = bytes_eq_str(text, "1");
    if (text.len > 0 && !query->wishes.inbox && !bytes_eq_str(text, "0")) {
        blame(query, "inbox", "inbox is 1 or 0");
    }
}

/* The header, or, for who cannot set it, the parameter. */
static void read_place(const struct http_request *request, struct stream_query *query)
{
    struct bytes header;
    int status = http1_header_once(request->head, "Last-Event-ID", &header);
    if (status != STATUS_NOT_FOUND) {
        query->wishes.place = header;
        if (status != 0 || header.len > PLACE_MAX || has_control(header)) {
            blame(
                query, "Last-Event-ID", "Last-Event-ID is the last id of this stream, below 4 KiB");
        }
        return;
    }
    status = query_get(request->query, "last_event_id", query->place_at, sizeof(query->place_at),
        &query->wishes.place);
    if (status == STATUS_NOT_FOUND) {
        query->wishes.place = bytes_of(NULL, 0);
    } else if (status != 0 || has_control(query->wishes.place)) {
        blame(query, "last_event_id", "last_event_id is the last id of this stream, below 4 KiB");
    }
}

/* False: it was refused. */
static bool read_query(struct http_request *request, struct stream_query *query)
{
    *query = (struct stream_query){0};
    if (!read_names(raw_parameter(request, "rooms"), NAMES_ROOM_MAX, &query->rooms)) {
        blame(query, "rooms",
            "rooms is a list of at most 32 names of at most 200 bytes, with commas between them");
    }
    if (!read_names(raw_parameter(request, "events"), NAMES_EVENT_MAX, &query->events)) {
        blame(query, "events",
            "events is a list of at most 32 names of at most 128 bytes, with commas between them");
    }
    read_inbox(request, query);
    read_place(request, query);
    if (request->head->method ==
        HTTP1_HEAD) { /* safe: it takes nothing that a stream goes on with */
        query->wishes.place = bytes_of(NULL, 0);
    }
    query->wishes.rooms = builder_bytes(&query->rooms);
    query->wishes.events = builder_bytes(&query->events);
    if (query->field != NULL) {
        http_respond_error(request, ERROR_BAD_REQUEST, query->allowed, query->field);
        return false;
    }
    if (builder_failed(&query->rooms) || builder_failed(&query->events)) {
        handshake_refuse_starved(request);
        return false;
    }
    return true;
}

static void drop_query(struct stream_query *query)
{
    builder_reset(&query->rooms);
    builder_reset(&query->events);
}

/* --- refusals ------------------------------------------------------------------------------ */

static bool takes_streams(const struct http_request *request)
{
    struct bytes accept;
    return http1_header_once(request->head, "Accept", &accept) == 0 &&
           memmem(accept.at, accept.len, TYPE, sizeof(TYPE) - 1) != NULL;
}

static void refuse_by_status(struct http_request *request, enum close_reason reason)
{
    if (reason == CLOSE_DRAINING) {
        handshake_refuse_draining(request);
    } else if (reason == CLOSE_TOO_MANY) {
        http_respond_error(request, ERROR_RATE_LIMITED, "Too many connections", NULL);
    } else {
        handshake_refuse_starved(request);
    }
}

/*
 * Refuse for a moment. An EventSource comes back from a stream that ends, and from no other answer.
 */
static void refuse_now(
    struct session_part *part, struct http_request *request, enum close_reason reason)
{
    if (!takes_streams(request)) {
        refuse_by_status(request, reason);
        return;
    }
    struct builder body = {0};
    unsigned least = reason == CLOSE_TOO_MANY ? STREAM_RETRY_REFUSED_MS : STREAM_RETRY_MS;
    unsigned retry = least + (unsigned)rand_below(&part->shard->rand, STREAM_RETRY_OVER_MS);
    builder_printf(&body,
        "retry: %u\ndata: [[\"hub:closing\",{\"code\":%u,\"reason\":\"%s\"}]]\n\n", retry,
        close_code(reason), close_text(reason));
    if (builder_failed(&body)) {
        handshake_refuse_starved(request);
    } else {
        http_respond(request, 200, TYPE, BYTES(HEADERS), builder_bytes(&body));
    }
    builder_reset(&body);
}

/* As the application says. 204 ends an EventSource that comes back with a token that has ended. */
static void refuse(struct session_part *part, struct http_request *request,
    const struct app_verdict *verdict, bool returns)
{
    switch ((unsigned)verdict->code) {
    case ERROR_TOKEN_EXPIRED:
        if (returns) {
            http_respond(request, 204, NULL, bytes_of(NULL, 0), bytes_of(NULL, 0));
            break;
        }
        http_respond_error(request, ERROR_UNAUTHORIZED, verdict->message, NULL);
        break;
    case ERROR_RATE_LIMITED:
        refuse_now(part, request, CLOSE_TOO_MANY);
        break;
    case ERROR_UNAVAILABLE:
        refuse_now(part, request, CLOSE_NO_MEMORY);
        break;
    case ERROR_FORBIDDEN:
        http_respond_error(request, ERROR_FORBIDDEN, verdict->message, NULL);
        break;
    default:
        http_respond_error(request, ERROR_UNAUTHORIZED, verdict->message, NULL);
        break;
    }
}

/* --- the answer ---------------------------------------------------------------------------- */

/* What the application has accepted does not come to be. */
static void drop_verdict(struct app_verdict *verdict)
{
    identity_unref(verdict->identity);
    recovery_drop(verdict->claimed);
    if (verdict->fetch != NULL) {
        recovery_fetch_cancel(verdict->fetch);
    }
}

/* Answer, and open the session that the application has accepted, here or on the user's shard. */
static void open_stream(
    struct stream_session *stream, struct http_request *request, struct app_verdict *verdict)
{
    struct session *session = &stream->session;
    struct connection *connection = request->connection;
    struct http_answer answer = {.status = 200, .content_type = TYPE, .headers = BYTES(HEADERS)};
    if (!http_hand_over(request, &answer)) {
        drop_verdict(verdict);
        session_destroy(session);
        return;
    }
    session->extra->request.wishes = &stream->wishes;
    stream_transport_begin(stream, connection);
    session_start(session);
    connect_decided(session, verdict);
}

/* Ask the application; `extra` is taken over. */
static void decide(struct session_part *part, struct http_request *request,
    const struct app_wishes *wishes, struct session_extra *extra)
{
    const struct app *app = &part->config->app;
    struct app_connect asked = extra->request;
    asked.nsp = BYTES("/");
    asked.wishes = wishes;
    struct app_verdict verdict = app->ops->connect(app->context, part->shard, &asked);
    if (verdict.kind == APP_REFUSE) {
        session_extra_destroy(extra);
        refuse(part, request, &verdict, wishes->place.len > 0);
        return;
    }
    struct stream_session *stream = stream_transport_create(part, wishes, extra);
    if (stream == NULL) {
        session_extra_destroy(extra);
        drop_verdict(&verdict);
        refuse_now(part, request, CLOSE_NO_MEMORY);
        return;
    }
    open_stream(stream, request, &verdict);
}

/* What is asked for is good. */
static void admit(
    struct session_part *part, struct http_request *request, const struct app_wishes *wishes)
{
    if (!handshake_origin_allowed(part->config, request)) {
        handshake_log_refusal(part, request, EIO_ERROR_FORBIDDEN);
        http_respond_error(request, ERROR_FORBIDDEN, "Origin not allowed", NULL);
        return;
    }
    struct session_extra *extra = handshake_remember(request, bytes_of(NULL, 0), true);
    if (extra == NULL) {
        refuse_now(part, request, CLOSE_NO_MEMORY);
        return;
    }
    decide(part, request, wishes, extra);
}

void stream_request(struct session_layer *layer, struct http_request *request)
{
    struct session_part *part = session_layer_part(layer, loop_shard(request->loop));
    struct stream_query query;
    if (part->refusing) {
        refuse_now(part, request, CLOSE_DRAINING);
        return;
    }
    if (read_query(request, &query)) {
        admit(part, request, &query.wishes);
    }
    drop_query(&query);
}
