/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one sweep after the other on a timer, and again at once as long as there is more: of what is
 * due, then of posts to many, each few seconds of what is counted by day, and last a step of the
 * walk that takes what is not kept. That goes on at once too, but what is due goes before it.
 */
#include "hub/node/sweeper.h"

#include <uv.h>

#include "actors/inbox/announce.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/config/config.h"
#include "hub/net/loop.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"
#include "hub/node/retention.h"
#include "sql/store.h"

enum { LIMIT = 500, SUMMARY_MS = 5000, LATE_MS = 10000 };

/* What is swept, in this order; `names` is for the log. */
enum { ROWS, AUDIENCES, SUMMARIES, RETENTION, KINDS };
static const char *const names[KINDS] = {"rows", "audiences", "summary", "retention"};

struct sweeper {
    uv_timer_t timer;
    struct retention_walk walk; /* its request serves all sweeps */
    struct hub_shard *shard;
    bool busy;
    uint64_t swept_ms; /* when what is due was swept last; monotonic */
    uint64_t summed_ms; /* when what is counted by day was swept last; monotonic */
    uint64_t refused_ms[KINDS]; /* of each: since when, as the operator was told; 0: it is not */
    uint64_t late_ms; /* since when what is due is late, as the operator was told; 0: it is not */
    uint64_t held_ms; /* likewise, since when posts to many are held up */
    bool closing;
    bool closed; /* the timer */
};

static void free_when_done(struct sweeper *sweeper)
{
    if (sweeper->closed && !sweeper->busy) {
        retention_finish(&sweeper->walk);
        mem_free(sweeper);
    }
}

static struct store_sweep *request_of(struct sweeper *sweeper)
{
    return &sweeper->walk.request.sweep;
}

static unsigned kind_of(enum store_op op)
{
    return op == STORE_SWEEP            ? ROWS
           : op == STORE_AUDIENCE_SWEEP ? AUDIENCES
           : op == STORE_RETAIN         ? RETENTION
                                        : SUMMARIES;
}

/*
 * Tell the operator when the store is there and will not sweep: one inbox at fault, or one that
 * somebody holds locked, keeps all that is due. A store that is away is told of by store_watch.
 */
static void judge(struct sweeper *sweeper, int status)
{
    unsigned kind = kind_of(request_of(sweeper)->base.op);
    uint64_t *refused_ms = &sweeper->refused_ms[kind];
    bool refused = status != 0 && status != STATUS_UNAVAILABLE && status != STATUS_UNKNOWN;
    if (refused && *refused_ms == 0) {
        struct store_health health;
        store_get_health(sweeper->shard->hub->store, &health);
        log_error("SWEEP-REFUSED", "nothing expires, or is taken back: the store refuses it",
            "what=%s status=%s reason=%s", names[kind], status_name(status),
            log_quote(bytes_str(health.reason)));
        *refused_ms = clock_mono_ms();
    } else if (status == 0 && *refused_ms != 0) {
        log_info("SWEEP-ACCEPTED", "what is due expires again, or is taken back",
            "what=%s after_ms=%llu", names[kind],
            (unsigned long long)(clock_mono_ms() - *refused_ms));
        *refused_ms = 0;
    }
}

/* How late what is due is taken; the operator is told when that is for long, once. */
static void watch_lag(struct sweeper *sweeper)
{
    uint64_t late_ms = request_of(sweeper)->late_ms;
    sweeper->shard->shard.stats.expiry_late_ms = late_ms;
    if (late_ms >= LATE_MS && sweeper->late_ms == 0) {
        sweeper->late_ms = clock_mono_ms();
        log_warn("EXPIRY-LATE",
            "what is due to expire, or to come back, has waited for long: more is due "
            "than the store takes, or somebody holds inboxes locked",
            "late_ms=%llu", (unsigned long long)late_ms);
    } else if (late_ms < LATE_MS && sweeper->late_ms != 0) {
        log_info("EXPIRY-IN-TIME", "what is due expires, or comes back, in time again",
            "after_ms=%llu", (unsigned long long)(clock_mono_ms() - sweeper->late_ms));
        sweeper->late_ms = 0;
    }
}

/* How long transactions of others hold up what becomes of posts to many; told as above. */
static void watch_held(struct sweeper *sweeper)
{
    uint64_t held_ms = request_of(sweeper)->late_ms;
    sweeper->shard->shard.stats.audience_held_ms = held_ms;
    if (held_ms >= LATE_MS && sweeper->held_ms == 0) {
        sweeper->held_ms = clock_mono_ms();
        log_warn("AUDIENCE-HELD",
            "posts to many that were taken back or changed wait for a transaction that is open "
            "somewhere in the database server, and reads take longer meanwhile: find it in "
            "pg_stat_activity by backend_xid and xact_start, or in pg_prepared_xacts",
            "held_ms=%llu", (unsigned long long)held_ms);
    } else if (held_ms < LATE_MS && sweeper->held_ms != 0) {
        log_info("AUDIENCE-FREE", "posts to many that were taken back or changed wait no longer",
            "after_ms=%llu", (unsigned long long)(clock_mono_ms() - sweeper->held_ms));
        sweeper->held_ms = 0;
    }
}

