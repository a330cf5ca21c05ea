/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads buckets and adds them up: first those of this node that are in memory, some each turn, then
 * those of Redis, some at a time. Order of this file: figures, rows, memory, Redis, life.
 *
 * Of what is in memory this node's field in Redis is left out: it is the same, or older.
 */
#include "hub/series/series_summary.h"

#include <string.h>

#include "actors/core/sched.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/series/series_state.h"

enum { VIEWS = 2, TURN_BUCKETS = 32 };

static uint64_t start_of(const struct series_summary *summary, unsigned number)
{
    return summary->first_ms + (uint64_t)(number / VIEWS) * SERIES_BUCKET_MS;
}

/* --- figures --- */

static const char *const figure_names[SERIES_FIGURE_COUNT] = {[SERIES_HITS] = "cache_hit",
    [SERIES_MISSES] = "cache_miss",
    [SERIES_JOBS] = "job",
    [SERIES_EVENTS] = "event",
    [SERIES_DELIVERIES] = "delivery",
    [SERIES_POSTS] = "post"};

static bool is_error(const struct series_parts *parts)
{
    return bytes_starts(series_parts_tag(parts, "class"), BYTES("5")) ||
           bytes_starts(series_parts_tag(parts, "status"), BYTES("5"));
}

static bool add_figures(struct series_figures *figures, const struct series_parts *parts,
    const struct series_cell *cell)
{
    bool timer = parts->type == SERIES_TIMER;
    if (timer && bytes_eq_str(parts->name, "request")) {
        figures->errors += is_error(parts) ? cell->count : 0;
        return series_cell_merge(&figures->requests, cell);
    }
    if (timer && bytes_eq_str(parts->name, "query")) {
        bool failed = bytes_eq_str(series_parts_tag(parts, "success"), "false");
        figures->failed += failed ? cell->count : 0;
        return series_cell_merge(&figures->queries, cell);
    }
    for (unsigned i = 0; parts->type != SERIES_GAUGE && i < SERIES_FIGURE_COUNT; i++) {
        if (bytes_eq_str(parts->name, figure_names[i])) {
            figures->sums[i] += timer ? (double)cell->count : cell->sum;
        }
    }
    return true;
}

/* Connections of a bucket: what all that tell of them had on average, together. */
static void add_level(struct series_summary *summary, const struct series_parts *parts,
    const struct series_cell *cell, uint64_t start_ms)
{
    uint64_t bucket = (start_ms - summary->first_ms) / SERIES_BUCKET_MS;
    double *level = &summary->levels[bucket * VIEWS + summary->view];
    if (parts->type == SERIES_GAUGE && bytes_eq_str(parts->name, "connections") &&
        cell->count > 0) {
        *level = (*level < 0 ? 0 : *level) + cell->sum / (double)cell->count;
    }
}

static void count_level(struct series_figures *figures, double level)
{
    figures->level += (level - figures->level) / ++figures->level_buckets;
}

/* When all buckets were read. */
static void count_levels(struct series_summary *summary)
{
    for (unsigned i = 0; i < summary->buckets * VIEWS; i++) {
        struct series_view *view = &summary->views[i % VIEWS];
        uint64_t start = start_of(summary, i);
        double level = summary->levels[i];
        if (level < 0) {
            continue;
        }
        count_level(start >= summary->from_ms ? &view->now : &view->before, level);
        if (start >= summary->from_ms && summary->points > 0) {
            count_level(&view->points[(start - summary->from_ms) / summary->step_ms], level);
        }
    }
}

static void finish_figures(struct series_figures *figures)
{
    series_cell_finish(&figures->requests);
    series_cell_finish(&figures->queries);
}

bool series_view_level(const struct series_view *view, bool before, double *ret_level)
{
    const struct series_row *row;
    uint64_t newest = 0;
    size_t cursor = 0;
    double level = 0;
    for (unsigned pass = 0; pass < 2; pass++, cursor = 0) {
        while ((row = map_next(&view->rows, &cursor)) != NULL) {
            struct series_parts parts;
            const struct series_cell *cell = before ? &row->before : &row->now;
            bool counts = cell->count > 0 &&
                          series_key_split(bytes_of(row->key, row->key_len), &parts) == 0 &&
                          parts.type == SERIES_GAUGE && bytes_eq_str(parts.name, "connections");
            if (!counts) {
                continue;
            }
            newest = cell->last_ms > newest ? cell->last_ms : newest;
            bool recent = cell->last_ms + 2 * (uint64_t)SERIES_BUCKET_MS > newest;
            level += pass == 1 && recent ? cell->last : 0; /* else its node is gone */
        }
    }
    *ret_level = level;
    return newest > 0;
}

