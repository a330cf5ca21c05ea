/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe - private to the session layer: a WebSocket that wants to take over a polling session.
 */
#include "hub/session/probe.h"

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/ws_accept.h"
#include "codec/ws_frame.h"
#include "hub/net/connection.h"
#include "hub/net/http_server.h"
#include "hub/net/loop.h"
#include "hub/session/engine_reply.h"
#include "hub/session/poll_flood.h"
#include "hub/session/poll_mail.h"
#include "hub/session/poll_names.h"
#include "hub/session/polling.h"
#include "hub/session/session_core.h"
#include "hub/session/ws_transport.h"

struct probe {
    uint64_t number; /* key in part.probes, until it moves */
    struct websocket websocket;
    struct session_part *part; /* where it began */
    struct timer timer; /* the upgrade must be done by then */
    unsigned owner; /* where the session was last seen */
    char sid[SID_LEN];
    bool leaving; /* `5` has come */
};

struct bytes probe_key(const void *probe)
{
    const struct probe *one = probe;
    return bytes_of(&one->number, sizeof(one->number));
}

static struct bytes sid_of(const struct probe *probe)
{
    return bytes_of(probe->sid, sizeof(probe->sid));
}

static void tell(const struct probe *probe, struct session_part *here, enum poll_verb verb)
{
    struct poll_ticket ticket = {
        .number = probe->number, .from = sched_shard(probe->part->shard->sched)};
    int shard = poll_names_shard(here, sid_of(probe));
    poll_mail_tell(here, (unsigned)shard, verb, ticket, sid_of(probe));
}

/* Not among those of its shard any more. */
static void unlist(struct probe *probe)
{
    map_remove(&probe->part->polls.probes, probe_key(probe));
    timer_cancel(sched_timers(probe->part->shard->sched), &probe->timer);
}

/* --- taking over --------------------------------------------------------------------------- */

/* Bring the WebSocket to its session, which was seen on `shard`. */
static void go_on(struct probe *probe, unsigned shard)
{
    probe->owner = shard;
    websocket_move(&probe->websocket, shard);
}

/* The WebSocket becomes the transport of `session`. */
static void take_over(struct session *session, struct probe *probe)
{
    unsigned holds = polling_hand_over(session, connection_outbox(probe->websocket.connection));
    session->transport = TRANSPORT_UPGRADED;
    ws_transport_adopt(session, &probe->websocket);
    session_set_outbox(session);
    for (unsigned i = 0; i < holds; i++) {
        ws_transport_hold(session, true);
    }
}

static void on_moved(struct websocket *websocket, bool ok)
{
    struct probe *probe = container_of(websocket, struct probe, websocket);
    if (!ok) {
        /* On the thread it was leaving, or when all threads have ended: the session waits for its
         * ping timeout, as after any silent loss. */
        mem_free(probe);
        return;
    }
    struct shard *shard = loop_shard(connection_loop(websocket->connection));
    struct session_part *here = session_layer_part(probe->part->layer, shard);
    struct poll_ticket ticket = {
        .number = probe->number, .from = sched_shard(probe->part->shard->sched)};
    int forward;
    struct session *session = poll_names_find(here, sid_of(probe), &forward);
    if (session && polling_is_probed(session, ticket)) {
        take_over(session, probe);
        mem_free(probe);
    } else if (forward >= 0) {
        go_on(probe, (unsigned)forward);
    } else {
        websocket_close(websocket, CLOSE_PARSE); /* without a code */
    }
}

/* --- the WebSocket ------------------------------------------------------------------------- */

static void on_message(struct websocket *websocket, bool binary, struct bytes message)
{
    struct probe *probe = container_of(websocket, struct probe, websocket);
    if (probe->leaving) {
        return;
    }
    if (!binary && bytes_eq_str(message, "2probe")) {
        static const char pong[] = "\x81\x06"
                                   "3probe";
        struct builder frame = {0};
        builder_add(&frame, bytes_of(pong, sizeof(pong) - 1));
        (void)connection_send(websocket->connection, &frame); /* or its time passes */
        tell(probe, probe->part, POLL_PROBED);
    } else if (!binary && bytes_eq_str(message, "5")) {
        probe->leaving = true;
        unlist(probe);
        go_on(probe, probe->owner);
    } else {
        websocket_close(websocket, CLOSE_PARSE);
    }
}

static void on_closed(struct websocket *websocket, enum close_reason reason)
{
    struct probe *probe = container_of(websocket, struct probe, websocket);
    if (!probe->leaving) {
        unlist(probe);
        tell(probe, probe->part, POLL_PROBE_GONE);
    }
    mem_free(probe);
}

