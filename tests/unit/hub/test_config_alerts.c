/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of alerts in a settings file: those that are there without one, and what is refused.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/base/check.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_load.h"

TestSuite(config_alerts, .timeout = 60);

static struct config_error error;

/* Load a file of this text; NULL: it was refused. */
static struct config *load(const char *text)
{
    static char flag[] = "--config";
    char path[] = "/tmp/peal-alerts-XXXXXX";
    char *argv[] = {flag, path};
    char *rest[3];
    struct config_input input = {.argc = ARRAY_LEN(argv), .argv = argv};
    struct config *config = NULL;
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    error.text[0] = '\0';
    (void)!config_load(&input, &error, rest, &config);
    unlink(path);
    return config;
}

Test(config_alerts, alerts_are_there_without_a_block_and_a_block_changes_them)
{
    struct config *config = load("alert \"api-slow\" { to = {\"user:ada\", \"room:public:ops\"} }\n"
                                 "alert \"hit-rate\" { on = off }\n"
                                 "alert \"own\" { when = \"count(users) > 5 for 1m\" }\n");
    cr_assert_not_null(config, "%s", error.text);
    cr_assert_eq(config->alert_count, 8);
    cr_expect_str_eq(config->alerts[0].when, "max(store_away) > 5s");
    cr_assert_eq(config->alerts[0].to.count, 1);
    cr_expect_str_eq(config->alerts[0].to.items[0], "log");
    cr_expect_str_eq(config->alerts[3].when, "p95(api) > 500ms for 5m", "as without the block");
    cr_assert_eq(config->alerts[3].to.count, 2);
    cr_expect(!config->alerts[4].on && config->alerts[3].on);
    cr_expect_str_eq(config->alerts[7].when, "count(users) > 5 for 1m");
    config_destroy(config);
}

Test(config_alerts, an_alert_that_could_not_be_looked_at_is_refused)
{
    static const struct {
        const char *file;
        const char *part;
    } cases[] = {
        {"alert \"own\" { }", ":1: alert \"own\": when: \"\"; allowed first: p50"},
        {"alert \"Own\" { when = \"count(users) > 1\" }", "alert \"Own\": allowed as name"},
        {"alert \"own\" { when = \"count(user) > 1\" }",
            "allowed in brackets: one of api bus_away"},
        {"alert \"own\" { when = \"count(users) > 1\" to = {\"mail:x\"} }",
            "to: \"mail:x\"; allowed: log, room:NAME, user:NAME, hook:NAME"},
        {"alert \"own\" { when = \"count(users) > 1\" to = {\"room:a/b/c\"} }",
            "to: \"room:a/b/c\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_null(load(cases[i].file), "%s", cases[i].file);
        cr_expect_not_null(strstr(error.text, cases[i].part), "%s: %s", cases[i].file, error.text);
    }
    struct config *config =
        load("alert \"own\" { when = \"count(users) > 1\" to = {\"user:acme/ada\"} }");
    cr_assert_not_null(config, "%s", error.text);
    config_destroy(config);
}

Test(config_alerts, alerts_have_a_bound)
{
    char file[8192];
    size_t len = 0;
    for (unsigned i = 0; i < 58; i++) { /* and 7 that are there without */
        len += (size_t)snprintf(
            file + len, sizeof(file) - len, "alert \"a%u\" { when = \"count(users) > 1\" }\n", i);
    }
    cr_expect_null(load(file));
    cr_expect_not_null(strstr(error.text, "alert: 65 of them; allowed: 64"), "%s", error.text);
}
