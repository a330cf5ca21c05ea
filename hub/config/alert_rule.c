/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads rules from the left to the right. Order of this file: tables, words, numbers, the rule.
 */
#include "hub/config/alert_rule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/bytes.h"
#include "codec/base/status.h"

/* --- tables --- */

static const struct {
    const char *name;
    enum alert_kind kind;
} metrics[ALERT_METRIC_COUNT] = {
#define X(id, name, kind, prose) {name, ALERT_##kind},
#include "hub/config/alert_metric.def"
#undef X
};

#define MAY(kind) (1u << ALERT_##kind)
#define OVER_NODES (MAY(NUMBER) | MAY(SINCE))

static const struct {
    const char *name;
    unsigned kinds; /* set of 1u << enum alert_kind */
} functions[ALERT_FUNCTION_COUNT] = {
    [ALERT_P50] = {"p50", MAY(TIMES)},
    [ALERT_P95] = {"p95", MAY(TIMES)},
    [ALERT_P99] = {"p99", MAY(TIMES)},
    [ALERT_MEAN] = {"mean", MAY(TIMES) | MAY(SHARE) | OVER_NODES},
    [ALERT_MAX] = {"max", OVER_NODES},
    [ALERT_MIN] = {"min", OVER_NODES},
    [ALERT_RATE] = {"rate", MAY(TIMES) | MAY(COUNTER)},
    [ALERT_COUNT] = {"count", MAY(TIMES) | MAY(COUNTER) | OVER_NODES},
};

enum alert_kind alert_kind_of(enum alert_metric metric)
{
    return metrics[metric].kind;
}

/* What the values of a rule are counted in. */
enum measure { PLAIN, TIME, PERCENT };

static enum measure measure_of(const struct alert_rule *rule)
{
    enum alert_kind kind = metrics[rule->metric].kind;
    bool counts = rule->function == ALERT_RATE || rule->function == ALERT_COUNT;
    if (kind == ALERT_SHARE) {
        return PERCENT;
    }
    return (kind == ALERT_TIMES && !counts) || kind == ALERT_SINCE ? TIME : PLAIN;
}

/* --- words --- */

static void skip_blanks(const char **at)
{
    *at += strspn(*at, " \t");
}

static bool take(const char **at, char wanted)
{
    skip_blanks(at);
    if (**at != wanted) {
        return false;
    }
    (*at)++;
    return true;
}

static struct bytes take_word(const char **at)
{
    skip_blanks(at);
    size_t len = strspn(*at, "abcdefghijklmnopqrstuvwxyz0123456789_");
    struct bytes word = bytes_of(*at, len);
    *at += len;
    return word;
}

static bool find_function(struct bytes word, enum alert_function *ret_function)
{
    for (unsigned i = 0; i < ALERT_FUNCTION_COUNT; i++) {
        if (bytes_eq_str(word, functions[i].name)) {
            *ret_function = (enum alert_function)i;
            return true;
        }
    }
    return false;
}

static bool find_metric(struct bytes word, enum alert_metric *ret_metric)
{
    for (unsigned i = 0; i < ALERT_METRIC_COUNT; i++) {
        if (bytes_eq_str(word, metrics[i].name)) {
            *ret_metric = (enum alert_metric)i;
            return true;
        }
    }
    return false;
}

/* --- numbers --- */

static const struct {
    const char *name;
    double ms;
} times[] = {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 36e5}, {"d", 864e5}};

/* Digits, perhaps with a point in them. */
static bool take_number(const char **at, double *ret_value)
{
    enum { DIGITS_MAX = 15 };
    skip_blanks(at);
    size_t len = strspn(*at, "0123456789");
    if ((*at)[len] == '.') {
        len += 1 + strspn(*at + len + 1, "0123456789");
    }
    if (len == 0 || len > DIGITS_MAX || (*at)[len - 1] == '.' || (*at)[0] == '.') {
        return false;
    }
    char text[DIGITS_MAX + 1];
    memcpy(text, *at, len);
    text[len] = '\0';
    *ret_value = strtod(text, NULL);
    *at += len;
    return true;
}

static bool take_time(const char **at, double *ret_ms)
{
    double value;
    if (!take_number(at, &value)) {
        return false;
    }
    struct bytes unit = take_word(at);
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        if (bytes_eq_str(unit, times[i].name)) {
            *ret_ms = value * times[i].ms;
            return true;
        }
    }
    return false;
}

static bool take_bound(const char **at, struct alert_rule *rule, const char **ret_why)
{
    switch (measure_of(rule)) {
    case TIME:
        *ret_why = "behind < or >: a time with its unit, as 500ms, 5s, 2m, 1h, 14d";
        return take_time(at, &rule->bound);
    case PERCENT:
        *ret_why = "behind < or >: a number with %, as 80%";
        return take_number(at, &rule->bound) && take(at, '%');
    case PLAIN:
        break;
    }
    *ret_why = "behind < or >: a number";
    return take_number(at, &rule->bound);
}

static bool take_for(const char **at, struct alert_rule *rule)
{
    double ms = 0;
    skip_blanks(at);
    if (**at == '\0') {
        return true;
    }
    bool good = bytes_eq(take_word(at), BYTES("for")) && take_time(at, &ms) && ms <= 30 * 864e5;
    skip_blanks(at);
    rule->for_ms = good ? (uint64_t)ms : 0;
    return good && **at == '\0';
}

/* --- the rule --- */

static bool take_subject(const char **at, struct alert_rule *rule, const char **ret_why)
{
    *ret_why = "first: p50, p95, p99, mean, max, min, rate or count, then ( and a metric and )";
    if (!find_function(take_word(at), &rule->function) || !take(at, '(')) {
        return false;
    }
    *ret_why = "in brackets: one of "
#define X(id, name, ...) name " "
#include "hub/config/alert_metric.def"
#undef X
               "and behind it )";
    if (!find_metric(take_word(at), &rule->metric) || !take(at, ')')) {
        return false;
    }
    *ret_why = "this function is for metrics of another kind";
    return ((functions[rule->function].kinds >> metrics[rule->metric].kind) & 1) != 0;
}

int alert_rule_read(const char *text, struct alert_rule *ret_rule, const char **ret_why)
{
    const char *at = text;
    struct alert_rule rule = {0};
    if (!take_subject(&at, &rule, ret_why)) {
        return STATUS_INVALID;
    }
    *ret_why = "behind the brackets: < or >";
    skip_blanks(&at);
    rule.below = *at == '<';
    if (*at != '<' && *at != '>') {
        return STATUS_INVALID;
    }
    at++;
    if (!take_bound(&at, &rule, ret_why)) {
        return STATUS_INVALID;
    }
    *ret_why = "at the end: nothing, or for and a time, 30d at most, as for 5m";
    if (!take_for(&at, &rule)) {
        return STATUS_INVALID;
    }
    *ret_rule = rule;
    return 0;
}

void alert_rule_write(const struct alert_rule *rule, double value, char *ret_text, size_t size)
{
    static const char *const units[] = {[PLAIN] = "", [TIME] = "ms", [PERCENT] = "%"};
    enum measure measure = measure_of(rule);
    int digits = measure == TIME || fabs(value - rint(value)) < 0.005 ? 0 : 2;
    (void)snprintf(ret_text, size, "%.*f%s", digits, value, units[measure]);
}
