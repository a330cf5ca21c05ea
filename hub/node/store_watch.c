/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the store small questions on a timer and judges the answers; a store that lost commits gets
 * a new epoch.
 */
#include "hub/node/store_watch.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "actors/core/timer.h"
#include "actors/inbox/positions.h"
#include "codec/base/check.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/node/node.h"
#include "sql/store.h"

enum {
    TICK_MS = 250,
    WATCH_EVERY_MS = 750,
    PATIENCE_MS = 2000,
    POOLED_MS = 5000, /* since a pooler was met last; connections to it are tried more often */
    SAID_MS = 5000, /* for which the engine's words hold: it is asked again far sooner */
    DOUBT_MS = 2000, /* for which a put that failed counts when no other was tried */
};

/* A question to the store that is asked again and again. */
struct question {
    uint64_t sent_ms;
    uint64_t answered_ms;
    bool asking;
    bool failed; /* the last answer */
};

struct store_watch {
    struct timer timer;
    struct hub_shard *shard;
    struct question writing;
    struct question reading;
    struct store_witness raise;
    uint64_t number; /* of the witness, as answered last */
    struct store_renewal renewal;
    bool renewing;
    uint64_t renewed_ms; /* when the epoch was told last */
    bool went_back;
    struct store_request ping;
    uint64_t down_since_ms; /* 0: up */
    uint64_t failures; /* when it went down */
    uint64_t up_ms; /* when it was up again */
    uint64_t sessions; /* of the store, when users were compared last */
    bool pooled;
    bool closing;
};

static struct sched *sched_here(const struct store_watch *watch)
{
    return watch->shard->shard.sched;
}

static void free_when_done(struct store_watch *watch)
{
    if (watch->closing && !watch->writing.asking && !watch->reading.asking && !watch->renewing) {
        mem_free(watch);
    }
}

static void judge(struct store_watch *watch);

static void take_answer(struct store_watch *watch, struct question *question, int status)
{
    question->asking = false;
    question->failed = status != 0;
    question->answered_ms = sched_now(sched_here(watch));
    if (!watch->closing) {
        judge(watch);
    }
    free_when_done(watch);
}

/*
 * All that this node tells is of an epoch that is over: it starts anew with the next one, whoever
 * has made it: this node, another that found the store gone back, or peal migrate --new-epoch.
 */
static void on_renewed(struct store_request *request)
{
    struct store_watch *watch = container_of(request, struct store_watch, renewal.base);
    struct hub *hub = watch->shard->hub;
    watch->renewing = false;
    watch->renewed_ms = sched_now(sched_here(watch));
    if (request->status == 0 && !watch->closing &&
        strcmp(watch->renewal.epoch, store_epoch(hub->store)) != 0 &&
        !atomic_load_explicit(&hub->outdated, memory_order_relaxed)) {
        log_error("STORE-NEW-EPOCH", "starting anew: every device reads its inbox again",
            "old=%s new=%s", store_epoch(hub->store), watch->renewal.epoch);
        watch->went_back = false;
        atomic_store_explicit(&hub->outdated, true, memory_order_relaxed);
        kill(getpid(), SIGUSR1);
    }
    store_request_finish(request);
    free_when_done(watch);
}

/*
 * Ask for the epoch. Of the nodes that find the store gone back, one makes the new one; asked again
 * until it is answered.
 */
static void ask_epoch(struct store_watch *watch)
{
    const char *epoch = store_epoch(watch->shard->hub->store);
    watch->renewing = true;
    watch->renewal = (struct store_renewal){
        .base = {.op = STORE_EPOCH, .done = on_renewed},
        .from = watch->went_back ? bytes_str(epoch) : BYTES(""),
    };
    store_submit(watch->shard->shard.store, &watch->renewal.base);
}

static void alarm_loss(struct store_watch *watch, const struct store_loss *loss)
{
    bool known = atomic_load_explicit(&watch->shard->hub->outdated, memory_order_relaxed);
    if (!watch->went_back && !known) {
        log_error("STORE-WENT-BACK",
            "the store lost commits: numbers that devices know are given again",
            "proof=%s was=%llu is=%llu", loss->proof, (unsigned long long)loss->was,
            (unsigned long long)loss->is);
        watch->went_back = true;
    }
}

/* The number only grows: one that does not is of a store that lost commits (a failover to a standby
 * that was behind, a restore). What was lost between two raises, users' positions tell. */
static void check_number(struct store_watch *watch)
{
    const struct store_loss loss = {"witness", watch->number, watch->raise.number};
    if (loss.is <= loss.was) {
        alarm_loss(watch, &loss);
    }
    watch->number = watch->raise.number;
}

/* Another session for writing may be with another server. */
static void compare_users(struct store_watch *watch, const struct store_health *health)
{
    if (health->sessions != watch->sessions) {
        watch->sessions = health->sessions;
        positions_compare(&watch->shard->shard);
    }
}

static void on_raised(struct store_request *request)
{
    struct store_watch *watch = container_of(request, struct store_watch, raise.base);
    if (request->status == 0 && !watch->closing) {
        check_number(watch);
    }
    take_answer(watch, &watch->writing, request->status);
}

static void on_pinged(struct store_request *request)
{
    struct store_watch *watch = container_of(request, struct store_watch, ping);
    take_answer(watch, &watch->reading, request->status);
}

