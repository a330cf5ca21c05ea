/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsan_rooms - users, rooms, the sequencer and the fan-outs under real threads, to be run with a
 * thread sanitizer.
 *
 * Four shards on four threads. Each plays its own clients: they connect, join, leave, publish and
 * go. What a client is written is decoded: each publisher's events come in order, none twice. At
 * the end no user and no room is left. No test framework, because that forks.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/broadcast.h"
#include "actors/deliver/fanout.h"
#include "actors/inbox/positions.h"
#include "actors/order/sequencer.h"
#include "actors/user/user.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"

enum {
    SHARDS = 4,
    CLIENTS = 6, /* of a shard */
    ROOMS = 5,
    ROUNDS = 4000,
    BUDGET = 200,
    NAP_MS = 2,
    PATIENCE_S = 120,
};

struct player {
    struct client client; /* first */
    bool here;
    uint64_t last[SHARDS]; /* number of the last event by publishing shard */
};

struct stage {
    /* shared */
    pthread_mutex_t lock;
    pthread_cond_t woken_up;
    bool woken; /* guarded by lock */
    bool quit; /* guarded by lock */
    /* owner only */
    unsigned number;
    struct shard shard;
    struct rand dice;
    uint64_t published;
    uint64_t received;
    uint64_t calls;
    unsigned rounds_left;
    char user[16]; /* one that lives here */
    struct player players[CLIENTS];
};

static struct actor_system *the_system;
static struct stage stages[SHARDS];
static atomic_uint playing = SHARDS; /* stages with rounds left */
static const char *const rooms[ROOMS] = {"a", "b", "c", "d", "e"};

/* --- configuration --- */

static int room_access(
    void *context, const struct identity *who, struct bytes room, struct room_rules *ret_rules)
{
    (void)context;
    (void)who;
    *ret_rules = (struct room_rules){.presence = !bytes_eq_str(room, "c")};
    return 0;
}

static bool may_send(void *context, const struct identity *who, struct bytes room)
{
    (void)context;
    (void)who;
    (void)room;
    return true;
}

static const struct actor_config config = {
    .node = "n",
    .epoch = "e",
    .names = {.prefix = "peal", .slots = 1024},
    .adapter_key = "socket.io",
    .tick_ms = 10,
    .events_per_tick = 2,
    .messages = {1000000, 60000000},
    .joins = {1000000, 60000000},
    .typing = {1000000, 60000000},
    .inbox = {1000000, 60000000},
    .rooms = 100,
    .connections_per_user = 100,
    .message_chars = 100,
    .recheck_ms = 30000,
    .room_access = room_access,
    .may_send = may_send,
};

/* --- what clients do --- */

static unsigned dice(struct stage *stage, uint64_t bound)
{
    return (unsigned)rand_below(&stage->dice, bound);
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct player *player = (struct player *)(void *)client;
    CHECK(player->here);
    if (packet->is_ack || !bytes_eq_str(packet->name, "e")) {
        return;
    }
    struct bytes from;
    struct bytes number;
    uint64_t shard;
    uint64_t value;
    CHECK(json_scan_get(packet->args, "from", &from) == 0 && json_scan_u64(from, &shard) == 0);
    CHECK(json_scan_get(packet->args, "n", &number) == 0 && json_scan_u64(number, &value) == 0);
    CHECK(shard < SHARDS && value > player->last[shard]);
    player->last[shard] = value;
    ((struct stage *)client->context)->received++;
}

static void enter(struct stage *stage, struct player *player)
{
    memset(player, 0, sizeof(*player));
    player->here = true;
    player->client.received = on_received;
    player->client.context = stage;
    client_init(&player->client, &stage->shard, "/", stage->user,
        (enum wire_format)dice(stage, WIRE_FORMAT_COUNT));
    CHECK(user_attach(&stage->shard, &player->client.socket) == 0);
}

static void leave(struct player *player)
{
    client_finish(&player->client, CLOSE_NORMAL);
    player->here = false;
}

static void publish(struct stage *stage)
{
    char text[64];
    struct event *event;
    struct bytes names[2] = {
        bytes_str(rooms[dice(stage, ROOMS)]), bytes_str(rooms[dice(stage, ROOMS)])};
    snprintf(text, sizeof(text), "[\"e\",{\"from\":%u,\"n\":%llu}]", stage->number,
        (unsigned long long)++stage->published);
    unsigned flags = dice(stage, 5) == 0 ? EVENT_URGENT : 0u;
    CHECK(event_from_json(bytes_str(text), NULL, 0, flags, &event) == 0);
    sequencer_send(&stage->shard, BYTES("/"), broadcast_new(event, names, 2, NULL, 0));
}

static void ask(struct stage *stage, struct player *player)
{
    static const char *const calls[] = {"join_room", "join_room", "leave_room", "typing:start"};
    char text[64];
    uint64_t id = ++stage->calls;
    snprintf(text, sizeof(text), "[\"%s\",{\"roomId\":\"%s\"}]", calls[dice(stage, 4)],
        rooms[dice(stage, ROOMS)]);
    user_event(&player->client.socket, bytes_str(text), &id, NULL, 0);
}

static bool under_pressure(struct stage *stage)
{
    for (unsigned to = 0; to < SHARDS; to++) {
        if (sched_pressured(stage->shard.sched, to)) {
            return true;
        }
    }
    return false;
}

