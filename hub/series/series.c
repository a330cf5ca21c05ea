/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes posts in, keeps them within bounds, and writes what is dirty to Redis. Order of this file:
 * tenants, room, the end, counting, posts, writing, collecting, time, life.
 *
 * What is over a bound goes in this order: the oldest bucket of the tenant that has most, then the
 * post that needs the room.
 */
#include "hub/series/series.h"

#include <string.h>

#include "actors/core/sched.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/series/series_bus.h"
#include "hub/series/series_state.h"

enum { WRITES_MAX = 16, TELL_MS = 3600000, TENANTS_MAX = 10000, ANY_NUMBER = 1000000000 };

const double series_bounds[SERIES_BOUNDS] = {
    1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10000};

/* --- tenants --- */

static struct bytes tenant_key(const void *object)
{
    const struct series_tenant *tenant = object;
    return bytes_of(tenant->name, tenant->name_len);
}

static struct bytes known_key(const void *object)
{
    const struct series_known *known = object;
    return bytes_of(known->key, known->key_len);
}

static bool is_own(const struct series_tenant *tenant)
{
    return bytes_eq(tenant_key(tenant), SERIES_OWN);
}

struct series_tenant *series_find_tenant(const struct series *series, struct bytes name)
{
    return map_get(&series->tenants, name);
}

static struct series_tenant *open_tenant(struct series *series, struct bytes name)
{
    struct series_tenant *tenant = map_get(&series->tenants, name);
    if (tenant != NULL || map_count(&series->tenants) >= TENANTS_MAX) {
        return tenant;
    }
    tenant = mem_try_calloc(1, sizeof(*tenant) + name.len);
    if (tenant == NULL) {
        return NULL;
    }
    tenant->name_len = (uint32_t)name.len;
    if (name.len > 0) {
        memcpy(tenant->name, name.at, name.len);
    }
    list_init(&tenant->link);
    series_window_init(&tenant->window);
    map_init(&tenant->known, known_key);
    if (!map_put(&series->tenants, tenant)) {
        mem_free(tenant);
        return NULL;
    }
    return tenant;
}

static void forget(struct series *series, struct series_tenant *tenant, struct series_known *known)
{
    (void)map_remove(&tenant->known, known_key(known));
    tenant->bytes -= mem_cost(sizeof(*known) + known->key_len);
    series->stats.series--;
    series_cell_finish(&known->all);
    mem_free(known);
}

static void free_tenant(struct series *series, struct series_tenant *tenant)
{
    size_t cursor = 0;
    for (struct series_known *known; (known = map_next(&tenant->known, &cursor)) != NULL;) {
        forget(series, tenant, known);
    }
    list_remove(&tenant->link);
    map_finish(&tenant->known);
    series_window_finish(&tenant->window);
    mem_free(tenant);
}

/* --- room --- */

static size_t bytes_of_tenant(const struct series_tenant *tenant)
{
    return tenant->bytes + tenant->window.bytes + map_bytes(&tenant->known);
}

static size_t count_bytes(struct series *series)
{
    size_t bytes = 0;
    size_t cursor = 0;
    for (const struct series_tenant *tenant;
         (tenant = map_next(&series->tenants, &cursor)) != NULL;) {
        bytes += bytes_of_tenant(tenant);
    }
    series->stats.bytes = bytes;
    return bytes;
}

static struct series_tenant *find_largest(const struct series *series)
{
    struct series_tenant *largest = NULL;
    size_t cursor = 0;
    for (struct series_tenant *tenant; (tenant = map_next(&series->tenants, &cursor)) != NULL;) {
        if (largest == NULL || tenant->window.bytes > largest->window.bytes) {
            largest = tenant;
        }
    }
    return largest;
}

static void tell_dropped(struct series *series, const struct series_tenant *tenant)
{
    unsigned suppressed;
    series->stats.lost++;
    if (log_allow(&series->dropped, &suppressed)) {
        log_warn("METRICS-DROPPED", "the oldest metrics in memory went, metrics.bytes is full",
            "tenant=%s suppressed=%u", log_quote(tenant_key(tenant)), suppressed);
    }
}

