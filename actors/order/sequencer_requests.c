/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of other nodes (socketio-wire 4.1). Order of this file: life, asking the shards,
 * answers, what arrives.
 *
 * They are carried out one after the other, in the order of the bus, so that what a poster asked
 * for last counts. A shard does its part in slices, and is asked for the next one only when its
 * last has arrived: at most one slice of each shard is under way, and an answer that becomes too
 * large ends the asking. It is then not sent: who asked learns by the timeout that sockets are
 * missing, not by a list that looks complete.
 */
#include "actors/deliver/fanout_proto.h"
#include "actors/order/bus_origin.h"
#include "actors/order/sequencer_actor.h"
#include "codec/adapter_request.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"

/* As many of the largest may wait; of smaller ones as many as configured. */
enum { REQUESTS_LARGEST = 16 };

/* A request that waits for its turn, or has it. */
struct request_waiting {
    struct list link; /* sequencer.requests */
    struct buf *packed;
};

/* Life. */

void sequencer_requests_init(struct sequencer *sequencer)
{
    list_init(&sequencer->requests);
}

static void free_first(struct sequencer *sequencer)
{
    struct request_waiting *waiting =
        container_of(list_pop(&sequencer->requests), struct request_waiting, link);
    sequencer->request_count--;
    sequencer->request_bytes -= buf_bytes(waiting->packed).len;
    buf_unref(waiting->packed);
    mem_free(waiting);
}

void sequencer_requests_finish(struct sequencer *sequencer)
{
    while (!list_empty(&sequencer->requests)) {
        free_first(sequencer);
    }
    builder_reset(&sequencer->gathering.text);
}

static void write_channel(
    const struct sequencer *sequencer, enum adapter_channel channel, struct builder *out)
{
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    adapter_channel_write(
        channel, bytes_str(config->adapter_key), buf_bytes(sequencer->nsp), bytes_of(NULL, 0), out);
}

void sequencer_requests_channel(const struct sequencer *sequencer, struct builder *out)
{
    write_channel(sequencer, ADAPTER_REQUEST, out);
}

/* Asking the shards. */

static struct buf *first_request(const struct sequencer *sequencer)
{
    return container_of(sequencer->requests.next, struct request_waiting, link)->packed;
}

/* It was decoded once, when it arrived. */
static struct adapter_request read_first(const struct sequencer *sequencer)
{
    struct adapter_request request;
    int status = adapter_request_decode(buf_bytes(first_request(sequencer)), &request);
    CHECK(status == 0);
    return request;
}

/* The shards that may have sockets which a request is about. */
static uint64_t shards_of(struct sequencer *sequencer, const struct adapter_request *request)
{
    if (request->type == ADAPTER_ALL_ROOMS || request->type == ADAPTER_SERVER_EMIT) {
        return 0;
    }
    if (request->sid.len > 0) {
        return sequencer_shards_of_name(sequencer, request->sid);
    }
    struct adapter_names rooms = request->options.rooms;
    struct bytes name;
    uint64_t shards = rooms.count == 0 ? UINT64_MAX : 0;
    while (adapter_names_next(&rooms, &name)) {
        shards |= sequencer_shards_of_name(sequencer, name);
    }
    return shards;
}

/* Takes over `picked`. */
static void ask(struct sequencer *sequencer, unsigned shard, struct buf *picked, uint32_t next)
{
    struct fanout_ask *msg = fanout_ask_new();
    msg->reply_to = sequencer->actor.self;
    msg->request = buf_ref(first_request(sequencer));
    msg->serial = sequencer->gathering.serial;
    msg->picked = picked;
    msg->next = next;
    msg_send(sequencer->actor.sched, sequencer->fanouts[shard], msg);
}

static void ask_shards(struct sequencer *sequencer, uint64_t shards)
{
    unsigned count = actor_system_shards(sched_system(sequencer->actor.sched));
    for (unsigned i = 0; i < count; i++) {
        if ((shards & UINT64_C(1) << i) && ref_is_set(sequencer->fanouts[i])) {
            sequencer->gathering.waiting++;
            ask(sequencer, i, NULL, 0);
        }
    }
}

/* Answers. */

static void add_comma(struct builder *text)
{
    if (builder_bytes(text).len > 0) {
        builder_byte(text, ',');
    }
}

/* Everything that has interest: rooms, users and sids. */
static void write_rooms(struct sequencer *sequencer, struct builder *text)
{
    size_t cursor = 0;
    for (struct interest *interest;
         (interest = map_next(&sequencer->interests, &cursor)) != NULL;) {
        add_comma(text);
        json_scan_write_string(text, interest_name(interest));
    }
}

static bool wants_answer(const struct adapter_request *request, const struct gathering *gathering)
{
    bool is_change = request->type == ADAPTER_JOIN || request->type == ADAPTER_LEAVE ||
                     request->type == ADAPTER_DISCONNECT;
    return request->id.len > 0 && (!is_change || (request->sid.len > 0 && gathering->found > 0));
}

static int write_answer(
    const struct adapter_request *request, const struct gathering *gathering, struct builder *out)
{
    switch (request->type) {
    case ADAPTER_SOCKETS:
    case ADAPTER_FETCH:
        return adapter_answer_list(request->id, "sockets", builder_bytes(&gathering->text), out);
    case ADAPTER_ALL_ROOMS:
        return adapter_answer_list(request->id, "rooms", builder_bytes(&gathering->text), out);
    case ADAPTER_SERVER_EMIT:
        return adapter_answer_server(request->id, out);
    case ADAPTER_BROADCAST_ACK:
        return adapter_answer_count(request->id, gathering->found, out);
    case ADAPTER_JOIN:
    case ADAPTER_LEAVE:
    case ADAPTER_DISCONNECT:
    case ADAPTER_REQUEST_TYPES:
    case ADAPTER_CLIENT_ACK:
        break;
    }
    return adapter_answer_done(request->id, out);
}

