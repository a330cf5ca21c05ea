/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends announcements, or has them wait for a turn.
 *
 * Order of this file: sending, waiting, turns, life.
 */
#include "actors/inbox/announce_queue.h"

#include <limits.h>
#include <string.h>

#include "actors/core/timer.h"
#include "actors/inbox/inbox_bus.h"
#include "actors/shard.h"
#include "actors/user_proto.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"

/* An announcement that waits. */
struct note {
    struct note *next;
    struct buf *payload;
};

/* An inbox for which some wait: one at least. */
struct waiting {
    struct list link; /* announce_queue.urgent or .others */
    struct note *first;
    struct note **end; /* where the next one goes */
    bool urgent; /* it is in the lane of those */
    size_t len;
    char key[];
};

struct announce_queue {
    struct shard *shard;
    struct map by_key; /* struct waiting */
    struct list urgent; /* waiting.link */
    struct list others; /* waiting.link */
    struct timer timer;
    unsigned left; /* that may leave in this turn */
};

/* Sending. */

/* Takes the reference. */
static void send(struct shard *shard, struct bytes key, struct buf *payload)
{
    if (shard->inbox_bus != NULL) {
        inbox_bus_announce(shard->inbox_bus, key, payload);
    }
    struct user_announce *msg = user_announce_new();
    msg->key = buf_new_name(key);
    msg->payload = payload;
    msg_send_home(shard->sched, msg);
}

/* Waiting. */

static struct bytes waiting_key(const void *waiting)
{
    return bytes_of(((const struct waiting *)waiting)->key, ((const struct waiting *)waiting)->len);
}

/* What one takes while it waits. */
static uint64_t cost_of(const struct note *note)
{
    return mem_cost(sizeof(*note)) + buf_bytes(note->payload).len;
}

static void charge(struct announce_queue *queue, const struct note *note, bool comes)
{
    struct shard_stats *stats = &queue->shard->stats;
    stats->announce_waiting += comes ? 1 : -UINT64_C(1);
    stats->announce_waiting_bytes += comes ? cost_of(note) : -cost_of(note);
}

/* The inbox, which waits from now on; NULL: no memory. */
static struct waiting *take_waiting(struct announce_queue *queue, struct bytes key)
{
    struct waiting *waiting = mem_try_calloc(1, sizeof(*waiting) + key.len);
    if (waiting == NULL) {
        return NULL;
    }
    waiting->end = &waiting->first;
    waiting->len = key.len;
    memcpy(waiting->key, key.at, key.len);
    if (!map_put(&queue->by_key, waiting)) {
        mem_free(waiting);
        return NULL;
    }
    list_append(&queue->others, &waiting->link);
    return waiting;
}

static bool is_full(const struct announce_queue *queue)
{
    const struct shard_stats *stats = &queue->shard->stats;
    return stats->announce_waiting >= ANNOUNCE_WAITING_MAX ||
           stats->announce_waiting_bytes >= ANNOUNCE_BYTES_MAX;
}

/* Have it wait, behind what waits for its inbox; NULL: no room. */
static struct waiting *keep(struct announce_queue *queue, struct bytes key, struct buf *payload)
{
    struct note *note = is_full(queue) ? NULL : mem_try_calloc(1, sizeof(*note));
    struct waiting *waiting = note != NULL ? map_get(&queue->by_key, key) : NULL;
    if (note != NULL && waiting == NULL) {
        waiting = take_waiting(queue, key);
    }
    if (waiting == NULL) {
        mem_free(note);
        return NULL;
    }
    note->payload = payload;
    *waiting->end = note;
    waiting->end = &note->next;
    charge(queue, note, true);
    return waiting;
}

static void hurry(struct announce_queue *queue, struct waiting *waiting)
{
    if (!waiting->urgent) {
        waiting->urgent = true;
        list_remove(&waiting->link);
        list_append(&queue->urgent, &waiting->link);
    }
}

