/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts nodes together over one bus and one store, and moves whichever the seed says.
 *
 * Order of this file: what configuration decides, start and stop, steps, questions.
 */
#include "tests/support/nodes.h"

#include <stdio.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/fanout.h"
#include "actors/history/room_history.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/inbox_bus.h"
#include "actors/inbox/positions.h"
#include "actors/ingest/ingest_proto.h"
#include "actors/presence/presence.h"
#include "actors/recover/recovery_bus.h"
#include "actors/rooms/gather.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "tests/support/tape.h"

enum { STEPS_MAX = 20 * 1000 * 1000, PIECE_MS = 20 };

/* What configuration decides. */

static int room_access(
    void *context, const struct identity *who, struct bytes room, struct room_rules *ret_rules)
{
    (void)context;
    (void)who;
    *ret_rules = (struct room_rules){
        .presence = !bytes_starts(room, BYTES("quiet:")),
        .max_members = bytes_starts(room, BYTES("small:")) ? 3 : 0,
    };
    return bytes_starts(room, BYTES("asked:")) ? STATUS_AGAIN : 0;
}

static int event_hook(void *context, struct bytes name)
{
    (void)context;
    return bytes_starts(name, BYTES("order:")) ? 3 : -1;
}

static bool may_send(void *context, const struct identity *who, struct bytes room)
{
    (void)context;
    (void)who;
    (void)room;
    return true;
}

static bool auto_join(
    void *context, const struct identity *who, unsigned n, char *at, struct bytes *ret_room)
{
    (void)context;
    (void)who;
    (void)n;
    (void)at;
    (void)ret_room;
    return false;
}

/* FNV-1a twice: no collisions among what tests post. */
static void hash128(struct bytes content, uint8_t ret_hash[16])
{
    uint64_t parts[2] = {UINT64_C(0xcbf29ce484222325), UINT64_C(0x9ae16a3b2f90404f)};
    for (size_t i = 0; i < content.len; i++) {
        parts[0] = (parts[0] ^ (uint8_t)content.at[i]) * UINT64_C(0x100000001b3);
        parts[1] = (parts[1] ^ (uint8_t)content.at[i]) * UINT64_C(0x9e3779b97f4a7c15);
        parts[1] ^= parts[1] >> 31;
    }
    memcpy(ret_hash, parts, sizeof(parts));
}

static bool recovers(void *context, struct bytes nsp)
{
    (void)context;
    (void)nsp;
    return true;
}

static void room_windows(void *context, struct bytes room, struct room_window_rules *ret_rules)
{
    (void)context;
    if (bytes_starts(room, BYTES("batch:"))) {
        *ret_rules =
            (struct room_window_rules){.batching = ROOM_BATCHING_ALWAYS, .batch_event = true};
    }
}

static bool room_retains(void *context, struct bytes room)
{
    (void)context;
    return !bytes_starts(room, BYTES("bare:"));
}

static void room_memory(void *context, struct bytes room, struct room_memory_rules *ret_rules)
{
    const struct node *node = context;
    const struct nodes_options *options = &node->nodes->options;
    if (bytes_starts(room, BYTES("mem:"))) {
        *ret_rules = (struct room_memory_rules){
            .events = options->replay, .bytes = 1 << 20, .age_ms = node->config.memory.age_ms};
    }
    if (bytes_starts(room, BYTES("said:"))) {
        ret_rules->history_ms = 60000;
    }
}

static const struct rate plenty = {.burst = 1000000, .per_minute = 60000000};

static struct actor_config make_config(const struct nodes *nodes, const char *name)
{
    uint64_t recovery_ms = nodes->options.recovery_ms > 0 ? nodes->options.recovery_ms : 60000;
    return (struct actor_config){
        .node = name,
        .epoch = "epoch-1",
        .names = {.prefix = "peal", .slots = 1024},
        .adapter_key = "socket.io",
        .batching = nodes->options.batching,
        .tick_ms = 100,
        .events_per_tick = 8,
        .messages = plenty,
        .joins = plenty,
        .typing = plenty,
        .inbox = plenty,
        .rooms = 128,
        .connections_per_user = 16,
        .devices = {.per_user = 20},
        .message_chars = 1000,
        .outbound_bytes = 1 << 20,
        .slow_consumer_ms = 5000,
        .recheck_ms = 30000,
        .probe_ms = 5000,
        .partitions = nodes->options.partitions,
        .lease_ms = 1500,
        .keep_ms = 5000,
        .dead_max = 1000,
        .message_bytes = 1 << 20,
        .read_count = 500,
        .requests_waiting = 100,
        .request_bytes = 1 << 20,
        .answer_bytes = 1 << 20,
        .asks = 4,
        .ack_ms = 60000,
        .posts = notification_limits_default,
        .room_access = room_access,
        .may_send = may_send,
        .event_hook = event_hook,
        .outbox_max = 64 << 20,
        .auto_join = auto_join,
        .hash128 = hash128,
        .room_windows = room_windows,
        .room_memory = room_memory,
        .memory = {.age_ms = nodes->options.replay == 0     ? 0
                             : nodes->options.replay_ms > 0 ? nodes->options.replay_ms
                                                            : 60000,
            .bytes = nodes->options.memory_bytes > 0 ? nodes->options.memory_bytes : 1 << 24,
            .history = nodes->options.history},
        .retain = {.bytes = nodes->options.retain_bytes,
            .names = 100,
            .age_ms = UINT64_C(7) * 86400000,
            .user_age_ms = 86400000,
            .keeps = room_retains},
        .recovers = nodes->options.recovers ? recovers : NULL,
        .recovery = {.age_ms = recovery_ms,
            .replay_ms = recovery_ms,
            .bytes = 1 << 20,
            .events = 1000,
            .sessions = 100},
    };
}

