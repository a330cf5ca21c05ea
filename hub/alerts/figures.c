/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differences, sums and percentiles. Order of this file: a node, text, all nodes, values.
 */
#include "hub/alerts/figures.h"

#include <stddef.h>
#include <string.h>

#include "codec/base/status.h"

enum { WORDS = sizeof(struct figures) / sizeof(uint64_t), SECOND_MS = 1000 };

_Static_assert(sizeof(struct figures) % sizeof(uint64_t) == 0, "only numbers");

static bool is_now(enum alert_kind kind)
{
    return kind == ALERT_NUMBER || kind == ALERT_SINCE;
}

/* --- a node --- */

/* Counts never go down: a smaller one is of another run, and says nothing. */
static uint64_t since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

static void subtract(
    const struct figures *now, const struct figures *then, struct figures *ret_figures)
{
    for (unsigned i = 0; i <= FIGURES_BUCKETS; i++) {
        ret_figures->buckets[i] = since(now->buckets[i], then->buckets[i]);
    }
    ret_figures->total_us = since(now->total_us, then->total_us);
    for (unsigned i = 0; i < ALERT_METRIC_COUNT; i++) {
        bool current = is_now(alert_kind_of((enum alert_metric)i));
        ret_figures->part[i] = current ? now->part[i] : since(now->part[i], then->part[i]);
        ret_figures->whole[i] = since(now->whole[i], then->whole[i]);
    }
}

void figures_look(struct figures_window *window, uint64_t now_ms, const struct figures *counted,
    struct figures *ret_figures)
{
    enum { PLACES = FIGURES_LOOKS + 1 };
    window->looks[window->next] = *counted;
    window->at_ms[window->next] = now_ms;
    window->next = (window->next + 1) % PLACES;
    window->count += window->count < PLACES;
    unsigned oldest = (window->next + PLACES - window->count) % PLACES;
    subtract(counted, &window->looks[oldest], ret_figures);
    ret_figures->span_ms = now_ms - window->at_ms[oldest];
}

/* --- text --- */

void figures_write(const struct figures *figures, struct builder *out)
{
    uint64_t words[WORDS];
    memcpy(words, figures, sizeof(words));
    for (unsigned i = 0; i < WORDS; i++) {
        builder_printf(out, i > 0 ? " %llu" : "%llu", (unsigned long long)words[i]);
    }
}

int figures_read(struct bytes text, struct figures *ret_figures)
{
    uint64_t words[WORDS];
    for (unsigned i = 0; i < WORDS; i++) {
        const char *blank = text.len > 0 ? memchr(text.at, ' ', text.len) : NULL;
        bool last = i + 1 == WORDS;
        if (last != (blank == NULL)) {
            return STATUS_INVALID;
        }
        size_t len = last ? text.len : (size_t)(blank - text.at);
        if (bytes_to_u64(bytes_of(text.at, len), UINT64_MAX / 2, &words[i]) != 0) {
            return STATUS_INVALID;
        }
        text = bytes_skip(text, last ? len : len + 1);
    }
    memcpy(ret_figures, words, sizeof(words));
    return 0;
}

/* --- all nodes --- */

static double value_of(const struct figures *figures, unsigned metric)
{
    return (double)(figures->part[metric] - 1);
}

static uint64_t count_times(const struct figures *figures)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= FIGURES_BUCKETS; i++) {
        count += figures->buckets[i];
    }
    return count;
}

static void add_number(struct figures_sum *sum, const struct figures *figures, unsigned metric)
{
    if (figures->part[metric] == 0) {
        return;
    }
    double value = value_of(figures, metric);
    bool first = sum->known[metric]++ == 0;
    sum->all.part[metric] += figures->part[metric] - 1;
    if (first || value > sum->largest[metric]) {
        sum->largest[metric] = value;
    }
    if (first || value < sum->smallest[metric]) {
        sum->smallest[metric] = value;
    }
}