/* --- rows --- */

static struct bytes row_key(const void *object)
{
    const struct series_row *row = object;
    return bytes_of(row->key, row->key_len);
}

static struct series_row *open_row(struct series_view *view, struct bytes key)
{
    struct series_row *row = map_get(&view->rows, key);
    if (row != NULL || map_count(&view->rows) >= SERIES_ROWS_MAX) {
        return row;
    }
    row = mem_try_calloc(1, sizeof(*row) + key.len);
    if (row == NULL) {
        return NULL;
    }
    row->key_len = (uint32_t)key.len;
    memcpy(row->key, key.at, key.len);
    if (!map_put(&view->rows, row)) {
        mem_free(row);
        return NULL;
    }
    return row;
}

static void visit(
    void *context, struct bytes key, const struct series_cell *cell, uint64_t start_ms)
{
    struct series_summary *summary = context;
    struct series_view *view = &summary->views[summary->view];
    struct series_parts parts;
    bool now = start_ms >= summary->from_ms;
    struct series_row *row = open_row(view, key);
    if (row == NULL || series_key_split(key, &parts) != 0) {
        summary->complete = false;
        return;
    }
    bool good = series_cell_merge(now ? &row->now : &row->before, cell) &&
                add_figures(now ? &view->now : &view->before, &parts, cell);
    if (now && summary->points > 0) {
        size_t point = (size_t)((start_ms - summary->from_ms) / summary->step_ms);
        good &= add_figures(&view->points[point], &parts, cell);
    }
    add_level(summary, &parts, cell, start_ms);
    summary->complete &= good;
}

static void finish_view(struct series_view *view, unsigned points)
{
    size_t cursor = 0;
    for (struct series_row *row; (row = map_next(&view->rows, &cursor)) != NULL;) {
        series_cell_finish(&row->now);
        series_cell_finish(&row->before);
        mem_free(row);
    }
    map_finish(&view->rows);
    finish_figures(&view->now);
    finish_figures(&view->before);
    for (unsigned i = 0; view->points != NULL && i < points; i++) {
        finish_figures(&view->points[i]);
    }
    mem_free(view->points);
}

/* --- memory --- */

static struct bytes name_of(const struct series_summary *summary, unsigned view)
{
    return view == 0 ? SERIES_OWN : bytes_of(summary->tenant, summary->tenant_len);
}

static void end(struct series_summary *summary, int status)
{
    struct series *series = summary->series;
    summary->status = status;
    if (status == 0) {
        count_levels(summary);
    }
    if (series != NULL) {
        series->summaries--;
    }
    summary->done(summary);
    if (series != NULL) {
        series_release(series);
    }
}

static void read_some(struct series_summary *summary);

static void look(struct series_summary *summary, unsigned number)
{
    unsigned view = number % VIEWS;
    const struct series_tenant *tenant =
        view == 0 && !summary->own ? NULL
                                   : series_find_tenant(summary->series, name_of(summary, view));
    const struct series_bucket *bucket =
        tenant != NULL ? series_window_find(&tenant->window, start_of(summary, number)) : NULL;
    if (bucket != NULL) {
        summary->view = view;
        summary->complete &= series_bucket_visit(bucket, visit, summary) == 0;
        summary->local[number] = 1;
    }
}

static void on_turn(void *arg, bool cancelled)
{
    struct series_summary *summary = arg;
    if (cancelled) {
        summary->series = NULL; /* it may be gone */
        end(summary, STATUS_CANCELLED);
        return;
    }
    unsigned all = summary->buckets * VIEWS;
    for (unsigned i = 0; i < TURN_BUCKETS && summary->next < all; i++) {
        look(summary, summary->next++);
    }
    if (summary->next < all) {
        struct sched *sched = summary->series->options.shard->sched;
        sched_post(sched_system(sched), sched_shard(sched), on_turn, summary);
        return;
    }
    summary->next = 0;
    read_some(summary);
}

/* --- Redis --- */

static void on_text(void *context, bool own, struct bytes text)
{
    const struct series_slot *slot = context;
    struct series_summary *summary = slot->summary;
    uint64_t bucket = (slot->read.start_ms - summary->first_ms) / SERIES_BUCKET_MS;
    if (own && summary->local[bucket * VIEWS + slot->view] != 0) {
        return;
    }
    summary->view = slot->view;
    summary->complete &= series_text_visit(text, slot->read.start_ms, visit, summary) == 0;
}