/* Start and stop. */

static void enter_shard(void *context)
{
    const struct node_shard *shard = context;
    if (shard->det != NULL) {
        det_sched_on(shard->det, shard->number);
    }
}

static void on_turn_end(void *context, struct sched *sched)
{
    (void)context;
    shard_flush(sched_user(sched));
}

static void start_shard(struct nodes *nodes, unsigned node_number, unsigned number)
{
    struct node *node = &nodes->node[node_number];
    struct node_shard *at = &node->shards[number];
    at->det = node->det;
    at->number = number;
    det_sched_set_user(node->det, number, &at->shard);
    struct sched *sched = det_sched_on(node->det, number);
    shard_init(&at->shard, sched, &node->config);
    rand_init(&at->shard.rand, nodes->seed + number);
    at->shard.store = fake_store_port(nodes->store, enter_shard, at);
    at->shard.store_root = fake_store_root(at->shard.store);
    at->shard.streams = &node->streams;
    if (nodes->redis != NULL) {
        at->shard.bus = fake_redis_bus(nodes->redis, node_number, enter_shard, at);
        at->shard.inbox_bus = inbox_bus_create(&at->shard);
    }
    if (nodes->options.presence) {
        at->shard.presence = presence_create(&at->shard);
    }
    if (nodes->options.history) {
        at->shard.history = room_history_create(&at->shard);
    }
    at->shard.positions = positions_create(&at->shard);
    at->shard.audience = audience_create(&at->shard);
    if (at->shard.inbox_bus != NULL) {
        audience_connect(at->shard.audience);
    }
}

static void move_clock(struct det_sched *det, uint64_t now_ms)
{
    if (det_sched_now(det) < now_ms) {
        det_sched_advance(det, now_ms - det_sched_now(det));
    }
}

void nodes_start(struct nodes *nodes, unsigned number)
{
    struct node *node = &nodes->node[number];
    unsigned shards = nodes->options.shards;
    *node = (struct node){.nodes = nodes};
    snprintf(node->name, sizeof(node->name), "node-%u", nodes->started++);
    node->config = make_config(nodes, node->name);
    node->config.context = node;
    node->det = det_sched_create(nodes->seed, shards);
    det_sched_set_turn_end(node->det, on_turn_end, node);
    for (unsigned i = 0; i < shards; i++) {
        start_shard(nodes, number, i);
    }
    for (unsigned i = 0; i < shards; i++) {
        det_sched_on(node->det, i);
        struct shard *shard = &node->shards[i].shard;
        shard_open_nsp(shard, BYTES("/"));
        shard->recovery_bus = nodes->redis != NULL ? recovery_bus_create(shard) : NULL;
    }
    det_sched_run_until_idle(node->det); /* a hub listens when its shards are there */
    move_clock(node->det, nodes->now_ms);
    if (nodes->options.ingest) {
        det_sched_on(node->det, 0);
        ingest_start(&node->shards[0].shard);
    }
}

void nodes_stop(struct nodes *nodes, unsigned number)
{
    struct node *node = &nodes->node[number];
    if (node->det == NULL) {
        return;
    }
    if (nodes->redis != NULL) {
        fake_redis_freeze(nodes->redis, number, false);
    }
    for (unsigned i = 0; i < nodes->options.shards; i++) {
        struct shard *shard = &node->shards[i].shard;
        det_sched_on(node->det, i);
        if (shard->history != NULL) {
            room_history_close(shard->history);
        }
        fake_store_hold(shard->store, false);
        fake_store_drain(shard->store);
        room_history_destroy(shard->history);
        shard->history = NULL;
        gather_stop(shard);
        presence_destroy(shard->presence);
        shard->presence = NULL;
        recovery_bus_destroy(shard->recovery_bus);
        inbox_bus_destroy(shard->inbox_bus);
        shard->inbox_bus = NULL;
        audience_destroy(shard->audience);
        shard->audience = NULL;
        positions_destroy(shard->positions);
    }
    det_sched_destroy(node->det);
    node->det = NULL;
    node->frozen = false;
    for (unsigned i = 0; i < nodes->options.shards; i++) {
        node->shards[i].det = NULL;
        shard_finish(&node->shards[i].shard);
    }
}

