/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_layer - the session layer of a node: its settings, and its part on each shard.
 */
#include "hub/session/session_layer.h"

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/server_events.h"
#include "hub/session/deadlines.h"
#include "hub/session/eio_session.h"
#include "hub/session/plain_session.h"
#include "hub/session/poll_call.h"
#include "hub/session/poll_names.h"
#include "hub/session/polling.h"
#include "hub/session/probe.h"
#include "hub/session/session_core.h"
#include "hub/session/session_life.h"
#include "hub/session/stream_session.h"
#include "hub/session/stream_transport.h"
#include "hub/session/ws_transport.h"

enum { DRAIN_STEP_MS = 20, RECONNECT_MS = 1000, UNJOINED_MAX = 32768 /* unless configured */ };

static void on_drain(struct timer *timer);

static const struct protocol *const protocols[SESSION_KIND_COUNT] = {
    [SESSION_ENGINE] = &eio_protocol,
    [SESSION_JSON] = &plain_json_protocol,
    [SESSION_MSGPACK] = &plain_msgpack_protocol,
    [SESSION_STREAM] = &stream_protocol,
};

static const struct transport *const transports[TRANSPORT_COUNT] = {
    [TRANSPORT_WEBSOCKET] = &ws_transport,
    [TRANSPORT_POLLING] = &polling_transport,
    [TRANSPORT_UPGRADED] = &upgraded_transport,
    [TRANSPORT_STREAM] = &stream_transport,
};

static const struct poll_ops poll_ops = {
    .take = polling_take, .end_probe = probe_end, .answered = poll_call_answered};

struct session_layer *session_layer_create(
    const struct session_config *config, unsigned shard_count)
{
    struct session_layer *layer = mem_alloc(sizeof(*layer) + shard_count * sizeof(layer->parts[0]));
    layer->config = *config;
    layer->shard_count = shard_count;
    layer->unjoined =
        unjoined_node_create(shard_count, config->unjoined > 0 ? config->unjoined : UNJOINED_MAX);
    return layer;
}

/* What long-polling keeps on a shard. */
static void init_polls(struct session_part *part)
{
    part->polls.ops = &poll_ops;
    map_init(&part->polls.sids, poll_names_key);
    map_init(&part->polls.calls, poll_call_key);
    map_init(&part->polls.probes, probe_key);
    unjoined_init(&part->polls.unjoined, part->layer->unjoined, sched_shard(part->shard->sched));
}

static void finish_polls(struct session_part *part)
{
    poll_names_finish(part);
    map_finish(&part->polls.calls);
    map_finish(&part->polls.probes);
    unjoined_finish(&part->polls.unjoined);
}

void session_layer_destroy(struct session_layer *layer)
{
    if (!layer) {
        return;
    }
    for (unsigned i = 0; i < layer->shard_count; i++) {
        finish_polls(&layer->parts[i]);
        for (unsigned kind = 0; kind < SESSION_KIND_COUNT; kind++) {
            if (layer->parts[i].pings[kind]) {
                chunk_unref(layer->parts[i].pings[kind]);
            }
        }
    }
    unjoined_node_destroy(layer->unjoined);
    mem_free(layer);
}

void session_layer_start(struct session_layer *layer, struct shard *shard)
{
    struct session_part *part = session_layer_part(layer, shard);
    part->layer = layer;
    part->own = layer->config;
    part->config = &part->own;
    part->shard = shard;
    part->protocols = protocols;
    part->transports = transports;
    part->events = &session_events;
    session_part_init(part);
    init_polls(part);
    timer_init(&part->drain, on_drain);
    for (unsigned kind = 0; kind < SESSION_KIND_COUNT; kind++) {
        part->pings[kind] = protocols[kind]->ping();
    }
}

