/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What alerts are made of: rules from text, figures of nodes and of all, and the state that
 * outlives who keeps it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/rand.h"
#include "hub/alerts/alert_gauges.h"
#include "hub/alerts/alert_state.h"
#include "hub/alerts/figures.h"
#include "hub/config/alert_rule.h"
#include "sql/store_note.h"
#include "tests/support/seed.h"

TestSuite(alerts, .timeout = 60);

static const uint64_t bounds[FIGURES_BUCKETS] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 5000000};

/* Rules. */

static struct alert_rule rule_of(const char *text)
{
    struct alert_rule rule = {0};
    const char *why = "";
    cr_assert_eq(alert_rule_read(text, &rule, &why), 0, "%s: %s", text, why);
    return rule;
}

Test(alerts, a_rule_says_what_and_how_much_and_for_how_long)
{
    static const struct {
        const char *text;
        struct alert_rule rule;
    } cases[] = {
        {"p95(api) > 500ms for 5m", {ALERT_API, ALERT_P95, false, 500, 300000}},
        {"  p50( api )<1.5s  ", {ALERT_API, ALERT_P50, true, 1500, 0}},
        {"mean(hit_rate) < 80% for 10m", {ALERT_HIT_RATE, ALERT_MEAN, true, 80, 600000}},
        {"mean(hit_rate)<79.5 %", {ALERT_HIT_RATE, ALERT_MEAN, true, 79.5, 0}},
        {"count(dead_letters) > 0", {ALERT_DEAD_LETTERS, ALERT_COUNT, false, 0, 0}},
        {"rate(events)>1000 for 30d", {ALERT_EVENTS, ALERT_RATE, false, 1000, 2592000000}},
        {"rate(api)>10", {ALERT_API, ALERT_RATE, false, 10, 0}},
        {"max(store_away) > 5s", {ALERT_STORE_AWAY, ALERT_MAX, false, 5000, 0}},
        {"min(certificate_days) < 14", {ALERT_CERTIFICATE_DAYS, ALERT_MIN, true, 14, 0}},
        {"count(connections) > 2", {ALERT_CONNECTIONS, ALERT_COUNT, false, 2, 0}},
        {"max(intake_age) > 2h for 1h", {ALERT_INTAKE_AGE, ALERT_MAX, false, 7200000, 3600000}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct alert_rule rule = rule_of(cases[i].text);
        const struct alert_rule *want = &cases[i].rule;
        cr_expect_eq(rule.metric, want->metric, "%s", cases[i].text);
        cr_expect_eq(rule.function, want->function, "%s", cases[i].text);
        cr_expect_eq(rule.below, want->below, "%s", cases[i].text);
        cr_expect_float_eq(rule.bound, want->bound, 1e-9, "%s", cases[i].text);
        cr_expect_eq(rule.for_ms, want->for_ms, "%s", cases[i].text);
    }
}

Test(alerts, what_is_no_rule_is_told_what_is_allowed_in_its_place)
{
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"", "first"},
        {"p96(api) > 1s", "first"},
        {"p95 api > 1s", "first"},
        {"p95() > 1s", "in brackets"},
        {"p95(apis) > 1s", "in brackets"},
        {"p95(api > 1s", "in brackets"},
        {"p95(events) > 1s", "another kind"},
        {"rate(hit_rate) > 1", "another kind"},
        {"max(api) > 1s", "another kind"},
        {"p95(api) = 1s", "behind the brackets"},
        {"p95(api)", "behind the brackets"},
        {"p95(api) > 500", "a time"},
        {"p95(api) > ms", "a time"},
        {"p95(api) > -1s", "a time"},
        {"p95(api) > 1.s", "a time"},
        {"p95(api) > 1w", "a time"},
        {"p95(api) > 1234567890123456s", "a time"},
        {"mean(hit_rate) < 80", "%"},
        {"count(errors) > x", "a number"},
        {"count(errors) > 1%", "at the end"},
        {"count(errors) > 1 for", "at the end"},
        {"count(errors) > 1 for 5", "at the end"},
        {"count(errors) > 1 for 5m now", "at the end"},
        {"count(errors) > 1 for 31d", "at the end"},
        {"count(errors) > 1 during 5m", "at the end"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct alert_rule rule = {.for_ms = 7};
        const char *why = "";
        cr_expect_lt(alert_rule_read(cases[i].text, &rule, &why), 0, "%s", cases[i].text);
        cr_expect_not_null(strstr(why, cases[i].why), "%s: %s", cases[i].text, why);
        cr_expect_eq(rule.for_ms, 7, "untouched");
    }
}