void nodes_freeze(struct nodes *nodes, unsigned number)
{
    struct node *node = &nodes->node[number];
    node->frozen = true;
    if (nodes->redis != NULL) {
        fake_redis_freeze(nodes->redis, number, true);
    }
    for (unsigned i = 0; i < nodes->options.shards; i++) {
        fake_store_hold(node->shards[i].shard.store, true);
    }
}

void nodes_thaw(struct nodes *nodes, unsigned number)
{
    struct node *node = &nodes->node[number];
    node->frozen = false;
    if (nodes->redis != NULL) {
        fake_redis_freeze(nodes->redis, number, false);
    }
    for (unsigned i = 0; i < nodes->options.shards; i++) {
        fake_store_hold(node->shards[i].shard.store, false);
    }
    move_clock(node->det, nodes->now_ms);
}

static uint64_t read_clock(void *context)
{
    return ((const struct nodes *)context)->now_ms;
}

struct nodes *nodes_create(uint64_t seed, const struct nodes_options *options)
{
    CHECK(options->nodes <= NODES_MAX && options->shards <= NODES_SHARDS_MAX);
    struct nodes *nodes = mem_alloc(sizeof(*nodes));
    nodes->options = *options;
    nodes->seed = seed;
    nodes->now_ms = DET_MONO_START_MS;
    hash_fix_seed(seed);
    rand_init(&nodes->dice, seed);
    nodes->store = fake_store_create(seed + 1);
    if (options->bus) {
        nodes->redis = fake_redis_create(seed + 2, read_clock, nodes);
    }
    for (unsigned i = 0; i < options->nodes; i++) {
        nodes_start(nodes, i);
    }
    return nodes;
}

void nodes_destroy(struct nodes *nodes)
{
    for (unsigned i = 0; i < nodes->options.nodes; i++) {
        nodes_stop(nodes, i);
    }
    fake_store_destroy(nodes->store);
    if (nodes->redis != NULL) {
        fake_redis_destroy(nodes->redis);
    }
    mem_free(nodes);
}

/* Steps. */

uint64_t nodes_dice(struct nodes *nodes, uint64_t bound)
{
    return tape_below(&nodes->dice, bound);
}

struct shard *nodes_on(struct nodes *nodes, unsigned node, unsigned shard)
{
    det_sched_on(nodes->node[node].det, shard);
    return &nodes->node[node].shards[shard].shard;
}

/* The nodes, the bus and the store, by number. */
static bool step_one(struct nodes *nodes, unsigned which)
{
    if (which < nodes->options.nodes) {
        const struct node *node = &nodes->node[which];
        return node->det != NULL && !node->frozen && det_sched_step(node->det);
    }
    if (which == nodes->options.nodes) {
        return nodes->redis != NULL && fake_redis_step(nodes->redis);
    }
    return fake_store_step(nodes->store);
}

bool nodes_step(struct nodes *nodes)
{
    unsigned count = nodes->options.nodes + 2;
    unsigned first = (unsigned)nodes_dice(nodes, count);
    for (unsigned i = 0; i < count; i++) {
        if (step_one(nodes, (first + i) % count)) {
            return true;
        }
    }
    return false;
}

void nodes_settle(struct nodes *nodes)
{
    for (unsigned steps = 0; nodes_step(nodes); steps++) {
        CHECK(steps < STEPS_MAX);
    }
}

void nodes_advance(struct nodes *nodes, uint64_t ms)
{
    uint64_t target = nodes->now_ms + ms;
    while (nodes->now_ms < target) {
        uint64_t left = target - nodes->now_ms;
        nodes->now_ms += 1 + nodes_dice(nodes, left < PIECE_MS ? left : PIECE_MS);
        for (unsigned i = 0; i < nodes->options.nodes; i++) {
            if (nodes->node[i].det != NULL && !nodes->node[i].frozen) {
                move_clock(nodes->node[i].det, nodes->now_ms);
            }
        }
        for (uint64_t steps = nodes_dice(nodes, 60); steps > 0 && nodes_step(nodes); steps--) {
        }
    }
}

/* Questions. */

unsigned nodes_user_shard(const struct nodes *nodes, unsigned node, const char *key)
{
    return actor_system_shard_of(det_sched_system(nodes->node[node].det), bytes_str(key));
}

uint64_t nodes_stat(const struct nodes *nodes, unsigned node, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < nodes->options.shards; i++) {
        const struct shard *shard = &nodes->node[node].shards[i].shard;
        sum += *(const uint64_t *)(const void *)((const char *)&shard->stats + offset);
    }
    return sum;
}