/* Whether there is room for what comes next. */
static bool make_room(struct series *series)
{
    uint64_t most = series->options.limits(series->options.context).bytes;
    while (count_bytes(series) > most) {
        bool dirty;
        struct series_tenant *largest = find_largest(series);
        if (largest == NULL || !series_window_drop(&largest->window, &dirty)) {
            return false;
        }
        if (dirty || series->bus == NULL) {
            tell_dropped(series, largest);
        }
    }
    return true;
}

/* --- the end --- */

/* The last of what was under way has ended: Redis is not needed any more. */
static void end_if_over(struct series *series)
{
    size_t dirty = 0;
    size_t cursor = 0;
    if (!series->ending || series->bus == NULL || series->writing + series->asking > 0) {
        return;
    }
    series_bus_close(series->bus);
    series->bus = NULL;
    for (const struct series_tenant *tenant;
         (tenant = map_next(&series->tenants, &cursor)) != NULL;) {
        dirty += series_window_dirty(&tenant->window);
    }
    series->stats.lost += dirty;
    if (dirty > 0) {
        log_warn("METRICS-LOST", "the node ends, and metrics were not written to Redis",
            "buckets=%llu", (unsigned long long)dirty);
    }
}

void series_hold(struct series *series)
{
    series->asking++;
}

void series_release(struct series *series)
{
    series->asking--;
    end_if_over(series);
}

/* --- counting --- */

static struct series_known *meet(
    struct series *series, struct series_tenant *tenant, struct bytes key)
{
    struct series_known *known = map_get(&tenant->known, key);
    if (known != NULL) {
        return known;
    }
    size_t size = sizeof(*known) + key.len;
    known = mem_try_calloc(1, size);
    if (known == NULL) {
        return NULL;
    }
    known->key_len = (uint32_t)key.len;
    memcpy(known->key, key.at, key.len);
    if (!map_put(&tenant->known, known)) {
        mem_free(known);
        return NULL;
    }
    tenant->bytes += mem_cost(size);
    series->stats.series++;
    return known;
}

static void count_known(
    struct series_known *known, const struct series_sample *sample, uint64_t now_ms)
{
    unsigned bound = 0;
    while (bound < SERIES_BOUNDS && sample->value > series_bounds[bound]) {
        bound++;
    }
    known->spread[bound]++;
    known->last_ms = now_ms;
    (void)!series_cell_add(&known->all, SERIES_GAUGE, sample->value, sample->at_ms);
}

static void count_post(
    struct series *series, struct series_tenant *tenant, const struct series_post *post)
{
    uint64_t now = sched_wall(series->options.shard->sched);
    for (size_t i = 0; i < post->count; i++) {
        const struct series_sample *sample = &post->samples[i];
        struct series_known *known = meet(series, tenant, sample->key);
        if (known == NULL ||
            !series_window_add(&tenant->window, sample->key, sample->value, sample->at_ms)) {
            series->stats.dropped++;
            continue;
        }
        known->told_ms = known->told_ms > 0 ? known->told_ms : now;
        count_known(known, sample, now);
        series->stats.samples++;
    }
}

void series_add_own(
    struct series *series, struct bytes key, const struct series_cell *cell, bool set)
{
    struct series_tenant *tenant = open_tenant(series, SERIES_OWN);
    uint64_t now = sched_wall(series->options.shard->sched);
    if (tenant != NULL) { /* else what was counted is not told of, as nothing else can be */
        (void)!series_window_merge(&tenant->window, key, cell, now, set);
    }
}

/* --- posts --- */

static void finish_post(struct series_post *post, int status, size_t fault)
{
    mem_free(post->places);
    post->places = NULL;
    post->status = status;
    post->fault = fault;
    post->series->stats.refused += status == STATUS_UNAVAILABLE;
    post->done(post);
}