void session_layer_reload(
    struct session_layer *layer, struct shard *shard, const struct session_config *config)
{
    struct session_part *part = session_layer_part(layer, shard);
    struct session_config next = *config;
    next.app = part->own.app;
    next.sha1 = part->own.sha1;
    next.node = part->own.node;
    next.ping_interval_ms = part->own.ping_interval_ms;
    next.ping_timeout_ms = part->own.ping_timeout_ms;
    part->own = next;
    deadlines_arm_all(part);
}

size_t session_cost(void)
{
    return mem_cost(sizeof(struct session)) - sizeof(struct socket) - sizeof(struct timer);
}

size_t session_layer_count(const struct session_layer *layer, const struct shard *shard)
{
    return layer->parts[sched_shard(shard->sched)].count;
}

/* Call `fn` for every session, until `fn` says false. */
static void for_each(
    struct session_part *part, bool (*fn)(struct session *session, void *context), void *context)
{
    struct list *lists[] = {&part->open, &part->paused, &part->ending};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_for_each_safe (link, next, lists[i]) {
            struct session *session = container_of(link, struct session, link);
            if (!fn(session, context)) {
                return;
            }
        }
    }
}

static bool end_one(struct session *session, void *context)
{
    session_end(session, *(enum close_reason *)context);
    return true;
}

static bool stop_one(struct session *session, void *context)
{
    const struct transport *transport = session_transport(session);
    if (transport->stop != NULL) {
        transport->stop(session);
    }
    return true;
}

void session_layer_stop(struct session_layer *layer, struct shard *shard, enum close_reason reason)
{
    struct session_part *part = session_layer_part(layer, shard);
    part->refusing = true;
    timer_cancel(sched_timers(shard->sched), &part->drain);
    part->polls.stopping = true;
    for_each(part, end_one, &reason);
    for_each(part, stop_one, NULL);
    session_part_drop_ended(part);
}

/* --- draining ------------------------------------------------------------------------------ */

/* Sessions are closed evenly over the window; the jitter keeps a batch from returning as one. */
static void say_draining(struct session *session, struct socket *socket, void *context)
{
    if (socket->closing) {
        return;
    }
    struct event *event = server_events_draining(session->part->drain_told_ms);
    if (event != NULL) {
        (void)socket_emit(socket, event); /* a hint: the close frame follows in any case */
    }
    event_unref(event);
}

static bool send_away(struct session *session, void *context)
{
    size_t *quota = context;
    if (*quota == 0) {
        return false;
    }
    if (session_is_over(session)) {
        return true;
    }
    --*quota;
    uint32_t over = session->part->drain_over_ms;
    session->part->drain_told_ms =
        (uint32_t)rand_below(&session->part->shard->rand, over > 0 ? over : 1);
    session_each_socket(session, say_draining, NULL);
    session_end(session, CLOSE_DRAINING);
    return true;
}

static void on_drain(struct timer *timer)
{
    struct session_part *part = container_of(timer, struct session_part, drain);
    struct sched *sched = part->shard->sched;
    uint64_t now = sched_now(sched);
    uint64_t left = part->drain_until > now ? part->drain_until - now : 0;
    size_t quota = part->live;
    if (left > DRAIN_STEP_MS) {
        quota = (size_t)((part->live * (uint64_t)DRAIN_STEP_MS + left - 1) / left);
    }
    for_each(part, send_away, &quota);
    if (part->live > 0) {
        timer_set(sched_timers(sched), timer, now + DRAIN_STEP_MS);
    }
}

void session_layer_drain(
    struct session_layer *layer, struct shard *shard, uint32_t window_ms, uint32_t return_ms)
{
    struct session_part *part = session_layer_part(layer, shard);
    uint32_t most = part->config->reconnect_ms > 0 ? part->config->reconnect_ms : RECONNECT_MS;
    part->drain_over_ms = return_ms < most ? return_ms : most;
    part->refusing = true;
    part->drain_until = sched_now(shard->sched) + window_ms;
    timer_set(sched_timers(shard->sched), &part->drain, sched_now(shard->sched));
}
