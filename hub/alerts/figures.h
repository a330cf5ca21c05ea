/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures - what the metrics of alerts were over the last looks, of a node and of all together.
 *
 * A node adds what it has counted so far with each look; what rules are asked about is the
 * difference to FIGURES_LOOKS looks before, so that it needs nothing of before a node's start, and
 * no node has to remember another's counts.
 */
#ifndef HUB_ALERTS_FIGURES_H
#define HUB_ALERTS_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/config/alert_rule.h"

enum {
    FIGURES_BUCKETS = 12,
    FIGURES_LOOKS = 12,
    FIGURES_LEAST = 20, /* a share or a percentile of fewer is not known */
    FIGURES_TEXT_MAX = 2048
};

/* Of a node: nothing but numbers. */
struct figures {
    uint64_t span_ms; /* that the counts are of */
    uint64_t buckets[FIGURES_BUCKETS + 1]; /* of TIMES */
    uint64_t total_us;
    /* COUNTER: how many; SHARE: how many of `whole`; NUMBER, SINCE (ms): the value and 1, 0: none.
     */
    uint64_t part[ALERT_METRIC_COUNT];
    uint64_t whole[ALERT_METRIC_COUNT];
};

/* The last looks of a node; all zero at first. */
struct figures_window {
    /* private */
    struct figures looks[FIGURES_LOOKS + 1];
    uint64_t at_ms[FIGURES_LOOKS + 1];
    unsigned count;
    unsigned next;
};

/* Of all nodes; all zero at first. */
struct figures_sum {
    /* private */
    struct figures all;
    double rates[ALERT_METRIC_COUNT]; /* a second */
    double largest[ALERT_METRIC_COUNT];
    double smallest[ALERT_METRIC_COUNT];
    unsigned known[ALERT_METRIC_COUNT]; /* nodes with a value */
};

/* Add what a node has counted since its start, at the monotonic time `now_ms`; ret_figures: since
 * the oldest look that is kept. */
void figures_look(struct figures_window *window, uint64_t now_ms, const struct figures *counted,
    struct figures *ret_figures);

/* Append them as text, FIGURES_TEXT_MAX bytes at most, and read that. STATUS_INVALID. */
void figures_write(const struct figures *figures, struct builder *out);
MUST_CHECK int figures_read(struct bytes text, struct figures *ret_figures);

/* Add those of a node. */
void figures_add(struct figures_sum *sum, const struct figures *figures);

/*
 * What the rule is about. `bounds_us` are the upper bounds of the buckets. False: it is not known,
 * for want of a node that has it, or of enough that happened.
 */
bool figures_value(const struct figures_sum *sum, const struct alert_rule *rule,
    const uint64_t bounds_us[FIGURES_BUCKETS], double *ret_value);

#endif