static void refuse_over(struct series *series, struct series_post *post, size_t fault)
{
    unsigned suppressed;
    series->stats.over++;
    if (log_allow(&series->over, &suppressed)) {
        log_warn("METRICS-OVER", "a tenant posts more series than metrics.series, they are refused",
            "tenant=%s series=%s suppressed=%u", log_quote(post->tenant),
            log_quote(post->samples[fault].key), suppressed);
    }
    finish_post(post, STATUS_FULL, fault);
}

static void take_post(struct series *series, struct series_post *post)
{
    struct series_tenant *tenant = open_tenant(series, post->tenant);
    bool room = tenant != NULL && make_room(series);
    if (room) {
        count_post(series, tenant, post);
    }
    finish_post(post, room ? 0 : STATUS_UNAVAILABLE, 0);
}

static void on_admitted(void *context, int status, uint64_t place)
{
    struct series_post *post = context;
    struct series *series = post->series;
    if (status != 0) {
        finish_post(post, STATUS_UNAVAILABLE, 0);
    } else if (place > 0) {
        refuse_over(series, post, post->places[place - 1]);
    } else {
        take_post(series, post);
    }
    series_release(series);
}

static struct bytes sample_key(const void *object)
{
    return ((const struct series_sample *)object)->key;
}

/*
 * Write the places of the series that were not met, each once, to post->places; how many, or a
 * status.
 */
static int find_strange(const struct series_tenant *tenant, struct series_post *post)
{
    struct map met;
    int count = 0;
    map_init(&met, sample_key);
    post->places = mem_try_calloc(post->count, sizeof(*post->places));
    for (size_t i = 0; post->places != NULL && i < post->count && count >= 0; i++) {
        struct bytes key = post->samples[i].key;
        if (map_get(&tenant->known, key) == NULL && map_get(&met, key) == NULL) {
            post->places[count] = i;
            count = map_put(&met, &post->samples[i]) ? count + 1 : STATUS_NOMEM;
        }
    }
    map_finish(&met);
    return post->places != NULL ? count : STATUS_NOMEM;
}

static void ask_redis(struct series *series, struct series_post *post, size_t count, uint64_t limit)
{
    struct bytes *keys = mem_try_calloc(count, sizeof(*keys));
    if (keys == NULL || !series_bus_is_up(series->bus)) {
        mem_free(keys);
        finish_post(post, STATUS_UNAVAILABLE, 0);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        keys[i] = post->samples[post->places[i]].key;
    }
    series_hold(series);
    const struct series_admit admit = {
        .tenant = post->tenant, .keys = keys, .count = count, .limit = limit};
    series_bus_admit(series->bus, &admit, on_admitted, post);
    mem_free(keys);
}

void series_post(struct series *series, struct series_post *post)
{
    struct series_tenant *tenant = series->ending ? NULL : open_tenant(series, post->tenant);
    post->series = series;
    post->places = NULL;
    int count = tenant != NULL ? find_strange(tenant, post) : STATUS_UNAVAILABLE;
    if (count < 0) {
        finish_post(post, STATUS_UNAVAILABLE, 0);
        return;
    }
    uint64_t limit = series->options.limits(series->options.context).series;
    uint64_t known = map_count(&tenant->known);
    uint64_t free = limit > known ? limit - known : 0;
    if ((uint64_t)count > free) {
        refuse_over(series, post, post->places[free]);
    } else if (count > 0 && series->bus != NULL) {
        ask_redis(series, post, (size_t)count, limit);
    } else {
        take_post(series, post);
    }
}

/* --- writing --- */

struct write {
    struct series *series;
    struct series_bucket *bucket;
};

static void write_some(struct series *series);

static void on_written(void *context, int status, uint64_t place)
{
    struct write write = *(struct write *)context;
    struct series *series = write.series;
    (void)place;
    mem_free(context);
    write.bucket->writing = false;
    write.bucket->dirty |= status != 0;
    series->writing--;
    series->stats.written += status == 0;
    series->stats.failed += status != 0;
    series->failed |= status != 0;
    write_some(series);
    end_if_over(series);
}

