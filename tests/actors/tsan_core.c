/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsan_core - the runtime under real threads, to be run with a thread sanitizer.
 *
 * Four shards on four threads, and one thread that is no shard. Actors send to random others by
 * ref and by name, broadcast, start, stop themselves and each other, while refs to them are in
 * flight; senders obey pressure. At the end every message sent was handled, dropped or shed, and
 * within each line, each actor saw increasing numbers. No test framework, because that forks.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/protocol.h"
#include "actors/core/sched.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"

enum {
    SHARDS = 4,
    NAMES = 64,
    ROUNDS = 1500, /* of a shard throwing balls in */
    PER_ROUND = 20,
    PINGS = 3000,
    FOREIGN = 5000,
    FOREIGN_SENDER = SHARDS,
    BUDGET = 200,
    PATIENCE_S = 120,
    BEHAVIOUR_PEER = 13,
};

/* --- a shard's thread --- */

struct shard {
    /* shared */
    pthread_mutex_t lock;
    pthread_cond_t woken_up;
    bool woken; /* guarded by lock */
    bool quit; /* guarded by lock */
    /* owner only */
    unsigned number;
    struct sched *sched;
    struct rand dice;
    uint64_t sent;
    unsigned rounds_left;
    unsigned posts_called;
    unsigned pauses; /* rounds left out because of pressure */
};

static struct actor_system *the_system;
static struct shard shards[SHARDS];
static _Atomic(uint64_t) known[NAMES]; /* struct actor_ref of the actor, perhaps stale */
static atomic_uint pongs; /* ping-pongs that have ended */
static atomic_uint throwing = SHARDS; /* shards that still throw */

static void on_wake(void *context)
{
    struct shard *shard = context;
    pthread_mutex_lock(&shard->lock);
    shard->woken = true;
    pthread_cond_signal(&shard->woken_up);
    pthread_mutex_unlock(&shard->lock);
}

/* Wait until woken; returns false when it is time to end. */
static bool wait_for_wake(struct shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    while (!shard->woken && !shard->quit) {
        pthread_cond_wait(&shard->woken_up, &shard->lock);
    }
    bool go_on = !shard->quit;
    shard->woken = false;
    pthread_mutex_unlock(&shard->lock);
    return go_on;
}

/* --- peers --- */

struct peer_ball {
    struct msg base;
    unsigned from; /* shard, or FOREIGN_SENDER */
    unsigned name;
    unsigned left; /* throws that may follow */
    uint64_t number; /* increases in every line */
    char *payload; /* owned */
};

struct peer_feather {
    struct msg base;
    unsigned from;
    unsigned name;
    uint64_t number;
};

struct peer_ping {
    struct msg base;
    struct actor_ref reply_to;
    unsigned left;
};

#define PEER_PROTOCOL(X, A, a)                                                                     \
    X(A, a, BALL, ball, NORMAL, CREATES_AS(bytes_of(&msg->name, sizeof(msg->name))),               \
        OWNS(mem_free(msg->payload)), "throw it on, or stop, or stop another")                     \
    X(A, a, FEATHER, feather, SHED, NAMED_AS(bytes_of(&msg->name, sizeof(msg->name))), PLAIN,      \
        "one of a broadcast")                                                                      \
    X(A, a, PING, ping, CONTROL, REF, PLAIN, "send it back")

PROTOCOL_DECLARE(PEER, peer)

struct peer {
    struct actor actor;
    unsigned name; /* NAMES and above: known by ref only, and never stopped */
    uint64_t last[SHARDS + 1]; /* number by sender */
};

PROTOCOL_DEFINE(PEER, peer)

static struct shard *shard_of(const struct peer *peer)
{
    return sched_user(peer->actor.sched);
}

static struct actor_ref known_ref(unsigned name)
{
    uint64_t packed = atomic_load_explicit(&known[name], memory_order_relaxed);
    struct actor_ref ref;
    memcpy(&ref, &packed, sizeof(ref));
    return ref;
}

static struct peer_ball *make_ball(unsigned from, unsigned name, unsigned left, uint64_t number)
{
    struct peer_ball *ball = peer_ball_new();
    ball->from = from;
    ball->name = name;
    ball->left = left;
    ball->number = number;
    ball->payload = mem_dup("ball", 4);
    return ball;
}

