/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts rows in order and stops them in reverse, waiting for what is still open, up to a deadline.
 *
 * Order of this file: life, counting, stopping, waiting.
 *
 * A row that is not stopped counts as open, so that zero is the end of it. Each shard counts its
 * own at the end of a turn and publishes a copy under the lock, which the others and the main
 * thread read. Rows are stopped by a task of the loop, never at the end of a turn itself: what they
 * send then leaves with the turn that follows.
 */
#include "hub/node/services.h"

#include <string.h>
#include <uv.h>

#include "actors/core/sched.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/loop.h"

#define NS_IN_MS UINT64_C(1000000)

/* The services of one shard. */
struct seat {
    struct services *services;
    struct hub_shard *shard;
    struct loop *loop;
    struct loop_task task; /* stops what is due */
    uint64_t started; /* rows, by bit */
    uint64_t stopped;
    bool stopping;
    /* Under the lock: */
    uint64_t open[SERVICES_MAX];
    bool counted; /* since services_stop */
    bool runs; /* its thread */
};

struct services {
    const struct service *rows;
    size_t count;
    struct actor_system *system;
    unsigned shards;
    uv_mutex_t lock;
    uv_cond_t changed; /* a copy, or a thread has ended */
    struct seat seats[];
};

_Static_assert(SERVICES_MAX <= 64, "a bit for each row");

/* Life. */

static void on_task(struct loop_task *task);

struct services *services_create(
    const struct service *rows, size_t count, struct actor_system *system)
{
    unsigned shards = actor_system_shards(system);
    struct services *services = mem_alloc(sizeof(*services) + shards * sizeof(services->seats[0]));
    CHECK(count <= SERVICES_MAX);
    services->rows = rows;
    services->count = count;
    services->system = system;
    services->shards = shards;
    CHECK(uv_mutex_init(&services->lock) == 0 && uv_cond_init(&services->changed) == 0);
    for (unsigned i = 0; i < shards; i++) {
        services->seats[i].services = services;
        loop_task_init(&services->seats[i].task, on_task);
    }
    return services;
}

void services_destroy(struct services *services)
{
    if (services != NULL) {
        uv_cond_destroy(&services->changed);
        uv_mutex_destroy(&services->lock);
        mem_free(services);
    }
}

static bool is_in(uint64_t rows, size_t row)
{
    return (rows >> row & 1) != 0;
}

static void publish(struct seat *seat, const uint64_t open[SERVICES_MAX])
{
    memcpy(seat->open, open, sizeof(seat->open));
    seat->counted = seat->stopping;
    uv_cond_signal(&seat->services->changed);
}

/* How much of each row is open on this shard; returns how many rows are. */
static unsigned count_open(const struct seat *seat, uint64_t ret_open[SERVICES_MAX])
{
    const struct services *services = seat->services;
    unsigned rows = 0;
    memset(ret_open, 0, SERVICES_MAX * sizeof(ret_open[0]));
    for (size_t i = 0; i < services->count; i++) {
        const struct service *row = &services->rows[i];
        if (is_in(seat->started, i)) {
            uint64_t left = row->open != NULL ? row->open(seat->shard) : 0;
            ret_open[i] = left > 0 || is_in(seat->stopped, i) ? left : 1;
            rows += ret_open[i] > 0;
        }
    }
    return rows;
}

static int start(const struct service *row, struct hub_shard *shard)
{
    if (row->start != NULL) {
        row->start(shard);
    }
    return row->try_start != NULL ? row->try_start(shard) : 0;
}

int services_start(
    struct services *services, unsigned index, struct hub_shard *shard, struct loop *loop)
{
    struct seat *seat = &services->seats[index];
    uint64_t open[SERVICES_MAX];
    int status = 0;
    seat->shard = shard;
    seat->loop = loop;
    for (size_t i = 0; i < services->count && status == 0; i++) {
        const struct service *row = &services->rows[i];
        if (row->wanted == NULL || row->wanted(shard)) {
            seat->started |= UINT64_C(1) << i;
            status = start(row, shard);
        }
    }
    count_open(seat, open);
    uv_mutex_lock(&services->lock);
    seat->runs = true;
    publish(seat, open);
    uv_mutex_unlock(&services->lock);
    return status;
}

/* Stopping. */

/* Whether anything of row `row` is open on another shard. Under the lock. */
static bool is_open_elsewhere(const struct seat *seat, size_t row)
{
    const struct services *services = seat->services;
    for (unsigned i = 0; i < services->shards; i++) {
        if (&services->seats[i] != seat && services->seats[i].open[row] > 0) {
            return true;
        }
    }
    return false;
}