static const struct websocket_ops ops = {
    .on_message = on_message, .on_closed = on_closed, .on_moved = on_moved};

static void on_timer(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    websocket_close(&probe->websocket, CLOSE_PARSE);
}

/* --- from the layer ------------------------------------------------------------------------ */

/* NULL: no memory. */
static struct probe *make_probe(
    struct session_part *part, struct bytes sid, uint64_t number, unsigned owner)
{
    struct probe *probe = mem_try_calloc(1, sizeof(*probe));
    if (!probe) {
        return NULL;
    }
    probe->number = number;
    probe->part = part;
    probe->owner = owner;
    memcpy(probe->sid, sid.at, sizeof(probe->sid));
    timer_init(&probe->timer, on_timer);
    if (!map_put(&part->polls.probes, probe)) {
        mem_free(probe);
        return NULL;
    }
    return probe;
}

static void drop_probe(struct probe *probe)
{
    if (probe) {
        unlist(probe);
        mem_free(probe);
    }
}

void probe_begin(struct session_part *part, struct http_request *request, struct bytes sid,
    uint64_t number, unsigned owner)
{
    struct connection *connection = request->connection;
    struct ws_accept accept;
    struct builder out = {0};
    struct probe *probe = make_probe(part, sid, number, owner);
    int bits = probe ? ws_accept_check(request->head, &accept) : STATUS_NOMEM;
    if (bits == 0) {
        struct ws_accept_answer answer = {
            .key = accept.key, .protocol = ws_accept_first_protocol(request->head)};
        bits = engine_reply_upgrade(part->config, request, true, &answer, &out);
    }
    if (bits < 0) {
        builder_reset(&out);
        drop_probe(probe);
        struct poll_ticket ticket = {.number = number, .from = sched_shard(part->shard->sched)};
        poll_mail_tell(part, (unsigned)poll_names_shard(part, sid), POLL_PROBE_GONE, ticket, sid);
        if (bits == STATUS_NOMEM) {
            engine_reply_empty(part->config, request, 503);
        } else {
            engine_reply_error(part->config, request, EIO_ERROR_BAD_REQUEST);
        }
        return;
    }
    http_upgrade(request, builder_bytes(&out));
    builder_reset(&out);
    struct sched *sched = part->shard->sched;
    timer_set(
        sched_timers(sched), &probe->timer, sched_now(sched) + part->config->upgrade_timeout_ms);
    websocket_init(&probe->websocket, connection, &part->config->before_auth, &ops);
    websocket_set_deflate(&probe->websocket, (unsigned)bits);
}

void probe_refuse(struct session_part *part, struct http_request *request)
{
    struct ws_accept accept;
    struct builder out = {0};
    struct ws_accept_answer answer = {.protocol = ws_accept_first_protocol(request->head)};
    int status = ws_accept_check(request->head, &accept);
    if (status == 0) {
        answer.key = accept.key;
        status = engine_reply_upgrade(part->config, request, true, &answer, &out);
    }
    if (status < 0) {
        builder_reset(&out);
        engine_reply_error(part->config, request, EIO_ERROR_BAD_REQUEST);
        return;
    }
    char head[WS_FRAME_HEAD_MAX];
    builder_add(&out, bytes_of(head, ws_frame_write_head(head, WS_CLOSE, false, 0)));
    http_close(request, builder_bytes(&out), CLOSE_PROTOCOL);
    builder_reset(&out);
}

void probe_end(struct session_part *part, uint64_t number)
{
    struct probe *probe = map_get(&part->polls.probes, bytes_of(&number, sizeof(number)));
    if (probe) {
        websocket_close(&probe->websocket, CLOSE_PARSE);
    }
}

/* --- the transport ------------------------------------------------------------------------- */

static void authenticated(struct session *session)
{
    poll_flood_leave(session);
    ws_transport_authenticated(session);
}

static void move(struct session *session, unsigned shard)
{
    poll_flood_leave(session);
    poll_names_leave(session, shard);
    ws_transport_move(session, shard);
}

static bool arrived(struct session *session)
{
    poll_flood_enter(session);
    return poll_names_arrive(session) && ws_transport_arrived(session);
}

static void finish(struct session *session)
{
    poll_flood_leave(session);
    poll_names_forget(session);
}

const struct transport upgraded_transport = {
    .name = "websocket",
    .handshake = "polling",
    .outbox = ws_transport_outbox,
    .remote = polling_remote,
    .hold = ws_transport_hold,
    .authenticated = authenticated,
    .move = move,
    .arrived = arrived,
    .close = ws_transport_close,
    .cut = ws_transport_cut,
    .finish = finish,
};
