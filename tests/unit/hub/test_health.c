/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /livez and /readyz over a real server: what each state of a node answers, and which of its
 * dependencies it names.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/base/published.h"
#include "hub/net/http_server.h"
#include "hub/node/health.h"
#include "hub/node/metrics.h"
#include "hub/node/node.h"
#include "tests/support/net_rig.h"

TestSuite(health, .timeout = 60);

static const struct http_route routes[] = {
    {.method = "GET", .path = "/livez", .handler = health_alive},
    {.method = "GET", .path = "/readyz", .handler = health_ready},
    {.path = NULL},
};

struct node {
    struct rig rig;
    struct hub hub;
    struct hub_shard shard;
    struct http_server_config config;
};

static void on_accept(struct connection *connection, void *context)
{
    http_serve(connection, &((struct node *)context)->config);
}

static struct node *start(void)
{
    struct node *node = calloc(1, sizeof(*node));
    node->hub.shards = &node->shard;
    node->hub.shard_count = 1;
    node->shard.hub = &node->hub;
    node->config = (struct http_server_config){.routes = routes,
        .context = &node->shard.api,
        .max_head_bytes = 8192,
        .max_headers = 64,
        .head_timeout_ms = 60000,
        .body_timeout_ms = 60000,
        .idle_timeout_ms = 60000};
    rig_start(&node->rig, 1, on_accept, node);
    node->shard.shard.sched = node->rig.shards[0].sched;
    atomic_store(&node->hub.started, true);
    return node;
}

static void stop(struct node *node)
{
    rig_stop(&node->rig);
    free(node);
}

/* What the shard has counted, as if it had been its turn. */
static void count(struct node *node, uint64_t links_down, uint64_t deaf)
{
    struct metrics_sums sums = {.links = {.bus_down = links_down}, .shards = {.deaf = deaf}};
    published_write(node->shard.copy.words, &sums, PUBLISHED_WORDS(sums));
}

static void expect_answer(struct node *node, const char *path, unsigned status, const char *body)
{
    char text[1024];
    char line[64];
    size_t len;
    int fd = rig_connect(&node->rig);
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", path);
    cr_assert(rig_send(fd, bytes_str(text)));
    cr_assert(rig_recv_all(fd, text, sizeof(text) - 1, &len));
    text[len] = '\0';
    close(fd);
    snprintf(line, sizeof(line), "HTTP/1.1 %u ", status);
    cr_expect_eq(strncmp(text, line, strlen(line)), 0, "%s: %s", body, text);
    const char *end = strstr(text, "\r\n\r\n");
    cr_assert_not_null(end);
    cr_expect_str_eq(end + 4, body);
    cr_expect_not_null(
        strstr(text, "\r\nCache-Control: no-store\r\n"), "nobody keeps it: %s", text);
}

/* The store may serve all but this. */
Test(health, jobs_that_are_not_given_again_are_told)
{
    struct metrics_sums sums = {.jobs = {.sweep_late_ms = 4999}};
    struct node *node = start();
    published_write(node->shard.copy.words, &sums, PUBLISHED_WORDS(sums));
    expect_answer(node, "/readyz", 200, "{\"status\":\"ready\"}");
    sums.jobs.sweep_late_ms++;
    published_write(node->shard.copy.words, &sums, PUBLISHED_WORDS(sums));
    expect_answer(node, "/readyz", 200, "{\"status\":\"degraded\",\"degraded\":[\"jobs\"]}");
    stop(node);
}

Test(health, an_outbox_that_is_late_or_whose_database_is_away_is_told)
{
    static const char ready[] = "{\"status\":\"ready\"}";
    static const char late[] = "{\"status\":\"degraded\",\"degraded\":[\"outboxes\"]}";
    struct node *node = start();
    struct outbox_gauge *gauge = &node->hub.outboxes[OUTBOXES_MAX - 1];
    atomic_store(&gauge->lag_ms, OUTBOX_LATE_MS - 1);
    expect_answer(node, "/readyz", 200, ready);
    atomic_store(&gauge->lag_ms, OUTBOX_LATE_MS);
    expect_answer(node, "/readyz", 200, late);
    atomic_store(&gauge->lag_ms, 0);
    cr_expect_not(outbox_is_late(gauge, OUTBOX_LATE_MS));
    atomic_store(&gauge->down_ms, 1);
    cr_expect_not(outbox_is_late(gauge, OUTBOX_LATE_MS));
    cr_expect(outbox_is_late(gauge, OUTBOX_LATE_MS + 1));
    stop(node);
}

Test(health, names_the_dependencies_that_fail)
{
    static const char ready[] = "{\"status\":\"ready\"}";
    static const char store[] = "{\"status\":\"degraded\",\"degraded\":[\"store\"]}";
    struct node *node = start();
    struct store_verdict *verdict = &node->hub.verdict;
    atomic_bool *flags[] = {&verdict->write_down, &verdict->read_down, &verdict->pooled};
    expect_answer(node, "/readyz", 200, ready);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        atomic_store(flags[i], true);
        expect_answer(node, "/readyz", 200, store);
        atomic_store(flags[i], false);
        expect_answer(node, "/readyz", 200, ready);
    }
    count(node, 1, 0);
    expect_answer(node, "/readyz", 200, "{\"status\":\"degraded\",\"degraded\":[\"bus\"]}");
    atomic_store(&verdict->write_down, true);
    expect_answer(
        node, "/readyz", 200, "{\"status\":\"degraded\",\"degraded\":[\"store\",\"bus\"]}");
    stop(node);
}

/* Whoever asks takes such a node out: the worst is told, whatever else fails. */
Test(health, is_not_ready_while_it_starts_ends_or_hears_nothing)
{
    struct node *node = start();
    atomic_store(&node->hub.verdict.write_down, true);
    count(node, 0, 1);
    expect_answer(node, "/readyz", 503, "{\"status\":\"deaf\",\"failing\":[\"bus\"]}");
    atomic_store(&node->hub.started, false);
    expect_answer(node, "/readyz", 503, "{\"status\":\"starting\"}");
    atomic_store(&node->hub.draining, true);
    expect_answer(node, "/readyz", 503, "{\"status\":\"draining\"}");
    expect_answer(node, "/livez", 200, "{\"status\":\"ok\"}");
    stop(node);
}