void figures_add(struct figures_sum *sum, const struct figures *figures)
{
    double seconds = (double)figures->span_ms / SECOND_MS;
    for (unsigned i = 0; i <= FIGURES_BUCKETS; i++) {
        sum->all.buckets[i] += figures->buckets[i];
    }
    sum->all.total_us += figures->total_us;
    for (unsigned i = 0; i < ALERT_METRIC_COUNT; i++) {
        enum alert_kind kind = alert_kind_of((enum alert_metric)i);
        if (is_now(kind)) {
            add_number(sum, figures, i);
            continue;
        }
        uint64_t count = kind == ALERT_TIMES ? count_times(figures) : figures->part[i];
        sum->rates[i] += seconds > 0 ? (double)count / seconds : 0;
        sum->all.part[i] += figures->part[i];
        sum->all.whole[i] += figures->whole[i];
        sum->known[i]++;
    }
}

/* --- values --- */

/* In ms, as if what is in a bucket lay evenly in it; beyond the last bound: that bound. */
static double percentile(const struct figures *all, const uint64_t *bounds_us, double share)
{
    double rank = share * (double)count_times(all);
    double below = 0;
    for (unsigned i = 0; i < FIGURES_BUCKETS; i++) {
        double in = (double)all->buckets[i];
        if (in > 0 && below + in >= rank) {
            double from = i > 0 ? (double)bounds_us[i - 1] : 0;
            return (from + ((double)bounds_us[i] - from) * (rank - below) / in) / 1e3;
        }
        below += in;
    }
    return (double)bounds_us[FIGURES_BUCKETS - 1] / 1e3;
}

static bool value_of_times(const struct figures_sum *sum, const struct alert_rule *rule,
    const uint64_t *bounds_us, double *ret_value)
{
    static const double shares[ALERT_FUNCTION_COUNT] = {
        [ALERT_P50] = 0.5, [ALERT_P95] = 0.95, [ALERT_P99] = 0.99};
    uint64_t count = count_times(&sum->all);
    if (rule->function == ALERT_COUNT || rule->function == ALERT_RATE) {
        *ret_value = rule->function == ALERT_COUNT ? (double)count : sum->rates[rule->metric];
        return true;
    }
    if (count < FIGURES_LEAST) {
        return false;
    }
    *ret_value = rule->function == ALERT_MEAN
                     ? (double)sum->all.total_us / (double)count / 1e3
                     : percentile(&sum->all, bounds_us, shares[rule->function]);
    return true;
}

static double value_of_numbers(const struct figures_sum *sum, const struct alert_rule *rule)
{
    double total = (double)sum->all.part[rule->metric];
    if (rule->function == ALERT_MAX || rule->function == ALERT_MIN) {
        return (rule->function == ALERT_MAX ? sum->largest : sum->smallest)[rule->metric];
    }
    return rule->function == ALERT_MEAN ? total / sum->known[rule->metric] : total;
}

bool figures_value(const struct figures_sum *sum, const struct alert_rule *rule,
    const uint64_t bounds_us[FIGURES_BUCKETS], double *ret_value)
{
    uint64_t part = sum->all.part[rule->metric];
    uint64_t whole = sum->all.whole[rule->metric];
    if (sum->known[rule->metric] == 0) {
        return false;
    }
    switch (alert_kind_of(rule->metric)) {
    case ALERT_TIMES:
        return value_of_times(sum, rule, bounds_us, ret_value);
    case ALERT_COUNTER:
        *ret_value = rule->function == ALERT_COUNT ? (double)part : sum->rates[rule->metric];
        return true;
    case ALERT_SHARE:
        *ret_value = whole > 0 ? (double)part * 100.0 / (double)whole : 0;
        return whole >= FIGURES_LEAST;
    case ALERT_NUMBER:
    case ALERT_SINCE:
        *ret_value = value_of_numbers(sum, rule);
        return true;
    }
    return false;
}
