/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The summary of a range of time. Order of this file: numbers, figures, series, the answer, there
 * and back.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "hub/series/series_summary.h"

enum { RANGE_MS = 3600000, FULL_RETRY_S = 1 };

/* A call under way. It outlives its request when the peer goes. */
struct range_call {
    struct api_call api; /* first */
    struct series_summary summary;
    const struct api_node *node;
    unsigned from; /* shard of the request */
    bool rows;
};

static void free_call(struct range_call *call)
{
    series_summary_finish(&call->summary);
    mem_free(call);
}

/* --- numbers --- */

static void write_number(struct builder *out, const char *key, bool known, double value)
{
    json_write_key(out, key);
    if (known) {
        builder_printf(out, "%.15g", value);
    } else {
        builder_str(out, "null");
    }
}

static double share(double part, double whole)
{
    return whole > 0 ? part * 100 / whole : 0;
}

static void write_times(struct builder *out, const struct series_cell *cell)
{
    static const struct {
        const char *key;
        double share;
    } rows[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}};
    bool spread = series_cell_bytes(cell) > 0;
    write_number(
        out, "mean", cell->count > 0, cell->count > 0 ? cell->sum / (double)cell->count : 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_number(out, rows[i].key, spread, series_cell_percentile(cell, rows[i].share));
    }
}

/* --- figures --- */

static void write_figures(
    struct builder *out, const struct series_figures *figures, bool level, double connections)
{
    static const struct {
        const char *key;
        enum series_figure figure;
    } sums[] = {{"jobs", SERIES_JOBS}, {"events", SERIES_EVENTS}, {"deliveries", SERIES_DELIVERIES},
        {"posts", SERIES_POSTS}};
    const double *of = figures->sums;
    double reads = of[SERIES_HITS] + of[SERIES_MISSES];
    uint64_t queries = figures->queries.count;
    json_write_open(out, '{');
    json_write_u64(out, "requests", figures->requests.count);
    write_times(out, &figures->requests);
    write_number(out, "errorRate", figures->requests.count > 0,
        share((double)figures->errors, (double)figures->requests.count));
    write_number(out, "hitRate", reads > 0, share(of[SERIES_HITS], reads));
    json_write_u64(out, "queries", queries);
    write_number(
        out, "queryMean", queries > 0, queries > 0 ? figures->queries.sum / (double)queries : 0);
    json_write_u64(out, "queriesFailed", figures->failed);
    for (size_t i = 0; i < ARRAY_LEN(sums); i++) {
        write_number(out, sums[i].key, true, of[sums[i].figure]);
    }
    write_number(out, "connections", level, connections);
    json_write_close(out, '}');
}

static void write_points(struct builder *out, const struct range_call *call, unsigned view)
{
    const struct series_summary *summary = &call->summary;
    json_write_key(out, "points");
    json_write_open(out, '[');
    for (unsigned i = 0; i < summary->points; i++) {
        const struct series_figures *point = &summary->views[view].points[i];
        json_write_next(out);
        write_figures(out, point, point->level_buckets > 0, point->level);
    }
    json_write_close(out, ']');
}

/* --- series --- */

static int compare_rows(const void *a, const void *b)
{
    const struct series_row *left = *(struct series_row *const *)a;
    const struct series_row *right = *(struct series_row *const *)b;
    size_t len = left->key_len < right->key_len ? left->key_len : right->key_len;
    int order = memcmp(left->key, right->key, len);
    return order != 0 ? order : (left->key_len > right->key_len) - (left->key_len < right->key_len);
}

static void write_cell(struct builder *out, enum series_type type, const struct series_cell *cell)
{
    bool some = cell->count > 0;
    json_write_u64(out, "count", cell->count);
    write_number(out, "sum", true, cell->sum);
    write_number(out, "min", some, cell->min);
    write_number(out, "max", some, cell->max);
    if (type == SERIES_TIMER) {
        write_times(out, cell);
    } else {
        write_number(out, "mean", some, some ? cell->sum / (double)cell->count : 0);
        write_number(out, "last", some, cell->last);
    }
}

