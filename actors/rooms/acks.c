/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broadcasts of other nodes that clients acknowledge: each shard keeps who was asked until all have
 * answered, or it is over.
 */
#include "actors/rooms/acks.h"

#include <stdlib.h>

#include "actors/core/timer.h"
#include "actors/deliver/socket.h"
#include "actors/rooms/part.h"
#include "actors/rooms/pick.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/mp.h"

/* Ids of acks begin above those that sessions give to questions of their own. */
#define FIRST_ID (UINT64_C(1) << 16)

/* Of one fan-out; made by the first one. */
struct acks {
    struct list asks; /* ask.link */
    uint32_t count;
    uint64_t id; /* of the last one */
};

struct asked {
    uint32_t socket_id;
    bool answered;
};

struct ask {
    struct list link; /* acks.asks */
    struct timer timer;
    struct fanout *fanout;
    struct actor_ref sequencer;
    struct buf *request_id;
    uint64_t id; /* of the ack */
    uint32_t waiting; /* sockets that have not answered */
    uint32_t count;
    struct asked sockets[]; /* by socket_id */
};

static void free_ask(struct ask *ask)
{
    timer_cancel(sched_timers(ask->fanout->shard->sched), &ask->timer);
    list_remove(&ask->link);
    ask->fanout->acks->count--;
    buf_unref(ask->request_id);
    mem_free(ask);
}

void acks_finish(struct fanout *fanout)
{
    if (fanout->acks == NULL) {
        return;
    }
    list_for_each_safe (link, following, &fanout->acks->asks) {
        free_ask(container_of(link, struct ask, link));
    }
    mem_free(fanout->acks);
    fanout->acks = NULL;
}

static void on_timer(struct timer *timer)
{
    free_ask(container_of(timer, struct ask, timer));
}

static int compare_asked(const void *left, const void *right)
{
    uint32_t a = ((const struct asked *)left)->socket_id;
    uint32_t b = ((const struct asked *)right)->socket_id;
    return (a > b) - (a < b);
}

/* False: there is no memory for it. */
static bool start_ask(struct fanout *fanout, const struct adapter_request *request,
    const struct fanout_ask *msg, const struct pick *pick)
{
    struct shard *shard = fanout->shard;
    struct ask *ask = mem_try_calloc(1, sizeof(*ask) + pick->count * sizeof(ask->sockets[0]));
    if (ask == NULL) {
        return false;
    }
    ask->fanout = fanout;
    ask->sequencer = msg->reply_to;
    ask->request_id = buf_new_name(request->id);
    ask->id = fanout->acks->id;
    for (uint32_t i = 0; i < pick->count; i++) {
        ask->sockets[i].socket_id = pick->sockets[i]->id;
    }
    ask->count = pick->count;
    ask->waiting = pick->count;
    qsort(ask->sockets, ask->count, sizeof(ask->sockets[0]), compare_asked);
    uint64_t most = shard->config->ack_ms;
    uint64_t wait = request->options.timeout_ms;
    timer_init(&ask->timer, on_timer);
    timer_set(sched_timers(shard->sched), &ask->timer,
        sched_now(shard->sched) + (wait > 0 && wait < most ? wait : most));
    list_append(&fanout->acks->asks, &ask->link);
    fanout->acks->count++;
    return true;
}

/* Whether a client of this format answers; to the others it is an event like any. */
static bool can_ack(enum wire_format format)
{
    return format != WIRE_JSON && format != WIRE_MSGPACK;
}

/* The event for each format, with the id of the ack where one is asked for. False: too large. */
static bool encode_all(
    const struct fanout *fanout, const struct event *event, struct chunk *chunks[WIRE_FORMAT_COUNT])
{
    bool good = true;
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        struct builder out = {.max = UINT32_MAX};
        int status = can_ack((enum wire_format)format)
                         ? wire_ask((enum wire_format)format, fanout_nsp(fanout), fanout->acks->id,
                               event, &out)
                         : wire_event((enum wire_format)format, fanout_nsp(fanout), event, &out);
        chunks[format] = status == 0 ? chunk_take(&out) : NULL;
        good = good && chunks[format] != NULL;
        builder_reset(&out);
    }
    return good;
}

