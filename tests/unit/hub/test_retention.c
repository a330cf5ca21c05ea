/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the settings say is kept, by tenant, and when the operator is told that the walk is late.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/shard.h"
#include "codec/base/buf.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_load.h"
#include "hub/config/config_print.h"
#include "hub/node/retention.h"

TestSuite(retention, .timeout = 60);

static struct config_error error;

/* Settings of a file's text; NULL: they are refused, as `error` says. */
static struct config *load(const char *text)
{
    static char *rest[4];
    char path[] = "/tmp/peal-retention-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    char flag[] = "--config";
    char *argv[] = {flag, path};
    struct config_input input = {.argc = 2, .argv = argv};
    struct config *config = NULL;
    error.text[0] = 0;
    int status = config_load(&input, &error, rest, &config);
    cr_assert_eq(status == 0, config != NULL);
    unlink(path);
    return config;
}

static void expect_rule(
    const struct store_retention *request, const char *tenant, uint64_t age_ms, uint32_t rows)
{
    for (size_t i = 0; i < request->rule_count; i++) {
        if (bytes_eq_str(request->rules[i].tenant, tenant)) {
            cr_expect_eq(request->rules[i].age_ms, age_ms, "%s", tenant);
            cr_expect_eq(request->rules[i].rows, rows, "%s", tenant);
            return;
        }
    }
    cr_assert_fail("no rule for %s", tenant);
}

Test(retention, a_tenant_has_what_its_block_says_and_else_what_all_have)
{
    struct retention_walk walk = {0};
    struct config *config =
        load("auth { tenants = on }\ninbox { retention_age = 30d retention_rows = 500 }\n"
             "tenant \"a\" { retention_age = 7d }\ntenant \"b\" { retention_rows = 0 }\n"
             "tenant \"c\" { retention_age = 0 retention_rows = inherit }\n");
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_eq(config->warnings.count, 0);
    cr_expect(retention_is_on(config));
    retention_ask(&walk, config);
    cr_expect_eq(walk.request.usual.age_ms, UINT64_C(30) * 86400000);
    cr_expect_eq(walk.request.usual.rows, 500);
    cr_expect_eq(walk.request.every_ms, 3600000);
    cr_expect_eq(walk.request.rule_count, 3);
    expect_rule(&walk.request, "a", UINT64_C(7) * 86400000, 500);
    expect_rule(&walk.request, "b", UINT64_C(30) * 86400000, 0);
    expect_rule(&walk.request, "c", 0, 500);
    struct builder text = {0};
    config_print(config, &text);
    builder_byte(&text, 0);
    cr_expect_not_null(strstr(builder_bytes(&text).at, "retention_age = inherit\n"));
    cr_expect_not_null(strstr(builder_bytes(&text).at, "retention_rows = inherit\n"));
    builder_reset(&text);
    config_destroy(config);
    expect_rule(&walk.request, "a", UINT64_C(7) * 86400000, 500); /* it has its own names */
    retention_finish(&walk);
}

Test(retention, it_is_off_unless_something_is_taken)
{
    static const struct {
        const char *text;
        bool on;
    } cases[] = {
        {"", false},
        {"inbox { retention_rows = 1 }", true},
        {"inbox { retention_age = 1s }", true},
        {"tenant \"a\" { retention_age = 0 }", false},
        {"tenant \"a\" { retention_rows = 3 }", true},
        {"inbox { retention_rows = 1 }\ntenant \"a\" { retention_rows = 0 }", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *config = load(cases[i].text);
        cr_assert_not_null(config, "%s", error.text);
        cr_expect_eq(retention_is_on(config), cases[i].on, "%s", cases[i].text);
        config_destroy(config);
    }
}

/* Who was away for 400 days gets what was posted to many, or for as long as anything is kept. */
Test(retention, posts_to_many_are_kept_as_long_as_rows_at_least)
{
    struct config *config = load("inbox { retention_age = 30d }");
    cr_expect_eq(retention_keep_posts_ms(config), UINT64_C(400) * 86400000);
    config_destroy(config);
    config = load("inbox { retention_age = 30d }\ntenant \"a\" { retention_age = 1000d }");
    cr_expect_eq(retention_keep_posts_ms(config), UINT64_C(1000) * 86400000);
    config_destroy(config);
}

Test(retention, what_cannot_be_is_named)
{
    static const char *const cases[][2] = {
        {"inbox { retention_age = 999ms }",
            "inbox.retention_age: too short; allowed: 0, or from 1s"},
        {"inbox { retention_rows = 100001 }", "retention_rows"},
        {"inbox { retention_every = 10ms }", "retention_every"},
        {"inbox { retention_rows = inherit }", "retention_rows"},
        {"tenant \"a\" { retention_age = 10ms }", "retention_age: too short"},
        {"tenant \"a\" { retention_rows = many }", "0 to 100000 or inherit"},
        {"tenant \"a\" { retention_age = never }", "or inherit"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_null(load(cases[i][0]), "%s", cases[i][0]);
        cr_expect_not_null(strstr(error.text, cases[i][1]), "%s", error.text);
    }
    struct config *config = load("tenant \"a\" { retention_rows = 3 }");
    cr_expect_eq(config->warnings.count, 1, "without auth.tenants nobody has a tenant");
    config_destroy(config);
}

Test(retention, it_is_not_late_before_it_began)
{
    struct retention_walk walk = {0};
    struct shard_stats stats = {0};
    struct config *config = load("inbox { retention_rows = 1 }");
    retention_ask(&walk, config);
    walk.request.sweep.late_ms = UINT64_C(100) * 86400000; /* nobody walked before */
    walk.request.took_ms = 700;
    walk.request.looked = 20;
    retention_tell(&walk, &stats);
    cr_expect_lt(stats.retention_late_ms, 60000);
    cr_expect_eq(walk.late_ms, 0, "nobody is told");
    cr_expect_eq(stats.retention_walk_ms, 700);
    cr_expect_eq(stats.retention_looked, 20);
    walk.since_ms = 1; /* it is on for as long as the machine is */
    walk.request.every_ms = 1;
    retention_tell(&walk, &stats);
    bool long_enough = stats.retention_late_ms >= 60000;
    cr_expect_eq(walk.late_ms > 0, long_enough);
    walk.request.sweep.late_ms = 0;
    retention_tell(&walk, &stats);
    cr_expect_eq(walk.late_ms, 0);
    walk.request.sweep.late_ms = 500;
    retention_tell(&walk, &stats);
    cr_expect_eq(stats.retention_late_ms, 500);
    retention_rest(&walk, &stats);
    cr_expect_eq(stats.retention_late_ms, 0);
    config_destroy(config);
    retention_finish(&walk);
}
