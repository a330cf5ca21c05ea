/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All series, sorted by the name that Prometheus knows them by. Order of this file: sorting,
 * labels, lines.
 */
#include "hub/series/series_export.h"

#include <stdlib.h>
#include <string.h>

#include "codec/base/mem.h"
#include "hub/series/series_state.h"

struct shown {
    const struct series_tenant *tenant;
    const struct series_known *known;
    struct series_parts parts;
};

/* --- sorting --- */

static int compare_bytes(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.at, b.at, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Types have endings of their own, so that no two of them have one name. */
static int compare(const void *a, const void *b)
{
    const struct shown *left = a;
    const struct shown *right = b;
    int order = (int)left->parts.type - (int)right->parts.type;
    return order != 0 ? order : compare_bytes(left->parts.name, right->parts.name);
}

static size_t count_known(const struct series *series)
{
    size_t count = 0;
    size_t cursor = 0;
    for (const struct series_tenant *tenant;
         (tenant = map_next(&series->tenants, &cursor)) != NULL;) {
        count += map_count(&tenant->known);
    }
    return count;
}

static size_t gather(const struct series *series, struct shown *ret_shown)
{
    size_t count = 0;
    size_t cursor = 0;
    for (const struct series_tenant *tenant;
         (tenant = map_next(&series->tenants, &cursor)) != NULL;) {
        size_t at = 0;
        for (const struct series_known *known; (known = map_next(&tenant->known, &at)) != NULL;) {
            struct shown *shown = &ret_shown[count];
            shown->tenant = tenant;
            shown->known = known;
            count += series_key_split(bytes_of(known->key, known->key_len), &shown->parts) == 0;
        }
    }
    qsort(ret_shown, count, sizeof(*ret_shown), compare);
    return count;
}

/* --- labels --- */

static void write_label(
    struct builder *out, const char *comma, struct bytes name, struct bytes value)
{
    builder_str(out, comma);
    builder_add(out, name);
    builder_str(out, "=\"");
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] == '"' || value.at[i] == '\\') {
            builder_byte(out, '\\');
        }
        builder_byte(out, value.at[i]);
    }
    builder_byte(out, '"');
}

/* All labels without brackets; nothing where there are none. */
static void write_labels(const struct shown *shown, struct builder *out)
{
    const struct series_parts *parts = &shown->parts;
    const char *comma = "";
    if (shown->tenant->name_len > 0) {
        write_label(
            out, comma, BYTES("tenant"), bytes_of(shown->tenant->name, shown->tenant->name_len));
        comma = ",";
    }
    if (parts->unit.len > 0) {
        write_label(out, comma, BYTES("unit"), parts->unit);
        comma = ",";
    }
    for (unsigned i = 0; i < parts->tag_count; i++) {
        write_label(out, comma, parts->tags[i].name, parts->tags[i].value);
        comma = ",";
    }
}

/* --- lines --- */

static const char *const endings[SERIES_TYPE_COUNT] = {"_total", "", "_seconds"};

static void write_name(const struct shown *shown, const char *more, struct builder *out)
{
    builder_str(out, "peal_app_");
    builder_add(out, shown->parts.name);
    builder_str(out, endings[shown->parts.type]);
    builder_str(out, more);
}

static void write_head(const struct shown *shown, struct builder *out)
{
    static const char *const kinds[SERIES_TYPE_COUNT] = {"counter", "gauge", "histogram"};
    builder_str(out, "# HELP ");
    write_name(shown, "", out);
    builder_str(out, " Posted by applications.\n# TYPE ");
    write_name(shown, "", out);
    builder_byte(out, ' ');
    builder_str(out, kinds[shown->parts.type]);
    builder_byte(out, '\n');
}

static void write_line(const struct shown *shown, const char *more, struct bytes labels,
    double value, struct builder *out)
{
    write_name(shown, more, out);
    if (labels.len > 0) {
        builder_byte(out, '{');
        builder_add(out, labels);
        builder_byte(out, '}');
    }
    builder_printf(out, " %.15g\n", value);
}

static void write_timer(const struct shown *shown, struct bytes labels, struct builder *out)
{
    uint64_t count = 0;
    const char *comma = labels.len > 0 ? "," : "";
    for (unsigned i = 0; i <= SERIES_BOUNDS; i++) {
        count += shown->known->spread[i];
        write_name(shown, "_bucket", out);
        builder_byte(out, '{');
        builder_add(out, labels);
        if (i < SERIES_BOUNDS) {
            builder_printf(out, "%sle=\"%g\"}", comma, series_bounds[i] / 1e3);
        } else {
            builder_printf(out, "%sle=\"+Inf\"}", comma);
        }
        builder_printf(out, " %llu\n", (unsigned long long)count);
    }
    write_line(shown, "_sum", labels, shown->known->all.sum / 1e3, out);
    write_line(shown, "_count", labels, (double)count, out);
}

static void write_series(const struct shown *shown, struct builder *labels, struct builder *out)
{
    const struct series_cell *all = &shown->known->all;
    builder_clear(labels);
    write_labels(shown, labels);
    struct bytes text = builder_bytes(labels);
    if (shown->parts.type == SERIES_TIMER) {
        write_timer(shown, text, out);
    } else {
        write_line(
            shown, "", text, shown->parts.type == SERIES_COUNTER ? all->sum : all->last, out);
    }
}

void series_export(const struct series *series, struct builder *out)
{
    size_t most = count_known(series);
    struct builder labels = {0};
    struct shown *shown = most > 0 ? mem_try_calloc(most, sizeof(*shown)) : NULL;
    size_t count = shown != NULL ? gather(series, shown) : 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || compare(&shown[i - 1], &shown[i]) != 0) {
            write_head(&shown[i], out);
        }
        write_series(&shown[i], &labels, out);
    }
    builder_reset(&labels);
    mem_free(shown);
}