static void write_bucket(
    struct series *series, struct series_tenant *tenant, struct series_bucket *bucket)
{
    struct write *write = mem_alloc(sizeof(*write));
    *write = (struct write){.series = series, .bucket = bucket};
    bucket->dirty = false;
    bucket->writing = true;
    series->writing++;
    series_bus_write(series->bus, tenant_key(tenant), bucket,
        sched_wall(series->options.shard->sched), on_written, write);
}

/* Whether all that is dirty of the tenant is being written. */
static bool write_tenant(struct series *series, struct series_tenant *tenant)
{
    list_for_each (link, &tenant->window.buckets) {
        struct series_bucket *bucket = container_of(link, struct series_bucket, link);
        if (!bucket->dirty || bucket->writing) {
            continue;
        }
        if (series->writing >= WRITES_MAX) {
            return false;
        }
        write_bucket(series, tenant, bucket);
    }
    return true;
}

static void tell_unwritten(struct series *series)
{
    unsigned suppressed;
    if (log_allow(&series->unwritten, &suppressed)) {
        log_warn("METRICS-UNWRITTEN",
            "metrics could not be written to Redis, they are kept and written again",
            "bytes=%llu suppressed=%u", (unsigned long long)count_bytes(series), suppressed);
    }
}

/* Go on with the round. One in which something failed ends when the rest is answered: what is left
 * is written with the next. */
static void write_some(struct series *series)
{
    while (!series->failed && !list_empty(&series->queue)) {
        struct series_tenant *first = container_of(series->queue.next, struct series_tenant, link);
        if (!write_tenant(series, first)) {
            return;
        }
        list_remove(&first->link);
    }
    if (series->writing == 0 && series->flushing) {
        series->flushing = false;
        if (series->failed) {
            tell_unwritten(series);
        }
    }
}

static void flush(struct series *series)
{
    size_t cursor = 0;
    if (series->bus == NULL || series->flushing || map_count(&series->tenants) == 0) {
        return;
    }
    series->flushing = true;
    series->failed = !series_bus_is_up(series->bus);
    series->stats.failed += series->failed;
    for (struct series_tenant *tenant; (tenant = map_next(&series->tenants, &cursor)) != NULL;) {
        list_remove(&tenant->link);
        list_append(&series->queue, &tenant->link);
    }
    write_some(series);
}

/* --- collecting --- */

static void collect(struct series *series)
{
    list_splice(&series->waiting, &series->next);
    series->collecting = true;
    series->options.collect(series->options.context);
}

void series_wait(struct series *series, struct series_waiter *waiter)
{
    list_append(&series->next, &waiter->link);
    if (!series->collecting && !series->ending) {
        collect(series);
    }
}

void series_collected(struct series *series)
{
    struct list ready;
    list_init(&ready);
    list_splice(&ready, &series->waiting);
    series->collecting = false;
    if (!list_empty(&series->next) && !series->ending) {
        collect(series);
    }
    for (struct list *link; (link = list_pop(&ready)) != NULL;) {
        struct series_waiter *waiter = container_of(link, struct series_waiter, link);
        waiter->fn(waiter, false);
    }
}

/* --- time --- */

/* Tell Redis that series go on, of which it has not heard for long. */
static void on_told(void *context, int status, uint64_t place)
{
    (void)status;
    (void)place;
    series_release(context);
}

static void tell_known(struct series *series, struct series_tenant *tenant, uint64_t now)
{
    enum { AT_ONCE = 256 };
    struct bytes keys[AT_ONCE];
    size_t count = 0;
    size_t cursor = 0;
    for (struct series_known *known;
         count < AT_ONCE && (known = map_next(&tenant->known, &cursor)) != NULL;) {
        if (known->last_ms > known->told_ms && now > known->told_ms + TELL_MS) {
            known->told_ms = now;
            keys[count++] = known_key(known);
        }
    }
    if (count > 0) {
        series_hold(series);
        const struct series_admit admit = {
            .tenant = tenant_key(tenant), .keys = keys, .count = count, .limit = ANY_NUMBER};
        series_bus_admit(series->bus, &admit, on_told, series);
    }
}