/* Publish what has been written; resets it. */
static void respond(struct sequencer *sequencer, struct builder *answer)
{
    struct builder channel = {0};
    write_channel(sequencer, ADAPTER_RESPONSE, &channel);
    sequencer_bus_publish(sequencer, builder_bytes(&channel), builder_bytes(answer));
    builder_reset(&channel);
    builder_reset(answer);
}

/* Every shard has done its part. */
static void conclude(struct sequencer *sequencer, const struct adapter_request *request)
{
    struct gathering *gathering = &sequencer->gathering;
    struct shard *shard = shard_of(&sequencer->actor);
    struct builder answer = {.max = shard->config->answer_bytes};
    bool failed = gathering->failed || builder_failed(&gathering->text);
    if (!failed && wants_answer(request, gathering)) {
        failed = write_answer(request, gathering, &answer) != 0;
        if (!failed) {
            respond(sequencer, &answer);
        }
    }
    builder_reset(&answer);
    builder_reset(&gathering->text);
    shard->stats.requests++;
    shard->stats.requests_refused += failed;
    free_first(sequencer);
}

static void begin(struct sequencer *sequencer, const struct adapter_request *request)
{
    struct gathering *gathering = &sequencer->gathering;
    gathering->serial++;
    gathering->waiting = 0;
    gathering->found = 0;
    gathering->failed = false;
    gathering->text.max = shard_of(&sequencer->actor)->config->answer_bytes;
    if (request->type == ADAPTER_ALL_ROOMS) {
        write_rooms(sequencer, &gathering->text);
    }
    ask_shards(sequencer, shards_of(sequencer, request));
}

/* Carry out what waits, until something has to be waited for. */
static void go_on(struct sequencer *sequencer)
{
    while (sequencer->gathering.waiting == 0 && !list_empty(&sequencer->requests)) {
        struct adapter_request request = read_first(sequencer);
        begin(sequencer, &request);
        if (sequencer->gathering.waiting == 0) {
            conclude(sequencer, &request);
        }
    }
}

void sequencer_requests_part(struct sequencer *sequencer, struct sequencer_part *msg)
{
    struct gathering *gathering = &sequencer->gathering;
    if (gathering->waiting == 0 || msg->serial != gathering->serial) {
        return;
    }
    gathering->found += msg->found;
    gathering->failed = gathering->failed || msg->failed;
    if (msg->text != NULL && !gathering->failed) {
        add_comma(&gathering->text);
        builder_add(&gathering->text, buf_bytes(msg->text));
        gathering->failed = builder_failed(&gathering->text);
    }
    if (msg->picked != NULL && !gathering->failed) {
        ask(sequencer, msg->shard, buf_ref(msg->picked), msg->next);
        return;
    }
    if (--gathering->waiting > 0) {
        return;
    }
    struct adapter_request request = read_first(sequencer);
    conclude(sequencer, &request);
    go_on(sequencer);
}

/* What arrives. */

static uint32_t count_names(const struct adapter_request *request)
{
    uint32_t rooms = request->options.rooms.count;
    uint32_t most = rooms > request->options.except.count ? rooms : request->options.except.count;
    return most > request->targets.count ? most : request->targets.count;
}

/* Whether the request is one that another node means, and Peal can do something about. */
static bool is_for_us(const struct sequencer *sequencer, const struct adapter_request *request)
{
    enum bus_origin origin = bus_origin_of(shard_of(&sequencer->actor), "request", request->uid);
    if (origin == BUS_ORIGIN_SELF || origin == BUS_ORIGIN_STRANGE) {
        return false; /* our own was carried out here before it was published */
    }
    if (request->type == ADAPTER_BROADCAST_ACK) {
        return bytes_eq(request->packet.nsp, buf_bytes(sequencer->nsp));
    }
    return request->type != ADAPTER_SERVER_EMIT || request->id.len > 0;
}

void sequencer_requests_take(struct sequencer *sequencer, struct bytes payload)
{
    struct shard *shard = shard_of(&sequencer->actor);
    const struct actor_config *config = shard->config;
    struct adapter_request request;
    struct buf *packed = NULL;
    if (payload.len > config->request_bytes ||
        sequencer->request_count >= config->requests_waiting ||
        sequencer->request_bytes >= (size_t)REQUESTS_LARGEST * config->request_bytes ||
        adapter_request_take(payload, &packed) != 0 ||
        adapter_request_decode(buf_bytes(packed), &request) != 0 ||
        count_names(&request) > BROADCAST_NAMES_MAX) {
        shard->stats.requests_refused++;
        buf_unref(packed);
        return;
    }
    if (!is_for_us(sequencer, &request)) {
        buf_unref(packed);
        return;
    }
    struct request_waiting *waiting = mem_alloc(sizeof(*waiting));
    waiting->packed = packed;
    list_append(&sequencer->requests, &waiting->link);
    sequencer->request_count++;
    sequencer->request_bytes += buf_bytes(packed).len;
    go_on(sequencer);
}

void sequencer_requests_acked(struct sequencer *sequencer, const struct sequencer_acked *msg)
{
    struct builder answer = {0};
    if (adapter_answer_ack(buf_bytes(msg->id), buf_bytes(msg->ack), &answer) == 0) {
        respond(sequencer, &answer);
    }
    builder_reset(&answer);
}