static void throw_ball(struct shard *shard, unsigned left)
{
    unsigned name = (unsigned)rand_below(&shard->dice, NAMES);
    struct peer_ball *ball = make_ball(shard->number, name, left, ++shard->sent);
    if (rand_below(&shard->dice, 2) == 0) {
        msg_send(shard->sched, known_ref(name), ball);
    } else {
        msg_send_named(shard->sched, name % SHARDS, ball);
    }
}

static void broadcast(struct shard *shard)
{
    for (unsigned name = 0; name < NAMES; name++) {
        struct peer_feather *feather = peer_feather_new();
        feather->from = shard->number;
        feather->name = name;
        feather->number = ++shard->sent;
        msg_send_named(shard->sched, name % SHARDS, feather);
    }
}

static void check_order(struct peer *peer, unsigned from, uint64_t number)
{
    CHECK(number > peer->last[from]);
    peer->last[from] = number;
}

static void on_ball(struct peer *peer, struct peer_ball *msg)
{
    struct shard *shard = shard_of(peer);
    check_order(peer, msg->from, msg->number);
    CHECK(msg->payload[0] == 'b');
    if (msg->left > 0) {
        throw_ball(shard, msg->left - 1);
    }
    uint64_t chance = rand_below(&shard->dice, 20);
    if (chance == 0) {
        actor_stop(&peer->actor);
    } else if (chance == 1) {
        unsigned other = (unsigned)rand_below(&shard->dice, NAMES);
        struct actor *actor = actor_get(shard->sched, known_ref(other));
        if (actor != NULL) {
            actor_stop(actor);
        }
    } else if (chance == 2) {
        broadcast(shard);
    }
}

static void on_feather(struct peer *peer, struct peer_feather *msg)
{
    check_order(peer, msg->from, msg->number);
}

static void send_ping(
    struct shard *shard, struct actor_ref to, struct actor_ref reply_to, unsigned left)
{
    struct peer_ping *ping = peer_ping_new();
    ping->reply_to = reply_to;
    ping->left = left;
    shard->sent++;
    msg_send(shard->sched, to, ping);
}

static void on_ping(struct peer *peer, struct peer_ping *msg)
{
    if (msg->left == 0) {
        atomic_fetch_add(&pongs, 1);
        return;
    }
    send_ping(shard_of(peer), msg->reply_to, peer->actor.self, msg->left - 1);
}

static struct bytes peer_key(const void *actor)
{
    const struct peer *peer = actor;
    return bytes_of(&peer->name, sizeof(peer->name));
}

static struct peer *start_peer(struct sched *sched, unsigned name)
{
    struct peer *peer = mem_alloc(sizeof(*peer));
    peer->name = name;
    CHECK(actor_start(&peer->actor, &peer_behaviour, sched));
    return peer;
}

static struct actor *peer_spawn(struct sched *sched, struct bytes key)
{
    unsigned name;
    memcpy(&name, key.at, sizeof(name));
    struct peer *peer = start_peer(sched, name);
    uint64_t packed;
    memcpy(&packed, &peer->actor.self, sizeof(packed));
    atomic_store_explicit(&known[name], packed, memory_order_relaxed);
    return &peer->actor;
}

static void peer_destroy(struct actor *actor)
{
    mem_free(container_of(actor, struct peer, actor));
}

const struct behaviour peer_behaviour = {
    PROTOCOL_BEHAVIOUR(PEER, peer),
    .id = BEHAVIOUR_PEER,
    .shed_bound = 4,
    .key_of = peer_key,
    .spawn = peer_spawn,
    .destroy = peer_destroy,
};

/* --- the threads --- */

/* Whether a line from this shard is full: then it throws nothing for now. */
static bool under_pressure(struct shard *shard)
{
    for (unsigned to = 0; to < SHARDS; to++) {
        if (sched_pressured(shard->sched, to)) {
            shard->pauses++;
            return true;
        }
    }
    return false;
}

static void play_round(struct shard *shard)
{
    if (shard->rounds_left == 0 || under_pressure(shard)) {
        return;
    }
    for (unsigned i = 0; i < PER_ROUND; i++) {
        throw_ball(shard, (unsigned)rand_below(&shard->dice, 4));
    }
    if (--shard->rounds_left == 0) {
        atomic_fetch_sub(&throwing, 1);
    }
}

static void *run_shard(void *arg)
{
    struct shard *shard = arg;
    bool more = true;
    while (true) {
        /* Paused by pressure it sleeps, so a wake-up that the receiver owes is tested too. */
        if (!more && (shard->rounds_left == 0 || under_pressure(shard)) && !wait_for_wake(shard)) {
            return NULL;
        }
        play_round(shard);
        more = sched_run(shard->sched, BUDGET);
        sched_flush(shard->sched);
    }
}