/* Take out the first that waits; returns its payload. */
static struct buf *take_note(struct announce_queue *queue, struct waiting *waiting)
{
    struct note *note = waiting->first;
    struct buf *payload = note->payload;
    charge(queue, note, false);
    waiting->first = note->next;
    if (waiting->first == NULL) {
        waiting->end = &waiting->first;
    }
    mem_free(note);
    return payload;
}

static struct waiting *first_waiting(const struct announce_queue *queue)
{
    const struct list *lane = list_empty(&queue->urgent) ? &queue->others : &queue->urgent;
    return list_empty(lane) ? NULL : container_of(lane->next, struct waiting, link);
}

static void end_waiting(struct announce_queue *queue, struct waiting *waiting)
{
    list_remove(&waiting->link);
    map_remove(&queue->by_key, waiting_key(waiting));
    mem_free(waiting);
}

/* Turns. */

/* Send one of the first inbox, which comes behind the others then: who has many holds up nobody. */
static void send_first(struct announce_queue *queue)
{
    struct waiting *waiting = first_waiting(queue);
    queue->left--;
    send(queue->shard, waiting_key(waiting), take_note(queue, waiting));
    if (waiting->first == NULL) {
        end_waiting(queue, waiting);
    } else {
        list_remove(&waiting->link);
        list_append(waiting->urgent ? &queue->urgent : &queue->others, &waiting->link);
    }
}

static void serve(struct announce_queue *queue)
{
    while (queue->left > 0 && first_waiting(queue) != NULL) {
        send_first(queue);
    }
}

static void on_timer(struct timer *timer)
{
    serve(container_of(timer, struct announce_queue, timer));
}

void announce_queue_flush(struct announce_queue *queue)
{
    struct sched *sched = queue->shard->sched;
    queue->left = ANNOUNCE_TURN;
    if (first_waiting(queue) != NULL && !timer_armed(&queue->timer)) {
        timer_set(sched_timers(sched), &queue->timer, sched_now(sched) + ANNOUNCE_MS);
    }
}

/* Whether nothing that waits is to leave before what is made now. */
static bool is_next(const struct announce_queue *queue, struct bytes key, bool urgent)
{
    bool first = list_empty(&queue->urgent) && (urgent || list_empty(&queue->others));
    return first && map_get(&queue->by_key, key) == NULL;
}

void announce_queue_add(struct shard *shard, struct bytes key, struct buf *payload, bool urgent)
{
    struct announce_queue *queue = shard->announcements;
    if (queue == NULL) {
        send(shard, key, payload);
        return;
    }
    if (queue->left > 0 && is_next(queue, key, urgent)) {
        queue->left--;
        send(shard, key, payload);
        return;
    }
    struct waiting *waiting = keep(queue, key, payload);
    if (waiting == NULL) {
        shard->stats.announce_hurried++;
        send(shard, key, payload); /* who holds the user waits for what is before it, or reads */
        return;
    }
    if (urgent) {
        hurry(queue, waiting);
    }
    while (queue->left > 0 && !list_empty(&queue->urgent)) {
        send_first(queue);
    }
}

void announce_queue_send_all(struct announce_queue *queue)
{
    if (queue != NULL) {
        queue->left = UINT_MAX;
        serve(queue);
    }
}

/* Life. */

struct announce_queue *announce_queue_create(struct shard *shard)
{
    struct announce_queue *queue = mem_alloc(sizeof(*queue));
    queue->shard = shard;
    queue->left = ANNOUNCE_TURN;
    map_init(&queue->by_key, waiting_key);
    list_init(&queue->urgent);
    list_init(&queue->others);
    timer_init(&queue->timer, on_timer);
    return queue;
}

void announce_queue_destroy(struct announce_queue *queue)
{
    timer_cancel(sched_timers(queue->shard->sched), &queue->timer);
    for (struct waiting *waiting; (waiting = first_waiting(queue)) != NULL;) {
        buf_unref(take_note(queue, waiting));
        if (waiting->first == NULL) {
            end_waiting(queue, waiting);
        }
    }
    map_finish(&queue->by_key);
    mem_free(queue);
}
