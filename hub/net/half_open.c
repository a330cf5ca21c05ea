/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One list for each loop, made when the first connection is on it; who is counted is in it.
 */
#include "hub/net/half_open.h"

#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "hub/net/loop.h"

enum {
    PATIENCE_MS = 1000,
    CROWD = 4, /* so many times the bound may wait that have not waited so long */
    TRIES = 4 /* how many are looked at for a new one */
};

struct half_opens {
    struct loop_local local;
    struct list waiting; /* half_open.link */
    uint32_t count;
    const struct half_open_ops *ops;
    struct shard_stats *stats; /* of the loop's shard */
    struct log_limit log_limit;
};

static void destroy(struct loop_local *local)
{
    mem_free(container_of(local, struct half_opens, local));
}

static struct half_opens *find(const struct loop *loop)
{
    struct loop_local *local = loop_get_local(loop, LOOP_HTTP);
    return local != NULL ? container_of(local, struct half_opens, local) : NULL;
}

static struct half_opens *make(struct loop *loop, const struct half_open_ops *ops)
{
    struct half_opens *halves = mem_alloc(sizeof(*halves));
    halves->local.destroy = destroy;
    halves->ops = ops;
    halves->stats = &loop_shard(loop)->stats;
    list_init(&halves->waiting);
    loop_set_local(loop, LOOP_HTTP, &halves->local);
    return halves;
}

static void enter(struct half_opens *halves, struct half_open *half)
{
    list_append(&halves->waiting, &half->link);
    halves->count++;
    halves->stats->half_open++;
}

static void leave(struct half_opens *halves, struct half_open *half)
{
    list_remove(&half->link);
    halves->count--;
    halves->stats->half_open--;
}

static struct half_open *find_oldest(const struct half_opens *halves)
{
    return container_of(halves->waiting.next, struct half_open, link);
}

static void end_oldest(struct half_opens *halves)
{
    struct half_open *oldest = find_oldest(halves);
    leave(halves, oldest);
    halves->stats->half_open_dropped++;
    halves->ops->end(oldest);
}

static bool is_too_many(const struct half_opens *halves, uint32_t max, uint64_t now)
{
    return halves->count > max && (now - find_oldest(halves)->since_ms >= PATIENCE_MS ||
                                      halves->count > (uint64_t)max * CROWD);
}

/* Those that have sent something go to the end of the list: what they have sent decides. */
static unsigned bound(struct half_opens *halves, uint32_t max, uint64_t now)
{
    unsigned ended = 0;
    for (unsigned tried = 0; is_too_many(halves, max, now) && tried < TRIES; tried++) {
        struct half_open *oldest = find_oldest(halves);
        if (halves->ops->has_unread(oldest)) {
            list_remove(&oldest->link);
            list_append(&halves->waiting, &oldest->link);
            oldest->since_ms = now;
        } else {
            end_oldest(halves);
            ended++;
        }
    }
    return ended;
}

void half_open_begin(
    struct loop *loop, struct half_open *half, uint32_t max, const struct half_open_ops *ops)
{
    if (max == 0) {
        return;
    }
    struct half_opens *halves = find(loop);
    halves = halves != NULL ? halves : make(loop, ops);
    unsigned suppressed;
    half->since_ms = sched_now(loop_shard(loop)->sched);
    enter(halves, half);
    if (bound(halves, max, half->since_ms) > 0 && log_allow(&halves->log_limit, &suppressed)) {
        log_warn("LISTEN-HALF-OPEN",
            "limits.half_open is reached: connections that have sent no whole request go",
            "waiting=%u suppressed=%u", halves->count, suppressed);
    }
}

void half_open_done(struct loop *loop, struct half_open *half)
{
    if (!list_empty(&half->link)) {
        leave(find(loop), half);
    }
}

unsigned half_open_shed(struct loop *loop)
{
    struct half_opens *halves = find(loop);
    uint64_t now = sched_now(loop_shard(loop)->sched);
    unsigned ended = 0;
    while (halves != NULL && !list_empty(&halves->waiting) &&
           now - find_oldest(halves)->since_ms >= PATIENCE_MS) {
        end_oldest(halves);
        ended++;
    }
    return ended;
}
