/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message's way: msg_send puts it into the chain of its line (or, on its own shard, straight
 * into `arrived`) and counts it as sent; sched_flush pushes the chain into the destination's
 * inbox; sched_run drains the inbox into `arrived`, resolves names there and fills mailboxes, runs
 * actors, and credits the lines once at the end.
 *
 * While a message travels, msg.to.shard is the sender's shard (the destination knows its own),
 * so that the receiver knows which line to credit.
 *
 * Sections: what it knows, sending, ending a message, delivery, running.
 */
#include "actors/core/sched.h"

#include "actors/core/internal.h"
#include "codec/base/mem.h"
#include "codec/base/published.h"

enum { DELIVER_BATCH = 1000 };

/* A function to be called on a shard: travels like a message, without an actor. */
struct post {
    struct msg base;
    void (*fn)(void *arg, bool cancelled);
    void *arg;
};

static const struct msg_kind post_kind = {.name = "sched.post", .lane = LANE_CONTROL};

static void wake(struct sched *sched)
{
    if (sched->wake != NULL) {
        sched->wake(sched->wake_context);
    }
}

/* --- what it knows --- */

void sched_bind(struct sched *sched, sched_wake_fn wake_fn, void *wake_context, void *user)
{
    sched->wake = wake_fn;
    sched->wake_context = wake_context;
    sched->user = user;
}

void sched_set_trace(struct sched *sched, sched_trace_fn fn, void *context)
{
    sched->trace = fn;
    sched->trace_context = context;
}

void *sched_user(const struct sched *sched)
{
    return sched->user;
}

unsigned sched_shard(const struct sched *sched)
{
    return sched->shard;
}

struct actor_system *sched_system(const struct sched *sched)
{
    return sched->system;
}

void sched_set_time(struct sched *sched, uint64_t mono_ms, uint64_t wall_ms)
{
    sched->mono_ms = mono_ms;
    sched->wall_ms = wall_ms;
}

uint64_t sched_now(const struct sched *sched)
{
    return sched->mono_ms;
}

uint64_t sched_wall(const struct sched *sched)
{
    return sched->wall_ms;
}

struct timer_wheel *sched_timers(struct sched *sched)
{
    return &sched->timers;
}

uint64_t sched_actor_tables(const struct sched *sched, const struct behaviour *behaviour)
{
    return registry_bytes(&sched->registry, behaviour);
}

uint64_t sched_actors_of(const struct sched *sched, const struct behaviour *behaviour)
{
    return map_count(&sched->registry.by_key[behaviour->id]);
}

const struct sched_stats *sched_stats(const struct sched *sched)
{
    return &sched->stats;
}

void sched_stats_read(const struct sched *sched, struct sched_stats *ret_stats)
{
    published_read(sched->published, PUBLISHED_WORDS(*ret_stats), ret_stats);
}

/* --- sending --- */

static void send_to_shard(struct sched *sched, unsigned shard, struct msg *msg)
{
    struct line *line = system_line(sched->system, sched->shard, shard);
    line->sent++;
    msg->to.shard = (uint8_t)sched->shard;
    if (shard == sched->shard) {
        fifo_append(&sched->arrived, msg);
        sched->unseen = !sched->running;
        return;
    }
    chain_add(&line->chain, msg);
    sched->dirty |= UINT64_C(1) << shard;
    sched->stats.sent_out++;
}

static void drop_unsent(struct sched *sched, struct msg *msg)
{
    msg->to.shard = SHARD_FOREIGN; /* no line has counted it */
    sched_drop_msg(sched, msg);
}

void msg_send(struct sched *sched, struct actor_ref to, void *msg)
{
    struct msg *base = msg;
    base->to = to;
    if (!ref_is_set(to) || to.shard >= sched->system->shard_count || sched->system->closing) {
        drop_unsent(sched, base);
        return;
    }
    send_to_shard(sched, to.shard, base);
}

void msg_send_named(struct sched *sched, unsigned shard, void *msg)
{
    struct msg *base = msg;
    CHECK(shard < sched->system->shard_count && base->kind->key != NULL);
    base->to = (struct actor_ref){0};
    if (sched->system->closing) {
        drop_unsent(sched, base);
        return;
    }
    send_to_shard(sched, shard, base);
}