static void on_posted(void *arg, bool cancelled)
{
    struct shard *shard = arg;
    CHECK(!cancelled);
    shard->posts_called++;
}

static void *run_foreign(void *arg)
{
    uint64_t *ret_sent = arg;
    struct rand dice;
    rand_init(&dice, 99);
    for (unsigned i = 1; i <= FOREIGN; i++) {
        struct actor_ref ref = known_ref((unsigned)rand_below(&dice, NAMES));
        if (ref_is_set(ref)) {
            msg_send_foreign(the_system, ref, make_ball(FOREIGN_SENDER, 0, 1, i));
            ++*ret_sent;
        }
        sched_post(the_system, i % SHARDS, on_posted, &shards[i % SHARDS]);
    }
    return NULL;
}

/* Read the counters of all shards until nothing has changed for a while and all has ended. */
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
            sched_stats_read(shards[i].sched, &stats);
            handled += stats.handled + stats.dropped + stats.shed;
        }
        bool ended = atomic_load(&throwing) == 0 && atomic_load(&pongs) == SHARDS;
        still = ended && handled == before ? still + 1 : 0;
        before = handled;
        CHECK(clock_mono_ms() < give_up_at);
    }
}

static void stop_shard(struct shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    shard->quit = true;
    pthread_cond_signal(&shard->woken_up);
    pthread_mutex_unlock(&shard->lock);
}

static void init_shard(struct shard *shard, unsigned number)
{
    *shard = (struct shard){
        .number = number,
        .sched = actor_system_sched(the_system, number),
        .rounds_left = ROUNDS,
    };
    pthread_mutex_init(&shard->lock, NULL);
    pthread_cond_init(&shard->woken_up, NULL);
    rand_init(&shard->dice, number + 1);
    sched_bind(shard->sched, on_wake, shard, shard);
}

/* Each shard plays ping-pong with the next one. */
static void start_pings(void)
{
    struct actor_ref players[SHARDS];
    for (unsigned i = 0; i < SHARDS; i++) {
        players[i] = start_peer(shards[i].sched, NAMES + i)->actor.self;
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        send_ping(&shards[i], players[(i + 1) % SHARDS], players[i], PINGS);
        sched_flush(shards[i].sched);
    }
}

static void check_counts(uint64_t foreign_sent)
{
    struct sched_stats sum = {0};
    uint64_t sent = foreign_sent;
    unsigned posts = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        const struct sched_stats *stats = sched_stats(shards[i].sched);
        sum.handled += stats->handled;
        sum.dropped += stats->dropped;
        sum.shed += stats->shed;
        sum.wakes += stats->wakes;
        sum.sent_out += stats->sent_out;
        sent += shards[i].sent;
        posts += shards[i].posts_called;
        printf("shard %u: sent %lu, handled %lu, paused %u times\n", i,
            (unsigned long)shards[i].sent, (unsigned long)stats->handled, shards[i].pauses);
    }
    printf("sent %lu = handled %lu + dropped %lu + shed %lu; %lu to other shards, %lu wake-ups\n",
        (unsigned long)sent, (unsigned long)sum.handled, (unsigned long)sum.dropped,
        (unsigned long)sum.shed, (unsigned long)sum.sent_out, (unsigned long)sum.wakes);
    CHECK(sent == sum.handled + sum.dropped + sum.shed);
    CHECK(posts == FOREIGN);
    CHECK(sum.shed > 0 && sum.dropped > 0 && sum.wakes > 0 && sum.wakes <= sum.sent_out);
}

int main(void)
{
    the_system = actor_system_create(SHARDS);
    for (unsigned i = 0; i < SHARDS; i++) {
        init_shard(&shards[i], i);
    }
    start_pings();
    pthread_t threads[SHARDS];
    pthread_t foreign;
    uint64_t foreign_sent = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        CHECK(pthread_create(&threads[i], NULL, run_shard, &shards[i]) == 0);
    }
    CHECK(pthread_create(&foreign, NULL, run_foreign, &foreign_sent) == 0);
    CHECK(pthread_join(foreign, NULL) == 0);
    wait_for_end();
    for (unsigned i = 0; i < SHARDS; i++) {
        stop_shard(&shards[i]);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    check_counts(foreign_sent);
    actor_system_destroy(the_system);
    return EXIT_SUCCESS;
}