Test(alerts, a_value_is_written_with_its_unit)
{
    static const struct {
        const char *rule;
        double value;
        const char *text;
    } cases[] = {
        {"p95(api) > 1s", 512.4, "512ms"},
        {"mean(hit_rate) < 80%", 79.456, "79.46%"},
        {"mean(hit_rate) < 80%", 50, "50%"},
        {"count(errors) > 1", 3, "3"},
        {"rate(errors) > 1", 0.25, "0.25"},
        {"max(store_away) > 1s", 7001, "7001ms"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct alert_rule rule = rule_of(cases[i].rule);
        char text[40];
        alert_rule_write(&rule, cases[i].value, text, sizeof(text));
        cr_expect_str_eq(text, cases[i].text);
    }
}

/* Figures. */

static double value_of(const struct figures_sum *sum, const char *text)
{
    struct alert_rule rule = rule_of(text);
    double value = -1;
    return figures_value(sum, &rule, bounds, &value) ? value : -1;
}

Test(alerts, a_window_holds_what_happened_in_the_last_looks)
{
    struct figures_window window = {0};
    struct figures counted = {0};
    struct figures now;
    for (unsigned i = 0; i < 40; i++) {
        counted.part[ALERT_REQUESTS] += i;
        counted.part[ALERT_CONNECTIONS] = i + 1;
        counted.buckets[3] += 2;
        figures_look(&window, 1000 * i, &counted, &now);
        unsigned looks = i < FIGURES_LOOKS ? i : FIGURES_LOOKS;
        uint64_t sum = 0;
        for (unsigned j = 0; j < looks; j++) {
            sum += i - j;
        }
        cr_expect_eq(now.part[ALERT_REQUESTS], sum, "look %u", i);
        cr_expect_eq(now.part[ALERT_CONNECTIONS], i + 1, "what there is, as it is");
        cr_expect_eq(now.buckets[3], 2 * looks);
        cr_expect_eq(now.span_ms, 1000 * looks);
    }
    counted.part[ALERT_REQUESTS] = 0;
    figures_look(&window, 40000, &counted, &now);
    cr_expect_eq(now.part[ALERT_REQUESTS], 0, "counts that begin anew say nothing");
}

Test(alerts, all_nodes_are_one)
{
    struct figures_sum sum = {0};
    struct figures one = {.span_ms = 10000, .total_us = 1000000};
    struct figures two = {.span_ms = 20000, .total_us = 3000000};
    one.buckets[7] = 20; /* 50 to 100 ms */
    two.buckets[9] = 20; /* 250 to 500 ms */
    one.part[ALERT_HIT_RATE] = 15;
    one.whole[ALERT_HIT_RATE] = 20;
    two.whole[ALERT_HIT_RATE] = 10;
    one.part[ALERT_EVENTS] = 100;
    two.part[ALERT_EVENTS] = 100;
    one.part[ALERT_CONNECTIONS] = 1;
    two.part[ALERT_CONNECTIONS] = 8;
    two.part[ALERT_CERTIFICATE_DAYS] = 4;
    figures_add(&sum, &one);
    figures_add(&sum, &two);
    cr_expect_float_eq(value_of(&sum, "p50(api) > 1s"), 100, 1e-6);
    cr_expect_float_eq(value_of(&sum, "p95(api) > 1s"), 475, 1e-6, "in the middle of a bucket");
    cr_expect_float_eq(value_of(&sum, "mean(api) > 1s"), 100, 1e-6);
    cr_expect_float_eq(value_of(&sum, "count(api) > 1"), 40, 1e-6);
    cr_expect_float_eq(value_of(&sum, "rate(api) > 1"), 3, 1e-6);
    cr_expect_float_eq(value_of(&sum, "mean(hit_rate) < 1%"), 50, 1e-6);
    cr_expect_float_eq(value_of(&sum, "rate(events) > 1"), 15, 1e-6);
    cr_expect_float_eq(value_of(&sum, "count(events) > 1"), 200, 1e-6);
    cr_expect_float_eq(value_of(&sum, "max(connections) > 1"), 7, 1e-6);
    cr_expect_float_eq(value_of(&sum, "min(connections) > 1"), 0, 1e-6);
    cr_expect_float_eq(value_of(&sum, "mean(connections) > 1"), 3.5, 1e-6);
    cr_expect_float_eq(value_of(&sum, "count(connections) > 1"), 7, 1e-6);
    cr_expect_float_eq(value_of(&sum, "min(certificate_days) < 1"), 3, 1e-6, "only one has any");
}

Test(alerts, what_is_not_known_has_no_value)
{
    struct figures_sum sum = {0};
    struct figures few = {.span_ms = 10000};
    cr_expect_float_eq(value_of(&sum, "count(errors) > 1"), -1, 1e-9, "no node");
    few.buckets[0] = FIGURES_LEAST - 1;
    few.whole[ALERT_ERROR_RATE] = FIGURES_LEAST - 1;
    figures_add(&sum, &few);
    cr_expect_float_eq(value_of(&sum, "p95(api) > 1s"), -1, 1e-9, "too few");
    cr_expect_float_eq(value_of(&sum, "mean(error_rate) > 1%"), -1, 1e-9, "too few");
    cr_expect_float_eq(value_of(&sum, "min(certificate_days) < 1"), -1, 1e-9, "none");
    cr_expect_float_eq(value_of(&sum, "count(errors) > 1"), 0, 1e-9, "none happened");
    struct figures more = {.buckets = {[0] = 1}, .whole = {[ALERT_ERROR_RATE] = 1}};
    figures_add(&sum, &more);
    cr_expect_float_eq(value_of(&sum, "p50(api) > 1s"), 0.25, 1e-6);
    cr_expect_float_eq(value_of(&sum, "mean(error_rate) > 1%"), 0, 1e-6);
}

/* A percentile from buckets is in the bucket of the right one of all that was counted. */
Test(alerts, a_percentile_is_in_the_bucket_of_the_true_one)
{
    struct rand rand;
    rand_init(&rand, seed_draw());
    for (unsigned round = 0; round < 200; round++) {
        struct figures_sum sum = {0};
        struct figures figures = {.span_ms = 1};
        uint64_t count = FIGURES_LEAST + rand_below(&rand, 300);
        for (uint64_t i = 0; i < count; i++) {
            figures.buckets[rand_below(&rand, FIGURES_BUCKETS)]++;
        }
        figures_add(&sum, &figures);
        uint64_t below = 0;
        unsigned bucket = 0;
        while ((double)(below + figures.buckets[bucket]) < 0.95 * (double)count) {
            below += figures.buckets[bucket++];
        }
        double value = value_of(&sum, "p95(api) > 1s") * 1e3;
        double from = bucket > 0 ? (double)bounds[bucket - 1] : 0;
        cr_expect(value >= from && value <= (double)bounds[bucket], "%f in %u", value, bucket);
    }
}

Test(alerts, figures_travel_as_text)
{
    struct rand rand;
    struct figures figures;
    rand_init(&rand, seed_draw());
    uint64_t *words = (uint64_t *)(void *)&figures;
    for (size_t i = 0; i < sizeof(figures) / sizeof(*words); i++) {
        words[i] = rand_u64(&rand) >> (1 + rand_below(&rand, 63));
    }
    struct builder text = {0};
    struct figures read = {0};
    figures_write(&figures, &text);
    struct bytes whole = builder_bytes(&text);
    cr_assert_leq(whole.len, FIGURES_TEXT_MAX);
    cr_assert_eq(figures_read(whole, &read), 0);
    cr_expect_eq(memcmp(&read, &figures, sizeof(read)), 0);
    for (size_t len = 0; len < whole.len; len++) {
        struct figures cut;
        int status = figures_read(bytes_of(whole.at, len), &cut);
        bool digits = len > 0 && whole.at[len - 1] != ' ' &&
                      memchr(whole.at + len, ' ', whole.len - len) == NULL;
        cr_expect(digits ? status == 0 : status < 0, "%zu of %zu", len, whole.len);
    }
    builder_byte(&text, ' ');
    cr_expect_lt(figures_read(builder_bytes(&text), &read), 0);
    cr_expect_lt(figures_read(BYTES("1 2 x"), &read), 0);
    builder_reset(&text);
}

/* The state. */

Test(alerts, the_state_travels_as_text_and_fits_a_note)
{
    struct alert_state state = {.number = INT64_MAX};
    char name[ALERT_NAME_MAX + 1];
    for (unsigned i = 0; i < ALERTS_MAX; i++) {
        memset(name, 'a', ALERT_NAME_MAX);
        snprintf(name, 3, "%02u", i);
        name[2] = 'b';
        name[ALERT_NAME_MAX] = '\0';
        struct alert_entry *entry = alert_state_add(&state, name, INT64_MAX - i);
        cr_assert_not_null(entry);
        entry->resolved = i % 2 != 0;
        entry->told = UINT32_MAX - i;
    }
    cr_expect_null(alert_state_add(&state, "more", 1));
    struct builder text = {0};
    struct alert_state read = {.number = 1};
    alert_state_write(&state, &text);
    cr_assert_leq(builder_bytes(&text).len, STORE_NOTE_MAX);
    cr_assert_eq(alert_state_read(builder_bytes(&text), &read), 0);
    cr_expect_eq(read.number, state.number);
    cr_assert_eq(read.count, ALERTS_MAX);
    for (unsigned i = 0; i < ALERTS_MAX; i++) {
        cr_expect_str_eq(read.entries[i].name, state.entries[i].name);
        cr_expect_eq(read.entries[i].since_ms, state.entries[i].since_ms);
        cr_expect_eq(read.entries[i].resolved, state.entries[i].resolved);
        cr_expect_eq(read.entries[i].told, state.entries[i].told);
    }
    builder_reset(&text);
}

Test(alerts, what_is_no_state_is_refused)
{
    static const char *const texts[] = {"", "x", "1\nslow", "1\nslow 5", "1\nslow 5 f",
        "1\nslow 5 g 0", "1\nslow x f 0", "1\n 5 f 0", "1\nslow 5 f 0\n\nfast 5 f 0",
        "1\nslow 5 f 99999999999",
        "1\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 5 f 0"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct alert_state state = {.number = 9};
        cr_expect_lt(alert_state_read(bytes_str(texts[i]), &state), 0, "%s", texts[i]);
        cr_expect_eq(state.number, 9);
    }
    struct alert_state state;
    cr_expect_eq(alert_state_read(BYTES("7"), &state), 0);
    cr_expect_eq(state.count, 0);
}

Test(alerts, entries_come_and_go)
{
    struct alert_state state = {0};
    cr_assert_not_null(alert_state_add(&state, "a", 1));
    cr_assert_not_null(alert_state_add(&state, "b", 2));
    cr_assert_not_null(alert_state_add(&state, "c", 3));
    alert_state_remove(&state, alert_state_find(&state, "a"));
    cr_expect_eq(state.count, 2);
    cr_expect_null(alert_state_find(&state, "a"));
    cr_expect_eq(alert_state_find(&state, "c")->since_ms, 3);
    alert_state_remove(&state, alert_state_find(&state, "c"));
    cr_expect_eq(alert_state_find(&state, "b")->since_ms, 2);
}

Test(alerts, a_rule_fires_when_it_has_held_for_long_enough)
{
    struct alert_watch watch = {0};
    cr_expect_not(alert_watch_step(&watch, true, 0, 100));
    cr_expect_not(alert_watch_step(&watch, true, 99, 100));
    cr_expect(alert_watch_step(&watch, true, 101, 100));
    cr_expect(alert_watch_step(&watch, true, 150, 100));
    cr_expect_not(alert_watch_step(&watch, false, 160, 100));
    cr_expect_not(alert_watch_step(&watch, true, 170, 100), "it begins anew");
    cr_expect_not(alert_watch_step(&watch, true, 269, 100));
    cr_expect(alert_watch_step(&watch, true, 270, 100));
    struct alert_watch at_once = {0};
    cr_expect(alert_watch_step(&at_once, true, 5, 0));
}

Test(alerts, gauges_show_what_fires)
{
    static struct alert_gauges gauges;
    struct alert_state state = {0};
    cr_assert_not_null(alert_state_add(&state, "a", 11));
    alert_state_add(&state, "b", 12)->resolved = true;
    cr_assert_not_null(alert_state_add(&state, "c", 13));
    alert_gauges_set(&gauges, &state);
    cr_expect_eq(alert_gauges_since(&gauges, "a"), 11);
    cr_expect_eq(alert_gauges_since(&gauges, "b"), 0, "it is over");
    cr_expect_eq(alert_gauges_since(&gauges, "c"), 13);
    alert_state_remove(&state, alert_state_find(&state, "a"));
    alert_gauges_set(&gauges, &state);
    cr_expect_eq(alert_gauges_since(&gauges, "a"), 0);
    cr_expect_eq(alert_gauges_since(&gauges, "c"), 13);
}