static void on_read(void *context, int status, uint64_t place)
{
    struct series_slot *slot = context;
    struct series_summary *summary = slot->summary;
    (void)place;
    slot->used = false;
    summary->reading--;
    summary->away |= status != 0; /* the others would not be answered either */
    read_some(summary);
}

static struct series_slot *find_slot(struct series_summary *summary)
{
    for (unsigned i = 0; i < SERIES_READS_MAX; i++) {
        if (!summary->slots[i].used) {
            return &summary->slots[i];
        }
    }
    return NULL;
}

static void read_one(struct series_summary *summary, struct series_slot *slot, unsigned number)
{
    slot->summary = summary;
    slot->view = number % VIEWS;
    slot->used = true;
    slot->read = (struct series_read){
        .start_ms = start_of(summary, number), .text = on_text, .done = on_read, .context = slot};
    summary->reading++;
    series_bus_read(summary->series->bus, name_of(summary, slot->view), &slot->read);
}

static void read_some(struct series_summary *summary)
{
    unsigned all = summary->buckets * VIEWS;
    struct series_slot *slot;
    struct series_bus *bus = summary->series->bus;
    summary->away |= bus != NULL && summary->next < all && !series_bus_is_up(bus);
    summary->complete &= !summary->away;
    summary->next = bus == NULL || summary->away ? all : summary->next;
    while (summary->next < all && (slot = find_slot(summary)) != NULL) {
        unsigned number = summary->next++;
        if (number % VIEWS == 1 || summary->own) {
            read_one(summary, slot, number);
        }
    }
    if (summary->next >= all && summary->reading == 0) {
        end(summary, 0);
    }
}

/* --- life --- */

static bool reserve(struct series_summary *summary)
{
    summary->local = mem_try_calloc(summary->buckets, VIEWS);
    summary->levels = mem_try_calloc((size_t)summary->buckets * VIEWS, sizeof(double));
    bool good = summary->local != NULL && summary->levels != NULL;
    for (size_t i = 0; good && i < (size_t)summary->buckets * VIEWS; i++) {
        summary->levels[i] = -1;
    }
    for (unsigned i = 0; i < VIEWS && summary->points > 0; i++) {
        summary->views[i].points = mem_try_calloc(summary->points, sizeof(struct series_figures));
        good &= summary->views[i].points != NULL;
    }
    return good;
}

/* The range ends with the bucket of now. */
static void set_range(struct series_summary *summary, uint64_t now_ms)
{
    uint64_t start = series_start_of(now_ms);
    uint64_t kept = start + SERIES_BUCKET_MS - SERIES_KEPT_MS;
    summary->to_ms = start + SERIES_BUCKET_MS;
    summary->from_ms = summary->to_ms - summary->range_ms;
    summary->has_before = summary->from_ms - summary->range_ms >= kept;
    summary->first_ms =
        summary->has_before ? summary->from_ms - summary->range_ms : summary->from_ms;
    summary->buckets = (unsigned)((summary->to_ms - summary->first_ms) / SERIES_BUCKET_MS);
    uint64_t buckets = summary->range_ms / SERIES_BUCKET_MS;
    if (summary->points > 0) {
        uint64_t each = (buckets + summary->points - 1) / summary->points;
        summary->step_ms = each * SERIES_BUCKET_MS;
        summary->points = (unsigned)((buckets + each - 1) / each);
    }
}

static void on_collected(struct series_waiter *waiter, bool cancelled)
{
    struct series_summary *summary = container_of(waiter, struct series_summary, waiter);
    if (cancelled) {
        end(summary, STATUS_UNAVAILABLE);
        return;
    }
    set_range(summary, sched_wall(summary->series->options.shard->sched));
    if (!reserve(summary)) {
        end(summary, STATUS_UNAVAILABLE);
        return;
    }
    on_turn(summary, false);
}

void series_summary_begin(struct series *series, struct series_summary *summary)
{
    map_init(&summary->views[0].rows, row_key);
    map_init(&summary->views[1].rows, row_key);
    summary->complete = true;
    if (series->ending || series->summaries >= SERIES_SUMMARIES_MAX) {
        summary->status = series->ending ? STATUS_UNAVAILABLE : STATUS_FULL;
        summary->done(summary);
        return;
    }
    summary->series = series;
    summary->waiter.fn = on_collected;
    series->summaries++;
    series_hold(series);
    series_wait(series, &summary->waiter);
}

void series_summary_finish(struct series_summary *summary)
{
    for (unsigned i = 0; i < VIEWS; i++) {
        finish_view(&summary->views[i], summary->points);
    }
    mem_free(summary->local);
    mem_free(summary->levels);
}