/* The rows that are to be stopped now, by bit. Under the lock. */
static uint64_t find_due(const struct seat *seat, const uint64_t open[SERVICES_MAX])
{
    const struct services *services = seat->services;
    uint64_t due = 0;
    bool behind = false; /* something is open */
    for (size_t i = services->count; i-- > 0;) {
        const struct service *row = &services->rows[i];
        bool first = is_in(seat->started, i) && !is_in(seat->stopped, i);
        if ((first || (row->again && open[i] > 0)) && !(row->last && behind)) {
            due |= UINT64_C(1) << i;
        }
        behind = behind || open[i] > 0 || is_open_elsewhere(seat, i);
    }
    return due;
}

static void stop_due(struct seat *seat)
{
    struct services *services = seat->services;
    uint64_t open[SERVICES_MAX];
    count_open(seat, open);
    uv_mutex_lock(&services->lock);
    uint64_t due = find_due(seat, open);
    uv_mutex_unlock(&services->lock);
    for (size_t i = services->count; i-- > 0;) {
        if (is_in(due, i)) {
            seat->stopped |= UINT64_C(1) << i;
            if (services->rows[i].stop != NULL) {
                services->rows[i].stop(seat->shard);
            }
        }
    }
}

static void on_task(struct loop_task *task)
{
    stop_due(container_of(task, struct seat, task));
}

void services_stop(struct services *services, unsigned index)
{
    struct seat *seat = &services->seats[index];
    seat->stopping = true;
    stop_due(seat);
}

/* Having been woken is all: the end of its turn looks again. */
static void on_woken(void *arg, bool cancelled)
{
    (void)arg;
    (void)cancelled;
}

static void wake_others(const struct seat *seat)
{
    struct services *services = seat->services;
    for (unsigned i = 0; i < services->shards; i++) {
        if (&services->seats[i] != seat) {
            sched_post(services->system, i, on_woken, NULL);
        }
    }
}

static unsigned rows_open(const struct seat *seat)
{
    unsigned rows = 0;
    for (size_t i = 0; i < seat->services->count; i++) {
        rows += seat->open[i] > 0;
    }
    return rows;
}

void services_turn(struct services *services, unsigned index)
{
    struct seat *seat = &services->seats[index];
    uint64_t open[SERVICES_MAX];
    if (!seat->stopping) {
        return;
    }
    unsigned rows = count_open(seat, open);
    uv_mutex_lock(&services->lock);
    unsigned before = rows_open(seat);
    if (!seat->counted || memcmp(open, seat->open, sizeof(open)) != 0) {
        publish(seat, open);
    }
    bool due = find_due(seat, open) != 0;
    uv_mutex_unlock(&services->lock);
    if (rows < before) {
        wake_others(seat);
    }
    if (due) {
        loop_defer(seat->loop, &seat->task);
    }
}

void services_ended(struct services *services, unsigned index)
{
    uv_mutex_lock(&services->lock);
    services->seats[index].runs = false;
    uv_cond_signal(&services->changed);
    uv_mutex_unlock(&services->lock);
}

/* Waiting. */

/* Whether this shard has nothing open. */
static bool is_done(const struct seat *seat)
{
    return !seat->runs || (seat->counted && rows_open(seat) == 0);
}

static bool is_gone(const struct seat *seat)
{
    return !seat->runs;
}

static bool are_all(const struct services *services, bool (*done)(const struct seat *seat))
{
    bool all = true;
    for (unsigned i = 0; i < services->shards && all; i++) {
        all = done(&services->seats[i]);
    }
    return all;
}

static int wait_for(
    struct services *services, bool (*done)(const struct seat *seat), uint64_t until_ms)
{
    uv_mutex_lock(&services->lock);
    bool all = are_all(services, done);
    for (uint64_t now = clock_mono_ms(); !all && now < until_ms; now = clock_mono_ms()) {
        (void)uv_cond_timedwait(&services->changed, &services->lock, (until_ms - now) * NS_IN_MS);
        all = are_all(services, done);
    }
    uv_mutex_unlock(&services->lock);
    return all ? 0 : STATUS_TIMEOUT;
}

int services_wait(struct services *services, uint64_t until_ms)
{
    return wait_for(services, is_done, until_ms);
}

int services_wait_ended(struct services *services, uint64_t until_ms)
{
    return wait_for(services, is_gone, until_ms);
}

static void write_one(struct builder *out, const char *name, uint64_t count)
{
    if (count > 0) {
        builder_str(out, builder_bytes(out).len > 0 ? ", " : "");
        builder_printf(out, "%s %llu", name, (unsigned long long)count);
    }
}

void services_write_left(struct services *services, struct builder *out)
{
    uint64_t loops = 0;
    uv_mutex_lock(&services->lock);
    for (size_t row = services->count; row-- > 0;) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < services->shards; i++) {
            const struct seat *seat = &services->seats[i];
            sum += seat->runs && seat->counted ? seat->open[row] : 0;
        }
        write_one(out, services->rows[row].name, sum);
    }
    for (unsigned i = 0; i < services->shards; i++) {
        const struct seat *seat = &services->seats[i];
        loops += seat->runs && (!seat->counted || rows_open(seat) == 0);
    }
    write_one(out, "loops", loops);
    uv_mutex_unlock(&services->lock);
}