static void age_tenant(struct series *series, struct series_tenant *tenant, uint64_t now)
{
    size_t cursor = 0;
    series_window_age(&tenant->window, now, series->bus == NULL);
    for (struct series_known *known; (known = map_next(&tenant->known, &cursor)) != NULL;) {
        if (known->last_ms + SERIES_KEPT_MS < now) {
            forget(series, tenant, known);
        }
    }
    if (series->bus != NULL && series_bus_is_up(series->bus) && !is_own(tenant)) {
        tell_known(series, tenant, now);
    }
}

static void age(struct series *series)
{
    uint64_t now = sched_wall(series->options.shard->sched);
    size_t cursor = 0;
    for (struct series_tenant *tenant; (tenant = map_next(&series->tenants, &cursor)) != NULL;) {
        age_tenant(series, tenant, now);
        if (map_count(&tenant->known) == 0 && list_empty(&tenant->window.buckets)) {
            (void)map_remove(&series->tenants, tenant_key(tenant));
            free_tenant(series, tenant);
        }
    }
    (void)make_room(series);
}

static void on_collected(struct series_waiter *waiter, bool cancelled)
{
    struct series *series = container_of(waiter, struct series, flusher);
    series->waits = false;
    if (!cancelled && !series->ending) {
        age(series);
        flush(series);
    }
}

static void on_timer(struct timer *timer)
{
    struct series *series = container_of(timer, struct series, timer);
    struct sched *sched = series->options.shard->sched;
    timer_set(sched_timers(sched), timer, sched_now(sched) + series->options.flush_ms);
    if (!series->waits) {
        series->waits = true;
        series->flusher.fn = on_collected;
        series_wait(series, &series->flusher);
    }
}

/* Redis may have lost what it had: what is still in memory is written and told again. */
static void on_up(void *context)
{
    struct series *series = context;
    size_t cursor = 0;
    for (struct series_tenant *tenant; (tenant = map_next(&series->tenants, &cursor)) != NULL;) {
        size_t at = 0;
        list_for_each (link, &tenant->window.buckets) {
            container_of(link, struct series_bucket, link)->dirty = true;
        }
        for (struct series_known *known; (known = map_next(&tenant->known, &at)) != NULL;) {
            known->told_ms = 1;
        }
    }
}

/* --- life --- */

struct series *series_start(const struct series_options *options)
{
    struct series *series = mem_alloc(sizeof(*series));
    struct sched *sched = options->shard->sched;
    series->options = *options;
    map_init(&series->tenants, tenant_key);
    list_init(&series->queue);
    list_init(&series->waiting);
    list_init(&series->next);
    if (options->shard->bus != NULL) {
        series->bus = series_bus_open(options->shard, options->node, on_up, series);
    }
    timer_init(&series->timer, on_timer);
    timer_set(sched_timers(sched), &series->timer, sched_now(sched) + options->flush_ms);
    return series;
}

static void cancel_waiters(struct list *waiters)
{
    for (struct list *link; (link = list_pop(waiters)) != NULL;) {
        struct series_waiter *waiter = container_of(link, struct series_waiter, link);
        waiter->fn(waiter, true);
    }
}

void series_stop(struct series *series)
{
    if (series->ending) {
        return;
    }
    series->ending = true;
    timer_cancel(sched_timers(series->options.shard->sched), &series->timer);
    cancel_waiters(&series->waiting);
    cancel_waiters(&series->next);
    series->flushing = false; /* what failed of the round under way is tried once more */
    flush(series);
    end_if_over(series);
}

uint64_t series_count_open(const struct series *series)
{
    return series->writing + series->asking + (series->ending && series->bus == NULL ? 0 : 1);
}

const struct series_stats *series_get_stats(const struct series *series)
{
    return &series->stats;
}

void series_destroy(struct series *series)
{
    size_t cursor = 0;
    if (series == NULL) {
        return;
    }
    for (struct series_tenant *tenant; (tenant = map_next(&series->tenants, &cursor)) != NULL;) {
        (void)map_remove(&series->tenants, tenant_key(tenant));
        free_tenant(series, tenant);
    }
    map_finish(&series->tenants);
    mem_free(series);
}