/* Push one message of a thread that has no line. */
static void push_foreign(struct sched *sched, struct msg *msg)
{
    msg->to.shard = SHARD_FOREIGN;
    struct chain chain = {0};
    chain_add(&chain, msg);
    if (inbox_push(&sched->inbox, &chain)) {
        wake(sched);
    }
}

void msg_send_foreign(struct actor_system *system, struct actor_ref to, void *msg)
{
    struct msg *base = msg;
    if (!ref_is_set(to) || to.shard >= system->shard_count) {
        msg_destroy(base);
        return;
    }
    base->to = to;
    push_foreign(&system->scheds[to.shard], base);
}

void sched_post(
    struct actor_system *system, unsigned shard, void (*fn)(void *arg, bool cancelled), void *arg)
{
    CHECK(shard < system->shard_count);
    struct post *post = msg_create(sizeof(*post), &post_kind);
    post->fn = fn;
    post->arg = arg;
    push_foreign(&system->scheds[shard], &post->base);
}

bool sched_pressured(struct sched *sched, unsigned shard)
{
    CHECK(shard < sched->system->shard_count);
    return line_pressured(system_line(sched->system, sched->shard, shard));
}

void sched_flush(struct sched *sched)
{
    if (sched->unseen) {
        sched->unseen = false;
        wake(sched);
    }
    while (sched->dirty != 0) {
        unsigned shard = (unsigned)__builtin_ctzll(sched->dirty);
        sched->dirty &= sched->dirty - 1;
        struct sched *to = &sched->system->scheds[shard];
        if (inbox_push(&to->inbox, &system_line(sched->system, sched->shard, shard)->chain)) {
            sched->stats.wakes++;
            wake(to);
        }
    }
}

/* --- ending a message --- */

static void trace(
    struct sched *sched, enum sched_trace event, const struct actor *actor, const struct msg *msg)
{
    if (sched->trace != NULL) {
        sched->trace(sched->trace_context, event, actor, msg);
    }
}

static void end_msg(struct sched *sched, struct msg *msg)
{
    if (msg->to.shard != SHARD_FOREIGN) {
        sched->handled[msg->to.shard]++;
        sched->credited |= UINT64_C(1) << msg->to.shard;
        sched->unseen |= !sched->running;
    }
    msg_destroy(msg);
}

static void end_post(struct post *post, bool cancelled)
{
    post->fn(post->arg, cancelled);
    msg_destroy(&post->base);
}

void sched_drop_msg(struct sched *sched, struct msg *msg)
{
    if (msg->kind == &post_kind) {
        end_post(container_of(msg, struct post, base), true);
        return;
    }
    trace(sched, SCHED_TRACE_DROPPED, NULL, msg);
    sched->stats.dropped++;
    end_msg(sched, msg);
}

/* Tell the senders how far their lines have got; once a turn. */
static void credit_lines(struct sched *sched)
{
    while (sched->credited != 0) {
        unsigned from = (unsigned)__builtin_ctzll(sched->credited);
        sched->credited &= sched->credited - 1;
        struct line *line = system_line(sched->system, from, sched->shard);
        bool awaited = line_add_handled(line, sched->handled[from]);
        sched->handled[from] = 0;
        if (awaited && from != sched->shard) {
            sched->stats.wakes++;
            wake(&sched->system->scheds[from]);
        }
    }
}

/* --- delivery --- */

void sched_destroy_stopped(struct sched *sched)
{
    if (sched->calling) {
        return;
    }
    struct list *link;
    while ((link = list_pop(&sched->stopped)) != NULL) {
        struct actor *actor = container_of(link, struct actor, run);
        actor->behaviour->destroy(actor);
    }
}

/* Around every call out of sched_run: actors stopped meanwhile are destroyed at its end. */
static void begin_call(struct sched *sched)
{
    sched->calling = true;
}

static void end_call(struct sched *sched)
{
    sched->calling = false;
    sched_destroy_stopped(sched);
}

static void enqueue(struct sched *sched, struct actor *actor)
{
    list_append(&sched->run_queue, &actor->run);
    actor->flags |= ACTOR_QUEUED;
    sched->stats.run_queue++;
}