static void play_round(struct stage *stage)
{
    if (stage->rounds_left == 0 || under_pressure(stage)) {
        return;
    }
    struct player *player = &stage->players[dice(stage, CLIENTS)];
    unsigned what = dice(stage, 16);
    if (what < 6) {
        publish(stage);
    } else if (!player->here) {
        enter(stage, player);
    } else if (what == 6) {
        leave(player);
    } else {
        ask(stage, player);
    }
    /* The last round is played until an event has come: a busy machine may run one stage alone. */
    if (stage->rounds_left > 1 || stage->received > 0) {
        stage->rounds_left--;
    }
    if (stage->rounds_left > 0) {
        return;
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (stage->players[i].here) {
            leave(&stage->players[i]);
        }
    }
    atomic_fetch_sub(&playing, 1);
}

/* --- the threads --- */

static void on_wake(void *context)
{
    struct stage *stage = context;
    pthread_mutex_lock(&stage->lock);
    stage->woken = true;
    pthread_cond_signal(&stage->woken_up);
    pthread_mutex_unlock(&stage->lock);
}

/* Wait until woken, or for a moment: timers may be due. Returns false when it is time to end. */
static bool nap(struct stage *stage)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += NAP_MS * 1000 * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&stage->lock);
    if (!stage->woken && !stage->quit) {
        pthread_cond_timedwait(&stage->woken_up, &stage->lock, &until);
    }
    bool go_on = !stage->quit;
    stage->woken = false;
    pthread_mutex_unlock(&stage->lock);
    return go_on;
}

static void set_time(struct stage *stage)
{
    struct sched *sched = stage->shard.sched;
    sched_set_time(sched, clock_mono_ms(), clock_mono_ms());
    timer_wheel_advance(sched_timers(sched), sched_now(sched));
}

static void *run_stage(void *arg)
{
    struct stage *stage = arg;
    bool more = true;
    while (more || stage->rounds_left > 0 || nap(stage)) {
        set_time(stage);
        play_round(stage);
        more = sched_run(stage->shard.sched, BUDGET);
        shard_flush(&stage->shard);
        sched_flush(stage->shard.sched);
    }
    return NULL;
}

static void find_user(struct stage *stage)
{
    for (unsigned i = 0;; i++) {
        snprintf(stage->user, sizeof(stage->user), "u%u", i);
        if (actor_system_shard_of(the_system, bytes_str(stage->user)) == stage->number) {
            return;
        }
    }
}

static void init_stage(struct stage *stage, unsigned number)
{
    *stage = (struct stage){.number = number, .rounds_left = ROUNDS};
    pthread_mutex_init(&stage->lock, NULL);
    pthread_cond_init(&stage->woken_up, NULL);
    rand_init(&stage->dice, number + 1);
    struct sched *sched = actor_system_sched(the_system, number);
    sched_bind(sched, on_wake, stage, &stage->shard);
    shard_init(&stage->shard, sched, &config);
    set_time(stage);
    stage->shard.positions = positions_create(&stage->shard);
    shard_open_nsp(&stage->shard, BYTES("/"));
    sched_flush(sched);
    find_user(stage);
}

/* Until all have played and nothing was handled for a while. */
static void wait_for_end(void)
{
    uint64_t give_up_at = clock_mono_ms() + PATIENCE_S * UINT64_C(1000);
    uint64_t before = 0;
    unsigned still = 0;
    while (still < 20) {
        struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
        nanosleep(&pause, NULL);
        uint64_t handled = 0;
        for (unsigned i = 0; i < SHARDS; i++) {
            struct sched_stats stats;
            sched_stats_read(stages[i].shard.sched, &stats);
            handled += stats.handled + stats.dropped;
        }
        still = atomic_load(&playing) == 0 && handled == before ? still + 1 : 0;
        before = handled;
        CHECK(clock_mono_ms() < give_up_at);
    }
}

static void stop_stage(struct stage *stage)
{
    pthread_mutex_lock(&stage->lock);
    stage->quit = true;
    pthread_cond_signal(&stage->woken_up);
    pthread_mutex_unlock(&stage->lock);
}

int main(void)
{
    pthread_t threads[SHARDS];
    uint64_t received = 0;
    the_system = actor_system_create(SHARDS);
    for (unsigned i = 0; i < SHARDS; i++) {
        init_stage(&stages[i], i);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        CHECK(pthread_create(&threads[i], NULL, run_stage, &stages[i]) == 0);
    }
    wait_for_end();
    for (unsigned i = 0; i < SHARDS; i++) {
        stop_stage(&stages[i]);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        const struct shard_stats *stats = &stages[i].shard.stats;
        printf("shard %u: published %llu, received %llu\n", i,
            (unsigned long long)stages[i].published, (unsigned long long)stages[i].received);
        CHECK(stats->users == 0 && stats->rooms == 0 && stats->sockets == 0);
        received += stages[i].received;
    }
    CHECK(received > 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        positions_destroy(stages[i].shard.positions);
    }
    actor_system_destroy(the_system);
    for (unsigned i = 0; i < SHARDS; i++) {
        shard_finish(&stages[i].shard);
    }
    return EXIT_SUCCESS;
}
