/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch of the store, on a loop of its own over a real SQLite file: the verdict when the file
 * is moved away and comes back, and the one new epoch of a store that lost commits.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "hub/node/node.h"
#include "hub/node/store_watch.h"
#include "sql/store.h"
#include "tests/support/net_rig.h"

TestSuite(store_watch, .timeout = 120);

enum { LINES_MAX = 32, LINE_MAX_LEN = 512 };

struct node {
    struct rig rig;
    struct hub hub;
    struct hub_shard shard;
    char folder[64];
    char path[96];
    char away[96]; /* where the file lies while it is moved away */
    bool closed;
};

static struct node node;
static char lines[LINES_MAX][LINE_MAX_LEN];
static atomic_uint line_count;
static atomic_uint restarts; /* that the watch asked for */

static void keep_line(enum log_level level, const char *line, size_t len)
{
    (void)level;
    unsigned n = atomic_load(&line_count);
    if (n < LINES_MAX) {
        snprintf(lines[n], sizeof(lines[n]), "%.*s", (int)len, line);
        atomic_store(&line_count, n + 1);
    }
}

static unsigned logged(const char *id)
{
    unsigned times = 0;
    for (unsigned i = 0; i < atomic_load(&line_count); i++) {
        times += strstr(lines[i], id) != NULL;
    }
    return times;
}

static void on_restart(int number)
{
    (void)number;
    atomic_fetch_add(&restarts, 1);
}

static void post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
    sched_post(((struct node *)context)->rig.system, port, fn, arg);
}

static void open_here(void *arg)
{
    (void)arg;
    struct hub_shard *shard = &node.shard;
    shard->loop = node.rig.loops[0];
    shard->hub = &node.hub;
    shard->shard.sched = loop_shard(shard->loop)->sched;
    shard->shard.store_root = node.hub.store;
    CHECK(store_port_open(node.hub.store, 0, loop_uv(shard->loop), &shard->shard.store) == 0);
    store_watch_start(shard);
}

static void on_closed(void *context)
{
    ((struct node *)context)->closed = true;
}

static void close_here(void *arg)
{
    (void)arg;
    store_watch_stop(&node.shard);
    store_port_close(node.shard.shard.store, on_closed, &node);
}

static bool is_closed(void *arg)
{
    (void)arg;
    return node.closed;
}

static void start(void)
{
    snprintf(node.folder, sizeof(node.folder), "/tmp/peal-watch-XXXXXX");
    cr_assert_not_null(mkdtemp(node.folder));
    snprintf(node.path, sizeof(node.path), "%s/peal.db", node.folder);
    snprintf(node.away, sizeof(node.away), "%s/away.db", node.folder);
    char url[128];
    snprintf(url, sizeof(url), "sqlite:%s", node.path);
    log_set_sink(keep_line);
    cr_assert(signal(SIGUSR1, on_restart) != SIG_ERR);
    rig_start(&node.rig, 1, NULL, NULL);
    const struct store_config config = {
        .url = bytes_str(url), .port_count = 1, .post = post, .post_context = &node};
    char error[256];
    cr_assert_eq(store_open(&config, &node.hub.store, error, sizeof(error)), 0, "%s", error);
    snprintf(node.hub.node, sizeof(node.hub.node), "watcher");
    rig_call(&node.rig, 0, open_here, NULL);
}

static void stop(void)
{
    rig_call(&node.rig, 0, close_here, NULL);
    cr_assert(rig_wait(&node.rig, 0, is_closed, NULL));
    rig_stop(&node.rig);
    store_close(node.hub.store);
    log_set_sink(NULL);
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", node.folder);
    cr_assert_eq(system(command), 0);
}

static bool is_down(void *arg)
{
    (void)arg;
    return atomic_load(&node.hub.verdict.write_down);
}

static bool is_up(void *arg)
{
    (void)arg;
    return !atomic_load(&node.hub.verdict.write_down);
}

/* In the engine's own words. */
static bool is_explained(void *arg)
{
    (void)arg;
    struct store_health health;
    store_get_health(node.hub.store, &health);
    return strstr(health.reason, "removed or replaced") != NULL;
}

static bool is_well(void *arg)
{
    (void)arg;
    struct store_health health;
    store_get_health(node.hub.store, &health);
    return access(node.path, F_OK) == 0 && health.failures == 0 && node.shard.store_watch != NULL;
}

Test(store_watch, tells_when_the_store_cannot_be_written_and_when_it_can_again)
{
    start();
    cr_assert(rig_wait(&node.rig, 0, is_well, NULL));
    cr_expect(is_up(NULL) && store_is_writable(node.hub.store));
    cr_assert_eq(rename(node.path, node.away), 0);
    cr_assert(rig_wait(&node.rig, 0, is_down, NULL), "its file is gone");
    cr_expect_not(store_is_writable(node.hub.store), "who owns streams is told");
    cr_expect_gt(atomic_load(&node.hub.verdict.outages), 0);
    cr_expect_gt(logged("STORE-DOWN"), 0);
    cr_expect(rig_wait(&node.rig, 0, is_explained, NULL));
    cr_assert_eq(rename(node.away, node.path), 0);
    cr_assert(rig_wait(&node.rig, 0, is_up, NULL), "it is there again");
    cr_expect(store_is_writable(node.hub.store));
    cr_expect_eq(logged("STORE-UP"), logged("STORE-DOWN"));
    cr_expect_eq(atomic_load(&restarts), 0, "nothing was lost");
    stop();
}

static bool is_outdated(void *arg)
{
    (void)arg;
    return atomic_load(&node.hub.outdated) && atomic_load(&restarts) > 0;
}

Test(store_watch, has_a_store_that_lost_commits_begin_one_new_epoch)
{
    start();
    const struct store_loss loss = {"position", 9, 7};
    cr_assert(rig_wait(&node.rig, 0, is_well, NULL));
    cr_expect_eq(logged("STORE-NEW-EPOCH"), 0);
    store_tell_loss(node.hub.store, &loss);
    cr_assert(rig_wait(&node.rig, 0, is_outdated, NULL));
    cr_expect_eq(logged("STORE-WENT-BACK"), 1);
    cr_expect_eq(logged("proof=position was=9 is=7"), 1, "with what proves it");
    uint64_t until = clock_mono_ms() + 2000; /* it goes on asking for the epoch, every 750 ms */
    while (clock_mono_ms() < until) {
        usleep(10000);
    }
    cr_expect_eq(logged("STORE-WENT-BACK"), 1);
    cr_expect_eq(logged("STORE-NEW-EPOCH"), 1, "one, however often it is asked for");
    cr_expect_eq(atomic_load(&restarts), 1);
    stop();
}