static struct actor *find_or_spawn(struct sched *sched, struct msg *msg)
{
    const struct behaviour *behaviour = msg->kind->behaviour;
    struct bytes key = msg->kind->key(msg);
    struct actor *actor = registry_find(&sched->registry, behaviour, key);
    if (actor != NULL || !msg->kind->creates || behaviour->spawn == NULL) {
        return actor;
    }
    begin_call(sched);
    if (behaviour->spawn(sched, key) == NULL && behaviour->unborn != NULL) {
        behaviour->unborn(sched, msg);
    }
    end_call(sched);
    /* Asked again, because what was spawned may have stopped itself at once. */
    return registry_find(&sched->registry, behaviour, key);
}

static void shed(struct sched *sched, struct actor *actor)
{
    struct msg *msg;
    while ((msg = mailbox_shed(actor)) != NULL) {
        trace(sched, SCHED_TRACE_SHED, actor, msg);
        sched->stats.shed++;
        end_msg(sched, msg);
    }
}

static void deliver(struct sched *sched, struct msg *msg)
{
    bool by_ref = ref_is_set(msg->to);
    struct actor *actor =
        by_ref ? registry_get(&sched->registry, msg->to) : find_or_spawn(sched, msg);
    if (actor == NULL) {
        sched_drop_msg(sched, msg);
        return;
    }
    CHECK(msg->kind->behaviour == actor->behaviour);
    mailbox_push(actor, msg);
    shed(sched, actor);
    if ((actor->flags & ACTOR_QUEUED) == 0) {
        enqueue(sched, actor);
    }
}

/* Empty a bounded part of `arrived` into mailboxes; returns the number of functions called. */
static unsigned deliver_some(struct sched *sched)
{
    unsigned called = 0;
    for (unsigned i = 0; i < DELIVER_BATCH; i++) {
        struct msg *msg = fifo_pop(&sched->arrived);
        if (msg == NULL) {
            break;
        }
        if (msg->kind != &post_kind) {
            deliver(sched, msg);
            continue;
        }
        begin_call(sched);
        end_post(container_of(msg, struct post, base), false);
        end_call(sched);
        called++;
    }
    return called;
}

/* --- running --- */

/* Have `actor` handle `msg`; returns false when the actor has gone. */
static bool handle(struct sched *sched, struct actor *actor, struct msg *msg)
{
    CHECK(msg->kind->index < actor->behaviour->handler_count);
    trace(sched, SCHED_TRACE_HANDLED, actor, msg);
    sched->stats.handled++;
    begin_call(sched);
    actor->behaviour->handlers[msg->kind->index](actor, msg);
    end_msg(sched, msg);
    bool gone = (actor->flags & ACTOR_STOPPED) != 0;
    end_call(sched);
    return !gone;
}

/* Give `actor` its turn of at most `limit` messages; returns how many it handled. */
static unsigned take_turn(struct sched *sched, struct actor *actor, unsigned limit)
{
    list_remove(&actor->run);
    actor->flags &= (uint8_t)~ACTOR_QUEUED;
    sched->stats.run_queue--;
    unsigned handled = 0;
    while (handled < limit) {
        shed(sched, actor);
        struct msg *msg = mailbox_pop(actor);
        if (msg == NULL) {
            return handled;
        }
        handled++;
        if (!handle(sched, actor, msg)) {
            return handled;
        }
    }
    if (actor->last != NULL) {
        enqueue(sched, actor);
    }
    return handled;
}

void sched_take_in(struct sched *sched)
{
    inbox_drain(&sched->inbox, &sched->arrived);
}

bool sched_run(struct sched *sched, unsigned budget)
{
    CHECK(!sched->running && !sched->calling);
    sched->running = true;
    sched->unseen = false;
    inbox_drain(&sched->inbox, &sched->arrived);
    unsigned used = 0;
    while (used < budget) {
        used += deliver_some(sched);
        if (!list_empty(&sched->run_queue)) {
            struct actor *actor = container_of(sched->run_queue.next, struct actor, run);
            unsigned left = used < budget ? budget - used : 1;
            used += take_turn(sched, actor, left < SCHED_ACTOR_BATCH ? left : SCHED_ACTOR_BATCH);
        } else if (sched->arrived.first == NULL) {
            break;
        }
    }
    credit_lines(sched);
    published_write(sched->published, &sched->stats, PUBLISHED_WORDS(sched->stats));
    sched->running = false;
    return !list_empty(&sched->run_queue) || sched->arrived.first != NULL ||
           !inbox_is_empty(&sched->inbox);
}
