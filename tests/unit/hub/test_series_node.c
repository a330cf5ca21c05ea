/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics of applications on a whole node without Redis: what is posted is what a summary and
 * /metrics tell, and no tenant has more series than it may.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/log.h"
#include "codec/base/rand.h"
#include "hub/node/hub.h"
#include "hub/node/node.h"
#include "hub/series/series_cell.h"
#include "tests/support/node_rig.h"
#include "tests/support/seed.h"

TestSuite(series_node, .timeout = 120);

#define KEY "0123456789abcdef0123456789abcdef"
#define READER "fedcba9876543210fedcba9876543210"
#define KEYS                                                                                       \
    "api_key \"m\" { key = \"" KEY "\" scopes = {metrics} }\n"                                     \
    "api_key \"r\" { key = \"" READER "\" scopes = {read} }\n"

enum { POSTS = 20, VALUES = 50 };

static struct node_rig rig;
static struct node_answer answer;

static void post(const char *body)
{
    const struct node_call call = {.method = "POST",
        .target = "/api/v1/metrics",
        .key = KEY,
        .headers = "Content-Type: application/json\r\n",
        .body = body};
    node_rig_ask(&rig, &call, &answer);
}

static void read_summary(const char *target)
{
    const struct node_call call = {.method = "GET", .target = target, .key = READER};
    node_rig_ask(&rig, &call, &answer);
    cr_assert_eq(answer.status, 200, "%s", answer.body);
}

/* The number behind `"name":` of the series whose text begins with `series`. */
static double number_of(const char *series, const char *name)
{
    char wanted[64];
    const char *at = strstr(answer.body, series);
    cr_assert_not_null(at, "%s: %s", series, answer.body);
    snprintf(wanted, sizeof(wanted), "\"%s\":", name);
    at = strstr(at, wanted);
    cr_assert_not_null(at, "%s", name);
    return strtod(at + strlen(wanted), NULL);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void expect_percentile(const double *sorted, size_t count, const char *name, double share)
{
    double wanted = sorted[(size_t)ceil(share * (double)count) - 1];
    double value = number_of("\"name\":\"checkout\"", name);
    cr_expect_leq(
        fabs(value - wanted), wanted * SERIES_ERROR + 0.001, "%s: %g, not %g", name, value, wanted);
}

Test(series_node, a_summary_is_what_was_posted)
{
    static double times[POSTS * VALUES];
    double sum = 0;
    double sold = 0;
    size_t count = 0;
    struct rand rand;
    node_rig_start(&rig, "shards = 2\n" KEYS);
    rand_init(&rand, seed_draw());
    for (unsigned i = 0; i < POSTS; i++) {
        struct builder body = {0};
        builder_byte(&body, '[');
        for (unsigned n = 0; n < VALUES; n++) {
            double time = (double)rand_below(&rand, 1000000) / 1000;
            unsigned more = (unsigned)rand_below(&rand, 10);
            times[count++] = time;
            sum += time;
            sold += more;
            builder_printf(&body,
                "%s{\"name\":\"checkout\",\"type\":\"timer\",\"value\":%.3f,\"unit\":\"ms\"},"
                "{\"name\":\"sold\",\"type\":\"counter\",\"value\":%u,\"tags\":{\"shop\":7}}",
                n > 0 ? "," : "", time, more);
        }
        builder_printf(&body, ",{\"name\":\"stock\",\"type\":\"gauge\",\"value\":%u}]", i);
        builder_byte(&body, '\0');
        post(builder_bytes(&body).at);
        cr_assert_eq(answer.status, 202, "%s", answer.body);
        cr_assert_str_eq(answer.body, "{\"accepted\":101}");
        builder_reset(&body);
    }
    qsort(times, count, sizeof(times[0]), compare);
    read_summary("/api/v1/metrics/summary?range=1h");
    cr_expect_eq(number_of("\"name\":\"checkout\"", "count"), (double)count);
    cr_expect_float_eq(number_of("\"name\":\"checkout\"", "sum"), sum, sum * 1e-9);
    cr_expect_eq(number_of("\"name\":\"checkout\"", "min"), times[0]);
    cr_expect_eq(number_of("\"name\":\"checkout\"", "max"), times[count - 1]);
    expect_percentile(times, count, "p50", 0.5);
    expect_percentile(times, count, "p95", 0.95);
    expect_percentile(times, count, "p99", 0.99);
    cr_expect_eq(number_of("\"name\":\"sold\"", "sum"), sold);
    cr_expect_eq(number_of("\"name\":\"stock\"", "last"), POSTS - 1);
    cr_expect_not_null(strstr(answer.body, "\"complete\":true"));
    cr_expect_not_null(strstr(answer.body, "\"tags\":{\"shop\":\"7\"}"), "%s", answer.body);
    cr_expect_eq(
        number_of("\"route\":\"/api/v1/metrics\"", "count"), POSTS, "Peal's own, by route");
    node_rig_stop(&rig);
}

Test(series_node, one_series_too_many_is_named_and_nothing_of_its_post_is_counted)
{
    log_set_level(LOG_ERROR);
    node_rig_start(&rig, "shards = 1\nmetrics { series = 2 }\n" KEYS);
    post("[{\"name\":\"a\",\"type\":\"counter\",\"value\":1},"
         "{\"name\":\"a\",\"type\":\"counter\",\"value\":1},"
         "{\"name\":\"b\",\"type\":\"counter\",\"value\":1}]");
    cr_assert_eq(answer.status, 202, "%s", answer.body);
    post("[{\"name\":\"a\",\"type\":\"counter\",\"value\":1},"
         "{\"name\":\"a\",\"type\":\"gauge\",\"value\":1}]");
    cr_assert_eq(answer.status, 422, "%s", answer.body);
    cr_expect_not_null(strstr(answer.body, "\"field\":\"name\""), "%s", answer.body);
    cr_expect_not_null(strstr(answer.body, "\"index\":1"), "%s", answer.body);
    read_summary("/api/v1/metrics/summary");
    cr_expect_eq(number_of("\"name\":\"a\"", "sum"), 2);
    cr_expect_eq(number_of("\"name\":\"b\"", "sum"), 1);
    node_rig_stop(&rig);
}
