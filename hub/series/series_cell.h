/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_cell - what was posted of one series in a stretch of time: how often, the sum, the least,
 * the most and the last, and of a timer how the times are spread.
 *
 * Times are in ms and go into bins each 4 % wider than the one before (SERIES_BIN_GROWTH), from 1
 * us to ten days: a percentile is right to 2 % (SERIES_ERROR), and never beyond the least or the
 * most. Cells of nodes and of stretches are added to each other. One thread.
 */
#ifndef HUB_SERIES_SERIES_CELL_H
#define HUB_SERIES_SERIES_CELL_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/series/series_key.h"

#define SERIES_BIN_GROWTH 1.04
#define SERIES_ERROR 0.02

enum { SERIES_BINS = 706 };

struct series_bin {
    uint32_t at; /* below SERIES_BINS */
    uint64_t count;
};

/* All zero: nothing was posted. */
struct series_cell {
    uint64_t count;
    double sum;
    double min;
    double max;
    double last; /* of the greatest last_ms */
    uint64_t last_ms; /* wall clock */
    /* private */
    struct series_bin *bins; /* ascending */
    uint32_t bin_count;
    uint32_t bin_cap;
};

/* Free what the cell holds; it is empty then. */
void series_cell_finish(struct series_cell *cell);

/* Count a value that was posted for the time `at_ms`. False: no memory, nothing has changed. */
MUST_CHECK bool series_cell_add(
    struct series_cell *cell, enum series_type type, double value, uint64_t at_ms);

/* Add another cell. False: no memory; then all but the spread of its times is added. */
MUST_CHECK bool series_cell_merge(struct series_cell *cell, const struct series_cell *from);

/* The time that `share` (0 to 1) of the times are not above; 0 where there are none. */
double series_cell_percentile(const struct series_cell *cell, double share);

/* Append the cell as text without line feeds, and read that. STATUS_INVALID, or STATUS_NOMEM: then
 * the cell is empty. */
void series_cell_write(const struct series_cell *cell, struct builder *out);
MUST_CHECK int series_cell_read(struct bytes text, struct series_cell *ret_cell);

/* The bytes that it takes besides itself. */
size_t series_cell_bytes(const struct series_cell *cell);

#endif
