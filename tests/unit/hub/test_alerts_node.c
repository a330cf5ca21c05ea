/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts of a whole node without Redis: told once, shown, known after a start, and over.
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "hub/alerts/alert_gauges.h"
#include "hub/node/hub.h"
#include "hub/node/node.h"
#include "sql/store.h"
#include "tests/support/node_rig.h"

TestSuite(alerts_node, .timeout = 120);

#define KEY "0123456789abcdef0123456789abcdef"
#define SETTINGS                                                                                   \
    "shards = 1\nalerts { every = 100ms }\n"                                                       \
    "api_key \"r\" { key = \"" KEY "\" scopes = {read} }\n"                                        \
    "alert \"always\" { when = \"count(users) < 1000\" }\n"                                        \
    "alert \"never\" { when = \"count(users) > 1000\" }\n"                                         \
    "alert \"off\" { when = \"count(users) < 1000\" on = off }\n"

enum { STATEMENTS_MAX = 256, DEADLINE_MS = 60000 };

static struct node_rig rig;
static struct node_answer answer;
static atomic_uint fired; /* lines of log */
static atomic_uint resolved;

static void count_lines(enum log_level level, const char *line, size_t len)
{
    char text[2048];
    (void)level;
    snprintf(text, sizeof(text), "%.*s", (int)len, line);
    atomic_fetch_add(&fired, strstr(text, " ALERT-FIRING ") != NULL);
    atomic_fetch_add(&resolved, strstr(text, " ALERT-RESOLVED ") != NULL);
}

/* Since when the alert fires, when it does. */
static uint64_t wait_firing(const char *name)
{
    uint64_t until = clock_mono_ms() + DEADLINE_MS;
    uint64_t since = 0;
    while (since == 0 && clock_mono_ms() < until) {
        usleep(5000);
        since = alert_gauges_since(&rig.hub->alerts, name);
    }
    cr_assert_neq(since, 0, "%s does not fire", name);
    return since;
}

/* Until a statement has run so often. */
static void wait_statement(const char *name, uint64_t count)
{
    uint64_t until = clock_mono_ms() + DEADLINE_MS;
    uint64_t seen = 0;
    while (seen < count && clock_mono_ms() < until) {
        struct store_statement_stats stats[STATEMENTS_MAX];
        size_t all = store_statements(rig.hub->store, stats, STATEMENTS_MAX);
        usleep(5000);
        for (size_t i = 0; i < all; i++) {
            seen = strcmp(stats[i].name, name) == 0 ? stats[i].count : seen;
        }
    }
    cr_assert_geq(seen, count, "%s", name);
}

static void ask(void)
{
    const struct node_call call = {.method = "GET", .target = "/api/v1/alerts", .key = KEY};
    node_rig_ask(&rig, &call, &answer);
    cr_assert_eq(answer.status, 200, "%s", answer.body);
}

Test(alerts_node, one_that_fires_is_told_once_and_known_after_a_start)
{
    log_set_sink(count_lines);
    node_rig_start(&rig, SETTINGS);
    log_set_level(LOG_INFO);
    uint64_t since = wait_firing("always");
    wait_statement("note.replace", 2); /* that it fires, and that it was told */
    ask();
    cr_expect_not_null(strstr(answer.body, "{\"name\":\"always\",\"when\":\"count(users) < 1000\","
                                           "\"to\":[\"log\"],\"state\":\"firing\",\"since\":\"2"),
        "%s", answer.body);
    cr_expect_not_null(strstr(answer.body, "\"never\",\"when\":\"count(users) > 1000\",\"to\":"
                                           "[\"log\"],\"state\":\"ok\",\"since\":null"),
        "%s", answer.body);
    cr_expect_not_null(strstr(answer.body, "\"state\":\"off\",\"since\":null"), "%s", answer.body);
    cr_expect_not_null(strstr(answer.body, "\"store-away\""), "%s", answer.body);
    cr_assert_eq(hub_stop(rig.hub), 0);
    cr_assert_eq(hub_start(rig.config, &rig.hub), 0);
    cr_expect_eq(wait_firing("always"), since, "as before");
    cr_expect_eq(atomic_load(&rig.hub->alerts.told), 0);
    node_rig_stop(&rig);
    cr_expect_eq(atomic_load(&fired), 1, "told once, over two lives");
    cr_expect_eq(atomic_load(&resolved), 0);
}

Test(alerts_node, one_that_fires_no_more_is_told_once)
{
    log_set_sink(count_lines);
    node_rig_start(&rig, "shards = 2\nalerts { every = 100ms }\n"
                         "alert \"started\" { when = \"count(requests) < 1\" }\n"
                         "api_key \"r\" { key = \"" KEY "\" scopes = {read} }\n");
    log_set_level(LOG_INFO);
    (void)wait_firing("started");
    wait_statement("note.replace", 2);
    uint64_t until = clock_mono_ms() + DEADLINE_MS;
    while (alert_gauges_since(&rig.hub->alerts, "started") != 0 && clock_mono_ms() < until) {
        ask(); /* a request */
    }
    wait_statement("note.replace", 4); /* that it is over, and that it was told */
    node_rig_stop(&rig);
    cr_expect_geq(atomic_load(&resolved), 1);
    cr_expect_geq(atomic_load(&fired), atomic_load(&resolved));
}