/* Send to all of them; those that can answer stay in `pick`. */
static void send_event(struct pick *pick, struct chunk *const chunks[WIRE_FORMAT_COUNT])
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pick->count; i++) {
        struct socket *socket = pick->sockets[i];
        socket_send(socket, chunks[socket->format]);
        if (can_ack((enum wire_format)socket->format)) {
            pick->sockets[kept++] = socket;
        }
    }
    pick->count = kept;
}

static void deliver(struct fanout *fanout, const struct adapter_request *request,
    struct fanout_ask *msg, struct chunk *const chunks[WIRE_FORMAT_COUNT])
{
    struct pick pick = pick_sockets(fanout, request);
    if (pick.sockets == NULL) {
        part_fail(fanout, msg);
        return;
    }
    struct sequencer_part *part = part_new(fanout, msg);
    send_event(&pick, chunks);
    part->failed = pick.count > 0 && !start_ask(fanout, request, msg, &pick);
    part->found = part->failed ? 0 : pick.count;
    mem_free(pick.sockets);
    msg_send(fanout->shard->sched, msg->reply_to, part);
}

void acks_ask(struct fanout *fanout, const struct adapter_request *request, struct fanout_ask *msg)
{
    if (fanout->acks == NULL) {
        fanout->acks = mem_alloc(sizeof(*fanout->acks));
        list_init(&fanout->acks->asks);
    }
    struct chunk *chunks[WIRE_FORMAT_COUNT] = {0};
    struct event *event = NULL;
    fanout->acks->id = fanout->acks->id < FIRST_ID ? FIRST_ID : fanout->acks->id + 1;
    if (fanout->acks->count < fanout->shard->config->asks &&
        event_from_msgpack(request->packet.data, 0, &event) == 0 &&
        encode_all(fanout, event, chunks)) {
        deliver(fanout, request, msg, chunks);
    } else {
        part_fail(fanout, msg);
    }
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        if (chunks[format] != NULL) {
            chunk_unref(chunks[format]);
        }
    }
    event_unref(event);
}

/* The first argument of an ack as MessagePack; nil when there is none. NULL: it cannot be told. */
static struct buf *pack_ack(
    struct bytes args, struct buf *const *attachments, unsigned attachment_count)
{
    struct builder out = {0};
    struct json_scan_iter iter;
    struct bytes first;
    int status = 0;
    if (json_scan_iter_init(&iter, args) && json_scan_element(&iter, &first)) {
        status = mp_from_json(first, attachments, attachment_count, &out);
    } else {
        mp_pack_nil(&out);
    }
    if (status < 0) {
        builder_reset(&out);
        return NULL;
    }
    return builder_finish(&out);
}

static struct ask *find_ask(struct fanout *fanout, uint64_t id)
{
    if (fanout->acks == NULL) {
        return NULL;
    }
    list_for_each (link, &fanout->acks->asks) {
        struct ask *ask = container_of(link, struct ask, link);
        if (ask->id == id) {
            return ask;
        }
    }
    return NULL;
}

void acks_take(struct socket *socket, uint64_t id, struct bytes args,
    struct buf *const *attachments, unsigned attachment_count)
{
    struct fanout *fanout = socket->fanout;
    struct ask *ask = fanout != NULL ? find_ask(fanout, id) : NULL;
    const struct asked key = {.socket_id = socket->id};
    struct asked *asked =
        ask != NULL ? bsearch(&key, ask->sockets, ask->count, sizeof(key), compare_asked) : NULL;
    if (asked == NULL || asked->answered) {
        return; /* it was not asked, or not any more */
    }
    asked->answered = true;
    struct buf *packed = pack_ack(args, attachments, attachment_count);
    if (packed != NULL) {
        struct sequencer_acked *msg = sequencer_acked_new();
        msg->id = buf_ref(ask->request_id);
        msg->ack = packed;
        msg_send(fanout->shard->sched, ask->sequencer, msg);
    }
    if (--ask->waiting == 0) {
        free_ask(ask);
    }
}
