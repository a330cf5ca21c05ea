/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_metrics - what the calls of metrics of applications have in common: a value that is posted,
 * from JSON.
 */
#ifndef HUB_API_API_METRICS_H
#define HUB_API_API_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "hub/api/api_answer.h"
#include "hub/series/series.h"

/* What a value that is posted may have as members. */
#define API_METRICS_FIELDS "name, type, value, unit, tags, timestamp"

/*
 * Read a value from a checked object all of whose members are known; its key is written to `at`,
 * which has room for as many bytes as the object has. `now_ms`: wall clock.
 */
struct api_error api_metrics_read(
    struct bytes object, uint64_t now_ms, char *at, struct series_sample *ret_sample);

#endif
