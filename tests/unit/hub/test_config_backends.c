/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of backends: webhooks that are told, and their queues; events of clients; outboxes of
 * databases.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_load.h"
#include "hub/config/config_outboxes.h"

TestSuite(config_backends, .timeout = 60);

static struct config_error error;

/* NULL: refused, and `error` says why. */
static struct config *load(const char *text)
{
    char path[] = "/tmp/peal-backends-XXXXXX";
    char *rest[2];
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    char *argv[] = {(char *)(uintptr_t) "--config", path};
    const struct config_input input = {.argc = 2, .argv = argv};
    struct config *config = NULL;
    error.text[0] = '\0';
    int status = config_load(&input, &error, rest, &config);
    cr_assert_eq(status == 0, config != NULL);
    unlink(path);
    return config;
}

static const struct config_queue *find_queue(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->queue_count; i++) {
        if (strcmp(config->queues[i].name, name) == 0) {
            return &config->queues[i];
        }
    }
    return NULL;
}

Test(config_backends, a_webhook_has_a_queue_of_its_own)
{
    struct config *config =
        load("webhook \"a\" { url = \"https://a\" secret = x events = {job.dead} }\n"
             "queue \"webhook.b\" { attempts = 7 }\n"
             "webhook \"b\" { url = \"https://b\" secret = x events = {job.dead} }\n");
    cr_assert_not_null(config, "%s", error.text);
    const struct config_queue *a = find_queue(config, "webhook.a");
    const struct config_queue *b = find_queue(config, "webhook.b");
    cr_assert(a != NULL && b != NULL);
    cr_expect(config_queue_is_own(a) && config_queue_is_own(b));
    cr_expect_not(config_queue_is_own(find_queue(config, "email")));
    cr_expect_eq(a->attempts, 12);
    cr_expect_eq(a->concurrency, 4);
    cr_expect_eq(a->backoff_ms, 5000);
    cr_expect_eq(a->keep_failed, 1000);
    cr_expect_eq(b->attempts, 7, "what its block says");
    cr_expect_eq(b->concurrency, 5, "and does not");
    config_destroy(config);
}

Test(config_backends, a_mistake_is_named)
{
    static const struct {
        const char *text;
        const char *part;
    } cases[] = {
        {"webhook \"A b\" { url = \"https://a\" secret = x events = {job.dead} }",
            "webhook \"A b\": allowed as name: 1 to 48"},
        {"outbox \"shop\" { }", ":1: outbox \"shop\": needs a url that begins"},
        {"outbox \"shop\" { url = \"https://a\" }", "outbox \"shop\": needs a url that begins"},
        {"outbox \"Shop\" { url = \"postgres://a\" }", "outbox \"Shop\": allowed as name: 1 to 48"},
        {"outbox \"store\" { url = \"postgres://a\" }", "is that of store.url"},
        {"outbox \"store\" { }", "outbox \"store\": needs store.url"},
        {"webhook \"a\" { secret = x events = {job.dead} }", ":1: webhook \"a\": needs a url, a"},
        {"webhook \"a\" { url = \"https://a\" secret = x }", "needs a url, a secret and events"},
        {"webhook \"a\" { events = {job.lost} }", "webhook \"a\": events"},
        {"events { to = {\"order:*=out\"} }", "events.to: \"order:*=out\": out needs a bus.url"},
        {"queue \"webhook.a\" { }", "queue \"webhook.a\": a name that begins with webhook. is"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *config = load(cases[i].text);
        cr_expect_null(config, "accepted: %s", cases[i].text);
        cr_expect_not_null(
            strstr(error.text, cases[i].part), "%s\n-> %s", cases[i].text, error.text);
        config_destroy(config);
    }
}

Test(config_backends, a_postgres_store_has_an_outbox_of_its_own)
{
    struct config *none = load("");
    struct config *own = load("store { url = \"postgres://a/b\" }\n");
    struct config *same = load("store { url = \"postgres://a/b\" }\noutbox \"store\" { }\n");
    struct config *off = load("store { url = \"postgres://a/b\" }\noutbox \"store\" { on = off }\n"
                              "outbox \"shop\" { url = \"postgres://c/d\" wake = off }\n");
    cr_assert(none != NULL && own != NULL && same != NULL && off != NULL, "%s", error.text);
    cr_expect_eq(none->outbox_count, 0);
    cr_assert_eq(own->outbox_count, 1);
    cr_expect(own->outboxes[0].on && own->outboxes[0].wake);
    cr_expect_str_eq(own->outboxes[0].name, CONFIG_OWN_OUTBOX);
    cr_expect_str_eq(config_outbox_url(own, &own->outboxes[0]), "postgres://a/b");
    cr_assert_eq(off->outbox_count, 2);
    cr_expect(!off->outboxes[0].on && !off->outboxes[1].wake);
    cr_expect_str_eq(config_outbox_url(off, &off->outboxes[1]), "postgres://c/d");
    cr_expect(config_outboxes_eq(own, same));
    cr_expect_not(config_outboxes_eq(own, off));
    cr_expect_not(config_outboxes_eq(own, none));
    config_destroy(none);
    config_destroy(own);
    config_destroy(same);
    config_destroy(off);
}