static bool is_due(const struct question *question, uint64_t now)
{
    return !question->asking &&
           (now - question->answered_ms >= WATCH_EVERY_MS || question->answered_ms == 0);
}

static void ask(struct store_watch *watch, struct question *question, uint64_t now)
{
    question->asking = true;
    question->sent_ms = now;
    if (question == &watch->writing) {
        watch->raise = (struct store_witness){
            .base = {.op = STORE_WITNESS_RAISE, .done = on_raised},
            .node = bytes_str(watch->shard->hub->node),
        };
        store_submit(watch->shard->shard.store, &watch->raise.base);
    } else {
        watch->ping = (struct store_request){.op = STORE_PING, .done = on_pinged};
        store_submit(watch->shard->shard.store, &watch->ping);
    }
}

/* Whether a question says that the store is away. */
static bool is_bad(const struct question *question, uint64_t now)
{
    return question->failed || (question->asking && now - question->sent_ms >= PATIENCE_MS);
}

static bool is_recent(uint64_t failed_ms, uint64_t now)
{
    return failed_ms != 0 && now < failed_ms + DOUBT_MS;
}

static void tell(struct store_watch *watch, const struct store_health *health, bool write_down)
{
    uint64_t now = sched_now(sched_here(watch));
    const struct hub *hub = watch->shard->hub;
    bool waiting = (watch->writing.asking && now - watch->writing.sent_ms >= PATIENCE_MS) ||
                   (watch->reading.asking && now - watch->reading.sent_ms >= PATIENCE_MS);
    /* Words of an earlier outage say nothing about this one. */
    bool said = health->explained_ms >= watch->up_ms && now < health->explained_ms + SAID_MS;
    const char *reason = said ? health->reason : waiting ? "no answer within 2 s" : "";
    if (watch->down_since_ms == 0) {
        watch->down_since_ms = now;
        watch->failures = health->failures;
        atomic_fetch_add_explicit(&watch->shard->hub->verdict.outages, 1, memory_order_relaxed);
        log_error("STORE-DOWN",
            write_down ? "the store cannot be written: posts are refused, streams wait"
                       : "the store cannot be read: inboxes are not answered",
            "store=%s reason=%s failed=%llu", store_engine(hub->store),
            log_quote(bytes_str(reason)), (unsigned long long)health->failures);
        return;
    }
    log_info("STORE-UP", "the store answers again", "store=%s after_ms=%llu failed=%llu",
        store_engine(hub->store), (unsigned long long)(now - watch->down_since_ms),
        (unsigned long long)(health->failures - watch->failures));
    watch->down_since_ms = 0;
    watch->up_ms = now;
}

/* Some connections fail behind such a pooler and others do not: it is told whatever works. */
static void judge_pooler(struct store_watch *watch, const struct store_health *health, uint64_t now)
{
    bool pooled = health->pooled_ms != 0 && now < health->pooled_ms + POOLED_MS;
    if (pooled && !watch->pooled) {
        log_error("STORE-POOLER",
            "a pooler stands between that changes sessions: give the address of the "
            "database itself, or a pool in session mode",
            "reason=%s", log_quote(bytes_str(health->reason)));
    }
    watch->pooled = pooled;
    atomic_store_explicit(&watch->shard->hub->verdict.pooled, pooled, memory_order_relaxed);
}

static void judge(struct store_watch *watch)
{
    struct hub *hub = watch->shard->hub;
    struct store_health health;
    uint64_t now = sched_now(sched_here(watch));
    store_get_health(hub->store, &health);
    bool write_down = is_bad(&watch->writing, now) || is_recent(health.write_failed_ms, now);
    bool read_down = is_bad(&watch->reading, now);
    judge_pooler(watch, &health, now);
    compare_users(watch, &health);
    if (health.loss.proof != NULL) {
        alarm_loss(watch, &health.loss);
    }
    atomic_store_explicit(&hub->verdict.write_down, write_down, memory_order_relaxed);
    atomic_store_explicit(&hub->verdict.read_down, read_down, memory_order_relaxed);
    store_set_writable(hub->store, !write_down);
    if ((write_down || read_down) != (watch->down_since_ms != 0)) {
        tell(watch, &health, write_down);
    }
}

static void on_timer(struct timer *timer)
{
    struct store_watch *watch = container_of(timer, struct store_watch, timer);
    uint64_t now = sched_now(sched_here(watch));
    if (is_due(&watch->writing, now)) {
        ask(watch, &watch->writing, now);
    }
    if (is_due(&watch->reading, now)) {
        ask(watch, &watch->reading, now);
    }
    if (!watch->renewing && (watch->went_back || now >= watch->renewed_ms + WATCH_EVERY_MS)) {
        ask_epoch(watch);
    }
    judge(watch);
    timer_set(sched_timers(sched_here(watch)), timer, now + TICK_MS);
}

void store_watch_start(struct hub_shard *shard)
{
    struct store_watch *watch = mem_alloc(sizeof(*watch));
    watch->shard = shard;
    timer_init(&watch->timer, on_timer);
    timer_set(
        sched_timers(shard->shard.sched), &watch->timer, sched_now(shard->shard.sched) + TICK_MS);
    shard->store_watch = watch;
}

void store_watch_stop(struct hub_shard *shard)
{
    struct store_watch *watch = shard->store_watch;
    shard->store_watch = NULL;
    watch->closing = true;
    timer_cancel(sched_timers(shard->shard.sched), &watch->timer);
    free_when_done(watch);
}
