/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bins in a sorted array that grows: few are used of a series in half a minute. Order of this file:
 * bins, adding, percentiles, text.
 */
#include "hub/series/series_cell.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { BINS_FIRST = 4, NUMBER_MAX = 32 };

#define LEAST_MS 0.001

/* --- bins --- */

static uint32_t bin_of(double ms)
{
    if (!(ms > LEAST_MS)) {
        return 0;
    }
    double at = ceil(log(ms / LEAST_MS) / log(SERIES_BIN_GROWTH));
    return at >= SERIES_BINS - 1 ? SERIES_BINS - 1 : (uint32_t)at;
}

/* The value that is at most SERIES_ERROR away from all in the bin. */
static double value_of(uint32_t bin)
{
    return LEAST_MS * pow(SERIES_BIN_GROWTH, bin) * 2 / (1 + SERIES_BIN_GROWTH);
}

/* Where the bin is, or would be. */
static uint32_t find(const struct series_cell *cell, uint32_t bin)
{
    uint32_t low = 0;
    uint32_t high = cell->bin_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cell->bins[middle].at < bin) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool count_bin(struct series_cell *cell, uint32_t bin, uint64_t count)
{
    uint32_t at = find(cell, bin);
    if (at < cell->bin_count && cell->bins[at].at == bin) {
        cell->bins[at].count += count;
        return true;
    }
    if (cell->bin_count == cell->bin_cap) {
        uint32_t cap = cell->bin_cap > 0 ? cell->bin_cap * 2 : BINS_FIRST;
        struct series_bin *bins = mem_try_realloc(cell->bins, cap * sizeof(*bins));
        if (bins == NULL) {
            return false;
        }
        cell->bins = bins;
        cell->bin_cap = cap;
    }
    memmove(&cell->bins[at + 1], &cell->bins[at], (cell->bin_count - at) * sizeof(cell->bins[0]));
    cell->bins[at] = (struct series_bin){.at = bin, .count = count};
    cell->bin_count++;
    return true;
}

void series_cell_finish(struct series_cell *cell)
{
    mem_free(cell->bins);
    *cell = (struct series_cell){.count = 0};
}

size_t series_cell_bytes(const struct series_cell *cell)
{
    return cell->bin_cap > 0 ? mem_cost(cell->bin_cap * sizeof(cell->bins[0])) : 0;
}

/* --- adding --- */

static void add_numbers(struct series_cell *cell, const struct series_cell *from)
{
    bool first = cell->count == 0;
    cell->min = first || from->min < cell->min ? from->min : cell->min;
    cell->max = first || from->max > cell->max ? from->max : cell->max;
    if (first || from->last_ms >= cell->last_ms) {
        cell->last = from->last;
        cell->last_ms = from->last_ms;
    }
    cell->sum += from->sum;
    cell->count += from->count;
}

bool series_cell_add(struct series_cell *cell, enum series_type type, double value, uint64_t at_ms)
{
    const struct series_cell one = {
        .count = 1, .sum = value, .min = value, .max = value, .last = value, .last_ms = at_ms};
    if (type == SERIES_TIMER && !count_bin(cell, bin_of(value), 1)) {
        return false;
    }
    add_numbers(cell, &one);
    return true;
}

bool series_cell_merge(struct series_cell *cell, const struct series_cell *from)
{
    bool good = true;
    if (from->count > 0) {
        add_numbers(cell, from);
    }
    for (uint32_t i = 0; i < from->bin_count; i++) {
        good &= count_bin(cell, from->bins[i].at, from->bins[i].count);
    }
    return good;
}

/* --- percentiles --- */

double series_cell_percentile(const struct series_cell *cell, double share)
{
    uint64_t all = 0;
    uint64_t below = 0;
    for (uint32_t i = 0; i < cell->bin_count; i++) {
        all += cell->bins[i].count;
    }
    double rank = ceil(share * (double)all);
    for (uint32_t i = 0; i < cell->bin_count; i++) {
        below += cell->bins[i].count;
        if ((double)below >= rank) {
            double value = value_of(cell->bins[i].at);
            value = value < cell->min ? cell->min : value;
            return value > cell->max ? cell->max : value;
        }
    }
    return 0;
}

/* --- text --- */

void series_cell_write(const struct series_cell *cell, struct builder *out)
{
    builder_printf(out, "%llu %.17g %.17g %.17g %.17g %llu", (unsigned long long)cell->count,
        cell->sum, cell->min, cell->max, cell->last, (unsigned long long)cell->last_ms);
    for (uint32_t i = 0; i < cell->bin_count; i++) {
        builder_printf(
            out, " %u:%llu", (unsigned)cell->bins[i].at, (unsigned long long)cell->bins[i].count);
    }
}

/* What stands before the next blank. */
static struct bytes take(struct bytes *rest)
{
    const char *blank = rest->len > 0 ? memchr(rest->at, ' ', rest->len) : NULL;
    size_t len = blank != NULL ? (size_t)(blank - rest->at) : rest->len;
    struct bytes part = bytes_of(rest->at, len);
    *rest = bytes_skip(*rest, blank != NULL ? len + 1 : len);
    return part;
}

static bool take_double(struct bytes *rest, double *ret_value)
{
    char text[NUMBER_MAX];
    char *end;
    struct bytes part = take(rest);
    if (part.len == 0 || part.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, part.at, part.len);
    text[part.len] = '\0';
    *ret_value = strtod(text, &end);
    return *end == '\0' && isfinite(*ret_value);
}

static int read_bins(struct bytes rest, struct series_cell *cell)
{
    while (rest.len > 0) {
        uint64_t bin;
        uint64_t count;
        struct bytes part = take(&rest);
        const char *colon = part.len > 0 ? memchr(part.at, ':', part.len) : NULL;
        size_t len = colon != NULL ? (size_t)(colon - part.at) : 0;
        if (colon == NULL || bytes_to_u64(bytes_of(part.at, len), SERIES_BINS - 1, &bin) != 0 ||
            bytes_to_u64(bytes_skip(part, len + 1), UINT64_MAX / 2, &count) != 0) {
            return STATUS_INVALID;
        }
        if (!count_bin(cell, (uint32_t)bin, count)) {
            return STATUS_NOMEM;
        }
    }
    return 0;
}

int series_cell_read(struct bytes text, struct series_cell *ret_cell)
{
    struct series_cell cell = {.count = 0};
    struct bytes rest = text;
    bool good = bytes_to_u64(take(&rest), UINT64_MAX / 2, &cell.count) == 0 &&
                take_double(&rest, &cell.sum) && take_double(&rest, &cell.min) &&
                take_double(&rest, &cell.max) && take_double(&rest, &cell.last) &&
                bytes_to_u64(take(&rest), UINT64_MAX / 2, &cell.last_ms) == 0;
    int status = good ? read_bins(rest, &cell) : STATUS_INVALID;
    if (status != 0) {
        series_cell_finish(&cell);
    }
    *ret_cell = cell;
    return status;
}