static void write_row(struct builder *out, const struct series_row *row, bool before)
{
    struct series_parts parts;
    if (series_key_split(bytes_of(row->key, row->key_len), &parts) != 0) {
        return;
    }
    json_write_next(out);
    json_write_open(out, '{');
    json_write_text(out, "name", parts.name);
    json_write_text(out, "type", bytes_str(series_type_name(parts.type)));
    if (parts.unit.len > 0) {
        json_write_text(out, "unit", parts.unit);
    }
    json_write_key(out, "tags");
    json_write_open(out, '{');
    for (unsigned i = 0; i < parts.tag_count; i++) {
        builder_str(out, i > 0 ? "," : "");
        json_scan_write_string(out, parts.tags[i].name);
        builder_byte(out, ':');
        json_scan_write_string(out, parts.tags[i].value);
    }
    json_write_close(out, '}');
    write_cell(out, parts.type, &row->now);
    json_write_key(out, "before");
    if (before) {
        json_write_open(out, '{');
        write_cell(out, parts.type, &row->before);
        json_write_close(out, '}');
    } else {
        builder_str(out, "null");
    }
    json_write_close(out, '}');
}

static void write_rows(struct builder *out, const struct series_view *view, bool before)
{
    size_t count = map_count(&view->rows);
    const struct series_row **rows = mem_try_calloc(count + 1, sizeof(*rows));
    size_t cursor = 0;
    json_write_key(out, "series");
    json_write_open(out, '[');
    for (size_t i = 0; rows != NULL && i < count; i++) {
        rows[i] = map_next(&view->rows, &cursor);
    }
    if (rows != NULL) {
        qsort(rows, count, sizeof(*rows), compare_rows);
    }
    for (size_t i = 0; rows != NULL && i < count; i++) {
        write_row(out, rows[i], before);
    }
    json_write_close(out, ']');
    mem_free(rows);
}

/* --- the answer --- */

static void write_range(
    struct builder *out, const struct series_view *view, const char *key, bool before)
{
    double level = 0;
    bool known = series_view_level(view, before, &level);
    json_write_key(out, key);
    write_figures(out, before ? &view->before : &view->now, known, level);
}

static void write_view(
    struct builder *out, const struct range_call *call, unsigned number, const char *key)
{
    const struct series_view *view = &call->summary.views[number];
    json_write_key(out, key);
    json_write_open(out, '{');
    write_range(out, view, "now", false);
    if (call->summary.has_before) {
        write_range(out, view, "before", true);
    } else {
        json_write_json(out, "before", bytes_of(NULL, 0));
    }
    write_points(out, call, number);
    if (call->rows) {
        write_rows(out, view, call->summary.has_before);
    }
    json_write_close(out, '}');
}

static void answer(const struct range_call *call)
{
    const struct series_summary *summary = &call->summary;
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_time(&out, "from", summary->from_ms);
    json_write_time(&out, "to", summary->to_ms);
    json_write_u64(&out, "step", summary->step_ms / 1000);
    json_write_bool(&out, "complete", summary->complete);
    if (summary->own) {
        write_view(&out, call, 0, "peal");
    }
    write_view(&out, call, 1, "app");
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, BYTES("Cache-Control: private, no-store\r\n"), &out);
}

/* --- there and back --- */

static void on_back(void *arg, bool cancelled)
{
    struct range_call *call = arg;
    if (cancelled || call->api.request == NULL) {
        free_call(call);
        return;
    }
    if (call->summary.status == 0) {
        answer(call);
    } else {
        api_refuse(call->api.request,
            &(struct api_error){.code = ERROR_UNAVAILABLE,
                .message = "Too many summaries are being made, or the node ends: try again",
                .retry_s = FULL_RETRY_S});
    }
    free_call(call);
}