/* Announce what has changed, and count it. */
static void tell(struct sweeper *sweeper)
{
    const struct store_sweep *request = request_of(sweeper);
    struct shard_stats *stats = &sweeper->shard->shard.stats;
    if (request->base.op == STORE_SWEEP) {
        watch_lag(sweeper);
    } else if (request->base.op == STORE_AUDIENCE_SWEEP) {
        watch_held(sweeper);
    } else if (request->base.op == STORE_RETAIN) {
        retention_tell(&sweeper->walk, stats);
    }
    for (size_t i = 0; i < request->user_count; i++) {
        const struct store_swept *swept = &request->users[i];
        bool due = request->base.op == STORE_SWEEP;
        stats->expired += due && !swept->news ? swept->change_count : 0;
        stats->woken += due && swept->news && !swept->renewed ? swept->change_count : 0;
        stats->retained += request->base.op == STORE_RETAIN ? swept->change_count : 0;
        if (!sweeper->closing) {
            announce_swept(&sweeper->shard->shard, swept);
        }
    }
}

static const struct config *config_of(const struct sweeper *sweeper)
{
    return sweeper->shard->settings->config;
}

/* What is swept behind `op`; STORE_OP_COUNT: nothing. */
static enum store_op next_of(struct sweeper *sweeper, enum store_op op)
{
    uint64_t now = clock_mono_ms();
    if (op == STORE_SWEEP) {
        return STORE_AUDIENCE_SWEEP;
    }
    if (op == STORE_AUDIENCE_SWEEP && now >= sweeper->summed_ms + SUMMARY_MS) {
        sweeper->summed_ms = now;
        return STORE_SUMMARY_SWEEP;
    }
    if (op != STORE_RETAIN && retention_is_on(config_of(sweeper))) {
        return STORE_RETAIN;
    }
    if (op != STORE_RETAIN) {
        retention_rest(&sweeper->walk, &sweeper->shard->shard.stats);
    }
    return STORE_OP_COUNT;
}

/* Behind a sweep that has more to do. What is due does not wait for the end of a walk. */
static enum store_op again(struct sweeper *sweeper, enum store_op op)
{
    bool waits = clock_mono_ms() >= sweeper->swept_ms + config_of(sweeper)->store_sweep_ms;
    return op == STORE_RETAIN && waits ? STORE_SWEEP : op;
}

static uint64_t keep_ms_of(const struct config *config, enum store_op op)
{
    switch (kind_of(op)) {
    case ROWS:
        return config->store_tombstones_ms;
    case AUDIENCES:
        return retention_keep_posts_ms(config);
    case SUMMARIES:
        return config->store_summary_ms;
    default:
        return 0;
    }
}

static void sweep(struct sweeper *sweeper, enum store_op op);

static void on_swept(struct store_request *base)
{
    struct sweeper *sweeper = container_of(base, struct sweeper, walk.request.sweep.base);
    struct store_sweep *request = request_of(sweeper);
    sweeper->busy = false;
    judge(sweeper, base->status);
    if (base->status == 0) {
        tell(sweeper);
    }
    bool more = base->status == 0 && request->more;
    store_request_finish(base);
    if (sweeper->closing) {
        free_when_done(sweeper);
        return;
    }
    enum store_op next = more ? again(sweeper, base->op) : next_of(sweeper, base->op);
    if (next != STORE_OP_COUNT) {
        sweep(sweeper, next);
    }
}

static void sweep(struct sweeper *sweeper, enum store_op op)
{
    const struct config *config = config_of(sweeper);
    sweeper->busy = true;
    sweeper->swept_ms = op == STORE_SWEEP ? clock_mono_ms() : sweeper->swept_ms;
    if (op == STORE_RETAIN) {
        retention_ask(&sweeper->walk, config);
    }
    *request_of(sweeper) = (struct store_sweep){
        .base = {.op = op, .done = on_swept},
        .now = op == STORE_RETAIN ? 0 : clock_wall_ms(), /* 0: by the store's clock */
        .limit = LIMIT,
        .tombstone_ms = keep_ms_of(config, op),
    };
    store_submit(sweeper->shard->shard.store, &request_of(sweeper)->base);
}

static void on_timer(uv_timer_t *timer)
{
    struct sweeper *sweeper = container_of(timer, struct sweeper, timer);
    if (!sweeper->busy) {
        sweep(sweeper, STORE_SWEEP);
    }
}

void hub_sweeper_start(struct hub_shard *shard)
{
    uint64_t every = shard->hub->config->store_sweep_ms;
    struct sweeper *sweeper = mem_alloc(sizeof(*sweeper));
    sweeper->shard = shard;
    uv_timer_init(loop_uv(shard->loop), &sweeper->timer);
    uv_timer_start(&sweeper->timer, on_timer, every, every);
    shard->sweeper = sweeper;
}

static void on_closed(uv_handle_t *handle)
{
    struct sweeper *sweeper = container_of((uv_timer_t *)handle, struct sweeper, timer);
    sweeper->closed = true;
    free_when_done(sweeper);
}

void hub_sweeper_stop(struct hub_shard *shard)
{
    shard->sweeper->closing = true;
    uv_close((uv_handle_t *)&shard->sweeper->timer, on_closed);
    shard->sweeper = NULL;
}
