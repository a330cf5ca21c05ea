/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alert_rule - when an alert fires: `p95(api) > 500ms for 5m`.
 *
 * A function, a metric of alert_metric.def in brackets, `<` or `>`, a number with its unit, and
 * perhaps for how long that must hold. Functions by kind: of TIMES p50, p95, p99, mean (a time),
 * rate and count; of a COUNTER rate (a second) and count; of a SHARE mean (`%`); of NUMBER and
 * SINCE mean, max, min, count (the sum), over the nodes, the latter as a time.
 */
#ifndef HUB_CONFIG_ALERT_RULE_H
#define HUB_CONFIG_ALERT_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"

enum alert_metric {
#define X(name, ...) ALERT_##name,
#include "hub/config/alert_metric.def"
#undef X
    ALERT_METRIC_COUNT
};

enum alert_kind { ALERT_TIMES, ALERT_COUNTER, ALERT_SHARE, ALERT_NUMBER, ALERT_SINCE };

enum alert_function {
    ALERT_P50,
    ALERT_P95,
    ALERT_P99,
    ALERT_MEAN,
    ALERT_MAX,
    ALERT_MIN,
    ALERT_RATE,
    ALERT_COUNT,
    ALERT_FUNCTION_COUNT
};

struct alert_rule {
    enum alert_metric metric;
    enum alert_function function;
    bool below; /* it fires below the bound, else above */
    double bound; /* ms, percent, a second, or a number */
    uint64_t for_ms;
};

/* The kind of a metric. */
enum alert_kind alert_kind_of(enum alert_metric metric);

/* Read `text`. STATUS_INVALID: `*ret_why` says what is allowed in its place; static. */
MUST_CHECK int alert_rule_read(const char *text, struct alert_rule *ret_rule, const char **ret_why);

/* Write a value of the rule with its unit, as "512ms", "79.5%", "3"; at most `size` bytes. */
void alert_rule_write(const struct alert_rule *rule, double value, char *ret_text, size_t size);

#endif