static void on_done(struct series_summary *summary)
{
    struct range_call *call = container_of(summary, struct range_call, summary);
    if (summary->status == STATUS_CANCELLED) {
        free_call(call);
        return;
    }
    sched_post(call->node->system, call->from, on_back, call);
}

static void on_home(void *arg, bool cancelled)
{
    struct range_call *call = arg;
    if (cancelled) {
        free_call(call);
        return;
    }
    if (call->node->series == NULL) {
        call->summary.status = STATUS_UNAVAILABLE;
        on_done(&call->summary);
        return;
    }
    series_summary_begin(call->node->series, &call->summary);
}

/* A number with one of s, m, h behind it; false: the request was answered. */
static bool read_range(struct http_request *request, uint64_t *ret_ms)
{
    char at[16];
    struct bytes text;
    uint64_t number = 0;
    int status = query_get(request->query, "range", at, sizeof(at), &text);
    *ret_ms = RANGE_MS;
    if (status == STATUS_NOT_FOUND) {
        return true;
    }
    char unit = status == 0 && text.len > 1 ? text.at[text.len - 1] : '\0';
    uint64_t ms = unit == 's' ? 1000 : unit == 'm' ? 60000 : unit == 'h' ? 3600000 : 0;
    bool good = ms > 0 && bytes_to_u64(bytes_of(text.at, text.len - 1), 86400, &number) == 0;
    *ret_ms = number * ms;
    if (good && *ret_ms >= 2 * SERIES_BUCKET_MS && *ret_ms <= SERIES_KEPT_MS &&
        *ret_ms % SERIES_BUCKET_MS == 0) {
        return true;
    }
    api_refuse_field(request, "range", "From 1m to 24h, in steps of 30s: 90s, 15m, 1h");
    return false;
}

static bool read_points(struct http_request *request, unsigned *ret_points)
{
    char at[8];
    struct bytes text;
    uint64_t points = 0;
    int status = query_get(request->query, "points", at, sizeof(at), &text);
    if (status != STATUS_NOT_FOUND &&
        (status != 0 || bytes_to_u64(text, SERIES_POINTS_MAX, &points) != 0)) {
        api_refuse_field(request, "points", "A number from 0 to 288");
        return false;
    }
    *ret_points = (unsigned)points;
    return true;
}

static bool read_rows(struct http_request *request, bool *ret_rows)
{
    char at[8];
    struct bytes text;
    int status = query_get(request->query, "series", at, sizeof(at), &text);
    *ret_rows = status != 0 || bytes_eq(text, BYTES("true"));
    if (status == STATUS_NOT_FOUND ||
        (status == 0 && (*ret_rows || bytes_eq(text, BYTES("false"))))) {
        return true;
    }
    api_refuse_field(request, "series", "true or false");
    return false;
}

void api_metrics_summary(struct http_request *request, void *context)
{
    struct api_shard *shard = api_shard(request);
    struct range_call *call = mem_alloc(sizeof(*call));
    struct api_who who;
    (void)context;
    if (!api_auth_backend(request, APIKEY_READ, &who) ||
        !read_range(request, &call->summary.range_ms) ||
        !read_points(request, &call->summary.points) || !read_rows(request, &call->rows)) {
        free_call(call);
        return;
    }
    const struct apikey *key = api_auth_key(request, APIKEY_READ);
    call->summary.own =
        key != NULL && (key->tenant.len == 0 || !shard->settings->config->auth_tenants);
    call->summary.tenant_len = who.tenant.len;
    if (who.tenant.len > 0) {
        memcpy(call->summary.tenant, who.tenant.at, who.tenant.len);
    }
    call->summary.done = on_done;
    call->node = shard->node;
    call->from = sched_shard(shard->shard->sched);
    api_call_hold(&call->api, request);
    sched_post(call->node->system, 0, on_home, call);
}
